"""The classes of the labeled dataset, and how the labels of other datasets map to them.

The labeled dataset decides which classes there are and in which order. Other datasets may number them differently, or
hold names where that one holds numbers: labels are matched by name if both have names.

    cell 3, 3.0, "3", True, "cat"  --plain--> a whole number, a truth value or a name
    cell None, NaN, "", " ", -1    --------> None: the class is not known
"""

import datetime
import math
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from ..problem_types import REGRESSION
from .spelling import folded, matched

logger = logging.get_logger(__name__)

# The class of an example of the pool whose label is not one of the known ones: no pseudo-label can agree with it.
# Not -1, which in a pool means that the class is not known: nothing can be said of a pseudo-label then.
UNKNOWN = -2
# A cell of a label column: an index or number, a truth value, or a name.
Label = int | bool | str
# Rows whose labels are read together.
_ROWS = 1_000_000
# Above it not every whole number is a float, so that two labels may have become one.
_LARGEST_EXACT = 2**53
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")


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


# ---- Reading a column ----


def read_labels(dataset: datasets.Dataset, column: str, what: str, known: Collection[str] = ()) -> list[Label | None]:
    """All cells of a label column: indices (of a `ClassLabel`), integers, booleans or strings; None if missing.

    Missing labels are None, NaN, empty texts, and the -1 with which `ClassLabel` and scikit-learn mark examples whose
    class is not known.

    Args:
        dataset: has the column.
        column: its name.
        what: the dataset's name for the error.
        known: names of the classes, as far as they are known: if "-1" is one of them, -1 is that class.

    Raises:
        ValueError: if a cell is something else, or if truth values stand beside numbers.

    Example:
        >>> rows = datasets.Dataset.from_dict({"label": [1.0, float("nan"), 3.0, -1.0]})
        >>> read_labels(rows, "label", "labeled")
        [1, None, 3, None]
    """
    feature = dataset.features[column]
    labels = [plain_cell(value) for value in dataset.with_format(None)[column][:]]
    for row, label in enumerate(labels):
        if not isinstance(label, int | str | None):
            raise ValueError(
                f"the label in row {row} of the {what} dataset (column {column!r}) is {_not_a_class(label)}"
            )
    kinds = {type(label) for label in labels}
    if {bool, int} <= kinds:
        raise ValueError(
            f"the labels of the {what} dataset (column {column!r}) must all be true or false, or all be numbers, got "
            "both; write them in one way, or as texts"
        )
    return _without_hidden(labels, feature, known)


