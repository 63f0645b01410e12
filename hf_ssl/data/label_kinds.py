"""What is done with the labels of each kind of problem: `LABEL_KINDS`, one object for each.

    kind of problem   labels of the labeled set   a prepared row's label       counts
    one class         [L] int64                   index                        examples of each class
    several labels    [L, C] float32, 0 or 1      list of C numbers 0 or 1     examples with each label
    numbers           [L, K] float32              list of K numbers            none

All that differs between the kinds before training is asked for here.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .class_numbers import number_reader
from .label_forms import LabelForm, labels_of, numbers_of
from .labels import (
    UNKNOWN,
    Classes,
    LabelIndex,
    StreamIndex,
    as_number,
    different_labels,
    find_classes,
    index_labels,
    read_labels,
    without_label,
)

logger = logging.get_logger(__name__)

# How far numbers may be rounded, in units of their standard deviation.
_MOST_ROUNDING = 0.01

# From the cell of a row's label to what the prepared row has; None for a label that is not known.
CellReader = Callable[[Any], Any]
# What to do about evaluation examples of classes that nobody labeled.
_OTHER_CLASSES = "; leave the others out, which `hf-ssl evaluate --open-set` can measure after training"


class SingleLabel:
    """One class of several."""

    # What the labels are called in a sentence, and one of them.
    plural, singular = "classes", "class"

    def read(
        self, labeled: datasets.Dataset, column: str, form: LabelForm, model_names: Sequence[str] | None
    ) -> tuple[Classes, np.ndarray]:
        """The classes, and those of all labeled examples as indices [L], int64.

        Raises:
            ValueError: if a label is missing, is not a class, or is the only one.
        """
        labels = read_labels(labeled, column, "labeled")
        if None in labels:
            raise ValueError(without_label(labeled, column, "labeled", labels.index(None)))
        classes = find_classes(labels, labeled.features[column], model_names)
        if len(classes.names) < 2:
            raise ValueError(
                f"the labeled dataset must have at least two classes, got one class only ({classes.names[0]!r}) in "
                f"column {column!r}; add examples of another class"
            )
        return classes, np.asarray([_place(label, classes, column) for label in labels], dtype=np.int64)

    def reader(
        self, dataset: datasets.Dataset, column: str, form: LabelForm, classes: Classes, what: str, required: bool
    ) -> tuple[CellReader | None, set[int]]:
        """What reads the labels of another dataset, and which classes occur; None if cells are indices already.

        Args:
            dataset: with the label column.
            column: its name.
            form, classes: of the labeled dataset.
            what: the dataset's name for errors.
            required: whether each row must have a label that is one of the classes.

        Raises:
            ValueError: if a label is missing or unknown that must not be; the message names it.
        """
        if required:
            labels = read_labels(dataset, column, what, classes.names)
            if None in labels:
                raise ValueError(without_label(dataset, column, what, labels.index(None)))
        else:
            labels = different_labels(dataset, column, what, classes.names)
        feature = dataset.features[column]
        index_of = index_labels(labels, feature, classes, what, known=required, hint=_OTHER_CLASSES)
        seen = {label if index_of is None else index_of.get(label) for label in set(labels)}
        return None if index_of is None else LabelIndex(index_of), {each for each in seen if isinstance(each, int)}

    def stream_reader(self, feature: Any, form: LabelForm, classes: Classes, what: str, known: bool) -> CellReader:
        """The same of a stream, whose labels are seen one by one.

        Args:
            feature: of its label column; None if it is not known.
            form, classes, what: as in `reader`.
            known: whether each label must be one of the classes.
        """
        return StreamIndex(feature, classes, what, known)

    def counts(self, labels: np.ndarray, size: int) -> np.ndarray:
        """The number of labeled examples of each of `size` classes, [C]."""
        return np.bincount(labels, minlength=size)

    def text(self, label: Any, names: Sequence[str]) -> str:
        """The label of one example as a text."""
        return names[label]


class MultiLabel:
    """Any number of labels."""

    plural, singular = "labels", "label"

    def read(
        self, labeled: datasets.Dataset, column: str, form: LabelForm, model_names: Sequence[str] | None
    ) -> tuple[Classes, np.ndarray]:
        """The labels that there are, and those of all labeled examples, [L, C] float32 of 0 and 1.

        Raises:
            ValueError: if the labels of an example are not known, or are something else.
        """
        if form.multi_hot:
            rows = _vectors(labeled, column, form, "labeled", _zeros_and_ones)
            if not any(1.0 in row for row in rows):
                raise ValueError(
                    f"the labeled dataset must have examples with labels, got nothing but 0 in "
                    f"{', '.join(form.columns)}; label examples that have one"
                )
            classes = Classes(list(form.columns), dict(zip(form.columns, range(len(form.columns)), strict=True)), True)
            if not form.is_joined:
                classes = find_classes(range(len(rows[0])), datasets.Value("int64"), model_names)
            return classes, np.asarray(rows, dtype=np.float32)
        rows = _rows(labeled, column, form, "labeled", partial(labels_of, separator=form.separator))
        found = [label for labels in rows for label in labels]
        feature = _item_feature(labeled, column, form)
        if not found and not isinstance(feature, datasets.ClassLabel):
            raise ValueError(
                f"the labeled dataset must have examples with labels, got none in column {column!r}; set label_column "
                "if that is another one"
            )
        classes = find_classes(found, feature, model_names)
        index = np.zeros((len(rows), len(classes.names)), dtype=np.float32)
        for row, labels in zip(index, rows, strict=True):
            row[[_place(label, classes, column) for label in labels]] = 1
        return classes, index

    def reader(
        self, dataset: datasets.Dataset, column: str, form: LabelForm, classes: Classes, what: str, required: bool
    ) -> tuple[CellReader | None, set[int]]:
        """As in `SingleLabel`; a row's labels are a list of C numbers. Labels that are none of the known are left out.

        Raises:
            ValueError: as there.
        """
        size = len(classes.names)
        if form.multi_hot:
            vector = Vector(size, what, required, _zeros_and_ones)
            if not required:
                return vector, set()
            rows = _vectors(dataset, column, form, what, _zeros_and_ones, size)
            return vector, {place for place in range(size) if any(row[place] for row in rows)}
        feature = _item_feature(dataset, column, form)
        different = _different_items(dataset, column, form, what, required)
        index_of = index_labels(different, feature, classes, what, known=required)
        found: dict[Hashable, int | None] = (
            dict(zip(different, different, strict=True)) if index_of is None else index_of
        )
        return MultiHot(LabelIndex(found), size, form), {place for place in found.values() if place is not None}

    def stream_reader(self, feature: Any, form: LabelForm, classes: Classes, what: str, known: bool) -> CellReader:
        """As in `SingleLabel`."""
        if form.multi_hot:
            return Vector(len(classes.names), what, known, _zeros_and_ones)
        inner = datasets.Value("string") if form.separator else getattr(feature, "feature", None)
        return MultiHot(StreamIndex(inner, classes, what, known), len(classes.names), form, what)

    def counts(self, labels: np.ndarray, size: int) -> np.ndarray:
        """The number of labeled examples that have each label, [C]."""
        return labels.reshape(-1, size).sum(axis=0).astype(np.int64)

    def text(self, label: Any, names: Sequence[str]) -> str:
        """The labels of one example as a text."""
        return ", ".join(name for name, has in zip(names, label, strict=True) if has)


class Numbers:
    """One or several numbers, in the user's units."""

    plural, singular = "numbers", "number"

    def read(
        self, labeled: datasets.Dataset, column: str, form: LabelForm, model_names: Sequence[str] | None
    ) -> tuple[Classes, np.ndarray]:
        """The names of the numbers, and those of all labeled examples, [L, K] float32.

        They have the names of their columns; several in one list are "price 1", "price 2", ... of a column "price", if
        a model does not name as many.

        Raises:
            ValueError: if a number is missing, or is something else.
        """
        rows = _vectors(labeled, column, form, "labeled", _number_reader(labeled.features, column, form))
        size = len(rows[0])
        names = list(form.columns) if form.is_joined else [column]
        if len(names) != size:
            # A model without names of its outputs numbers them.
            named = [name for name in model_names or () if as_number(name) is None]
            names = named if len(named) == size else [f"{column} {number}" for number in range(1, size + 1)]
        return Classes(names, {}, True), _in_single_precision(np.asarray(rows, dtype=np.float64), names)

    def reader(
        self, dataset: datasets.Dataset, column: str, form: LabelForm, classes: Classes, what: str, required: bool
    ) -> tuple[CellReader | None, set[int]]:
        """As in `SingleLabel`; a row's label is a list of K numbers.

        Raises:
            ValueError: as there.
        """
        size, read = len(classes.names), _number_reader(dataset.features, column, form)
        if required:
            _vectors(dataset, column, form, what, read, size)
        return Vector(size, what, required, read), set(range(size))

    def stream_reader(self, feature: Any, form: LabelForm, classes: Classes, what: str, known: bool) -> CellReader:
        """As in `SingleLabel`."""
        return Vector(len(classes.names), what, known, number_reader(feature, "label"))

    def counts(self, labels: np.ndarray, size: int) -> None:
        """None: numbers are not counted."""

    def text(self, label: Any, names: Sequence[str]) -> str:
        """The numbers of one example as a text."""
        return ", ".join(f"{number:g}" for number in label)


