"""What a larger model said of the pool, from a column of it: cells become distributions over the labeled classes.

    {"cat": 0.9, "dog": 0.1}   probabilities by the names of classes, in any order
    [0.9, 0.1]                 probabilities in the order of the labeled dataset's classes
    "cat", 0                   the name of a class, or its number
    None, {}, ""               no opinion: zeros

In tables without lists, such as CSV files, the first two are JSON in a text.
"""

import json
from collections.abc import Hashable, Mapping
from typing import Any

import datasets
import numpy as np

from .labels import Classes, StreamIndex, as_number, shortened

# In a prepared row of the pool, the key of its opinion.
OPINION = "__opinion__"
# How far the sum of probabilities may be from 1: numbers may be rounded.
_ROUNDING = 0.02
# Rows that are checked together.
_ROWS = 10_000


class Opinions:
    """Picklable function from a cell and its row to a distribution: float32 [C], zero if there is no opinion.

    Args:
        classes: of the labeled dataset.
        column: name of the column, for errors.
        feature: that of the column; None if it is not known.

    Example:
        >>> classes = Classes(["cat", "dog"], {"cat": 0, "dog": 1}, True)
        >>> opinions = Opinions(classes, "teacher")
        >>> [opinions(cell, 0).tolist() for cell in ({"dog": 1.0}, [0.25, 0.75], "cat", None)]
        [[0.0, 1.0], [0.25, 0.75], [1.0, 0.0], [0.0, 0.0]]
        >>> opinions([0.5, 0.25, 0.25], 7)
        Traceback (most recent call last):
        ValueError: row 7 of the teacher column 'teacher' must hold 2 probabilities, got 3: one for each class of \
the labeled dataset (cat, dog)
    """

    def __init__(self, classes: Classes, column: str, feature: Any = None):
        self.classes, self.column = classes, column
        numbered = feature if isinstance(feature, datasets.ClassLabel) else None
        self._class_of = StreamIndex(numbered, classes, "unlabeled")
        # Whole numbers are positions if they are not known to name a class.
        named = (as_number(name) is not None for name in (*classes.names, *classes.index_of))
        self._numbered = numbered is not None or any(named)
        self._places: dict[Hashable, int] = {}

    def __call__(self, cell: Any, row: int) -> np.ndarray:
        """The distribution.

        Raises:
            ValueError: in one line that names the row, for anything that is not an opinion on these classes.
        """
        cell = self._parsed(cell, row)
        size = len(self.classes.names)
        if isinstance(cell, Mapping):
            return self._distribution(*self._by_name(cell, row), row)
        if isinstance(cell, list | tuple | np.ndarray):
            if len(cell) != size and len(cell) > 0:
                raise ValueError(
                    f"{self._where(row)} must hold {size} probabilities, got {len(cell)}: one for each class of the "
                    f"labeled dataset ({shortened(self.classes.names, 5)})"
                )
            return self._distribution(range(len(cell)), list(cell), row)
        index = self._class_at(cell, row)
        found = np.zeros(size, dtype=np.float32)
        if index is not None:
            found[index] = 1.0
        return found

    def _class_at(self, cell: Any, row: int) -> int | None:
        """The class that a cell names; None for no opinion."""
        is_position = isinstance(cell, int | float) and not isinstance(cell, bool) and not self._numbered
        if is_position and cell in range(len(self.classes.names)):
            return int(cell)
        try:
            return self._class_of(cell)
        except ValueError:
            raise ValueError(self._unknown(cell, row)) from None

    def _unknown(self, name: Any, row: int) -> str:
        return (
            f"{self._where(row)} must name classes of the labeled dataset, got {name!r:.40}; its classes are "
            f"{shortened(self.classes.names)}"
        )

    def _where(self, row: int) -> str:
        return f"row {row} of the teacher column {self.column!r}"

    def _parsed(self, cell: Any, row: int) -> Any:
        if not isinstance(cell, str) or cell.strip()[:1] not in ("{", "["):
            return cell
        try:
            return json.loads(cell)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{self._where(row)} must be a class, or JSON of probabilities, got {cell[:40]!r}: {error}"
            ) from None

    def _by_name(self, cell: Mapping[str, Any], row: int) -> tuple[list[int], list[Any]]:
        """Places and values of the classes that a mapping names; others, and those with None, stay 0."""
        given = {name: value for name, value in cell.items() if value is not None}
        for name in given:
            if name not in self._places:
                place = self._class_at(str(name), row)
                if place is None:
                    raise ValueError(self._unknown(name, row))
                self._places[name] = place
        return [self._places[name] for name in given], list(given.values())

    def _distribution(self, places: Any, values: list[Any], row: int) -> np.ndarray:
        found = np.zeros(len(self.classes.names), dtype=np.float32)
        if not values or all(value is None for value in values):
            return found
        try:
            found[list(places)] = np.asarray(values, dtype=np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{self._where(row)} must hold numbers, got {values!s:.60}; correct it") from None
        total = float(found.sum())
        if not np.isfinite(found).all() or (found < 0).any() or abs(total - 1) > _ROUNDING:
            raise ValueError(
                f"{self._where(row)} must hold probabilities, at least 0 with sum 1, got {values!s:.60}; correct it, "
                "or leave the cell empty"
            )
        return found / total


def opinions_of(dataset: datasets.Dataset, column: str, classes: Classes) -> Opinions:
    """The function for a column of the pool, all of whose cells have been looked at.

    Raises:
        ValueError: in one line, if there is no such column, a cell is not an opinion on these classes, or all cells
            are empty.

    Example:
        >>> pool = datasets.Dataset.from_dict({"text": ["a", "b"], "teacher": ["dog", None]})
        >>> classes = Classes(["cat", "dog"], {"cat": 0, "dog": 1}, True)
        >>> opinions_of(pool, "teacher", classes)("dog", 0).tolist()
        [0.0, 1.0]
        >>> opinions_of(pool, "teacher", Classes(["cat", "cow"], {"cat": 0, "cow": 1}, True))
        Traceback (most recent call last):
        ValueError: row 0 of the teacher column 'teacher' must name classes of the labeled dataset, got 'dog'; its \
classes are cat, cow
    """
    check_column(column, dataset.column_names)
    found = Opinions(classes, column, dataset.features[column])
    row, any_opinion = 0, False
    for batch in dataset.with_format(None).select_columns([column]).iter(_ROWS):
        for cell in batch[column]:
            any_opinion |= bool(found(cell, row).any())
            row += 1
    if not any_opinion:
        raise ValueError(
            f"teacher_column must hold opinions, got {column!r}, in which all cells are empty; fill it "
            "(`hf-ssl teach`), or leave teacher_column out"
        )
    return found


def check_column(column: str, columns: list[str]) -> None:
    """Raise a ValueError that lists the columns of the pool if it lacks the teacher's."""
    if column not in columns:
        raise ValueError(
            f"teacher_column must name a column of the unlabeled dataset, got {column!r}; its columns are "
            f"{', '.join(columns)}"
        )
