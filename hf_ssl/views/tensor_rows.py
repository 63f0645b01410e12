"""Views of rows that hold tensors for the model already: mapped datasets, and those with a transform.

Weak is what the row holds. Strong is, in this order,

1. a second set of columns, or of keys that the transform returns: `pixel_values_strong`, `input_ids_strong`, ... (and
   with `_strong_2` one more, for algorithms with two strong views; one of the two is drawn at random);
2. for token ids: a ready strong text of an augmentation column, if the pool has one; else tokens deleted, swapped and
   masked, which keeps the user's way of cutting texts;
3. for images and recordings: the modality's own strong view of the raw column, if the dataset still has it and the
   processor is given; as large as what the rows hold, unless `image_size` says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.data.data_collator import pad_without_fast_tokenizer_warning
from transformers.utils import logging

from ..config import SSLConfig
from ..data.columns import DataSummary
from ..data.rows import STRONG_SUFFIXES, may_be_random, tensor_part
from ..modality import MODEL_INPUTS
from .audio import AudioViews
from .base import ModelKeywords, Row, Views
from .seeds import global_seeds
from .text import TextViews

logger = logging.get_logger(__name__)


def stack_inputs(
    items: Sequence[Mapping[str, Any]], processor: Any = None, length: int | None = None
) -> ModelKeywords:
    """Model inputs of single examples -> of a batch, with sequences padded by the tokenizer or feature extractor.

    Args:
        items: name -> tensor, array or list, without the axis of the batch.
        processor: the tokenizer or feature extractor; without its `pad` all items must have one shape.
        length: what a feature extractor pads to at least; None for the longest item.

    Raises:
        ValueError: if shapes differ and nothing pads them.

    Example:
        >>> stack_inputs([{"pixel_values": [[1, 2]]}, {"pixel_values": [[3, 4]]}])["pixel_values"].shape
        torch.Size([2, 1, 2])
    """
    if hasattr(processor, "pad") and "pixel_values" not in items[0]:
        items = [{name: np.asarray(value) for name, value in item.items()} for item in items]
        if hasattr(processor, "model_max_length"):
            rows = [{name: value.tolist() for name, value in item.items()} for item in items]
            return dict(pad_without_fast_tokenizer_warning(processor, rows, padding=True, return_tensors="pt"))
        columns = {name: [item[name] for item in items] for name in items[0]}
        longest = max(len(value) for value in columns.get(processor.model_input_names[0], ()))
        options: dict[str, Any] = {"padding": "max_length", "max_length": max(longest, length or 0)}
        if "attention_mask" in columns:
            # An extractor that gives none by itself would leave those of the rows unpadded.
            options["return_attention_mask"] = True
        return dict(processor.pad(columns, return_tensors="pt", **options))
    batch = {}
    for name in items[0]:
        values = [_tensor(item[name]) for item in items]
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise ValueError(
                f"{name} must have one shape in a batch, got {', '.join(map(str, sorted(shapes)))}; make them equal, "
                "or give the tokenizer or feature extractor as processing_class, which pads them"
            )
        batch[name] = torch.stack(values)
    return batch


class PreparedViews(Views):
    """Makes views of rows that hold model inputs. An item is a dict: name -> tensor, array or list of one example.

    Args:
        data: what the labeled dataset contains, with `model_inputs`.
        processor: tokenizer, feature extractor or image processor, or None.
        args: the settings, for the ratios of the strong view of token ids.
        labeled, unlabeled: the prepared datasets.
        raw: view maker of the raw column, for the strong view, or None.
        collator: a custom one, used instead of the processor's padding. It gets rows with the model's inputs and a
            label (0), under the label column's name and as `labels`, which is dropped from what it returns.
    """

    def __init__(
        self,
        data: DataSummary,
        processor: Any,
        args: SSLConfig,
        labeled: Any,
        unlabeled: Any,
        raw: Views | None = None,
        collator: Callable[..., Any] | None = None,
    ):
        self.modality, self.inputs, self.label_column = data.modality, data.model_inputs, data.label_column
        self.main = next(name for name in self.inputs if name in MODEL_INPUTS)
        self.processor, self.raw, self.collator = processor, raw, collator
        self.length, self.sized_by_rows = self._least_length(args), args.image_size is None
        self.shape = self.raw_shape = _first_shape(labeled, self.main) if self.modality == "image" else ()
        self.suffixes = tuple(suffix for suffix in STRONG_SUFFIXES if self.main + suffix in _names(unlabeled))
        self.tokens: TextViews | None = None
        if self.modality == "text" and getattr(processor, "pad_token", None) is not None:
            if isinstance(raw, TextViews) and raw.augmentation_columns:
                raw.max_length = raw.max_length if args.max_length else max(_lengths(labeled, self.main))
            else:
                self.raw = None
            self.tokens = TextViews(
                processor,
                augmentation_columns=(),
                token_delete_ratio=args.token_delete_ratio,
                token_swap_ratio=args.token_swap_ratio,
                token_mask_ratio=args.token_mask_ratio,
            )
        self.names = self._names_in_a_batch(labeled)
        if self.main == "input_values" and self.length is None and np.ndim(_first(labeled)[self.main]) == 1:
            self._fit_waves(labeled)

    def _least_length(self, args: SSLConfig) -> int | None:
        """Samples to which waves are padded in all batches, if the settings say so: a model may read padding."""
        rate = getattr(self.processor, "sampling_rate", None)
        if self.main != "input_values" or args.max_length_seconds is None or rate is None:
            return None
        return round(args.max_length_seconds * rate)

    def _fit_waves(self, labeled: Any) -> None:
        """Without a length in the settings, strong views of the raw column are as long as what the rows hold."""
        lengths = _lengths(labeled, self.main)
        if isinstance(self.raw, AudioViews):
            self.raw = self.raw.cut_at(max(lengths))
        if self.collator is None and "attention_mask" not in self.names and min(lengths) < max(lengths):
            logger.warning(
                "rows hold input_values of different lengths and no attention_mask: the model reads the padding, and "
                "an answer depends on its batch; set max_length_seconds, to which all are padded then"
            )

    def _names_in_a_batch(self, labeled: Any) -> tuple[str, ...]:
        """Names of the tensors in a batch of rows: padding may add a mask, and a custom collator anything."""
        if self.collator is not None:
            return tuple(self.collate([self._item(_first(labeled))])) if self.raw is not None else self.inputs
        listed = getattr(self.processor, "model_input_names", ())
        gives = getattr(self.processor, "return_attention_mask", "attention_mask" in listed)
        adds = gives and hasattr(self.processor, "pad") and self.modality != "image"
        return tuple(dict.fromkeys([*self.inputs, *(["attention_mask"] if adds else [])]))

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        """One view of a row; for "rotated" the item and its quarter turns, 0 to 3."""
        if problem := self.problem(kind):
            raise ValueError(problem)
        if kind in ("medium", "strong"):
            return self._changed(kind, row, rng)
        item = self._item(row)
        if kind == "weak":
            return item
        turns = int(rng.integers(4))
        return {**item, self.main: torch.rot90(_tensor(item[self.main]), turns, (-2, -1))}, turns

    def _changed(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        """A medium or a strong view. What rows hold ready is strong."""
        if kind == "strong" and self.suffixes:
            return self._item(row, self.suffixes[rng.integers(len(self.suffixes))])
        if self.tokens is None:
            assert self.raw is not None, "`problem` has looked"
            return self.raw(kind, row, rng)
        item = self._item(row)
        if self.raw is not None:
            made = {name: value for name, value in self.raw(kind, row, rng).items() if name in self.names}
        else:
            if "attention_mask" in self.names:
                # Masked tokens are hidden by it.
                item.setdefault("attention_mask", [1] * len(item[self.main]))
            tokens = self.tokens if kind == "strong" else self.tokens.halved()
            made = tokens.perturb_tokens(item, rng)
        return self._as_long(made, len(item[self.main]))

    def evaluation(self, row: Row) -> dict[str, Any]:
        """What the row holds."""
        return self._item(row)

    def example(self, row: Row) -> Row:
        """The row, its file decoded if there is one."""
        return row if self.raw is None else self.raw.example(row)

    def content_free(self, row: Row) -> Any:
        """That of the raw column's view maker, if it is of the size of what the rows hold; else zeros, or mask tokens.

        Zeros are silence, or the mean color of images that were normalized.
        """
        if self.tokens is not None:
            found = self.tokens.content_free(row)
            return {name: value for name, value in found.items() if name in self.names}
        if self.modality == "text":
            return super().content_free(row)
        if self.raw is not None and self.raw_shape == self.shape:
            return self.raw.content_free(row)
        return {name: _tensor(value) * (name != self.main) for name, value in self._item(row).items()}

    def accept(self, value: Any) -> Any:
        """An item from a tensor or array, or from what the raw column's view maker takes."""
        if isinstance(value, torch.Tensor | np.ndarray) and (self.raw is None or self.modality != "audio"):
            return {self.main: value}
        if self.raw is None:
            raise TypeError(f"expected a dict with {self.main}")
        return self.raw.accept(value)

    def check(self, row: Row) -> None:
        """The check of the raw column's view maker, and whether its views are of the size of what the row holds."""
        if self.raw is None:
            return
        self.raw.check(row)
        if self.modality == "image":
            self.raw_shape = self._raw_shape(row)
            height, width = self.shape[-2:]
            if self.raw_shape != self.shape and height == width and self.sized_by_rows:
                self._fit_images(row, height)

    def _raw_shape(self, row: Row) -> tuple[int, ...]:
        assert self.raw is not None, "`check` has looked"
        return tuple(self.raw.collate([self.raw.evaluation(row)])[self.main].shape[1:])

    def _fit_images(self, row: Row, side: int) -> None:
        """Make strong views of the size of what the rows hold, if the processor can."""
        raw: Any = self.raw
        try:
            self.raw = raw.of_size(side)
        except ValueError:
            return  # `problem` says so, if strong views are asked for.
        self.raw.check(row)
        self.raw_shape = self._raw_shape(row)

    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        """Stack items, padded as the processor or the user's collator does it: model keywords."""
        if not isinstance(items[0], Mapping) and self.raw is not None:
            batch = self.raw.collate(items)
            if "attention_mask" in self.names and self.main == "input_values":
                # The rows' extractor was asked for a mask that it does not give by itself.
                batch.setdefault("attention_mask", _mask_of(items, batch[self.main]))
            return {name: tensor for name, tensor in batch.items() if name in self.names}
        if self.collator is None:
            return stack_inputs(items, self.processor, self.length)
        labels = {self.label_column: 0, "labels": 0}
        batch = self.collator([{**item, **labels} for item in items])
        return {name: value for name, value in batch.items() if name not in (*labels, "label", "label_ids")}

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does."""
        weak = f"what the rows hold: {', '.join(self.inputs)}"
        if self.suffixes:
            strong = f"{' or '.join(self.main + suffix for suffix in self.suffixes)} of the rows"
        elif self.raw is not None:
            strong = f"From the raw column: {self.raw.describe()['strong']}"
        elif self.tokens is not None:
            strong = (
                self.tokens.describe()["strong"].replace("words", "tokens").replace("In every row", "Of the token ids")
            )
        else:
            strong = "There is none."
        medium = "There is none."
        if self.raw is not None:
            medium = f"From the raw column: {self.raw.describe()['medium']}"
        elif self.tokens is not None:
            medium = "Of the token ids half of each share that a strong view changes."
        turned = "weak, then turned by 0, 90, 180 or 270 degrees"
        return {"weak": weak, "medium": medium, "strong": strong, "rotated": turned}

    def problem(self, kind: str) -> str | None:
        """Why there is no such view and what to do, in one line; None if there is one."""
        if kind == "weak":
            return None
        if kind == "rotated" and self.modality == "image":
            return self._problem_of_turns()
        changed = kind in ("medium", "strong")
        ready = kind == "strong" and bool(self.suffixes)
        if changed and not ready and self.raw_shape != self.shape:
            return (
                f"{kind} views of the raw images must be of the size of {self.main} in the rows, got "
                f"{_shown(self.raw_shape)} beside {_shown(self.shape)}; set image_size, or resize both alike"
            )
        if changed and (ready or self.raw is not None or self.tokens is not None):
            return None
        if kind == "medium":
            return (
                f"the algorithm wants medium views, and rows of the pool hold {self.main} without the raw column; "
                "keep that and give its processor as processing_class, or take an algorithm without medium views "
                "(flexmatch)"
            )
        if kind != "strong":
            return f"kind must be weak, medium or strong for rows that hold {self.main}, got {kind!r}"
        return (
            f"the algorithm wants strong views, and rows of the pool hold {self.main} alone. Ways out: columns (or "
            f"keys that the transform returns) named {self.main}_strong; SSLTrainer(strong_view=...), a callable on "
            "the row; keep the raw column in the dataset and give its processor as processing_class; or an algorithm "
            "without strong views"
        )

    def _problem_of_turns(self) -> str | None:
        if len(self.shape) == 3 and self.shape[1] == self.shape[2]:
            return None
        return (
            f"rows must hold squares for rotated views, got {self.main} of shape {_shown(self.shape)}; "
            "resize them, or set rotation_weight=0 in algorithm_kwargs"
        )

    def _as_long(self, item: dict[str, Any], length: int) -> dict[str, Any]:
        """Padded to the length of the row's own ids for a collator that may only stack, as `default_data_collator`."""
        if self.collator is None or len(item[self.main]) >= length:
            return item
        batch = pad_without_fast_tokenizer_warning(self.processor, [item], padding="max_length", max_length=length)
        return {name: values[0] for name, values in batch.items()}

    def _item(self, row: Row, suffix: str = "") -> dict[str, Any]:
        return {name: row[name + suffix] for name in self.inputs if name + suffix in row}