def _not_a_class(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list: each example needs one class"
    if isinstance(value, float) and value.is_integer():
        return f"{value!r}, which is too large to be exact as a decimal number: store such labels as texts"
    return f"{value!r:.80}: not a class, which must be a text or a whole number"


def different_labels(dataset: datasets.Dataset, column: str, what: str, known: Collection[str]) -> list[Label | None]:
    """The different cells of a label column, as `read_labels` gives them, without a Python object for each row.

    Nothing is read of a `ClassLabel` whose names are all `known`: each of its numbers may occur, and be missing.

    Raises:
        ValueError: if a cell is something else.
    """
    feature = dataset.features[column]
    if isinstance(feature, datasets.ClassLabel) and set(feature.names) <= set(known):
        return [*range(len(feature.names)), None]
    if not isinstance(feature, datasets.ClassLabel | datasets.Value):
        return read_labels(dataset, column, what, known)  # of several types, or nested, which it says
    rows = dataset.with_format(None).select_columns([column]).with_format("arrow")
    parts = [pc.unique(table[column]) for table in rows.iter(_ROWS)]
    labels = [plain_cell(value) for value in pa.chunked_array(parts).unique().to_pylist()]
    if not all(isinstance(label, int | str | None) for label in labels):
        return read_labels(dataset, column, what, known)
    return list(dict.fromkeys(_without_hidden(labels, feature, known)))


def missing_labels(dataset: datasets.Dataset, column: str) -> np.ndarray:
    """Which rows [N] have no label: cells that are empty, and -1 if the column is a `ClassLabel`.

    Other columns of numbers may mean a class by -1, so that a person has to say what it is.
    """
    absent = -1 if isinstance(dataset.features[column], datasets.ClassLabel) else None
    labels = (plain_cell(value) for value in dataset.with_format(None)[column][:])
    return np.array([label is None or label == absent for label in labels], dtype=bool)


def plain_cell(value: Any) -> Any:
    """The Python value of a cell: whole floats, which a table with missing labels holds, are integers.

    NaN and blank texts are None; arrays are lists.

    Example:
        >>> plain_cell(np.float64(3.0)), plain_cell(" "), plain_cell(np.array([0.0, 1.0]))
        (3, None, [0.0, 1.0])
    """
    # Of NumPy, or of torch, whose streams give tensors.
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT else value
    if isinstance(value, datetime.date):
        # JSON has no dates: what reads it takes texts that look like one for times.
        return str(value).removesuffix(" 00:00:00")
    return value


def _without_hidden(labels: list[Label | None], feature: Any, known: Collection[Hashable]) -> list[Label | None]:
    if not isinstance(feature, datasets.ClassLabel) and "-1" in known:
        return labels
    return [None if label == -1 and not isinstance(label, str) else label for label in labels]


def without_label(dataset: datasets.Dataset, column: str, what: str, row: int) -> str:
    """The error about a row that must have a label: which one it is, what is in its place, and what to do."""
    cell = dataset.with_format(None)[row][column]
    ways = "leave such rows out" + ", or move them to the unlabeled dataset" * (what == "labeled")
    if cell == -1:
        ways += "; if -1 is one of your classes, write the classes as texts"
    return f"the {what} dataset has no label in row {row} (column {column!r}), got {cell!r}; {ways}"


def as_number(label: Any) -> int | None:
    """The whole number that a label is, or that its text writes in the usual way; None for other labels.

    Example:
        >>> [as_number(label) for label in (7, "7", "7.0", "007", "7e0", "seven")]
        [7, 7, 7, None, None, None]
    """
    if isinstance(label, int):
        return int(label)
    found = _NUMBER.fullmatch(label) if isinstance(label, str) else None
    return int(found[1]) if found else None


# ---- Names ----


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that are the same but for case, space and form, or are the same number.

    Example:
        >>> alike(["neg", "NEG", "pos ", "1", "1.0"])
        [['neg', 'NEG'], ['1', '1.0']]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        plain, number = folded(name), as_number(name.strip())
        groups.setdefault(plain if number is None else str(number), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def shortened(names: Sequence[str], most: int = 20) -> str:
    """The first `most` names with commas between them, and how many more there are.

    Example:
        >>> shortened(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


# ---- The classes of the labeled dataset ----


def find_classes(labels: Sequence[Any], feature: Any, model_names: Sequence[str] | None = None) -> Classes:
    """The classes behind the labels of the labeled dataset.

    - `ClassLabel`: its names, in its order. Strings: the different ones, sorted. Booleans: "False", "True". Strings
      beside numbers: all as strings.
    - Integers, and strings that are all integers, are indices if all of 0..max occur, or if a model says how many
      classes there are; other integers (1 to 5, say) are names of classes, in ascending order.

    A model that knows the same names in another order keeps its order, unless a `ClassLabel` has numbered them.

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
        >>> find_classes(["10", "9"], datasets.Value("string")).names
        ['9', '10']
    """
    if isinstance(feature, datasets.ClassLabel):
        return Classes(list(feature.names), {index: index for index in range(len(feature.names))}, True)
    different = set(labels)
    if all(isinstance(label, bool) for label in different):
        different = {False, True}
    elif all(_is_index(label) for label in different):
        return _numbered(different, model_names)
    names = _in_model_order(sorted_names(str(label) for label in different), model_names)
    position = {name: index for index, name in enumerate(names)}
    return Classes(names, {label: position[str(label)] for label in different}, True)


def sorted_names(names: Iterable[str]) -> list[str]:
    """The different names in ascending order: as numbers if all are whole numbers, else as texts.

    Example:
        >>> sorted_names(["10", "9", "9"]), sorted_names(["010", "9"])
        (['9', '10'], ['010', '9'])
    """
    different = set(names)
    return sorted(different, key=int) if all(_is_index(name) for name in different) else sorted(different)


def _is_index(label: Label) -> bool:
    """Whether a label is an integer, or the text of one that may be an index: "0", "1", ..., but not "007" or "-1"."""
    number = as_number(label)
    return not isinstance(label, bool) and number is not None and (isinstance(label, int) or str(abs(number)) == label)


def _numbered(different: Collection[Any], model_names: Sequence[str] | None) -> Classes:
    """The classes behind labels that are whole numbers."""
    number = {label: int(label) for label in different}
    lowest, highest = min(number.values()), max(number.values())
    if lowest < 0:
        raise ValueError(
            f"integer labels must be at least 0, got labels from {lowest} to {highest}; number them from 0, or write "
            "the classes as texts"
        )
    position = {name: index for index, name in enumerate(model_names or ())}
    if model_names is not None and {str(value) for value in number.values()} <= position.keys():
        names, index_of = list(model_names), {label: position[str(value)] for label, value in number.items()}
    elif model_names is not None and highest < len(model_names):
        names, index_of = list(model_names), {index: index for index in range(len(model_names))} | number
    else:
        names = sorted_names(map(str, number.values()))
        position = {name: index for index, name in enumerate(names)}
        index_of = {label: position[str(value)] for label, value in number.items()}
    return Classes(names, index_of, names != [str(index) for index in range(len(names))])


def _in_model_order(names: list[str], model_names: Sequence[str] | None) -> list[str]:
    order = None if model_names is None else matched(model_names, names)
    return names if order is None else [names[position] for position in order]


# ---- The labels of other datasets ----


def index_labels(
    labels: Iterable[Any], feature: Any, classes: Classes, what: str, known: bool = True, warns: bool = True
) -> dict[Hashable, int | None] | None:
    """Cell of a dataset's label column -> index of its class, or None if every cell is that index already.

    Labels are matched by name if both sides have names; names that differ only in case and space are taken for the
    same, with a warning. If one side has numbers alone, they are taken as the labeled dataset's own numbers.

    Args:
        labels, feature: of the dataset's label column; missing labels (None) stay missing.
        classes: of the labeled dataset.
        what: the dataset's name for the error.
        known: whether every label must be one of the classes; otherwise, as in the pool, others map to `UNKNOWN`, with
            a warning, and "-1" is a missing label.
        warns: whether there is that warning.

    Raises:
        ValueError: for a label that is not one of the classes; the message names it.
    """
    different = set(labels)
    found = {label: _name(label, feature) for label in different if label is not None}
    result: dict[Hashable, int | None] = dict(_match(found, feature, classes, what))
    unknown = sorted(found[label] for label, index in result.items() if index is None)
    if unknown and known:
        more = f" (nor are {shortened([repr(name) for name in unknown[1:]], 4)})" if len(unknown) > 1 else ""
        raise ValueError(
            f"the {what} dataset has the label {unknown[0]!r}, which is not a class of the labeled dataset{more}; "
            f"its classes are {shortened(classes.names)}{_if_numbers([*unknown, *classes.names])}"
        )
    result |= {label: UNKNOWN for label, index in result.items() if index is None and found[label] != "-1"}
    others = [name for name in unknown if name != "-1"]
    if others and warns:
        _warn_of_unknown(others, what)
    same = all(not isinstance(label, bool | str) and label == index for label, index in result.items())
    return None if same and None not in different else result


def _if_numbers(names: Sequence[str]) -> str:
    """What to do if labels that were taken for names of classes are decimals."""
    parts = [_DECIMAL.fullmatch(name.strip()) for name in names]
    if not all(parts) or not any(part and part[1] for part in parts):
        return ""
    return f"; set problem_type={REGRESSION!r} if they are numbers to be predicted"


def _warn_of_unknown(names: Sequence[str], what: str) -> None:
    logger.warning_once(
        f"the {what} dataset has labels that are not classes of the labeled dataset ({shortened(names, 5)}): no "
        "pseudo-label can be right about them"
    )


def _name(label: Label, feature: Any) -> str:
    if isinstance(feature, datasets.ClassLabel) and isinstance(label, int) and 0 <= label < len(feature.names):
        return feature.names[label]
    return str(label)


def _match(found: Mapping[Any, str], feature: Any, classes: Classes, what: str) -> dict[Any, int | None]:
    """Label -> index: all by their names, or all by number, or each by its name; None for what is not a class."""
    by_name = {name: index for index, name in enumerate(classes.names)}
    if set(found.values()) <= by_name.keys():
        return {label: by_name[name] for label, name in found.items()}
    number = {label: as_number(label) for label in found}
    by_number = {} if isinstance(feature, datasets.ClassLabel) and classes.named else _numbers(classes)
    if set(number.values()) <= by_number.keys():
        return {label: by_number[value] for label, value in number.items()}
    ambiguous = {folded(name) for group in alike(classes.names) for name in group}
    by_fold = {folded(name): index for name, index in by_name.items() if folded(name) not in ambiguous}
    respelled = sorted({name for name in found.values() if name not in by_name and folded(name) in by_fold})
    if respelled:
        taken = [f"{name!r} for {classes.names[by_fold[folded(name)]]!r}" for name in respelled]
        logger.warning_once(
            f"the {what} dataset spells classes of the labeled dataset in another way, and its labels are taken for "
            f"those: {shortened(taken, 5)}"
        )
    return {label: by_name.get(name, by_fold.get(folded(name))) for label, name in found.items()}


def _numbers(classes: Classes) -> dict[int | None, int]:
    """Number of a class -> its index; empty unless each class has its own number."""
    numbers = {as_number(cell): index for cell, index in classes.index_of.items()}
    distinct = None not in numbers and len(set(numbers.values())) == len(set(classes.index_of.values()))
    return numbers if distinct else {}


class LabelIndex:
    """Picklable function from a cell to the index of its class; None for a missing label."""

    def __init__(self, index_of: dict[Hashable, int | None]):
        self.index_of = index_of

    def __call__(self, cell: Any) -> int | None:
        return self.index_of.get(plain_cell(cell))


class StreamIndex:
    """Picklable function from a cell of a stream to the index of its class; None for a missing label.

    Labels are seen one by one, and each must tell its class by its name, or its number if all classes are numbers.

    Args:
        feature: of the stream's label column; None if it is not known.
        classes: of the labeled dataset.
        what: the stream's name for the error.
        known: whether every label must be one of the classes; otherwise, as in the pool, others are `UNKNOWN`.
    """

    # A pool without end may have labels without end.
    _MOST_KEPT = 10_000

    def __init__(self, feature: Any, classes: Classes, what: str, known: bool = True):
        numbered = all(as_number(name) is not None for name in classes.names)
        # Most labels are these: looking through all classes for each label would take C^2 comparisons.
        self.by_name: dict[Hashable, int] = {name: index for index, name in enumerate(classes.names)}
        self.feature, self.what = feature, what
        self.classes = Classes(classes.names, self.by_name if numbered else classes.index_of, classes.named)
        self.known: dict[Hashable, int | None] = {}
        self._must_be_known, self._told = known, False

    def __call__(self, cell: Any) -> int | None:
        """The index.

        Raises:
            ValueError: for a label that is not one of the classes, if it must be; the message names it.
        """
        (label,) = _without_hidden([plain_cell(cell)], self.feature, self.by_name)
        if not isinstance(label, int | str | None):
            raise ValueError(f"a label of the {self.what} dataset is {_not_a_class(label)}")
        if label is None or label in self.known:
            return self.known.get(label)
        index = self.by_name.get(_name(label, self.feature))
        index = self._match(label) if index is None else index
        if len(self.known) < self._MOST_KEPT:
            self.known[label] = index
        return index

    def _match(self, label: Label) -> int | None:
        """The index of a label that is not the name of a class."""
        if self._must_be_known:
            found = index_labels([label], self.feature, self.classes, self.what)
            return int(label) if found is None else found[label]
        name = _name(label, self.feature)
        index = _match({label: name}, self.feature, self.classes, self.what)[label]
        if index is not None or name == "-1":
            return index
        if not self._told:
            _warn_of_unknown([name], self.what)
        self._told = True
        return UNKNOWN
