"""How unequal classes are: what label counts say of it, and which classes have many examples and which have few."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What is called imbalanced: counts that equal shares would make less likely than this, and that differ by this ratio.
_CHANCE, _RATIO = 0.01, 2.0
# Of the normal distribution, for an interval of 95 %.
_QUANTILE = 1.96


@dataclass(frozen=True)
class Imbalance:
    """What label counts say about the class sizes of what was labeled.

    Args:
        largest, smallest: positions of these classes, of equals the first.
        ratio: of their sizes.
        low, high: an interval of 95 % for it.
        chance: probability of counts at least this unequal, if all classes were equally frequent.

    Example:
        >>> found = Imbalance.of([60, 25, 3])
        >>> found.is_clear, round(found.ratio), round(found.low), round(found.high)
        (True, 17, 6, 51)
        >>> Imbalance.of([6, 3, 4]).is_clear
        False
    """

    largest: int
    smallest: int
    ratio: float
    low: float
    high: float
    chance: float

    @classmethod
    def of(cls, counts: Sequence[int] | np.ndarray) -> "Imbalance":
        """From label counts [C], at least two of them.

        The chance is that of Pearson's statistic sum (n_c - N/C)^2 / (N/C), which has C - 1 degrees of freedom. The
        ratio is (n_max + 1/2) / (n_min + 1/2), so that a class without labels counts as one with half of one, and
        its logarithm has the variance 1/(n_max + 1/2) + 1/(n_min + 1/2) (Haldane 1956).

        Raises:
            ValueError: if the counts are not at least two numbers of at least 0, or all of them are 0.
        """
        found = np.asarray(counts, dtype=np.float64)
        if found.ndim != 1 or len(found) < 2 or found.min() < 0 or found.sum() == 0:
            raise ValueError(f"counts must be those of at least two classes and not all 0, got {list(counts)[:20]}")
        expected = found.sum() / len(found)
        statistic = np.square(found - expected).sum() / expected
        chance = _chi_square_tail(float(statistic), len(found) - 1)
        most, least = found.max() + 0.5, found.min() + 0.5
        spread = np.exp(_QUANTILE * np.sqrt(1 / most + 1 / least))
        ratio = most / least
        low, high = max(float(ratio / spread), 1.0), float(ratio * spread)
        return cls(int(found.argmax()), int(found.argmin()), float(ratio), low, high, chance)

    @property
    def is_clear(self) -> bool:
        """Whether chance hardly explains the counts (below 1 %), and the largest class is at least twice the smallest.

        A few labels drawn at random are never equal, and thousands show differences too small to matter.
        """
        return self.chance < _CHANCE and self.ratio >= _RATIO

    def describe(self, names: Sequence[str]) -> str:
        """The sizes in words.

        Example:
            >>> Imbalance.of([60, 25, 3]).describe(["cat", "dog", "fox"])
            "'cat' has about 17 times the labels of 'fox' (6 to 51 times at 95 %)"
        """
        low, ratio, high = (
            f"{value:.1f}" if value < 3 else f"{value:.0f}" for value in (self.low, self.ratio, self.high)
        )
        return (
            f"{names[self.largest]!r} has about {ratio} times the labels of {names[self.smallest]!r} "
            f"({low} to {high} times at 95 %)"
        )


def _chi_square_tail(value: float, freedom: int) -> float:
    """The probability that a chi-square variable is above a value, by the cube root (Wilson and Hilferty 1931).

    Example:
        >>> round(_chi_square_tail(16.92, 9), 3), round(_chi_square_tail(6.63, 1), 3)  # exact: 0.05 and 0.01
        (0.05, 0.01)
    """
    spread = 2 / (9 * freedom)
    deviation = ((value / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(deviation / math.sqrt(2)) / 2


# The groups of classes by size, the largest first.
GROUPS = ("many", "medium", "few")
# Metrics of classifiers that were trained on imbalanced labels, beside `hf_ssl.metrics.METRICS`.
SIZE_METRICS = ("geometric_mean", *(f"{group}_recall" for group in GROUPS))


def size_groups(counts: Sequence[int] | np.ndarray) -> dict[str, list[int]]:
    """Classes with many, a medium number of, and few labeled examples: the thirds of the range of log n_c.

        many    n_c >= n_max^(2/3) n_min^(1/3)
        few     n_c <  n_max^(1/3) n_min^(2/3)

    On an exponential long tail these are thirds of the classes, for any number of labels. (The usual limits for
    large training sets, more than 100 and fewer than 20 examples per class (Liu et al. 2019, arXiv 1904.05160), would
    call all classes few in most semi-supervised settings.) A class without labels counts as one with half of one.

    Args:
        counts: labeled examples [C] of each class.

    Returns:
        group -> its classes; groups without any are left out, and there is only "many" if all classes have the same
        size.

    Example:
        >>> size_groups([100, 46, 22, 10, 5, 2])
        {'many': [0, 1], 'medium': [2, 3], 'few': [4, 5]}
        >>> size_groups([5, 5])
        {'many': [0, 1]}
    """
    logs = np.log(np.maximum(np.asarray(counts, dtype=np.float64), 0.5))
    low, high = logs.min(), logs.max()
    # A limit that a class meets exactly must not depend on rounding.
    slack = 1e-9
    groups = np.where(
        logs >= low + (high - low) * 2 / 3 - slack, 0, np.where(logs < low + (high - low) / 3 - slack, 2, 1)
    )
    found = {name: np.flatnonzero(groups == place).tolist() for place, name in enumerate(GROUPS)}
    return {name: classes for name, classes in found.items() if classes}