def _lengths(dataset: Any, main: str) -> list[int]:
    """Tokens or samples of the first hundred rows."""
    with global_seeds(np.random.default_rng(0)):
        return [len(dataset[i][main]) for i in range(min(len(dataset), 100))]


def _first(dataset: Any) -> Row:
    """The first row; a transform may draw random numbers, of which training must not notice."""
    with global_seeds(np.random.default_rng(0)):
        return dataset[0]


def _first_shape(dataset: Any, main: str) -> tuple[int, ...]:
    with global_seeds(np.random.default_rng(0)):
        return tuple(_tensor(dataset[0][main]).shape)


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _names(dataset: Any) -> Sequence[str]:
    """Names of what the rows hold; if a transform makes them, only a row tells."""
    tensors = tensor_part(dataset)
    if tensors is not None and not may_be_random(dataset):
        return tensors.column_names
    return list(_first(dataset))


def _mask_of(waves: Sequence[np.ndarray], values: torch.Tensor) -> torch.Tensor:
    """1 for the samples [N, n] of each wave, 0 for the padding behind it."""
    lengths = torch.tensor([len(wave) for wave in waves])
    return (torch.arange(values.shape[-1]) < lengths[:, None]).to(torch.int32)


def _tensor(value: Any) -> torch.Tensor:
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    return tensor.float() if tensor.is_floating_point() else tensor