LabelKind = SingleLabel | MultiLabel | Numbers
LABEL_KINDS: Mapping[str, LabelKind] = {
    SINGLE_LABEL: SingleLabel(),
    MULTI_LABEL: MultiLabel(),
    REGRESSION: Numbers(),
}


# ---- Readers of single cells, picklable ----


class MultiHot:
    """From a cell with labels to a list of C numbers 0 or 1; None if the labels are not known.

    Args:
        index_of: from a label to its place; None or a negative number for one that is none of the C.
        size: C.
        form: with the separator of texts.
        what: the dataset's name for errors.

    Example:
        >>> MultiHot(LabelIndex({"cat": 0, "dog": 1}), 3, LabelForm(separator=";"))("dog;cow")
        [0.0, 1.0, 0.0]
    """

    def __init__(self, index_of: CellReader, size: int, form: LabelForm, what: str = "given"):
        self.index_of, self.size, self.separator, self.what = index_of, size, form.separator, what

    def __call__(self, cell: Any) -> list[float] | None:
        try:
            labels = labels_of(cell, self.separator)
        except ValueError as error:
            raise ValueError(f"a label of the {self.what} dataset is {error}") from None
        if labels is None:
            return None
        row = [0.0] * self.size
        for place in map(self.index_of, labels):
            if place is not None and place != UNKNOWN:
                row[place] = 1.0
        return row


