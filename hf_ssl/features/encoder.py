"""A model as an encoder: from a batch of inputs to one vector per example.

    "head"   the input of the classification head: what the model itself classifies by
    "mean"   the mean over the tokens (frames) of the last hidden states, without padding

Which of them is better depends on what lies between the encoder and the head; see the Note of `Encoder`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from ..modality import MODALITIES
from ..model.adapters import adapters_in_use, unused_copies
from ..model.folder import check_folder, loading_error
from ..model.head import find_head
from ..model.pooling import HeadReader, logits_of
from ..model.wrapping import unwrap, without_adapters

POOLINGS = ("auto", "head", "mean")
# Settings of a configuration that say where a model comes from, what its head is for, and whether it keeps keys and
# values for the next token, which the Trainer changes and features do not depend on.
_NOT_OF_THE_ENCODER = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "pad_token_id",
    "problem_type",
    "transformers_version",
    "use_cache",
)


class Encoder:
    """Makes features of batches with a frozen model, in evaluation mode and without gradients.

    Args:
        model: a classification model, or a base model without a head (of transformers, timm's through its wrapper,
            PEFT's, or any module whose call takes the views' tensors as keywords).
        modality: "image", "text" or "audio".
        pooling: "head", "mean" or "auto": "mean" for texts and for speech encoders with a projector, "head" for the
            rest. Without a head, "head" is what a head would read: the model's pooled output.
        device: the model is moved there; it stays where it is if None.
        with_head: return the input of the head as well, if the features are something else; it takes no second pass.

    Attributes:
        pooling: the one that is used: "head" or "mean".
        widths: size of each kind of vector by its name, known after the first batch.

    Raises:
        ValueError: for another `pooling`, or "mean" with a model that has no tokens.

    Note:
        Pretrained text encoders come without a trained path to the head: BERT's pooler was trained for another task or
        is new, the dense layers of RoBERTa and DistilBERT are new, and so is the projector of wav2vec 2.0. On AG News
        with all-MiniLM-L6-v2 (4,000 texts of at most 64 tokens, 40 labels, mean and standard deviation of 5 draws) a
        linear probe on the mean of the tokens is right for 78.2 ± 2.7 % of the texts, on the first token for 71.0 ±
        2.2, on the pooler's output, the input of BERT's head, for 68.1 ± 3.1; label propagation for 84.4, 77.4 and
        76.7. Image models pool with what they were trained with: for MobileNetV1 both poolings are the same numbers.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> encoder = Encoder(BertModel(BertConfig(vocab_size=20, **sizes)), "text")
        >>> encoder({"input_ids": torch.tensor([[1, 2, 3]])})["features"].shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        modality: str,
        pooling: str = "auto",
        device: torch.device | str | None = None,
        with_head: bool = False,
    ):
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.model = unwrap(model)
        if device is not None:
            self.model.to(device)
        self.device = next((tensor.device for tensor in self.model.parameters()), torch.device("cpu"))
        self.backbone = _backbone(self.model)
        self.head = _find_head(self.model)
        self.pooling = _usual_pooling(self.model, modality) if pooling == "auto" else pooling
        self.with_head = with_head and self.pooling == "mean"
        if self.with_head and self.head is None:
            raise ValueError(
                f"the model must have a classification head to read its input, got a {type(self.model).__name__}; "
                "load it with a class such as AutoModelForSequenceClassification"
            )
        self.widths: dict[str, int] = {}
        # Half the memory and twice the speed or more on GPUs; CPUs are slower with it unless they have matrix units
        # for it.
        self.precision = torch.bfloat16 if self.device.type == "cuda" and torch.cuda.is_bf16_supported() else None

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Vectors of model keywords, float32, on the CPU: "features" [N, D], and "head_features" [N, H] if asked for.

        Raises:
            ValueError: if they are not one vector per example.
        """
        inputs = {name: value.to(self.device) for name, value in batch.items()}
        with self._frozen(), self._mixed_precision():
            if self.with_head:
                made = self._both(inputs)
            else:
                made = {"features": self._mean(inputs) if self.pooling == "mean" else self._head_input(inputs)}
        for vectors in made.values():
            if vectors.ndim != 2:
                raise ValueError(
                    f"features must be one vector per example, got shape {tuple(vectors.shape)} from "
                    f"{type(self.model).__name__}; use a model that pools, or pooling='mean'"
                )
        self.widths = {name: vectors.shape[1] for name, vectors in made.items()}
        return {name: vectors.float().cpu() for name, vectors in made.items()}

    def listen(self, call: Callable[[], Any], mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, C] and features [N, D], float32 on the CPU, of one call of the classifier by someone else.

        Args:
            call: calls the classifier once, and returns what it returned.
            mask: the attention mask of the inputs, if they have one.
        """
        if self.pooling == "head":
            assert self.head is not None, "a classifier has a head"
            with HeadReader(self.head) as reader:
                logits, features = reader.split(call(), self.model)
        else:
            captured: list[Any] = []
            with _outputs_of(self.backbone, captured):
                logits = logits_of(call())
            mask = None if mask is None else mask.to(self.device)
            features = self._mean_of(captured[-1], {} if mask is None else {"attention_mask": mask})
        return logits.float().cpu(), features.float().cpu()

    def architecture(self) -> str:
        """What the features depend on beside the weights: the configurations of the encoder and of its adapters."""
        config = getattr(self.backbone, "config", None)
        settings = repr(self.model) if config is None else config.to_dict()
        if isinstance(settings, dict):
            settings = {name: value for name, value in settings.items() if name not in _NOT_OF_THE_ENCODER}
        adapters = getattr(self.model, "peft_config", {})
        adapters = {name: adapter.to_dict() for name, adapter in adapters.items()} if adapters else {}
        in_use = adapters_in_use(self.model) if adapters else []
        return json.dumps([type(self.backbone).__name__, settings, adapters, in_use], sort_keys=True, default=str)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors that the features depend on, in a fixed order: not the head, which is often new."""
        only_tokens = self.pooling == "mean" and not self.with_head
        module = self.backbone if only_tokens else self.model
        pooler = getattr(module, "pooler", None) if only_tokens else None
        # PEFT keeps the head as it was before, and the copies of other adapters, beside the one that is used.
        unused = {id(tensor) for part in (self.head, pooler, *unused_copies(module)) for tensor in _tensors(part)}
        for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
            if isinstance(tensor, torch.Tensor) and id(tensor) not in unused:
                yield name, tensor.detach()

    # ---- The two poolings ----

    def _head_input(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.head is None:
            return _pooled(self.model(**inputs), self.backbone, inputs.get("attention_mask"))
        with HeadReader(self.head) as reader:
            output = self.model(**inputs)
        return reader.split(output, self.model)[1]

    def _both(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Both poolings from one call of the classifier."""
        captured: list[Any] = []
        with _outputs_of(self.backbone, captured):
            head_input = self._head_input(inputs)
        return {"features": self._mean_of(captured[-1], inputs), "head_features": head_input}

    def _mean(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._mean_of(self.backbone(**inputs), inputs)

    def _mean_of(self, output: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = _last_hidden(output)
        if hidden is None or hidden.ndim < 3:
            raise ValueError(
                f"pooling='mean' needs last hidden states of tokens, which {type(self.backbone).__name__} does not "
                "return; use pooling='head'"
            )
        if hidden.ndim == 4:
            return hidden.float().mean(dim=(2, 3))
        mask = _token_mask(self.backbone, hidden, inputs.get("attention_mask"))
        weights = mask.to(torch.float32)[..., None]
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)

    # ---- How the model is run ----

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True

    def _mixed_precision(self) -> Any:
        return nullcontext() if self.precision is None else torch.autocast("cuda", self.precision)


@contextmanager
def _outputs_of(module: nn.Module, captured: list[Any]) -> Iterator[None]:
    """Add what the module returns to a list, as long as the block lasts."""
    handle = module.register_forward_hook(lambda _module, _arguments, output: captured.append(output))
    try:
        yield
    finally:
        handle.remove()


def load_encoder(name: str, modality: str, pooling: str) -> nn.Module:
    """The model of a Hub id or local path: with a head if its features are the input of the head."""
    classifier = modality == "image" if pooling == "auto" else pooling == "head"
    check_folder(name)
    try:
        return (MODALITIES[modality].model_class() if classifier else AutoModel).from_pretrained(name)
    except Exception as error:  # of any kind, if its files are damaged
        raise loading_error(name, error) from error


def _backbone(model: nn.Module) -> nn.Module:
    """The base model inside a classifier of transformers (with PEFT's adapters in it), or the model itself."""
    inner = without_adapters(model)
    base = getattr(inner, "base_model", inner)
    # Whisper's classifier has an encoder and no base model.
    return base if base is not inner or _is_base(inner) else getattr(inner, "encoder", inner)


def _is_base(inner: nn.Module) -> bool:
    """Whether it is a base model of transformers, which are all called BertModel, ViTModel, ... and have no head."""
    return getattr(inner, "base_model", None) is inner and type(inner).__name__.endswith("Model")


def _find_head(model: nn.Module) -> nn.Linear | None:
    if _is_base(without_adapters(model)):
        return None
    try:
        return find_head(model)
    except ValueError:
        return None


def _tensors(part: Any) -> list[Any]:
    return list(part.state_dict(keep_vars=True).values()) if isinstance(part, nn.Module) else []


def _usual_pooling(model: nn.Module, modality: str) -> str:
    inner = without_adapters(model)
    speech = modality == "audio" and (hasattr(inner, "projector") or _is_base(inner))
    return "mean" if hasattr(inner, "config") and (modality == "text" or speech) else "head"


def _pooled(output: Any, backbone: nn.Module, mask: torch.Tensor | None) -> torch.Tensor:
    """What a head would read of a base model: its pooled output, or a token without one or if the pooler has weights.

    Classifiers of images do not use such a pooler (ViT's), and it is often new. The token is the first one, or in
    decoders, whose first token has seen nothing but itself, the last one that the mask does not hide.
    """
    if isinstance(output, torch.Tensor):
        return output
    pooled, hidden = getattr(output, "pooler_output", None), _last_hidden(output)
    pooler = getattr(backbone, "pooler", None)
    is_new = isinstance(pooler, nn.Module) and any(isinstance(module, nn.Linear) for module in pooler.modules())
    if hidden is not None and hidden.ndim == 3 and (pooled is None or is_new):
        if not _is_decoder(backbone):
            return hidden[:, 0]
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        last = positions[-1] if mask is None else (positions * mask).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    if pooled is None:
        raise ValueError(
            f"pooling='head' needs a classification head or a pooled output, which {type(backbone).__name__} lacks; "
            "use pooling='mean'"
        )
    return pooled.flatten(1)


def _is_decoder(backbone: nn.Module) -> bool:
    """Whether it was trained to predict the next token, and not also hidden ones."""
    kind = getattr(getattr(backbone, "config", None), "model_type", None)
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def _token_mask(backbone: nn.Module, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """1 for tokens and 0 for padding, [N, T]; speech encoders turn a mask of samples into one of frames."""
    if mask is None:
        return hidden.new_ones(hidden.shape[:2])
    to_frames: Any = getattr(backbone, "_get_feature_vector_attention_mask", None)
    if mask.shape[1] != hidden.shape[1] and to_frames is not None:
        return to_frames(hidden.shape[1], mask)
    return mask if mask.shape[1] == hidden.shape[1] else hidden.new_ones(hidden.shape[:2])


def _last_hidden(output: Any) -> torch.Tensor | None:
    if isinstance(output, Mapping) or hasattr(output, "last_hidden_state"):
        return output["last_hidden_state"] if isinstance(output, Mapping) else output.last_hidden_state
    return output[0] if isinstance(output, tuple) else output if isinstance(output, torch.Tensor) else None
