"""Which algorithm to take, by the cells of a results folder: the same table as for USB's numbers."""

from pathlib import Path

import numpy as np

from ..algorithms import ALGORITHMS
from ..benchmark.grid.recipes import FULLY_SUPERVISED
from ..benchmark.grid.tasks import grid_task, task_names
from ..benchmark.leaderboard.pairs import combined, run_differences
from ..benchmark.leaderboard.ranking import Ranking, rank
from ..benchmark.leaderboard.runs import Results, Run, load_results
from ..modality import MODALITIES
from ..report.tables import table
from .recommend import BUDGETS, FEW, HEADER, views_per_step

_BASELINE = "supervised"
_NOTES = """\
Errors are those at the end of training, over the settings and seeds that all
compared algorithms have (labeled-only training, supervised, is one of them).
The order is by mean rank over the settings. After the next best stands how
much higher its error is, with the standard error over the seeds: less than two
of these is no difference."""
_NOTHING = """\
No two algorithms have a task of known classes, a number of labels and a seed in
common, so there is nothing to recommend."""


def measured_recommendation(folder: str | Path) -> str:
    """What the finished cells of a results folder say, and what they rest on.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    results = load_results(folder)
    rows = [
        row
        for modality in results.modalities
        if modality in MODALITIES
        for few in (True, False)
        for budget, most in BUDGETS.items()
        if (row := _row(results, modality, few, budget, most)) is not None
    ]
    heading = f"Measured, in {folder} ({len(results.runs):,} runs):"
    found = f"\n\n{table(HEADER, rows, left=True)}\n\n{_NOTES}" if rows else f"\n{_NOTHING}"
    # Those of a grid's imports, and training on all labels.
    others = sorted(
        {run.content["cell"]["algorithm"] for run in results.runs} - ALGORITHMS.keys() - {FULLY_SUPERVISED}
    )
    left_out = f"\n\nLeft out, since their views are not known here: {', '.join(others)}." if others else ""
    return heading + found + left_out


def labels_per_class(run: Run) -> int | None:
    """Labels of the run, on average over the classes and rounded; None for a task whose classes are not known here."""
    options = run.content["settings"].get("task")
    name = options.get("base", run.setting.task) if isinstance(options, dict) else run.setting.task
    classes = run.content["cell"].get("num_classes")
    if name in task_names():
        classes = len(grid_task(name).class_names)
    if type(classes) is not int or classes < 1:
        return None
    # The setting of a long tail names its largest class, so the run's own count is taken.
    counted = run.row.get("num_labeled")
    total = counted if type(counted) is int and counted > 0 else run.setting.num_labeled
    return round(total / classes)


def _row(results: Results, modality: str, few: bool, budget: str, most_views: int) -> list[str] | None:
    """The row of one case; None if no two algorithms can be compared in it."""
    # Filtered first: a run on all labels has another number of them.
    runs = [run for run in results.runs if run.setting.modality == modality and _fits(run, modality, most_views)]
    labels = {run.setting: labels_per_class(run) for run in runs}
    of_case = {s: number for s, number in labels.items() if number is not None and (number <= FEW) == few}
    part = Results([run for run in runs if run.setting in of_case])
    ranking = rank(part)
    if ranking is None:
        return None
    numbers = [of_case[setting] for setting in ranking.blocks]
    first, second = ranking.algorithms[:2]
    return [
        MODALITIES[modality].plural,
        f"up to {FEW}" if few else f"more than {FEW}",
        str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}",
        budget,
        first,
        f"{ranking.mean_errors[0]:.1f} %",
        *_baseline(ranking, first),
        f"{second} ({_difference(part, ranking)})",
    ]


def _fits(run: Run, modality: str, most_views: int) -> bool:
    name = run.content["cell"]["algorithm"]
    return name in ALGORITHMS and views_per_step(name, modality) <= most_views


def _baseline(ranking: Ranking, first: str) -> tuple[str, str]:
    """Error of labeled-only training, and in how many settings the first is better."""
    if _BASELINE not in ranking.algorithms:
        return "-", "-"
    place = ranking.algorithms.index(_BASELINE)
    error = f"{ranking.mean_errors[place]:.1f} %"
    if first == _BASELINE:
        return error, "-"
    return error, f"{int(np.sum(ranking.errors[:, 0] < ranking.errors[:, place]))} of {len(ranking.blocks)}"


def _difference(results: Results, ranking: Ranking) -> str:
    first, second = ranking.algorithms[:2]
    sides = [[results.errors(setting, name) for setting in ranking.blocks] for name in (second, first)]
    mean, error = combined([run_differences(one, other) for one, other in zip(*sides, strict=True)])
    return f"{mean:+.1f}" + ("" if error is None else f" ± {error:.1f}")
