"""Ranks over the settings that every ranked algorithm has; nothing that is missing is made up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from .runs import Results, Setting
from .statistics import Friedman, block_ranks, critical_difference, friedman, not_different, rounded

# Of more algorithms the diagram shows the best.
_MOST_DRAWN = 60


@dataclass(frozen=True)
class Ranking:
    """Algorithms by their mean rank, best first.

    A block is a setting; its errors are means over the seeds that all ranked algorithms have there. USB calls the mean
    of these ranks the Friedman rank.

    Args:
        algorithms: k names, best mean rank first.
        blocks: N settings.
        seeds: per block, those that count.
        errors: [N, k], in percent, as `rounded`.
        run_ranks: [k], mean rank over the single runs instead of the settings.
        left_out: algorithm -> in how many settings it has a result; it is not ranked because it lacks others.
        incomplete: settings that some ranked algorithm lacks; they do not count.
    """

    algorithms: tuple[str, ...]
    blocks: tuple[Setting, ...]
    seeds: tuple[tuple[int, ...], ...]
    errors: NDArray[np.float64] = field(compare=False)
    run_ranks: NDArray[np.float64] = field(compare=False)
    left_out: dict[str, int]
    incomplete: tuple[Setting, ...]

    @cached_property
    def mean_ranks(self) -> NDArray[np.float64]:
        """[k], in 1..k."""
        return block_ranks(self.errors).mean(axis=0)

    @cached_property
    def mean_errors(self) -> NDArray[np.float64]:
        """[k], in percent, over the blocks."""
        return rounded(self.errors.mean(axis=0))

    @cached_property
    def test(self) -> Friedman | None:
        """Friedman's test; None for one block or two algorithms."""
        return friedman(self.errors)

    @cached_property
    def difference(self) -> float | None:
        """Nemenyi's critical difference at 0.05; None for a single block."""
        return critical_difference(len(self.algorithms), len(self.blocks)) if len(self.blocks) > 1 else None

    @cached_property
    def diagram(self) -> "Diagram":
        """What a critical-difference diagram shows."""
        ranks = [float(rank) for rank in self.mean_ranks[:_MOST_DRAWN]]
        end = len(self.algorithms) if len(ranks) == len(self.algorithms) else max(ceil(ranks[-1]), 2)
        bars = [] if self.difference is None else not_different(ranks, self.difference)
        return Diagram(self.algorithms[:_MOST_DRAWN], ranks, bars, end)

    @property
    def runs(self) -> int:
        """Runs per algorithm that count."""
        return sum(map(len, self.seeds))


@dataclass(frozen=True)
class Diagram:
    """The content of a critical-difference diagram (Demšar 2006), of the best-ranked algorithms if there are many.

    Args:
        algorithms: best mean rank first.
        ranks: their mean ranks.
        bars: first and last place of each group whose ranks do not differ by Nemenyi's test.
        end: where the axis of ranks ends; it begins at 1.
    """

    algorithms: Sequence[str]
    ranks: Sequence[float]
    bars: Sequence[tuple[int, int]]
    end: int

    @property
    def ticks(self) -> range:
        """Ranks with a mark, at most some fifteen."""
        return range(1, self.end + 1, max(1, round(self.end / 13)))


def rank(results: Results) -> Ranking | None:
    """Rank the algorithms over the settings that all of them have.

    Algorithms that would leave too few settings to the others are left out: of the algorithms with the most settings,
    as many are ranked as make algorithms times settings the largest.

    Args:
        results: of a folder, or a part of them.

    Returns:
        None if no two algorithms have a setting, with a seed, in common.
    """
    seeds = {algorithm: _seeds(results, algorithm) for algorithm in results.algorithms}
    # Python's sort keeps the order of the tables among those with as many settings.
    order = sorted((name for name in seeds if seeds[name]), key=lambda name: -len(seeds[name]))
    best, chosen, common = 0, 0, {}
    together: dict[Setting, set[int]] = {}
    for number, name in enumerate(order, start=1):
        together = (
            {setting: both for setting, known in together.items() if (both := known & seeds[name].get(setting, set()))}
            if number > 1
            else seeds[name]
        )
        if number > 1 and number * len(together) >= max(best, 1):
            best, chosen, common = number * len(together), number, together
    if not chosen:
        return None
    blocks = tuple(setting for setting in results.settings if setting in common)
    ranked = [name for name in results.algorithms if name in order[:chosen]]
    kept = tuple(tuple(sorted(common[setting])) for setting in blocks)
    return _ranking(results, ranked, blocks, kept, {name: len(seeds[name]) for name in seeds if name not in ranked})


def _seeds(results: Results, algorithm: str) -> dict[Setting, set[int]]:
    found = {setting: set(results.errors(setting, algorithm)) for setting in results.settings}
    return {setting: seeds for setting, seeds in found.items() if seeds}


def _ranking(
    results: Results,
    names: list[str],
    blocks: tuple[Setting, ...],
    seeds: tuple[tuple[int, ...], ...],
    left_out: dict[str, int],
) -> Ranking:
    runs, errors = [], []
    for setting, kept in zip(blocks, seeds, strict=True):
        columns = [results.errors(setting, name) for name in names]
        rows = [[column[seed] for column in columns] for seed in kept]
        runs += rows
        errors.append(np.mean(rows, axis=0))
    matrix, run_ranks = rounded(errors), block_ranks(rounded(runs)).mean(axis=0)
    means, mean_errors = block_ranks(matrix).mean(axis=0), rounded(matrix.mean(axis=0))
    order = sorted(range(len(names)), key=lambda i: (means[i], mean_errors[i]))
    return Ranking(
        tuple(names[i] for i in order),
        blocks,
        seeds,
        matrix[:, order],
        run_ranks[order],
        left_out,
        tuple(setting for setting in results.settings if setting not in blocks),
    )
