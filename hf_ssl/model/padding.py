"""Sequences of different lengths in one call: which side padding goes to, and whether the model minds.

A text must get the same logits alone and beside longer ones. Most models see to that with their attention mask, if
padding is on the right side: XLNet reads the last token and wants it on the left, GPT-2 counts positions from the left
and wants it on the right. Some read padding wherever it is (FNet has no mask, wav2vec 2.0 with group normalization
averages over the whole recording); their views are not joined. Which of them a model is, a short trial tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.utils import logging

from ..views.seeds import global_seeds
from .pooling import HeadReader

logger = logging.get_logger(__name__)

# Model keywords to tensors [N, ...] whose first axis is the example.
View = Mapping[str, torch.Tensor]

SIDES = ("right", "left")
# Differences of this share of the largest value are rounding.
_ROUNDING = {torch.float64: 1e-6, torch.float32: 2e-4}
_ROUNDING_OF_HALF = 0.05


def concatenate(views: Sequence[View], model: nn.Module | None = None, side: str = "right") -> dict[str, torch.Tensor]:
    """Join views along the example axis; sequences of different lengths are padded to the longest.

    Every axis in which tensors differ is padded, so time may be any of them. Token ids are padded with the model's
    `config.pad_token_id`, everything else (masks, samples, spectra) with 0.

    Args:
        views: with the same keywords.
        model: names the padding token.
        side: "right", at the end, or "left", at the beginning.

    Raises:
        ValueError: for images of different sizes, whose padding nothing would hide.

    Example:
        >>> concatenate([{"input_ids": torch.tensor([[5, 6]])}, {"input_ids": torch.tensor([[7, 8, 9]])}])
        {'input_ids': tensor([[5, 6, 0],
                [7, 8, 9]])}
    """
    if len(views) == 1:
        return dict(views[0])
    joined = {}
    for key in views[0]:
        tensors = [view[key] for view in views]
        shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
        if len(shapes) > 1:
            if key == "pixel_values":
                shown = " and ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
                raise ValueError(f"images of one call must have one size, got {shown}; resize them to one")
            value = (pad_token(model) or 0) if key == "input_ids" else 0
            longest = [max(lengths) for lengths in zip(*shapes, strict=True)]
            tensors = [_padded(tensor, longest, side, value) for tensor in tensors]
        joined[key] = torch.cat(tensors)
    return joined


def pad_token(model: nn.Module | None) -> int | None:
    """The id of a model's padding token; None without one."""
    config: Any = getattr(model, "config", None)
    if config is None:
        return None
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    own = getattr(config, "pad_token_id", None)
    return own if own is not None else getattr(text, "pad_token_id", None)


def match_pad_token(model: nn.Module, processor: Any) -> None:
    """Let a text model know the padding token of its tokenizer.

    Decoders pool at the last token that is not `config.pad_token_id`. Without one they refuse batches, and with
    another than the tokenizer's they read padding.

    Example:
        >>> from types import SimpleNamespace
        >>> model = nn.Linear(2, 2)
        >>> model.config = SimpleNamespace(pad_token_id=None)
        >>> match_pad_token(model, SimpleNamespace(pad_token_id=7))
        >>> model.config.pad_token_id
        7
    """
    token, config = getattr(processor, "pad_token_id", None), getattr(model, "config", None)
    if token is None or config is None:
        return
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    before = [each.pad_token_id for each in (config, text) if hasattr(each, "pad_token_id")]
    for each in (config, text):
        if hasattr(each, "pad_token_id"):
            each.pad_token_id = token
    if any(old not in (None, token) for old in before):
        logger.warning(
            f"the padding token of {type(model).__name__} was {before[-1]} and that of its tokenizer is {token}; the "
            "model's is now the tokenizer's"
        )


