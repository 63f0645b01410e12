"""Classes that are numbers: "1 star", "2 stars", ... as 1, 2, ..., for who says that a problem is one of numbers.

A dataset of ratings often numbers its classes from 0 on, whatever their names say. What is meant are the names.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import datasets

from ..problem_types import REGRESSION
from .label_forms import numbers_of
from .labels import plain_cell

_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)(?![\w.])")


class ClassNumbers:
    """From the index of a class to the number with which its name begins, in a list; None if there is no class.

    Args:
        names: of the classes, each beginning with another number.

    Raises:
        ValueError: if one of them does not.

    Example:
        >>> numbers = ClassNumbers(["1 star", "2 stars", "2.5 stars"])
        >>> numbers(0), numbers(2), numbers(None)
        ([1.0], [2.5], None)
    """

    def __init__(self, names: Sequence[str]):
        found = [_NUMBER.match(name) for name in names]
        if None in found:
            raise ValueError(f"{names[found.index(None)]!r} does not begin with a number")
        self.numbers = [float(match.group(1)) for match in found if match is not None]
        if len(set(self.numbers)) < len(names):
            raise ValueError("two of them begin with the same number")

    def __call__(self, cell: Any) -> list[float] | None:
        index = plain_cell(cell)
        if index is None or index == -1:
            return None
        if not isinstance(index, int) or not 0 <= index < len(self.numbers):
            raise ValueError(f"{cell!r:.80}: not the index of one of {len(self.numbers)} classes")
        return [self.numbers[index]]


def number_reader(feature: Any, column: str) -> Callable[[Any], list[float] | None]:
    """What reads the numbers in the cells of a column.

    Args:
        feature: of the column; None if it is not known.
        column: its name.

    Raises:
        ValueError: for classes whose names are not numbers.

    Example:
        >>> number_reader(datasets.Value("float64"), "price")(2.5)
        [2.5]
        >>> number_reader(datasets.ClassLabel(names=["1 star", "2 stars"]), "label")(1)
        [2.0]
    """
    if not isinstance(feature, datasets.ClassLabel):
        return numbers_of
    try:
        return ClassNumbers(feature.names)
    except ValueError as error:
        raise ValueError(
            f"labels must be numbers for problem_type={REGRESSION!r}, got the class names of column {column!r}: "
            f"{error}; cast it to numbers (cast_column), or leave problem_type out"
        ) from None
