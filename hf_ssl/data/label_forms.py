"""How labels are written in a table, and which kind of problem follows from it.

    cell                                          kind of problem   label of a prepared row
    "cat", 3                                      one class         index of the class
    ["cat", "dog"], [], "cat;dog" with ";"        several labels    [1.0, 1.0, 0.0]: one number for each label
    [1, 0, 1], or 1, 0, 1 in three columns        several labels    [1.0, 0.0, 1.0]
    2.5, or 2.5, 40 in two columns, [2.5, 40]     numbers           [2.5], [2.5, 40.0]

An empty list, and a cell with nothing but the separator, is an example that has none of the labels. An empty cell,
None and NaN say that the label is not known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .labels import plain_cell

logger = logging.get_logger(__name__)

# What prepared rows call the label that several columns hold.
JOINED_COLUMN = "labels"
# More different decimals in a column of texts than these are no codes.
_MOST_CODES = 20
_LISTS = (datasets.List, datasets.LargeList)


@dataclass(frozen=True)
class LabelForm:
    """How the labels of a dataset are written.

    Args:
        columns: the user's label columns; () for the one that `DataSummary.label_column` names.
        separator: what stands between the labels in one text; None if they are not texts with several labels.
        multi_hot: whether there is a 0 or 1 for each label, in a list or in columns of their own.
    """

    columns: tuple[str, ...] = ()
    separator: str | None = None
    multi_hot: bool = False

    @property
    def is_joined(self) -> bool:
        """Whether the label is in several columns."""
        return len(self.columns) > 1

    def cell(self, row: Mapping[str, Any], column: str) -> Any:
        """The cell of a row's label: that of `column`, or the list of those of several columns.

        Example:
            >>> LabelForm(("sad", "glad")).cell({"sad": 0, "glad": 1}, "labels")
            [0, 1]
        """
        return [row.get(name) for name in self.columns] if self.is_joined else row.get(column)

    def cells(self, dataset: datasets.Dataset, column: str) -> list[Any]:
        """The cells of all rows."""
        rows = dataset.with_format(None)
        if not self.is_joined:
            return rows[column][:]
        return [list(cells) for cells in zip(*(rows[name][:] for name in self.columns), strict=True)]


# One column whose cells have one label, or a list.
PLAIN_FORM = LabelForm()


# ---- One cell ----


def labels_of(cell: Any, separator: str | None = None) -> list[Any] | None:
    """The labels in one cell, a list of them or a text with a separator; None if they are not known.

    Raises:
        ValueError: if it is something else; the message begins with what it is.

    Example:
        >>> labels_of(["cat", "dog"]), labels_of("cat; dog", ";"), labels_of(";", ";"), labels_of(" ", ";")
        (['cat', 'dog'], ['cat', 'dog'], [], None)
    """
    cell = plain_cell(cell)
    if cell is None:
        return None
    if separator is not None and not isinstance(cell, list):
        return [part.strip() for part in str(cell).split(separator) if part.strip()]
    if not isinstance(cell, list):
        raise ValueError(f"{cell!r:.80}: not a list of labels")
    labels = [plain_cell(part) for part in cell]
    if wrong := [part for part in labels if not isinstance(part, int | str)]:
        raise ValueError(f"{cell!r:.80} with {wrong[0]!r:.80} in it: labels must be texts or whole numbers")
    return labels


def numbers_of(cell: Any) -> list[float] | None:
    """The finite numbers in one cell, or in a list of such; None if it is empty, or one of them is missing.

    Raises:
        ValueError: if it is something else; the message begins with what it is.

    Example:
        >>> numbers_of(2), numbers_of(["0.5", True]), numbers_of([1.0, float("nan")])
        ([2.0], [0.5, 1.0], None)
    """
    cell = plain_cell(cell)
    parts = [plain_cell(part) for part in cell] if isinstance(cell, list) else [cell]
    if None in parts:
        return None
    return [_number(part) for part in parts]


def _number(cell: Any) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{cell!r:.80}: not a number") from None
    if math.isnan(number):  # a text
        raise ValueError(f"{cell!r:.80}: not a number")
    if abs(number) > np.finfo(np.float32).max:
        raise ValueError(f"{cell!r:.80}: too large for a target")
    return number


# ---- The kind of problem ----


def find_form(
    dataset: datasets.Dataset,
    columns: Sequence[str],
    problem_type: str | None = None,
    separator: str | None = None,
) -> tuple[str, LabelForm]:
    """The kind of problem, one of `hf_ssl.problem_types`, and how the labels are written.

    - Several columns: several labels if all cells are 0 or 1, otherwise numbers.
    - A text with a separator, and a list of texts, of whole numbers or of a `ClassLabel`: several labels. Lists of one
      length (two or more) with nothing but 0 and 1 say of each label whether the example has it.
    - Numbers that are not whole: numbers. So are texts of such, as tables have them, if most rows have their own, or
      there are more than 20 different ones.
    - All else is one class, also whole numbers, unless `problem_type` says that they are numbers.

    Args:
        dataset: the labeled examples.
        columns: the label columns.
        problem_type: what the user says it is; found if None.
        separator: what stands between the labels of one text.

    Raises:
        ValueError: if what the user says and the labels contradict each other.

    Example:
        >>> rows = datasets.Dataset.from_dict({"tags": [["a"], []], "a": [0, 1], "b": [1, 1], "price": [0.5, 3.0]})
        >>> find_form(rows, ["tags"])[0], find_form(rows, ["a", "b"])[0], find_form(rows, ["price"])[0]
        ('multi_label_classification', 'multi_label_classification', 'regression')
        >>> find_form(rows, ["a"])[0], find_form(rows, ["a"], "regression")[0]
        ('single_label_classification', 'regression')
    """
    form = LabelForm(tuple(columns), separator)
    if form.is_joined:
        return _of_columns(dataset, form, problem_type)
    (column,) = columns
    if separator is not None:
        return _of_separator(dataset, form, problem_type)
    if isinstance(dataset.features[column], _LISTS):
        return _of_lists(dataset, form, problem_type)
    if problem_type == MULTI_LABEL:
        raise ValueError(
            f"labels must be lists, texts with a label_separator or several label_columns for problem_type="
            f"{MULTI_LABEL!r}, got {dataset.with_format(None)[0][column]!r:.80} in column {column!r}; set one of them"
        )
    return problem_type or (REGRESSION if _is_of_decimals(dataset, column) else SINGLE_LABEL), form


def _of_columns(dataset: datasets.Dataset, form: LabelForm, said: str | None) -> tuple[str, LabelForm]:
    if form.separator is not None:
        raise ValueError(
            f"label_separator must be left out beside several label_columns, got {form.separator!r}; each column has "
            "one label or number"
        )
    if said == SINGLE_LABEL:
        raise ValueError(
            f"label_columns must be one column for problem_type={said!r}, got {', '.join(form.columns)}; name one, or "
            "set another problem_type"
        )
    values: set[float] = set()
    for column in form.columns:
        for row, cell in enumerate(dataset.with_format(None)[column][:]):
            try:
                values |= set(numbers_of(cell) or ())
            except ValueError as error:
                raise ValueError(
                    f"label_columns must hold 0 and 1, or numbers; in row {row} of column {column!r} is {error}"
                ) from None
    if said is None and values == {0.0, 1.0, -1.0}:
        raise ValueError(
            f"label_columns hold 0, 1 and -1: set problem_type={MULTI_LABEL!r} if -1 marks what is not known, or "
            f"problem_type={REGRESSION!r} if these are numbers"
        )
    found = MULTI_LABEL if values <= {0.0, 1.0, -1.0} else REGRESSION
    if said == MULTI_LABEL and found == REGRESSION:
        other = min(values - {0.0, 1.0, -1.0})
        raise ValueError(
            f"label_columns must hold 0 and 1 for problem_type={said!r}, got {other:g} in one of "
            f"{', '.join(form.columns)}; leave that column out, or set problem_type={REGRESSION!r}"
        )
    kind = said or found
    return kind, LabelForm(form.columns, multi_hot=kind == MULTI_LABEL)


def _of_separator(dataset: datasets.Dataset, form: LabelForm, said: str | None) -> tuple[str, LabelForm]:
    (column,) = form.columns
    if said not in (None, MULTI_LABEL):
        raise ValueError(
            f"label_separator must be left out for problem_type={said!r}, got {form.separator!r}; it is for several "
            "labels in one text"
        )
    if isinstance(dataset.features[column], _LISTS):
        raise ValueError(
            f"label_separator must be left out for lists of labels, got {form.separator!r} for column {column!r}"
        )
    if not any(str(form.separator) in str(cell) for cell in form.cells(dataset, column)):
        logger.warning_once(
            f"no label of column {column!r} has the label_separator {form.separator!r} in it: each is taken for one "
            "label"
        )
    return MULTI_LABEL, form


def _of_lists(dataset: datasets.Dataset, form: LabelForm, said: str | None) -> tuple[str, LabelForm]:
    (column,) = form.columns
    if said == SINGLE_LABEL:
        return said, form  # which reading the labels refuses
    inner = dataset.features[column].feature
    if not isinstance(inner, datasets.Value | datasets.ClassLabel):
        raise ValueError(
            f"labels must be lists of texts or of numbers, got lists of {type(inner).__name__} in column {column!r}; "
            "set label_column if that is another one"
        )
    cells = [cell for cell in form.cells(dataset, column) if cell is not None]
    values = {value for cell in cells for value in cell}
    is_numeric = not isinstance(inner, datasets.ClassLabel) and all(isinstance(each, int | float) for each in values)
    is_hot = is_numeric and values <= {0, 1} and {len(cell) for cell in cells} not in ({0}, {1}) and _is_even(cells)
    is_decimal = is_numeric and any(isinstance(value, float) and not value.is_integer() for value in values)
    if said == MULTI_LABEL and is_decimal:
        raise ValueError(
            f"labels must be texts, whole numbers, or a 0 or 1 for each label, for problem_type={said!r}, got "
            f"{next(each for each in values if not float(each).is_integer())} in column {column!r}; set problem_type="
            f"{REGRESSION!r} if they are numbers"
        )
    kind = said or (REGRESSION if is_decimal and not is_hot else MULTI_LABEL)
    return kind, LabelForm(form.columns, multi_hot=kind == MULTI_LABEL and is_hot)


def _is_even(cells: Sequence[Sequence[Any]]) -> bool:
    return len({len(cell) for cell in cells}) == 1


def _is_of_decimals(dataset: datasets.Dataset, column: str) -> bool:
    """Whether a column holds numbers that are not all whole."""
    feature = dataset.features[column]
    if not isinstance(feature, datasets.Value):
        return False
    is_text = feature.dtype in ("string", "large_string")
    if not is_text and not feature.dtype.startswith(("float", "decimal")):
        return False
    cells = [plain_cell(cell) for cell in dataset.with_format(None)[column][:]]
    cells = [cell for cell in cells if cell is not None]
    try:
        numbers = [_number(cell) for cell in cells]
    except ValueError:
        return False
    if all(number.is_integer() for number in numbers):
        return False
    if not is_text:
        return True
    # Few texts that come again and again, or write one number in two ways ("1.1" and "1.10"), are chapters or codes.
    different = len(set(numbers))
    return different == len(set(cells)) and different > min(len(numbers) / 2, _MOST_CODES)
