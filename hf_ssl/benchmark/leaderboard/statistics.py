"""Statistics of several algorithms over several data sets, after J. Demšar, "Statistical Comparisons of Classifiers
over Multiple Data Sets", Journal of Machine Learning Research 7 (2006), 1-30.

A block is what all algorithms were measured on: a task with a number of labels. The tests come from scipy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

# Fewer pairs than these have no two-sided p below 0.05, however they differ: 2 / 2**5 = 0.0625.
FEWEST_PAIRS = 6
# Above this number of pairs the normal distribution is near enough.
_MOST_EXACT = 50
# After the point, of means in points.
_DIGITS = 6


def block_ranks(errors: ArrayLike) -> NDArray[np.float64]:
    """Ranks within each block, 1 for the lowest error; algorithms with the same error share their mean rank.

    Args:
        errors: [N, k] of N blocks and k algorithms, without NaN.

    Returns:
        [N, k], in 1..k.

    Example:
        >>> block_ranks([[10.0, 20.0, 30.0], [5.0, 5.0, 1.0]])
        array([[1. , 2. , 3. ],
               [2.5, 2.5, 1. ]])
    """
    return np.asarray(stats.rankdata(np.asarray(errors, dtype=float), axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Friedman:
    """Whether some of the algorithms differ at all.

    Args:
        statistic: Friedman's chi square, corrected for ties.
        p_value: of it, with k - 1 degrees of freedom.
        f_statistic: that of Iman and Davenport (1980), less conservative; infinite if all blocks have the same order.
        f_p_value: of it, with k - 1 and (k - 1)(N - 1) degrees of freedom.
    """

    statistic: float
    p_value: float
    f_statistic: float
    f_p_value: float


def friedman(errors: ArrayLike) -> Friedman | None:
    """Friedman's test over N blocks of k algorithms; None for fewer than two blocks or three algorithms.

    Args:
        errors: [N, k], without NaN.

    Example:
        >>> found = friedman([[1, 2, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3]])
        >>> found.statistic, round(found.f_statistic, 2)
        (4.5, 3.86)
    """
    values = np.asarray(errors, dtype=float)
    blocks, number = values.shape
    if blocks < 2 or number < 3:
        return None
    if (values == values[:, :1]).all():
        return Friedman(0.0, 1.0, 0.0, 1.0)
    found = stats.friedmanchisquare(*values.T)
    statistic = float(found.statistic)
    rest = blocks * (number - 1) - statistic
    # Where all blocks agree, rounding leaves a little.
    f_statistic = (blocks - 1) * statistic / rest if rest > 1e-9 * blocks else float("inf")
    f_p_value = float(stats.f.sf(f_statistic, number - 1, (number - 1) * (blocks - 1)))
    return Friedman(statistic, float(found.pvalue), f_statistic, f_p_value)


@cache
def critical_difference(algorithms: int, blocks: int, alpha: float = 0.05) -> float:
    """How far two mean ranks must be apart to differ by Nemenyi's test: q * sqrt(k (k + 1) / (6 N)).

    q is the quantile of the studentized range with infinite degrees of freedom, divided by the square root of 2.

    Args:
        algorithms: k, at least 2.
        blocks: N, at least 1.
        alpha: level of the test over all pairs together, in 0..1.

    Example:
        Demšar's example: 4 algorithms on 14 data sets.

        >>> round(critical_difference(4, 14), 2), round(critical_difference(4, 14, alpha=0.1), 2)
        (1.25, 1.12)
    """
    quantile = float(stats.studentized_range.ppf(1 - alpha, algorithms, np.inf)) / sqrt(2)
    return quantile * sqrt(algorithms * (algorithms + 1) / (6 * blocks))


def not_different(mean_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The bars of a critical-difference diagram: the longest runs of ranks that lie within the critical difference.

    Args:
        mean_ranks: [k], ascending.
        difference: the critical one.

    Returns:
        the first and the last place of each run with at least two algorithms; none lies within another.

    Example:
        >>> not_different([1.96, 2.0, 2.89, 3.14], 1.12)
        [(0, 2), (2, 3)]
        >>> not_different([1.0, 1.5, 2.4, 4.0], 1.0)
        [(0, 1), (1, 2)]
    """
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(mean_ranks):
        last = max(place for place, other in enumerate(mean_ranks) if other - rank < difference)
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs


def signed_rank_p(differences: ArrayLike) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test that differences of pairs are spread around 0.

    The ranks of pairs without a difference are split between both sides, as Demšar does. Up to 50 pairs p is exact,
    ties or not. None without pairs.

    Example:
        >>> signed_rank_p([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        0.03125
        >>> signed_rank_p([0.0, 0.0])
        1.0
    """
    values = np.asarray(differences, dtype=float)
    if not values.size:
        return None
    if not values.any():
        return 1.0
    if values.size > _MOST_EXACT:
        return float(stats.wilcoxon(values, zero_method="zsplit", method="asymptotic").pvalue)
    return _exact_signed_rank_p(values)


def _exact_signed_rank_p(values: NDArray[np.float64]) -> float:
    """scipy takes seconds per test for a dozen pairs with ties, of which a report has hundreds of tests."""
    # Mean ranks are halves: twice the ranks are whole numbers.
    doubled = (2 * stats.rankdata(np.abs(values))).astype(int)
    ranks, signs = doubled[values != 0], values[values != 0] > 0
    # chances[s]: that the ranks of the positive differences add up to s, if every sign is as likely as the other.
    chances = np.zeros(ranks.sum() + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] += chances[:-rank]
        chances /= 2
    smaller = min(ranks[signs].sum(), ranks[~signs].sum())
    return float(min(2 * chances[: smaller + 1].sum(), 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests: p values that may be compared with the level as if there were one test.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).

    Example:
        >>> holm([0.01, 0.04, 0.03, 0.005])
        [0.03, 0.06, 0.06, 0.02]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min((len(p_values) - place) * p_values[index], 1.0))
        corrected[index] = highest
    return corrected


def rounded(errors: ArrayLike) -> NDArray[np.float64]:
    """Errors or differences in points, to six digits: equal means, added up in another order, stay equal.

    Without it the last digit would be a rank or a win. Shares of a test set differ by far more.

    Example:
        >>> rounded([(10 + 11 + 12.3) / 3, (12.3 + 11 + 10) / 3])
        array([11.1, 11.1])
    """
    return np.round(np.asarray(errors, dtype=float), _DIGITS)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, rounded as by `rounded`, and its standard error, which a single value does not have.

    Example:
        >>> mean_and_error([1.0, 3.0]), mean_and_error([2.0])
        ((2.0, 1.0), (2.0, None))
    """
    number = len(values)
    mean = fsum(values) / number
    if number == 1:
        return round(mean, _DIGITS), None
    return round(mean, _DIGITS), sqrt(fsum((value - mean) ** 2 for value in values) / (number - 1) / number)
