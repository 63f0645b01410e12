"""What a grid has to do: which cells have their file, which are missing, and about how many hours those take.

Nothing is loaded: no data, no model. The time of a cell is its steps times the seconds per example that were measured:
on the cells of the results folder first, and else in a small table, which says on which machine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cell_file import each_result, key_in
from .cells import Cell, result_path

# Seconds per example of a FixMatch step, by backbone, or "image" for any model of the benchmark's image tasks.
_KNOWN: dict[str, tuple[float, str]] = {
    "tiny-resnet": (0.001, "one core of an AMD EPYC, with freematch"),
    "bag-of-words": (0.0006, "one core of an AMD EPYC, with freematch"),
    "tiny-spectrum": (0.0029, "one core of an AMD EPYC, with freematch"),
    # 39 GPU-days for 9 settings x 3 seeds x 204,800 steps of 8 + 8 images.
    "image": (39 * 86_400 / (27 * 204_800 * 16), "the mean of USB's five image tasks on its own GPUs, as published"),
}


@dataclass(frozen=True)
class Plan:
    """What is done and what is not.

    Args:
        done: cells whose file is there.
        missing: cells to run, in the grid's order; those that failed before among them.
        failed: cells of `missing` that left an error file.
        outdated: cells at whose place there is a result of other settings or another version of this package; they are
            to run only if they may be replaced.
        measured: (task, algorithm, backbone) and shorter keys -> seconds per example of the results folder.
    """

    done: Sequence[Cell]
    missing: Sequence[Cell]
    failed: Sequence[Cell]
    outdated: Sequence[Cell]
    measured: Mapping[tuple[str, ...], tuple[float, str]] = field(default_factory=dict)

    def estimate(self) -> "Estimate":
        """About how long the missing cells take, one at a time."""
        hours: dict[str, float] = {}
        unknown: list[Cell] = []
        for cell in self.missing:
            found = seconds_of(cell, self.measured)
            if found is None:
                unknown.append(cell)
            else:
                hours[found[1]] = hours.get(found[1], 0.0) + found[0] / 3600
        return Estimate(hours, unknown)


@dataclass(frozen=True)
class Estimate:
    """Hours of one worker, by where the measured times are from; and the cells of which nothing is known."""

    hours: Mapping[str, float]
    unknown: Sequence[Cell]

    def lines(self) -> list[str]:
        """In sentences.

        Example:
            >>> Estimate({"this folder's cells": 1.25}, []).lines()
            ["about 1.2 hours of one worker, by this folder's cells"]
        """
        found = [f"about {_hours(hours)} of one worker, by {source}" for source, hours in self.hours.items()]
        if self.unknown:
            cell = self.unknown[0]
            found.append(
                f"no step time is known for {len(self.unknown):,} cells; run one of them to learn it: --select "
                f"'task={cell.task} label={cell.label} seed={cell.seed}'"
            )
        return found


def _hours(hours: float) -> str:
    return (
        f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
    )


def plan(cells: Iterable[Cell], results: str | Path, replace: bool = False) -> Plan:
    """Compare a grid with a results folder, which need not exist.

    Args:
        cells: of the grid.
        results: the folder.
        replace: run outdated cells as well.

    Example:
        >>> plan([Cell("digits", 40, 0, "uda", "tiny-resnet")], "no such folder").missing[0].run_name
        'digits-40-0'
    """
    results = Path(results)
    done, missing, failed, outdated = [], [], [], []
    for cell in cells:
        key = key_in(result_path(results, cell))
        if key == cell.key:
            done.append(cell)
        elif key and not replace:
            outdated.append(cell)
        else:
            missing.append(cell)
            if (results / cell.error_path).is_file():
                failed.append(cell)
    return Plan(done, missing, failed, outdated, measured_seconds(results) if missing else {})


def measured_seconds(results: Path) -> dict[tuple[str, ...], tuple[float, str]]:
    """Mean seconds per example of the cells of a folder.

    Returns:
        (task, algorithm, backbone), (task, backbone) and (backbone,) -> the mean, and where it is from.
    """
    sums: dict[tuple[str, ...], list[float]] = {}
    for record in each_result(results) if results.is_dir() else ():
        cell, run = record["cell"], record["runs"][0]
        examples = (run.get("steps") or 0) * examples_per_step(record["settings"])
        if not examples or not run.get("seconds"):
            continue
        name, backbone = cell["task"], cell["backbone"]
        for key in ((name, cell["algorithm"], backbone), (name, backbone), (backbone,)):
            sums.setdefault(key, []).append(run["seconds"] / examples)
    source = "the cells of this folder"
    return {key: (sum(values) / len(values), source) for key, values in sums.items()}


def seconds_of(cell: Cell, measured: Mapping[tuple[str, ...], tuple[float, str]]) -> tuple[float, str] | None:
    """About how many seconds a cell takes, and by what; None if nothing is known."""
    keys = (cell.task, cell.algorithm, cell.backbone), (cell.task, cell.backbone), (cell.backbone,)
    found = next((measured[key] for key in keys if key in measured), None)
    if found is None:
        general = _KNOWN.get(cell.modality) if cell.schedule == "usb" else None
        found = _KNOWN.get(cell.backbone, general)
    if found is None:
        return None
    steps = cell.settings.get("training", {}).get("max_steps", 0)
    return found[0] * steps * examples_per_step(cell.settings), found[1]


def examples_per_step(settings: Mapping[str, Mapping[str, Any]]) -> int:
    """Labeled and unlabeled examples of a step."""
    training = settings.get("training", {})
    labeled = training.get("global_batch_size") or training.get("per_device_train_batch_size") or 8
    return labeled * (1 + (training.get("unlabeled_batch_ratio") or 0))
