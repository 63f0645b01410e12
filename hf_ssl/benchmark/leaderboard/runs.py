"""The runs of a results folder, one row each, and the settings within which they are compared."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from ...report.markdown import one_line
from ..baselines import tables
from ..grid.cell_file import path_in_results, read_errors, read_results

logger = logging.getLogger(__name__)

MODALITIES = ("image", "text", "audio")
# The metric whose complement is the error rate of USB's tables.
ACCURACY = "accuracy"
# Of which less is better, so that its complement is no error, although it may lie in 0..1.
_LOSS = "loss"
# Characters; files of others may hold anything.
_LONGEST_NAME, _LONGEST_MESSAGE = 120, 1_000


@dataclass(frozen=True)
class Setting:
    """What algorithms must share to be compared: data, number of labels, pretrained model and schedule.

    Example:
        >>> str(Setting("text", "ag_news", 40, "bert-base-uncased", "usb"))
        'ag_news 40'
    """

    modality: str
    task: str
    num_labeled: int
    backbone: str
    schedule: str

    def __str__(self) -> str:
        return f"{self.task} {self.num_labeled}"

    @property
    def order(self) -> tuple[Any, ...]:
        """Where it is listed: by modality, USB's order of tasks, and number of labels."""
        known = list(tables())
        place = known.index(self.task) if self.task in known else len(known)
        modality = MODALITIES.index(self.modality) if self.modality in MODALITIES else len(MODALITIES)
        return modality, self.modality, place, self.task, self.num_labeled, self.backbone, self.schedule


@dataclass(frozen=True)
class Run:
    """One finished cell.

    Args:
        setting: what it is compared within.
        algorithm: the algorithm with its correction and variant, such as "fixmatch+abc".
        seed: of the draw of labels and the training.
        error: at the end of the training, in percent; None if the cell does not have the metric.
        best_error: at the evaluation that the best split chose, in percent, or None.
        seconds: that it took, or None.
        content: of the cell's file.
    """

    setting: Setting
    algorithm: str
    seed: int
    error: float | None
    best_error: float | None
    seconds: float | None
    content: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def path(self) -> str:
        """Of its file, below the results folder."""
        return path_in_results(self.content)

    @property
    def row(self) -> Mapping[str, Any]:
        """Its row of "runs"."""
        return self.content["runs"][0]

    @property
    def is_changed_task(self) -> bool:
        """Whether the task has options, under its own name."""
        options = self.content["settings"].get("task")
        return isinstance(options, Mapping) and bool(options) and "base" not in options

    @property
    def machine(self) -> str:
        """What it ran on, in words; "" if the file does not say."""
        machine = self.content["cost"].get("machine") or {}
        if not isinstance(machine, Mapping):
            return one_line(machine)
        parts = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in machine.items()}
        return one_line(", ".join(f"{name.replace('_', ' ')} {v}" for name, v in parts.items() if v not in ("", None)))


@dataclass(frozen=True)
class Failure:
    """A cell that ended with an error."""

    setting: Setting
    algorithm: str
    seed: int
    kind: str
    message: str


@dataclass(frozen=True)
class Results:
    """All runs of a folder.

    Args:
        runs: finished cells.
        failures: cells that ended with an error, and have not been finished since.
        metric: whose complement is the error.
    """

    runs: Sequence[Run]
    failures: Sequence[Failure] = ()
    metric: str = ACCURACY

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Settings with at least one run or failure, in the order in which they are listed."""
        found = {run.setting for run in self.runs} | {failure.setting for failure in self.failures}
        return tuple(sorted(found, key=lambda setting: setting.order))

    @cached_property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithms with at least one run or failure, in the order of USB's tables."""
        found = {run.algorithm for run in self.runs} | {failure.algorithm for failure in self.failures}
        return tuple(sorted(found, key=algorithm_order))

    @cached_property
    def cells(self) -> dict[tuple[Setting, str], dict[int, Run]]:
        """(setting, algorithm) -> seed -> run."""
        found: dict[tuple[Setting, str], dict[int, Run]] = {}
        for run in sorted(self.runs, key=lambda run: run.seed):
            found.setdefault((run.setting, run.algorithm), {}).setdefault(run.seed, run)
        return found

    def errors(self, setting: Setting, algorithm: str) -> dict[int, float]:
        """Seed -> error in percent, of the runs that have the metric."""
        runs = self.cells.get((setting, algorithm), {})
        return {seed: run.error for seed, run in runs.items() if run.error is not None}

    def of(self, modality: str | None) -> "Results":
        """The part of one modality; all of it for None."""
        if modality is None:
            return self
        return Results(
            [run for run in self.runs if run.setting.modality == modality],
            [failure for failure in self.failures if failure.setting.modality == modality],
            self.metric,
        )

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """Those of the settings, in order."""
        return tuple(dict.fromkeys(setting.modality for setting in self.settings))

    @cached_property
    def titles(self) -> dict[Setting, str]:
        """Setting -> its name: task and labels, and whatever else tells it from others of the folder."""
        alike: dict[str, list[Setting]] = {}
        for setting in self.settings:
            alike.setdefault(str(setting), []).append(setting)
        found = {}
        for name, settings in alike.items():
            for setting in settings:
                parts = [name]
                for part in ("backbone", "schedule", "modality"):
                    if len({getattr(other, part) for other in settings}) > 1:
                        parts.append(getattr(setting, part))
                found[setting] = ", ".join(parts)
        return found


