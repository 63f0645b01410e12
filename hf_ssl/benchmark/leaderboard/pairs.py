"""Two algorithms over what both have: differences, wins and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt

from .runs import Results
from .statistics import FEWEST_PAIRS, holm, mean_and_error, signed_rank_p

# Of more algorithms only the first, by rank, are compared in pairs: tests and a matrix of all would say nothing.
MOST_PAIRED = 40


@dataclass(frozen=True)
class Pair:
    """Two algorithms over all settings that both have.

    Args:
        first, second: their names.
        settings: number of settings that both have.
        runs: number of runs that both have.
        difference: mean over the settings of error of the first less that of the second, in points: negative if the
            first is better.
        standard_error: of the difference, from the spread over the seeds within each setting; None if a setting has
            a single seed.
        wins, ties, losses: settings in which the first is better, as good, worse.
        p_value: of Wilcoxon's signed-rank test.
        corrected: `p_value` after Holm's correction for all pairs of the report.
    """

    first: str
    second: str
    settings: int
    runs: int
    difference: float
    standard_error: float | None
    wins: int
    ties: int
    losses: int
    p_value: float
    corrected: float


@dataclass(frozen=True)
class Pairs:
    """All pairs of some algorithms.

    Args:
        algorithms: in the order of the ranks.
        unit: what the test pairs: "setting" (means over the seeds), or "run" if a pair has too few settings in common
            for a test.
        pairs: those with a setting, and a seed, in common; `first` comes before `second` in `algorithms`.
    """

    algorithms: tuple[str, ...]
    unit: str
    pairs: Sequence[Pair]

    def wins(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """(row, column) -> settings in which the row is better, as good, worse."""
        found = {}
        for pair in self.pairs:
            found[pair.first, pair.second] = pair.wins, pair.ties, pair.losses
            found[pair.second, pair.first] = pair.losses, pair.ties, pair.wins
        return found


def run_differences(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Errors of the first less those of the second, seed by seed, for the seeds that both have.

    Example:
        >>> run_differences({0: 10.0, 1: 12.0, 2: 11.0}, {0: 9.0, 1: 12.0})
        [1.0, 0.0]
    """
    # Rounded, since 100 - 100 * 0.9 differs from 10 in the last digit, which would be a win.
    return [round(first[seed] - second[seed], 9) for seed in first if seed in second]


def combined(of_settings: Sequence[Sequence[float]]) -> tuple[float, float | None]:
    """Mean over settings of mean differences, and its standard error on these very settings.

    The error is that of a mean of independent means: sqrt(sum of squares) / number. It tells how other draws and
    seeds would change the mean, not how other tasks would. None if a setting has a single seed.

    Args:
        of_settings: per setting the differences of its runs, at least one.

    Example:
        >>> combined([[-1.0, -3.0], [-2.0, -2.0]])
        (-2.0, 0.5)
    """
    means, errors = zip(*map(mean_and_error, of_settings), strict=True)
    known = [error for error in errors if error is not None]
    spread = sqrt(sum(error**2 for error in known)) / len(means) if len(known) == len(means) else None
    return mean_and_error(means)[0], spread


def compare_pairs(results: Results, algorithms: Sequence[str]) -> Pairs:
    """All pairs of the algorithms, at most the first `MOST_PAIRED`, tested and corrected together.

    Args:
        results: of a folder, or a part of them.
        algorithms: in the order of the ranks.
    """
    chosen = tuple(algorithms[:MOST_PAIRED])
    errors = {name: {s: results.errors(s, name) for s in results.settings} for name in chosen}
    shared: dict[tuple[str, str], list[list[float]]] = {}
    for first, second in combinations(chosen, 2):
        of_settings = [run_differences(errors[first][s], errors[second][s]) for s in results.settings]
        if any(of_settings):
            shared[first, second] = [runs for runs in of_settings if runs]
    unit = "setting" if min(map(len, shared.values()), default=0) >= FEWEST_PAIRS else "run"
    pairs = [_pair(*names, of_settings, unit) for names, of_settings in shared.items()]
    corrected = holm([pair.p_value for pair in pairs])
    return Pairs(chosen, unit, [replace(pair, corrected=p) for pair, p in zip(pairs, corrected, strict=True)])


def _pair(first: str, second: str, of_settings: Sequence[Sequence[float]], unit: str) -> Pair:
    means = [mean_and_error(runs)[0] for runs in of_settings]
    tested = means if unit == "setting" else [difference for runs in of_settings for difference in runs]
    p_value = signed_rank_p(tested)
    return Pair(
        first,
        second,
        len(of_settings),
        sum(map(len, of_settings)),
        *combined(of_settings),
        wins=sum(mean < 0 for mean in means),
        ties=sum(mean == 0 for mean in means),
        losses=sum(mean > 0 for mean in means),
        p_value=1.0 if p_value is None else p_value,
        corrected=1.0,
    )
