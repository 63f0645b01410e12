"""A head from the names of the classes, for models that were trained on images and texts together (CLIP, SigLIP).

    names --template, text encoder--> unit vectors t_c                 logits = scale * <t_c, v>,  v of length 1
    images --image encoder----------> unit vectors v
                                                                  scale: the one that is best on the labels
    these probabilities of labels and pool --head_for--> the head of the image classifier

What the zero-shot model computes is not a linear head of transformers' image classifiers. Those of CLIP read the mean
of the patches, before the last norm, and not the class token after it; those of SigLIP read the mean of the patches,
and not what attention pools. The projection behind the pooling is linear and could be folded into the head; the
division by the length of the image's vector, and the pooling, could not. So the head is fitted to the probabilities of
the zero-shot model on labels and pool, as the head of `start="features"` is to those of its classifier. The model
stays an ordinary `CLIPForImageClassification` or `SiglipForImageClassification`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

from ..data.labels import as_number, shortened
from ..model.folder import loading_error
from ..model.wrapping import without_adapters

# SigLIP's texts have this many tokens, by training.
_SIGLIP_TOKENS = 64
# Scales of cosines that are tried: CLIP's own is at most 100 (arXiv 2103.00020, section 2.5).
_SCALES = np.geomspace(1.0, 100.0, 81)


class ZeroShotClassifier(nn.Module):
    """The image encoder with the embeddings of class names as its head: the logits are those of the whole model.

    Args:
        dual: a model with `get_image_features` and `get_text_features`.
        embeddings: of the names, unit vectors [C, P].

    Shapes: pixel_values [N, 3, H, W]; logits [N, C]. The head reads unit vectors [N, P].
    """

    def __init__(self, dual: Any, embeddings: torch.Tensor):
        super().__init__()
        self.dual = dual
        self.classifier = nn.Linear(embeddings.shape[1], embeddings.shape[0])
        bias = getattr(dual, "logit_bias", None)
        with torch.no_grad():
            self.classifier.weight.copy_(dual.logit_scale.exp() * embeddings)
            self.classifier.bias.fill_(0.0 if bias is None else float(bias))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits [N, C]."""
        return self.classifier(_unit(self.dual.get_image_features(pixel_values=pixel_values)))

    def cosines(self, image_vectors: np.ndarray) -> np.ndarray:
        """Cosines [N, C] of unit vectors [N, P], as the head reads them, with the names."""
        weight = nn.functional.normalize(self.classifier.weight.detach(), dim=-1)
        return np.asarray(image_vectors, dtype=np.float32) @ weight.cpu().numpy().T


def zero_shot(model: nn.Module, names: Sequence[str], template: str) -> ZeroShotClassifier:
    """The zero-shot classifier whose image encoder an image classifier was loaded from.

    Args:
        model: a classifier that was loaded from the folder or Hub id of a model of images and texts.
        names: of the classes.
        template: with the place of a name, {}.

    Raises:
        ValueError: in one line, if the model has no text encoder, or the classes are numbers.
    """
    if template.count("{}") != 1:
        raise ValueError(f"start_template must hold {{}} once, where the name of the class belongs, got {template!r}")
    if all(as_number(name) is not None for name in names):
        raise ValueError(
            f"start must not be 'names' for classes that are numbers, got {shortened(names, 5)}; give them names, or "
            "set start='features'"
        )
    source = str(getattr(getattr(without_adapters(model), "config", None), "_name_or_path", "") or "")
    dual, tokenizer = _load(source, type(model).__name__)
    ends = {"padding": "max_length", "max_length": _SIGLIP_TOKENS, "truncation": True}
    padding: dict[str, Any] = ends if "siglip" in dual.config.model_type else {"padding": True, "truncation": True}
    words = tokenizer([template.replace("{}", name) for name in names], return_tensors="pt", **padding)
    with torch.no_grad():
        made = ZeroShotClassifier(dual, _unit(dual.get_text_features(**words)))
    return made.to(next(model.parameters()).device).eval()


def _load(source: str, title: str) -> tuple[Any, Any]:
    unfit = ValueError(
        f"start must not be 'names' for {title}, which was not loaded from a model of images and texts with its text "
        "encoder, such as CLIP or SigLIP; load it from one by its folder or Hub id, or set start='features'"
    )
    if not source:
        raise unfit
    try:
        dual = AutoModel.from_pretrained(source, trust_remote_code=False).eval()
        if not (hasattr(dual, "get_text_features") and hasattr(dual, "get_image_features")):
            raise unfit
        return dual, AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # of any kind, if its files are damaged
        if error is unfit:
            raise
        raise loading_error(source, error) from None


def _unit(output: Any) -> torch.Tensor:
    return nn.functional.normalize(getattr(output, "pooler_output", output), dim=-1)


def best_scale(cosines: np.ndarray, labels: np.ndarray) -> float:
    """The scale whose softmax has the lowest cross-entropy on labeled examples, from 1 to 100.

    Args:
        cosines: [N, C].
        labels: classes [N].

    Example:
        >>> cosines = np.array([[0.3, 0.2], [0.3, 0.2], [0.3, 0.2], [0.3, 0.2]])
        >>> round(best_scale(cosines, np.array([0, 0, 0, 1])), 1)  # three of four: log 3 / 0.1
        11.2
    """
    losses = [-np.log(softmax(scale * cosines)[np.arange(len(labels)), labels] + 1e-30).mean() for scale in _SCALES]
    return float(_SCALES[int(np.argmin(losses))])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] of logits [N, C]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
