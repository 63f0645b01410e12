"""Accuracy against time."""

from dataclasses import dataclass
from statistics import mean

from .ranking import Ranking
from .runs import Results


@dataclass(frozen=True)
class Cost:
    """What an algorithm costs over the runs that count for the ranks, and what it brings.

    Args:
        algorithm: its name.
        error: mean over the settings, in percent.
        seconds: mean per run, in the mean over the settings.
        is_best_value: whether every algorithm with a lower error takes longer.
    """

    algorithm: str
    error: float
    seconds: float
    is_best_value: bool


def costs(results: Results, ranking: Ranking) -> list[Cost]:
    """The ranked algorithms whose runs all have their seconds, the fastest first."""
    found = []
    for name, error in zip(ranking.algorithms, ranking.mean_errors, strict=True):
        of_settings = []
        for setting, seeds in zip(ranking.blocks, ranking.seeds, strict=True):
            seconds = [results.cells[setting, name][seed].seconds for seed in seeds]
            of_settings.append([value for value in seconds if value is not None] if None not in seconds else [])
        if all(of_settings):
            found.append((name, float(error), mean(map(mean, of_settings))))
    return [
        Cost(
            name,
            error,
            seconds,
            not any(e <= error and s <= seconds and (e, s) != (error, seconds) for _, e, s in found),
        )
        for name, error, seconds in sorted(found, key=lambda row: (row[2], row[1]))
    ]


def machines(results: Results) -> list[str]:
    """The machines that the runs name, in words; seconds of different ones do not compare."""
    return sorted({run.machine for run in results.runs if run.machine})
