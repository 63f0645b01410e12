"""The audio encoder of the evidence: Google's speech embedding (arXiv 2002.01322), a CNN of 330,000 weights, in torch.

It was trained to tell 5,000 spoken keywords apart. The package openwakeword 0.4.0 carries it as ONNX files, which are
read here with `onnx`; neither is needed for anything else:

    pip install onnx && pip install --no-deps openwakeword==0.4.0

Once this file is imported, transformers' auto class loads folders of this model, too.
"""

import importlib.util
from pathlib import Path

import torch
from evidence_models import classified, frozen_again
from torch import nn
from transformers import AutoConfig, AutoModelForAudioClassification, PretrainedConfig, PreTrainedModel

# Kernel (time, mel bins) and channels of each convolution; a pair with "pool" divides time and mel bins. As in the
# ONNX graph.
_LAYERS = (
    *(((3, 3), 24), ((1, 3), 24), ((3, 1), 24), ("pool", (2, 2))),
    *(((1, 3), 48), ((3, 1), 48), ((1, 3), 48), ((3, 1), 48), ("pool", (1, 2))),
    *(((1, 3), 72), ((3, 1), 72), ((1, 3), 72), ((3, 1), 72), ("pool", (2, 2))),
    *(((1, 3), 96), ((3, 1), 96), ((1, 3), 96), ((3, 1), 96), ("pool", (1, 2))),
    *(((1, 3), 96), ((3, 1), 96), ((1, 3), 96), ((3, 1), 96), ("pool", (2, 2))),
    ((3, 1), 96),
)
_WINDOW, _FFT, _HOP, _MEL_BINS = 400, 512, 160, 32
# The least that a clip needs: 76 frames become one embedding.
_FRAMES = 76


class SpeechEmbeddingConfig(PretrainedConfig):
    model_type = "speech_embedding_classifier"
    # Of the lowest blocks, which do not learn; see `SpeechEmbeddingClassifier.freeze`.
    frozen_blocks: int = 0


class SpeechEmbeddingClassifier(PreTrainedModel):
    """A linear head on the mean of the embeddings over time, of waveforms [N, samples] in -1..1 at 16 kHz."""

    config_class = SpeechEmbeddingConfig
    main_input_name = "input_values"

    def __init__(self, config: SpeechEmbeddingConfig):
        super().__init__(config)
        self.register_buffer("mel_filters", torch.zeros(_FFT // 2 + 1, _MEL_BINS))
        layers, channels, last = [], 1, len(_LAYERS) - 1
        for place, (kernel, value) in enumerate(_LAYERS):
            if kernel == "pool":
                layers.append(nn.MaxPool2d(value))
                continue
            # Padding over the mel bins only. Batch norms are folded into the convolutions, but for the first, after a
            # ReLU.
            layers.append(nn.Conv2d(channels, value, kernel, padding=(0, kernel[1] // 2), bias=0 < place < last))
            if place == 0:
                layers += [nn.ReLU(), nn.BatchNorm2d(value, eps=1e-3)]
            if place < last:
                layers.append(_Rectifier())
            channels = value
        self.encoder = nn.Sequential(*layers)
        # Embeddings have values in the tens.
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.classifier = nn.Linear(channels, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    @classmethod
    def from_pretrained(cls, *args, **keywords) -> "SpeechEmbeddingClassifier":
        """As usual; then `config.frozen_blocks` is heeded, which loading would undo."""
        return frozen_again(super().from_pretrained(*args, **keywords), "frozen_blocks")

    @classmethod
    def from_onnx(cls, folder: Path | None = None, **settings) -> "SpeechEmbeddingClassifier":
        """The pretrained encoder and a new head.

        Args: folder: with `embedding_model.onnx` and `melspectrogram.onnx`, default those of the installed package
            openwakeword. settings: of the configuration, num_labels above all.

        Raises:
            FileNotFoundError: in one line, if the packages are not there.
        """
        folder = folder or _installed()
        import onnx
        from onnx.numpy_helper import to_array

        model = cls(SpeechEmbeddingConfig(**settings))
        graphs = [onnx.load(folder / f"{name}.onnx").graph for name in ("embedding_model", "melspectrogram")]
        weights = [{tensor.name: to_array(tensor) for tensor in graph.initializer} for graph in graphs]
        # In the graph's order, which is that of the modules and their parameters.
        nodes = [node for node in graphs[0].node if node.op_type in ("Conv", "BatchNormalization")]
        found = [weights[0][name] for node in nodes for name in node.input if name in weights[0]]
        kept = [
            tensor for name, tensor in model.encoder.state_dict().items() if not name.endswith("num_batches_tracked")
        ]
        for tensor, value in zip(kept, found, strict=True):
            tensor.copy_(torch.tensor(value))
        model.mel_filters.copy_(torch.tensor(weights[1]["1.melW"]))
        return model

    def freeze(self, blocks: int) -> None:
        """Leave the lowest blocks of four convolutions (the first has three) as they are; 0 trains everything."""
        ends = [place + 1 for place, layer in enumerate(self.encoder) if isinstance(layer, nn.MaxPool2d)]
        self.encoder[: [0, *ends][blocks]].requires_grad_(False)

    def train(self, mode: bool = True):
        """As usual, but the batch norm keeps its statistics: they are of far more speech than a batch has."""
        super().train(mode)
        for layer in self.encoder:
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def log_mel(self, waves: torch.Tensor) -> torch.Tensor:
        """Spectra [N, frames, mel bins] of waveforms [N, samples], in tens of dB, at most 8 below the loudest."""
        short = (_FRAMES - 1) * _HOP + _FFT - waves.shape[-1]
        waves = nn.functional.pad(waves, (0, max(short, 0))) * 32767.0
        window = torch.hann_window(_WINDOW, device=waves.device)
        spectrum = torch.stft(waves, _FFT, _HOP, _WINDOW, window, center=False, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2)
        decibels = (power @ self.mel_filters).clamp_min(1e-10).log10() * 10.0
        return torch.maximum(decibels, decibels.amax(dim=(1, 2), keepdim=True) - 80.0) / 10.0 + 2.0

    def embed(self, waves: torch.Tensor) -> torch.Tensor:
        """The embeddings [N, 96, time] of waveforms [N, samples]; one for each 80 ms after the first 775."""
        return self.encoder(self.log_mel(waves).unsqueeze(1)).squeeze(-1)

    def forward(self, input_values, labels=None):
        return classified(self.classifier(self.norm(self.embed(input_values).mean(dim=-1))), labels)


AutoConfig.register(SpeechEmbeddingConfig.model_type, SpeechEmbeddingConfig, exist_ok=True)
AutoModelForAudioClassification.register(SpeechEmbeddingConfig, SpeechEmbeddingClassifier, exist_ok=True)


def _installed() -> Path:
    found = importlib.util.find_spec("openwakeword")
    folder = Path(found.origin).parent / "resources" / "models" if found else Path()
    if not (folder / "embedding_model.onnx").exists() or importlib.util.find_spec("onnx") is None:
        install = "pip install onnx && pip install --no-deps openwakeword==0.4.0"
        raise FileNotFoundError(f"the audio encoder is not installed; run: {install}")
    return folder


class _Rectifier(nn.Module):
    def forward(self, hidden):
        return nn.functional.leaky_relu(hidden, 0.2).clamp_min(-0.4)