class Vector:
    """From a cell with numbers to a list of them; None if one of them is not known.

    Args:
        size: how many there must be.
        what: the dataset's name for errors.
        known: whether a cell that holds something else is an error; otherwise, as in the pool, it is not known.
        read: makes the list of a cell; None if it is not known. It raises a ValueError for what it cannot read.

    Example:
        >>> Vector(2, "test", True)(["0.5", 3]), Vector(2, "unlabeled", False)([0.5])
        ([0.5, 3.0], None)
    """

    def __init__(self, size: int, what: str, known: bool, read: CellReader = numbers_of):
        self.size, self.what, self.known, self.read = size, what, known, read

    def __call__(self, cell: Any) -> list[float] | None:
        try:
            numbers = self.read(cell)
            _check_size(numbers, self.size)
        except ValueError as error:
            if not self.known:
                return None
            raise ValueError(f"a label of the {self.what} dataset is {error}") from None
        return numbers


def _zeros_and_ones(cell: Any) -> list[float] | None:
    numbers = numbers_of(cell)
    if numbers is None or -1.0 in numbers:
        return None
    if not set(numbers) <= {0.0, 1.0}:
        raise ValueError(f"{cell!r:.80}: not a 0 or 1 for each label")
    return numbers


def _check_size(numbers: Sequence[float] | None, size: int) -> None:
    if numbers is not None and len(numbers) != size:
        raise ValueError(f"a list of {len(numbers):,} numbers, and must have {size:,}")


