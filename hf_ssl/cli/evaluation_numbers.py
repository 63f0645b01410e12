"""What a model's numbers say about examples whose numbers are known: metrics, a picture, files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import count
from ..files import atomic_write
from ..metrics import regression_metrics
from ..problem_types import REGRESSION, REGRESSION_METRICS
from ..report.numbers_plot import draw_numbers
from ..report.spreadsheets import write_csv
from ..report.tables import table
from .answers import Answer, NumberAnswers, as_rows
from .evaluation_data import Examples, items_of, readable
from .output import drawn, printable

FILES = ("evaluation.json", "predictions.csv", "numbers.png")
_ALL = "mean of all"


@dataclass(frozen=True)
class NumberEvaluation:
    """Answers beside the truth.

    Args:
        examples, answers: N of each.
        told: how the answers are told.
        metrics: name -> value, over the examples that could be read, in the user's units.
        predicted, true: [M, K] of those.
        within: share of the true numbers within one and within two standard deviations, if the model tells them; 68
            and 95 % of a normal distribution are.
    """

    examples: Examples
    answers: Sequence[Answer]
    told: NumberAnswers
    metrics: dict[str, float]
    predicted: np.ndarray
    true: np.ndarray
    within: tuple[float, float] | None = None


def compare_numbers(examples: Examples, answers: Sequence[Answer], told: NumberAnswers) -> NumberEvaluation:
    """Measure the answers against the truth, over the examples that could be read.

    Args:
        examples, answers: N of each; the true numbers are [N, K].
        told: names of the numbers in the model's order.

    Raises:
        ValueError: if not one could be read.

    Example:
        >>> examples = Examples("homes.csv", ["a", "b"], np.array([[1.0], [3.0]]), [])
        >>> answers = [Answer({}, numbers={"price": 1.5}), Answer({}, numbers={"price": 3.0})]
        >>> compare_numbers(examples, answers, NumberAnswers(["price"])).metrics["mae"]
        0.25
    """
    read = readable(examples, answers)
    predicted = np.array([[answers[i].numbers[name] for name in told.names] for i in read])
    true = examples.labels[read]
    within = None
    if told.with_deviations:
        spread = np.array([[answers[i].deviations[name] for name in told.names] for i in read])
        error = np.abs(predicted - true)
        within = float((error <= spread).mean()), float((error <= 2 * spread).mean())
    metrics = regression_metrics(predicted, true, told.names)
    return NumberEvaluation(examples, answers, told, metrics, predicted, true, within)


def show_numbers(found: NumberEvaluation) -> str:
    """What the screen shows: a row of metrics for each number, and how far its uncertainty can be trusted."""
    names = list(found.told.names)
    rows = [[printable(name), *_cells(found.metrics, f"_{name}" if len(names) > 1 else "")] for name in names]
    if len(names) > 1:
        rows.append([_ALL, *_cells(found.metrics, "")])
    shown = f"{count(len(found.true), 'example')}\n\n{table(['number', *REGRESSION_METRICS], rows)}"
    if found.within is None:
        return shown
    one, two = (f"{100 * share:.0f} %" for share in found.within)
    return f"{shown}\n\nWithin one standard deviation: {one} (normal: 68 %), within two: {two} (95 %)"


def _cells(metrics: dict[str, float], ending: str) -> list[str]:
    values = [metrics[name + ending] for name in REGRESSION_METRICS]
    return [f"{value:.4g}" if np.isfinite(value) else "-" for value in values]


def write_numbers(folder: Path, found: NumberEvaluation) -> list[str]:
    """Write evaluation.json, predictions.csv and numbers.png.

    Returns:
        names of the files that were written: without matplotlib there is no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(found.told.names)
    content: dict[str, Any] = {
        "problem_type": REGRESSION,
        "metrics": {name: value if np.isfinite(value) else None for name, value in found.metrics.items()},
        "examples": len(found.true),
        "unreadable": len(found.answers) - len(found.true),
    }
    if found.within is not None:
        content["within_deviations"] = {"one": found.within[0], "two": found.within[1]}
    with atomic_write(folder / FILES[0]) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    header, rows = as_rows(items_of(found.examples), found.answers, found.told)
    truth = [[f"{number:.7g}" for number in row] for row in found.examples.labels]
    table_rows = [[*row, *true] for row, true in zip(rows, truth, strict=True)]
    write_csv(folder / FILES[1], [*header, *(f"true_{name}" for name in names)], table_rows)
    picture = folder / FILES[2]
    is_drawn = drawn(picture, lambda path: draw_numbers(path, found.predicted, found.true, names))
    return list(FILES[: 2 + is_drawn])
