"""Labeled examples and examples of the pool that were given a label, as one dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from .rows import fetch_rows, may_be_random


class LabeledAndPicked(Dataset):
    """The given labeled examples, and behind them the picked ones of the pool with the classes that they were given.

    The pool's rows are read when they are asked for, and its own labels, if it has any, never leave this class.

    Args:
        labeled, pool: prepared datasets (see `hf_ssl.data.prepare`).
        index, labels: positions [K] in the pool, and classes [K].
        label_column: name of the column with the class.

    Example:
        >>> labeled, pool = [{"x": 1, "label": 0}], [{"x": 2, "label": 5}, {"x": 3, "label": 5}]
        >>> dataset = LabeledAndPicked(labeled, pool, np.array([1]), np.array([2]), "label")
        >>> dataset.__getitems__([1, 0])
        [{'x': 3, 'label': 2}, {'x': 1, 'label': 0}]
    """

    def __init__(self, labeled: Any, pool: Any, index: np.ndarray, labels: np.ndarray, label_column: str):
        self.labeled, self.pool, self.index, self.labels = labeled, pool, index, labels
        self.label_column = label_column
        self.transformed = may_be_random(labeled) or may_be_random(pool)

    def __len__(self) -> int:
        return len(self.labeled) + len(self.index)

    def __getitem__(self, place: int) -> Mapping[str, Any]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        given = len(self.labeled)
        own = [place for place in places if place < given]
        picked = [place - given for place in places if place >= given]
        rows = dict(zip(own, fetch_rows(self.labeled, own), strict=True))
        for place, row in zip(picked, fetch_rows(self.pool, self.index[picked].tolist()), strict=True):
            rows[place + given] = {**row, self.label_column: int(self.labels[place])}
        return [rows[place] for place in places]


class PickedLengths:
    """The lengths of `LabeledAndPicked`, from those of its two datasets: positions [N] -> lengths [N].

    Example:
        >>> lengths = PickedLengths(np.array([5.0]), np.array([7.0, 9.0]), index=np.array([1]), given=1)
        >>> lengths[np.array([1, 0])]
        array([9., 5.])
    """

    def __init__(self, labeled: Any, pool: Any, index: np.ndarray, given: int):
        self.labeled, self.pool, self.index, self.given = labeled, pool, index, given

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        own = positions < self.given
        lengths = np.empty(len(positions))
        lengths[own] = self.labeled[positions[own]]
        lengths[~own] = self.pool[self.index[positions[~own] - self.given]]
        return lengths