# ---- Columns ----


def _rows(
    dataset: datasets.Dataset,
    column: str,
    form: LabelForm,
    what: str,
    read: Callable[[Any], Any],
    required: bool = True,
) -> list[Any]:
    """What `read` makes of the labels of all rows; with `required` none may be missing (None)."""
    rows = []
    for number, cell in enumerate(form.cells(dataset, column)):
        try:
            row = read(cell)
        except ValueError as error:
            place = f"row {number} of the {what} dataset (column {column!r})"
            raise ValueError(f"the label in {place} is {error}") from None
        if row is None and required:
            raise ValueError(without_label(dataset, _missing_column(cell, column, form), what, number))
        rows.append(row)
    return rows


def _vectors(
    dataset: datasets.Dataset,
    column: str,
    form: LabelForm,
    what: str,
    read: Callable[[Any], Any],
    size: int | None = None,
) -> list[list[float]]:
    """The labels of all rows, each as many numbers as `size` says, or as the first row has."""
    rows = _rows(dataset, column, form, what, read)
    size = len(rows[0]) if size is None and rows else size
    for number, row in enumerate(rows):
        if len(row) != size:
            raise ValueError(
                f"the label in row {number} of the {what} dataset (column {column!r}) must be a list of {size} "
                f"numbers, got {len(row)}"
            )
    return rows


def _in_single_precision(numbers: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Numbers [L, K] as float32, with a warning if what tells them apart is lost by it."""
    rounded = numbers.astype(np.float32)
    lost = np.abs(rounded - numbers).max(axis=0) > _MOST_ROUNDING * numbers.std(axis=0)
    for place in np.flatnonzero(lost & (np.ptp(numbers, axis=0) > 0)).tolist():
        first, last = numbers[:, place].min(), numbers[:, place].max()
        logger.warning_once(
            f"numbers must differ in their first seven digits, got {first:.12g} to {last:.12g} in {names[place]!r}: "
            f"the rest is lost in float32; subtract a constant from all of them, such as {first:.12g}"
        )
    return rounded


def _missing_column(cell: Any, column: str, form: LabelForm) -> str:
    """The first of several columns that is empty."""
    if not form.is_joined:
        return column
    return next(name for name, part in zip(form.columns, cell, strict=True) if numbers_of(part) in (None, [-1.0]))


def _different_items(dataset: datasets.Dataset, column: str, form: LabelForm, what: str, required: bool) -> list[Any]:
    """The different labels in all rows; with `required` no row may be without."""
    rows = _rows(dataset, column, form, what, partial(labels_of, separator=form.separator), required)
    return list(dict.fromkeys(label for labels in rows for label in labels or ()))


def _place(label: Any, classes: Classes, column: str) -> int:
    """The index of a label of the labeled set."""
    place = classes.index_of.get(label, -1)
    if place < 0:
        raise ValueError(
            f"labels must be in 0..{len(classes.names) - 1} for {len(classes.names)} classes, got {label!r} in column "
            f"{column!r}; number them from 0, or use a model with more classes"
        )
    return place


def _item_feature(dataset: datasets.Dataset, column: str, form: LabelForm) -> Any:
    """The feature of one label in the lists of a column."""
    feature = dataset.features[column]
    return datasets.Value("string") if form.separator else getattr(feature, "feature", feature)


def _number_reader(features: datasets.Features, column: str, form: LabelForm) -> CellReader:
    """What reads the numbers of a row: its cell, or those of several columns, which are no classes then."""
    if not form.is_joined:
        return number_reader(features[column], column)
    for name in form.columns:
        if isinstance(features[name], datasets.ClassLabel):
            raise ValueError(
                f"label_columns must hold numbers for problem_type={REGRESSION!r}, got the class names "
                f"{features[name].names[:3]} in column {name!r}; cast it to numbers (cast_column)"
            )
    return numbers_of
