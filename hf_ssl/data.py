"""What the given datasets contain: modality, columns, classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np

LABEL_COLUMNS = ("label", "labels", "target", "fine_label", "class")
INPUT_COLUMNS = {"image": ("image", "img"), "audio": ("audio",), "text": ("text", "sentence", "content", "ori")}


@dataclass(frozen=True)
class DataSummary:
    """What `inspect_data` found.

    Args:
        modality: "image", "audio" or "text".
        input_column, label_column: their names.
        label_names: names of the classes in the order of their indices.
        labels: classes [L] of the labeled set.
    """

    modality: str
    input_column: str
    label_column: str
    label_names: list[str]
    labels: np.ndarray


def inspect_data(labeled: datasets.Dataset, input_column: str | None, label_column: str | None) -> DataSummary:
    """Find modality, columns and classes of the labeled set; given column names win.

    Raises:
        ValueError: if a column is missing or cannot be decided on (the message lists the columns), if there is no example,
            or if a label is not an index of a class.
    """
    columns = list(labeled.column_names)
    if len(labeled) == 0:
        raise ValueError("the labeled dataset is empty; it needs one example of each class at least")
    label_column = _pick("label", label_column, LABEL_COLUMNS, columns)
    modality, input_column = _find_input(labeled, input_column, label_column, columns)
    labels = np.asarray(labeled[label_column][:])
    feature = labeled.features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        names = list(feature.names)
    elif np.issubdtype(labels.dtype, np.integer):
        names = [str(index) for index in range(int(labels.max()) + 1)]
    else:
        raise ValueError(
            f"the labels in column {label_column!r} are {labels.dtype}; turn them into classes first with "
            f"dataset.class_encode_column({label_column!r})"
        )
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"labels in column {label_column!r} run from {labels.min()} to {labels.max()}; with {len(names)} classes they must "
            f"be in 0..{len(names) - 1}"
        )
    return DataSummary(modality, input_column, label_column, names, labels.astype(np.int64))


def check_columns(dataset: Any, what: str, required: Sequence[str]) -> None:
    """Raise a ValueError that lists the columns there are if one of `required` is missing."""
    columns = getattr(dataset, "column_names", None)
    missing = [name for name in required if columns is not None and name not in columns]
    if missing:
        raise ValueError(f"the {what} dataset has no column {missing[0]!r}; its columns are {', '.join(columns)}")


def undecoded(dataset: Any, column: str) -> Any:
    """The dataset with its images or recordings left as bytes or paths, for the views to decode.

    Decoding audio inside `datasets` needs torchcodec; decoding here needs soundfile alone, and names files that are broken.
    Anything but a `datasets.Dataset` with such a column is returned as it is.
    """
    feature = (getattr(dataset, "features", None) or {}).get(column)
    if isinstance(dataset, datasets.Dataset) and isinstance(feature, datasets.Image | datasets.Audio) and feature.decode:
        return dataset.cast_column(column, replace(feature, decode=False))
    return dataset


def _pick(what: str, given: str | None, usual: Sequence[str], columns: list[str]) -> str:
    if given is not None:
        if given not in columns:
            raise ValueError(f"{what}_column {given!r} is not in the labeled dataset; its columns are {', '.join(columns)}")
        return given
    for name in usual:
        if name in columns:
            return name
    raise ValueError(f"no {what} column found among {', '.join(columns)}; set {what}_column")


def _find_input(labeled, given, label_column, columns) -> tuple[str, str]:
    by_feature = {
        name: modality
        for name, feature in labeled.features.items()
        for modality, kind in (("image", datasets.Image), ("audio", datasets.Audio))
        if isinstance(feature, kind)
    }
    if given is not None:
        given = _pick("input", given, (), columns)
        return by_feature.get(given, "text"), given
    if by_feature:
        column, modality = next(iter(by_feature.items()))
        return modality, column
    text = [n for n, f in labeled.features.items() if isinstance(f, datasets.Value) and f.dtype in ("string", "large_string")]
    text = [name for name in text if name != label_column]
    usual = [name for name in INPUT_COLUMNS["text"] if name in text]
    if usual or len(text) == 1:
        return "text", (usual or text)[0]
    raise ValueError(f"no image, audio or single text column found among {', '.join(columns)}; set input_column")
