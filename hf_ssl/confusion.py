"""Which classes are taken for which, also of a hundred thousand classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which: the pairs of a true and a predicted class that occur.

    The matrix [C, C] of all pairs would not fit into memory for 100,000 classes.

    Args:
        num_classes: C.
        true, predicted: of each pair that occurs [P], in ascending order.
        counts: how often it does [P], at least 1.

    Example:
        >>> confusion = Confusion.of(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2)
        >>> confusion.matrix([0, 1]).tolist()
        [[1, 1], [0, 1]]
        >>> confusion.hits.tolist(), confusion.examples.tolist(), confusion.guesses.tolist()
        ([1, 1], [2, 1], [1, 2])
    """

    num_classes: int
    true: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> "Confusion":
        """That of predicted classes [N] and true ones [N]."""
        pairs, counts = np.unique(np.asarray(labels, np.int64) * num_classes + predicted, return_counts=True)
        return cls(num_classes, *np.divmod(pairs, num_classes), counts)

    @property
    def hits(self) -> np.ndarray:
        """Number of right predictions of each class [C]."""
        return self._total(self.true, self.true == self.predicted)

    @property
    def examples(self) -> np.ndarray:
        """Number of examples of each class [C]."""
        return self._total(self.true)

    @property
    def guesses(self) -> np.ndarray:
        """How often each class was predicted [C]."""
        return self._total(self.predicted)

    def matrix(self, classes: ArrayLike) -> np.ndarray:
        """Counts [K, K] of some classes [K]: row true class, column predicted class."""
        classes = np.asarray(classes)
        place = np.full(self.num_classes, -1)
        place[classes] = np.arange(len(classes))
        rows, columns = place[self.true], place[self.predicted]
        inside = (rows >= 0) & (columns >= 0)
        result = np.zeros((len(classes), len(classes)), dtype=np.int64)
        result[rows[inside], columns[inside]] = self.counts[inside]
        return result

    def hardest(self, most: int) -> np.ndarray:
        """At most so many classes, in ascending order: those that most often are, or are taken for, another one.

        Example:
            >>> Confusion.of(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 1]), num_classes=4).hardest(2).tolist()
            [1, 2]
        """
        wrong = self.examples + self.guesses - 2 * self.hits
        return np.sort(np.argsort(-wrong, kind="stable")[:most])

    def _total(self, classes: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        chosen = slice(None) if which is None else which
        result = np.zeros(self.num_classes, dtype=np.int64)
        np.add.at(result, classes[chosen], self.counts[chosen])
        return result
