"""How long texts are, for batches with little padding."""

import copy
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from ..data.columns import DataSummary
from ..data.rows import raw_part, tensor_part
from ..views.text import usual_max_length


class TextLengths:
    """The lengths of a dataset's texts: `lengths[positions]` of integers [N] is an array of floats [N].

    A length is looked up, or counted in tokens, when it is first asked for; nothing of the dataset is read before.

    Args:
        dataset: the labeled examples or the pool, prepared (see `hf_ssl.data.prepare`).
        data: what the labeled dataset contains.
        length_column: name of the column that holds the lengths, if there is one; `length_column_name` of the
            settings.
        tokenizer: counts the tokens of texts; without one, their bytes are counted.
        max_length: tokens at which texts are cut; None takes the tokenizer's limit.

    Raises:
        ValueError: if the dataset holds no texts.

    Example:
        >>> import datasets
        >>> from hf_ssl.data.columns import inspect_data
        >>> rows = datasets.Dataset.from_dict({"text": ["a rose", "a", "the sky"], "label": [0, 1, 0]})
        >>> TextLengths(rows, inspect_data(rows), "length")[np.array([2, 0])]
        array([7., 6.], dtype=float32)
    """

    def __init__(
        self,
        dataset: Any,
        data: DataSummary,
        length_column: str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_length: int | None = None,
    ):
        if data.modality != "text":
            raise ValueError(
                f"train_sampling_strategy='group_by_length' is for texts and this is {data.modality}, whose views "
                "have one size; leave it 'random'"
            )
        raw = tensor_part(dataset) or raw_part(dataset)
        names = self._measured(getattr(raw, "column_names", None) or (), data, length_column)
        # Arrow's own values: no transform is run, and only the lengths of lists of ids are read.
        self._rows = raw.with_format(None).select_columns(names).with_format("arrow")
        # A copy, since a tokenizer cannot serve two threads at once: batches for workers are found in other threads.
        self._tokenizer = copy.deepcopy(tokenizer)
        self._max_length = max_length or (None if tokenizer is None else usual_max_length(tokenizer))
        self._lock = threading.Lock()
        # Lengths plus 1; 0 if not known yet.
        self._known = np.zeros(len(raw), dtype=np.float32)

    @staticmethod
    def _measured(columns: Sequence[str], data: DataSummary, length_column: str) -> list[str]:
        """The columns that tell the lengths: of lengths, of token ids, or of texts."""
        for name in (length_column, "input_ids"):
            if name in columns:
                return [name]
        names = [name for name in data.input_columns if name in columns]
        if not names:
            raise ValueError(
                "train_sampling_strategy='group_by_length' needs a column of texts, of input_ids or "
                f"{length_column!r} (set by length_column_name); the columns are {', '.join(columns) or 'not known'}"
            )
        return names

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        with self._lock:
            unknown = np.unique(positions[self._known[positions] == 0])
            if len(unknown):
                self._known[unknown] = 1 + self._measure(self._rows[unknown.tolist()])
            return self._known[positions] - 1

    def _measure(self, table: pa.Table) -> np.ndarray:
        columns = [column.combine_chunks() for column in table.columns]
        kind = columns[0].type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._texts([[text or "" for text in column.to_pylist()] for column in columns])
        lengths = pc.list_value_length(columns[0]) if pa.types.is_nested(kind) else columns[0]
        return np.asarray(lengths.fill_null(0)).astype(np.float32)

    def _texts(self, columns: Sequence[list[str]]) -> np.ndarray:
        if self._tokenizer is None:
            return np.asarray(
                [sum(len(text.encode("utf-8", "replace")) for text in row) for row in zip(*columns, strict=True)]
            )
        options = {"truncation": True, "max_length": self._max_length, "return_attention_mask": False}
        return np.asarray([len(row) for row in self._tokenizer(*columns, **options)["input_ids"]])