def algorithm_order(label: str) -> tuple[Any, ...]:
    """Where an algorithm is listed: as in USB's tables, then by name; corrections and variants after the plain one.

    Example:
        >>> sorted(["uda", "fixmatch+abc", "mine", "supervised", "fixmatch"], key=algorithm_order)
        ['supervised', 'uda', 'fixmatch', 'fixmatch+abc', 'mine']
    """
    plain = label.partition("+")[0].partition("-")[0]
    known = _published_order()
    return known.get(plain, len(known)), plain, label


def _published_order() -> dict[str, int]:
    names = dict.fromkeys(name for by_labels in tables().values() for row in by_labels.values() for name in row)
    return {name: place for place, name in enumerate(names)}


def load_results(folder: str | Path, metric: str = ACCURACY) -> Results:
    """The runs of a results folder; damaged files are left out, with a warning.

    Args:
        folder: that `hf-ssl benchmark run` writes to.
        metric: "accuracy", or another one in 0..1 that all cells have, such as "balanced_accuracy".

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: in one line, if no finished cell has the metric, or it is the loss; names those that there are.
    """
    contents = read_results(folder)
    runs = [run for content in contents if (run := _run(content, metric)) is not None]
    if runs and all(run.error is None for run in runs) and metric != ACCURACY:
        known = sorted({name for run in runs for name in _shares(run.content)})
        why = "of a loss less is better" if metric == _LOSS else "no cell has it"
        raise ValueError(f"--metric must be one of {', '.join(known)}, got {metric!r}; {why}")
    done = {(run.setting, run.algorithm, run.seed) for run in runs}
    failures = [failure for content in read_errors(folder) if (failure := _failure(content)) is not None]
    return Results(runs, [f for f in failures if (f.setting, f.algorithm, f.seed) not in done], metric)


def _shares(content: Mapping[str, Any]) -> Iterable[str]:
    last = content["metrics"].get("last")
    names = last if isinstance(last, Mapping) else ()
    return [name for name in names if name != _LOSS and _percent(last[name]) is not None]


def _run(content: dict[str, Any], metric: str) -> Run | None:
    """The row of a cell's file; None, with a warning, if its names are not what they must be."""
    try:
        setting, algorithm, seed = _place(content["cell"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        logger.warning("a result with the key %s was left out: %s", content["key"], error)
        return None
    row = content["runs"][0]
    seconds = row.get("seconds")
    is_time = isinstance(seconds, int | float) and 0 <= seconds < inf
    return Run(
        setting,
        algorithm,
        seed,
        _error(content, "last", metric, row.get("test_accuracy")),
        _error(content, "best", metric, row.get("best_accuracy")),
        float(seconds) if is_time else None,
        content,
    )


def _place(cell: Mapping[str, Any]) -> tuple[Setting, str, int]:
    names = {name: cell[name] for name in ("modality", "task", "backbone", "schedule", "algorithm")}
    wrong = next((name for name, value in names.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"{wrong} must be a text, got {names[wrong]!r}")
    names = {name: one_line(value)[:_LONGEST_NAME] for name, value in names.items()}
    algorithm = names.pop("algorithm")
    if cell.get("imbalance"):
        algorithm += f"+{one_line(cell['imbalance'])[:_LONGEST_NAME]}"
    if cell.get("variant"):
        algorithm += f"-{one_line(cell['variant'])[:_LONGEST_NAME]}"
    return Setting(num_labeled=int(cell["num_labeled"]), **names), algorithm, int(cell["seed"])


def _error(content: Mapping[str, Any], when: str, metric: str, accuracy: Any) -> float | None:
    metrics = content["metrics"].get(when)
    value = metrics.get(metric) if isinstance(metrics, Mapping) and metric != _LOSS else None
    percent = _percent(accuracy if value is None and metric == ACCURACY else value)
    return None if percent is None else 100 - percent


def _percent(value: Any) -> float | None:
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return 100 * value if is_share else None


def _failure(content: Mapping[str, Any]) -> Failure | None:
    try:
        setting, algorithm, seed = _place(content["cell"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    error = content["error"]
    kind, message = one_line(error.get("type", "error")), one_line(error.get("message", ""))
    return Failure(setting, algorithm, seed, kind[:_LONGEST_NAME], message[:_LONGEST_MESSAGE])
