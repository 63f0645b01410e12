"""How long texts are, for batches with little padding."""

from typing import Any

import numpy as np

from .data import DataSummary


def text_lengths(dataset: Any, data: DataSummary, length_column: str) -> np.ndarray:
    """Lengths [N] of a dataset's texts: of the column of that name, or in tokens, or in characters.

    Raises:
        ValueError: if it holds no texts.
    """
    if data.modality != "text":
        raise ValueError(
            f"train_sampling_strategy='group_by_length' is for texts and this is {data.modality}, whose views have one size; "
            "leave it 'random'"
        )
    raw = getattr(dataset, "tensors", None) or getattr(dataset, "raw", dataset)
    columns = getattr(raw, "column_names", None) or ()
    if length_column in columns:
        return np.asarray(raw.with_format(None)[length_column][:])
    names = ["input_ids"] if "input_ids" in columns else [name for name in data.input_columns if name in columns]
    if not names:
        raise ValueError(
            f"train_sampling_strategy='group_by_length' needs a column of texts, of input_ids or {length_column!r} (set by "
            f"length_column_name); the columns are {', '.join(columns) or 'not known'}"
        )
    cells = [raw.with_format(None)[name][:] for name in names]
    return np.asarray([sum(map(_length, row)) for row in zip(*cells, strict=True)])


def _length(cell: Any) -> int:
    return 0 if cell is None else len(cell)
