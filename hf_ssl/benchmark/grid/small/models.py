"""Small models that are trained from scratch: nothing is downloaded, and a training takes seconds on one core."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
    Wav2Vec2FeatureExtractor,
)
from transformers.audio_utils import mel_filter_bank
from transformers.modeling_outputs import SequenceClassifierOutput

from ....data.columns import is_string

RATE = 16_000


class _Classifier(PreTrainedModel):
    """A model of this file: features of the inputs, then a linear head."""

    classifier: nn.Linear

    def classified(self, features: torch.Tensor, labels: torch.Tensor | None) -> SequenceClassifierOutput:
        """Logits [N, C] of features [N, D], and the loss if there are labels [N]."""
        logits = self.classifier(features)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _classes(names: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


# ---- Images ----


def tiny_resnet(names: Sequence[str], pool: datasets.Dataset, side: int = 16) -> tuple[PreTrainedModel, Any]:
    """A residual network of 60,000 weights for images of `side` pixels, and its processor."""
    config = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic", **_classes(names)
    )
    # Half of the steps to lower resolutions: the images are small already.
    model: Any = ResNetForImageClassification(config)
    model.resnet.embedder.pooler = nn.Identity()
    size = {"height": side, "width": side}
    processor = ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return model.to(memory_format=torch.channels_last), processor


# ---- Texts ----


class BagOfWordsConfig(PreTrainedConfig):
    """Sizes of a `BagOfWords`."""

    model_type = "bag_of_words"
    vocab_size: int = 1_000
    hidden_size: int = 64


class BagOfWords(_Classifier):
    """A linear head on the sum of the words' vectors, which do not learn; inputs [N, L] with 0 for padding."""

    config_class = BagOfWordsConfig

    def __init__(self, config: BagOfWordsConfig):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0).requires_grad_(False)
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """As any classifier of transformers."""
        total = nn.functional.normalize(self.words(input_ids).sum(dim=1), dim=-1)
        # From length 1 to entries around 1.
        return self.classified(total * self.config.hidden_size**0.5, labels)


def bag_of_words(names: Sequence[str], pool: datasets.Dataset) -> tuple[PreTrainedModel, Any]:
    """Words of the pool with vectors from its latent semantic analysis (Deerwester et al. 1990), and their tokenizer.

    The vectors are the right singular vectors of the pool's TF-IDF matrix, times the words' inverse frequency; labels
    play no part.
    """
    counter = TfidfVectorizer(min_df=2, max_df=0.3, token_pattern=r"[a-z]{2,}", sublinear_tf=True)
    strings = [column for column, feature in pool.features.items() if is_string(feature)]
    matrix = counter.fit_transform(pool["text" if "text" in strings or not strings else strings[0]])
    words = sorted(counter.vocabulary_, key=counter.vocabulary_.__getitem__)
    width = min(BagOfWordsConfig.hidden_size, matrix.shape[1] - 1)
    directions = TruncatedSVD(width, random_state=0).fit(matrix).components_
    special = ["[PAD]", "[UNK]", "[MASK]"]
    # The vectors of the special tokens stay zero: a masked or unknown word says nothing.
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(special + words)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]{2,}"), behavior="removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", model_max_length=64
    )
    config = BagOfWordsConfig(vocab_size=len(special) + len(words), hidden_size=width, **_classes(names))
    model = BagOfWords(config)
    vectors = np.zeros((config.vocab_size, width))
    vectors[len(special) :] = directions.T * counter.idf_[:, None]
    with torch.no_grad():
        model.words.weight.copy_(torch.tensor(vectors))
    return model, tokenizer


# ---- Recordings ----


class SpectrumConfig(PreTrainedConfig):
    """Sizes of a `SpectrumClassifier`."""

    model_type = "spectrum_classifier"
    mel_bins: int = 32
    width: int = 32


class SpectrumClassifier(_Classifier):
    """Three convolutions on a mel spectrum of waveforms [N, samples] at 16 kHz, and their mean over time."""

    config_class = SpectrumConfig
    main_input_name = "input_values"
    filters: torch.Tensor
    window: torch.Tensor

    def __init__(self, config: SpectrumConfig):
        super().__init__(config)
        filters = mel_filter_bank(
            num_frequency_bins=257,
            num_mel_filters=config.mel_bins,
            min_frequency=60.0,
            max_frequency=RATE / 2,
            sampling_rate=RATE,
        )
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32))
        self.register_buffer("window", torch.hann_window(400))
        widths = [1, config.width // 2, config.width, config.width]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.GroupNorm(4, outer), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.classifier = nn.Linear(config.width * config.mel_bins // 8, len(config.id2label or ()))
        self.post_init()

    def forward(self, input_values: torch.Tensor, labels: torch.Tensor | None = None) -> SequenceClassifierOutput:
        """As any classifier of transformers."""
        spectrum = torch.stft(input_values, 512, 160, 400, self.window, return_complex=True).abs()
        mel = torch.log(torch.einsum("nft,fm->nmt", spectrum, self.filters) + 1e-3)
        hidden = self.encoder((mel - mel.mean(dim=(1, 2), keepdim=True)).unsqueeze(1))
        return self.classified(hidden.mean(dim=-1).flatten(1), labels)


def tiny_spectrum(names: Sequence[str], pool: datasets.Dataset) -> tuple[PreTrainedModel, Any]:
    """A convolutional network of 15,000 weights on mel spectra, and its feature extractor."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=RATE, return_attention_mask=False)
    return SpectrumClassifier(SpectrumConfig(**_classes(names))), extractor


# Name of a backbone -> (names of the classes, pool) -> (model with new weights from torch's generator, processor).
SMALL_MODELS: dict[str, Callable[..., tuple[PreTrainedModel, Any]]] = {
    "tiny-resnet": tiny_resnet,
    "bag-of-words": bag_of_words,
    "tiny-spectrum": tiny_spectrum,
}
