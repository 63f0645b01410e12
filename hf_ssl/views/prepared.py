"""Views of rows that hold tensors for the model already: mapped datasets, and those with a transform.

Weak is what the row holds. Strong is, in this order,

1. a second set of columns, or of keys that the transform returns: `pixel_values_strong`, `input_ids_strong`, ... (and with
   `_strong_2` one more, for algorithms with two strong views; one of the two is drawn at random);
2. of token ids: a ready strong text of an augmentation column where the pool has one; else tokens deleted, swapped and
   masked, which keeps the user's own way of cutting texts;
3. of images and recordings: the modality's own strong view of the raw column, where the dataset still has it and the
   processor is there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.data.data_collator import pad_without_fast_tokenizer_warning

from ..data.rows import STRONG_SUFFIXES
from ..modality import MODEL_INPUTS
from .seeds import global_seeds


def stack_inputs(items: Sequence[Mapping[str, Any]], processor: Any = None) -> dict[str, torch.Tensor]:
    """Model inputs of single examples -> of a batch, sequences padded by the tokenizer or feature extractor.

    Args:
        items: name -> tensor, array or list, without the axis of the batch.
        processor: the tokenizer or feature extractor; without its `pad` all items must have one shape.

    Raises:
        ValueError: if shapes differ and nothing pads them.
    """
    if hasattr(processor, "pad") and "pixel_values" not in items[0]:
        items = [{name: np.asarray(value) for name, value in item.items()} for item in items]
        if hasattr(processor, "model_max_length"):
            rows = [{name: value.tolist() for name, value in item.items()} for item in items]
            return dict(pad_without_fast_tokenizer_warning(processor, rows, padding=True, return_tensors="pt"))
        columns = {name: [item[name] for item in items] for name in items[0]}
        return dict(processor.pad(columns, padding=True, return_tensors="pt"))
    batch = {}
    for name in items[0]:
        values = [_tensor(item[name]) for item in items]
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise ValueError(
                f"{name} of different shapes in one batch: {', '.join(map(str, sorted(shapes)))}; make them equal, or give the "
                "tokenizer or feature extractor as processing_class, which pads them"
            )
        batch[name] = torch.stack(values)
    return batch


class PreparedViews:
    """Makes views of rows that hold model inputs. An item is a dict: name -> tensor, array or list of one example.

    Args:
        data: the `DataSummary`, with `model_inputs`.
        processor: tokenizer, feature extractor or image processor, or None.
        args: the `SSLConfig`, for the ratios of the strong view of token ids.
        labeled, unlabeled: the prepared datasets.
        raw: view maker of the raw column, for the strong view, or None.
        collator: of the user's own, used instead of the processor's padding. It gets rows with the model's inputs and a
            label (0), under the label column's name and as `labels`, which is dropped from what it returns.
    """

    def __init__(self, data, processor, args, labeled, unlabeled, raw=None, collator: Callable | None = None):
        self.modality, self.inputs, self.label_column = data.modality, data.model_inputs, data.label_column
        self.main = next(name for name in self.inputs if name in MODEL_INPUTS)
        self.processor, self.raw, self.collator = processor, raw, collator
        self.suffixes = tuple(suffix for suffix in STRONG_SUFFIXES if self.main + suffix in _names(unlabeled))
        self.tokens = None
        if self.modality == "text" and getattr(processor, "pad_token", None) is not None:
            from .text import TextViews

            if raw is not None and raw.augmentation_columns:
                raw.max_length = args.max_length or max(
                    len(labeled[i][self.main]) for i in range(min(len(labeled), 100))
                )
            else:
                self.raw = None

            ratios = {"token_delete_ratio": args.token_delete_ratio, "token_swap_ratio": args.token_swap_ratio, "token_mask_ratio": args.token_mask_ratio}
            self.tokens = TextViews(processor, augmentation_columns=(), **ratios)

    def __call__(self, kind: str, row: Mapping[str, Any], rng: np.random.Generator):
        """One view of a row; for "rotated" the item and its quarter turns, 0 to 3."""
        if kind == "strong" and self.suffixes:
            return self._item(row, self.suffixes[rng.integers(len(self.suffixes))])
        if kind == "strong" and self.modality != "text" and self.raw is not None:
            return self.raw(kind, row, rng)
        item = self._item(row)
        if kind == "strong" and self.tokens is not None:
            made = self.tokens.perturb_tokens(item, rng) if self.raw is None else self.raw(kind, row, rng)
            return self._as_long(made, len(item[self.main]))
        if kind == "rotated" and self.modality == "image":
            turns = int(rng.integers(4))
            return {**item, self.main: torch.rot90(_tensor(item[self.main]), turns, (-2, -1))}, turns
        if kind != "weak":
            raise ValueError(self.problem(kind))
        return item

    def evaluation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the row holds."""
        return self._item(row)

    def example(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row, its file decoded where there is one."""
        return row if self.raw is None else self.raw.example(row)

    def accept(self, value: Any) -> Any:
        """An item of a tensor or array, or of what the raw column's view maker takes."""
        if isinstance(value, torch.Tensor | np.ndarray) and (self.raw is None or self.modality != "audio"):
            return {self.main: value}
        if self.raw is None:
            raise TypeError(f"a dict with {self.main} is needed")
        return self.raw.accept(value)

    def collate(self, items: list) -> dict[str, torch.Tensor]:
        """Stacks items, padded as the processor or the user's collator does it: model keywords."""
        if not isinstance(items[0], Mapping):
            batch = self.raw.collate(items)
            return {name: tensor for name, tensor in batch.items() if name in self.inputs}
        if self.collator is None:
            return stack_inputs(items, self.processor)
        labels = {self.label_column: 0, "labels": 0}
        batch = self.collator([{**item, **labels} for item in items])
        return {name: value for name, value in batch.items() if name not in (*labels, "label", "label_ids")}

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does."""
        weak = f"Weak is what the rows hold: {', '.join(self.inputs)}."
        if self.suffixes:
            strong = f"Strong is {' or '.join(self.main + suffix for suffix in self.suffixes)} of the rows."
        elif self.raw is not None:
            strong = f"From the raw column: {self.raw.describe()['strong']}"
        elif self.tokens is not None:
            strong = (
                self.tokens.describe()["strong"].replace("words", "tokens").replace("In every row", "Of the token ids")
            )
        else:
            strong = "There is none."
        return {"weak": weak, "strong": strong, "rotated": "weak, then turned by 0, 90, 180 or 270 degrees"}

    def problem(self, kind: str) -> str | None:
        """Why there is no such view and what to do, in one line; None if there is one."""
        if kind == "weak" or (kind == "rotated" and self.modality == "image"):
            return None
        if kind == "strong" and (self.suffixes or self.raw is not None or self.tokens is not None):
            return None
        if kind != "strong":
            return f"rows that hold {self.main} have views of kind weak and strong, not {kind!r}"
        return (
            f"the algorithm wants strong views, and rows of the pool hold {self.main} alone. Ways out: columns (or keys that "
            f"the transform returns) named {self.main}_strong; SSLTrainer(strong_view=...), a callable on the row; keep the "
            "raw column in the dataset and give its processor as processing_class; or an algorithm without strong views"
        )

    def _as_long(self, item: dict[str, Any], length: int) -> dict[str, Any]:
        """Padded to the length of the row's own ids where a collator may only stack, as `default_data_collator` does."""
        if self.collator is None or len(item[self.main]) >= length:
            return item
        batch = pad_without_fast_tokenizer_warning(self.processor, [item], padding="max_length", max_length=length)
        return {name: values[0] for name, values in batch.items()}

    def _item(self, row: Mapping[str, Any], suffix: str = "") -> dict[str, Any]:
        return {name: row[name + suffix] for name in self.inputs if name + suffix in row}


def _names(dataset: Any) -> Sequence[str]:
    """Names of what the rows hold; of a transform's only a row tells."""
    tensors = getattr(dataset, "tensors", None)
    if tensors is not None and not dataset.transformed:
        return tensors.column_names
    with global_seeds(np.random.default_rng(0)):
        return list(dataset[0])


def _tensor(value: Any) -> torch.Tensor:
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    return tensor.float() if tensor.is_floating_point() else tensor