def harmless_sides(
    model: nn.Module, head: nn.Module, view: View, lengths: Mapping[str, int] | None = None
) -> set[str]:
    """On which sides padding leaves the answers of a model as they are, found by trying it on one example.

    The example is shortened to a few lengths, and each of these classified alone and padded to the length that it had:
    up to three calls of one short sequence, and two of three.

    Args:
        model: a classifier, not wrapped.
        head: its head.
        view: one example or more, of which the longest is used.
        lengths: keyword -> which axis of it is the sequence; None means axis 1 of all that is as long as `input_ids`.

    Returns:
        "right", "left", both, or neither.

    Example:
        A model that averages over all tokens reads padding wherever it is; one that is given a mask does not:

        >>> class Words(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)
        ...
        ...     def forward(self, input_ids, attention_mask=None):
        ...         weights = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        ...         weights = weights / weights.sum(1, keepdim=True)
        ...         return self.head((self.words(input_ids) * weights[..., None]).sum(1))
        >>> model, ids = Words(), torch.tensor([[1, 2, 3, 4, 5, 6]])
        >>> harmless_sides(model, model.head, {"input_ids": ids})
        set()
        >>> sorted(harmless_sides(model, model.head, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}))
        ['left', 'right']
    """
    axes = _text_axes(view) if lengths is None else lengths
    first = _without_padding(view, axes)
    longest = max(first[key].shape[axis] for key, axis in axes.items())
    shorter = [
        {key: _shortened(values, axes[key], share) if key in axes else values for key, values in first.items()}
        for share in sorted({1 - 1 / longest, 1 - 2 / longest, 0.5})
        if round(share * longest) >= 1
    ]
    with at_rest(model):
        alone = [(each, answers) for each in shorter if (answers := _answers_if_any(model, head, each)) is not None]
        if not alone:
            return set()
        padded = [*(each for each, _ in alone), first]
        together = {side: _answers(model, head, concatenate(padded, model, side)) for side in SIDES}
    return {side for side in SIDES if all(_agree(one, together[side], row) for row, (_, one) in enumerate(alone))}


def sequence_axes(views: Sequence[View]) -> dict[str, int]:
    """Keyword -> the axis in which the tensors of views with the same keywords differ, for those that differ.

    Example:
        >>> sequence_axes([{"input_features": torch.zeros(2, 7, 80)}, {"input_features": torch.zeros(3, 9, 80)}])
        {'input_features': 1}
    """
    shapes = {key: [view[key].shape for view in views] for key in views[0]}
    return {
        key: next(axis for axis in range(1, len(several[0])) if len({shape[axis] for shape in several}) > 1)
        for key, several in shapes.items()
        if len({tuple(shape[1:]) for shape in several}) > 1
    }


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; random numbers, and every module's mode, are afterwards as they were."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), global_seeds(np.random.default_rng(0)):
            yield
    finally:
        for module in training:
            module.training = True


def _text_axes(view: View) -> dict[str, int]:
    length = view["input_ids"].shape[1]
    return {key: 1 for key, values in view.items() if values.ndim > 1 and values.shape[1] == length}


def _without_padding(view: View, axes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """The example with the most tokens, as a view of one, without what its mask hides."""
    mask = view.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return {key: values[:1] for key, values in view.items()}
    row = int(mask.sum(dim=1).argmax())
    read = mask[row].nonzero().flatten()
    first = {key: values[row : row + 1] for key, values in view.items()}
    for key, axis in axes.items():
        if first[key].shape[axis] == mask.shape[1]:
            first[key] = first[key].index_select(axis, read)
    return first


def _shortened(values: torch.Tensor, axis: int, share: float) -> torch.Tensor:
    """The beginning and the end of a sequence, which may hold special tokens, without a part of the middle."""
    length = values.shape[axis]
    kept = max(round(share * length), 1)
    return torch.cat(
        [values.narrow(axis, 0, (kept + 1) // 2), values.narrow(axis, length - kept // 2, kept // 2)], axis
    )


def _padded(tensor: torch.Tensor, shape: Sequence[int], side: str, value: float) -> torch.Tensor:
    """A tensor [N, ...] padded to [N, *shape]."""
    amounts: list[int] = []
    for length, wanted in zip(reversed(tensor.shape[1:]), reversed(shape), strict=True):
        amounts += [0, wanted - length] if side == "right" else [wanted - length, 0]
    return nn.functional.pad(tensor, amounts, value=value)


def _answers(model: nn.Module, head: nn.Module, view: View) -> tuple[torch.Tensor, torch.Tensor]:
    with HeadReader(head) as reader:
        output = model(**view)
    return reader.split(output, model)


def _answers_if_any(model: nn.Module, head: nn.Module, view: View) -> tuple[torch.Tensor, torch.Tensor] | None:
    """None for what is too short for the model: Funnel wants five tokens, a stack of convolutions some samples."""
    try:
        return _answers(model, head, view)
    except (RuntimeError, IndexError, ValueError):
        return None


def _agree(alone: tuple[torch.Tensor, torch.Tensor], together: tuple[torch.Tensor, torch.Tensor], row: int) -> bool:
    """Whether the logits and features of one example are those of a row of several."""
    # Features as well: a new head may be all zeros.
    for one, several in zip(alone, together, strict=True):
        rounding = _ROUNDING.get(several.dtype, _ROUNDING_OF_HALF) * several.abs().max()
        if (one[0] - several[row]).abs().max() > rounding:
            return False
    return True
