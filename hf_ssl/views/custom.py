"""Weak and strong views by custom callables.

    def strong(row, rng):                     # `rng` only if it is named so, or if there are two required parameters
        return jitter(row["image"].convert("RGB"), rng.uniform(0.5, 1.5))

    SSLTrainer(..., strong_view=strong)

`row` is the row of the dataset with its file decoded: a PIL image, a dict {"array", "sampling_rate"} for a recording.
The callable returns an image, a text (or a pair) or a waveform, which the model's processor then takes, or a dict of
model inputs of one example, such as {"pixel_values": tensor [3, H, W]}, which is stacked as it is.

`rng` is the NumPy generator of this example, this draw and this view: what is drawn from it is the same for any number
of workers and wherever a run was resumed. For callables that do not take it, the global generators of `random`, NumPy
and torch are seeded from it. With workers that are spawned rather than forked (macOS, Windows) a callable must be
picklable: a function of a module, or an object of a class of one.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import BrokenExampleError
from ..modality import MODALITIES
from .base import ModelKeywords, Row, Views
from .seeds import global_seeds
from .tensor_rows import PreparedViews, stack_inputs


class ModelInputs(dict):
    """Inputs of a model, returned by a callable: stacked as they are."""


class CustomViews(Views):
    """A view maker in which callables make the weak or the strong view, and another view maker everything else.

    Args:
        base: makes the views for which there is no callable, and those that predictions are made from.
        processor: tokenizer or feature extractor, to pad what the callables return.
        weak, strong: the callables, see above.

    Raises:
        TypeError: if they are not callable; in `__call__`, if a model cannot take what one returned.

    Example:
        >>> from transformers import ViTImageProcessor
        >>> from hf_ssl.views.image import ImageViews
        >>> def gray(row):
        ...     return row["image"].convert("L")
        >>> base = ImageViews(ViTImageProcessor(size={"height": 8, "width": 8}))
        >>> row = {"image": np.zeros((9, 9, 3), np.uint8)}
        >>> CustomViews(base, strong=gray)("strong", row, np.random.default_rng(0)).shape
        torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        base: Views,
        processor: Any = None,
        weak: Callable[..., Any] | None = None,
        strong: Callable[..., Any] | None = None,
    ):
        self.base, self.processor, self.modality = base, processor, base.modality
        self.shares_decoding = base.shares_decoding
        given = {"weak": weak, "strong": strong}
        self.callables = {kind: function for kind, function in given.items() if function is not None}
        for kind, function in self.callables.items():
            if not callable(function):
                raise TypeError(f"{kind}_view must be a callable on a row, got a {type(function).__name__}")
        self.takes_generator = {kind: _takes_generator(function) for kind, function in self.callables.items()}

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        """One view of a row."""
        if kind not in self.callables:
            return self.base(kind, row, rng)
        function = self.callables[kind]
        example = self.base.example(row)
        try:
            if self.takes_generator[kind]:
                value = function(example, rng)
            else:
                with global_seeds(rng):
                    value = function(example)
        except OSError as error:
            # The callable opened a file of its own: broken files of the pool may be skipped.
            raise BrokenExampleError(f"{kind}_view {_name(function)} failed: {error}") from error
        return self._item(kind, value)

    def example(self, row: Row) -> Row:
        """The row with its file decoded."""
        return self.base.example(row)

    def content_free(self, row: Row) -> Any:
        """The base's item."""
        return self.base.content_free(row)

    def accept(self, value: Any) -> Any:
        """The base's item."""
        return self.base.accept(value)

    def evaluation(self, row: Row) -> Any:
        """The base's item."""
        return self.base.evaluation(row)

    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        """Stack items: model keywords."""
        if isinstance(items[0], ModelInputs) and not isinstance(self.base, PreparedViews):
            return stack_inputs(items, self.processor)
        return self.base.collate(items)

    def stack(self, items: Sequence[Any]) -> ModelKeywords:
        """The worker's half of `collate`, as the base divides it; model inputs are stacked whole."""
        return self.collate(items) if isinstance(items[0], ModelInputs) else self.base.stack(items)

    def finish(self, view: ModelKeywords) -> ModelKeywords:
        """The other half."""
        return self.base.finish(view)

    def check(self, row: Row) -> None:
        """The base's check."""
        self.base.check(row)

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does."""
        made = {kind: f"made by {_name(function)}" for kind, function in self.callables.items()}
        return {**self.base.describe(), **made}

    def problem(self, kind: str) -> str | None:
        """Why there is no such view, in one line; None if there is one."""
        return None if kind in self.callables else self.base.problem(kind)

    def _item(self, kind: str, value: Any) -> Any:
        mains = MODALITIES[self.modality].main_inputs
        try:
            if isinstance(value, Mapping) and any(name in value for name in mains):
                for name, part in value.items():
                    _check_part(name, part)
                return ModelInputs(value)
            return self.base.accept(value)
        except (TypeError, ValueError) as error:
            name = _name(self.callables[kind])
            raise TypeError(
                f"{kind}_view {name} returned {_brief(value)}, which a model cannot take: {error}"
            ) from None


def _check_part(name: str, part: Any) -> None:
    array = part if isinstance(part, torch.Tensor) else np.asarray(part)
    numbers = not isinstance(array, np.ndarray) or np.issubdtype(array.dtype, np.number) or array.dtype == bool
    if not numbers or array.ndim == 0 or 0 in array.shape:
        raise TypeError(f"{name} must be a tensor, array or list of numbers of one example")
    shape = tuple(array.shape)
    if name == "pixel_values" and array.ndim != 3:
        raise TypeError(f"pixel_values must be [channels, height, width] of one example, got shape {shape}")
    if name in ("input_ids", "attention_mask", "input_values") and array.ndim != 1:
        raise TypeError(f"{name} must have one axis and none for the batch, got shape {shape}")


def _takes_generator(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # A second parameter with a default is a setting of the callable, unless its name says otherwise.
    return len(positional) >= 2 and (
        positional[1].default is inspect.Parameter.empty or positional[1].name in ("rng", "generator")
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(str, value)) or 'nothing'}"
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)} and type {value.dtype}"
    return f"{value!r:.60}" if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"
