"""The classes of the labeled dataset, and how the labels of other datasets map to them.

The labeled dataset decides which classes there are and in which order. Other datasets may number them differently, or
hold names where that one holds numbers: labels are matched by name if both have names.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# The class of an example of the pool whose label is not one of the known ones: no pseudo-label can agree with it.
UNKNOWN = -1
# A cell of a label column: an index or number, a truth value, or a name.
Label = int | bool | str
# Rows whose labels are read together.
_ROWS = 1_000_000


@dataclass(frozen=True)
class Classes:
    """The classes of the labeled dataset.

    Args:
        names: in the order of their indices.
        index_of: cell of the labeled dataset's label column -> index.
        named: whether the dataset itself names its classes instead of merely numbering them.
    """

    names: list[str]
    index_of: dict[Hashable, int]
    named: bool


def read_labels(dataset: datasets.Dataset, column: str, what: str) -> list[Label | None]:
    """All cells of a label column: indices (of a `ClassLabel`), integers, booleans or strings; None if missing.

    Missing labels are None, NaN, and the -1 with which a `ClassLabel` marks examples whose label is hidden.

    Args:
        dataset: has the column.
        column: its name.
        what: the dataset's name for the error.

    Raises:
        ValueError: if a cell is something else.

    Example:
        >>> rows = datasets.Dataset.from_dict({"label": [1.0, float("nan"), 3.0]})
        >>> read_labels(rows, "label", "labeled")
        [1, None, 3]
    """
    labels = [_plain(value) for value in dataset.with_format(None)[column][:]]
    for row, label in enumerate(labels):
        if not isinstance(label, int | str | None):
            nested = isinstance(label, list | dict)
            kind = "a list: each example needs one class" if nested else f"{label!r:.80}: no class"
            raise ValueError(f"the label in row {row} of the {what} dataset (column {column!r}) is {kind}")
    return _without_hidden(labels, dataset.features[column])


def different_labels(dataset: datasets.Dataset, column: str, what: str, known: Collection[str]) -> list[Label | None]:
    """The different cells of a label column, as `read_labels` gives them, without a Python object for each row.

    Nothing is read of a `ClassLabel` whose names are all `known`: each of its numbers may occur, and be missing.

    Raises:
        ValueError: if a cell is something else.
    """
    feature = dataset.features[column]
    if isinstance(feature, datasets.ClassLabel) and set(feature.names) <= set(known):
        return [*range(len(feature.names)), None]
    rows = dataset.with_format(None).select_columns([column]).with_format("arrow")
    try:
        parts = [pc.unique(table[column]) for table in rows.iter(_ROWS)]
    except pa.ArrowNotImplementedError:
        return read_labels(dataset, column, what)  # which says what is wrong with lists and other nested cells
    labels = [_plain(value) for value in pa.chunked_array(parts).unique().to_pylist()]
    if not all(isinstance(label, int | str | None) for label in labels):
        return read_labels(dataset, column, what)
    return _without_hidden(labels, feature)


def _without_hidden(labels: list[Label | None], feature: Any) -> list[Label | None]:
    return [None if label == -1 else label for label in labels] if isinstance(feature, datasets.ClassLabel) else labels


def find_classes(labels: Sequence[Any], feature: Any, model_names: Sequence[str] | None = None) -> Classes:
    """The classes behind the labels of the labeled dataset.

    - `ClassLabel`: its names. Strings: the different ones, sorted. Booleans: "False", "True".
    - Integers are indices if all of 0..max occur, or if a model says how many classes there are; other integers (1 to
      5, say) are names of classes, in ascending order.

    A model that knows the same names in another order keeps its order.

    Args:
        labels: from `read_labels`; none is missing.
        feature: that of the label column.
        model_names: names of the classes of a model that was given as an object.

    Raises:
        ValueError: if an integer is negative.

    Example:
        >>> find_classes([1, 5, 1], datasets.Value("int64")).index_of
        {1: 0, 5: 1}
        >>> find_classes(["pear", "apple"], datasets.Value("string")).names
        ['apple', 'pear']
    """
    if isinstance(feature, datasets.ClassLabel):
        names, keys, named = list(feature.names), list(range(len(feature.names))), True
    elif isinstance(labels[0], bool):
        keys, names, named = [False, True], ["False", "True"], True
    elif isinstance(labels[0], str):
        keys = sorted(set(labels))
        names, named = list(keys), True
    else:
        keys, highest = sorted(set(labels)), max(labels)
        if keys[0] < 0:
            raise ValueError(
                f"integer labels must be at least 0, got labels from {keys[0]} to {highest}; number them from 0"
            )
        if model_names is not None and highest < len(model_names):
            return Classes(list(model_names), {index: index for index in range(len(model_names))}, False)
        names, named = [str(key) for key in keys], keys != list(range(len(keys)))
    if model_names is not None and set(model_names) == set(names):
        keys, names = [keys[names.index(name)] for name in model_names], list(model_names)
    return Classes(names, {key: index for index, key in enumerate(keys)}, named)


def index_labels(
    labels: Iterable[Any], feature: Any, classes: Classes, what: str, known: bool = True
) -> dict[Hashable, int | None] | None:
    """Cell of a dataset's label column -> index of its class, or None if every cell is that index already.

    Labels are matched by name if both sides have names. If one side has numbers alone, they are taken as the labeled
    dataset's own numbers.

    Args:
        labels, feature: of the dataset's label column; missing labels (None) stay missing.
        classes: of the labeled dataset.
        what: the dataset's name for the error.
        known: whether every label must be one of the classes; otherwise, as in the pool, others map to `UNKNOWN`.

    Raises:
        ValueError: for a label that is not one of the classes; the message names it.
    """
    different = set(labels)
    is_named = isinstance(feature, datasets.ClassLabel)
    found = {label: feature.names[label] if is_named else str(label) for label in different if label is not None}
    by_name = {name: index for index, name in enumerate(classes.names)}
    result: dict[Hashable, int | None]
    if set(found.values()) <= by_name.keys():
        result = {label: by_name[name] for label, name in found.items()}
    elif set(found) <= classes.index_of.keys() and not (is_named and classes.named):
        result = {label: classes.index_of[label] for label in found}
    else:
        result = {label: by_name.get(name, UNKNOWN) for label, name in found.items()}
        unknown = sorted(found[label] for label, index in result.items() if index == UNKNOWN)
        if known:
            raise ValueError(
                f"the {what} dataset has the label {unknown[0]!r}, which is not a class of the labeled dataset; its "
                f"classes are {shortened(classes.names)}"
            )
    same = all(not isinstance(label, bool | str) and label == index for label, index in result.items())
    return None if same and None not in different else result


def shortened(names: Sequence[str], most: int = 20) -> str:
    """The first `most` names with commas between them, and how many more there are.

    Example:
        >>> shortened(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _plain(value: Any) -> Any:
    """The Python value of a cell: whole floats, which a table with missing labels holds, are integers; NaN is None."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return None if np.isnan(value) else int(value) if value.is_integer() else value
    return value


class LabelIndex:
    """Picklable function from a cell to the index of its class; None for a missing label."""

    def __init__(self, index_of: dict[Hashable, int | None]):
        self.index_of = index_of

    def __call__(self, cell: Any) -> int | None:
        return self.index_of.get(_plain(cell))
