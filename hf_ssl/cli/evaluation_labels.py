"""What a model's answers with any number of labels say about labeled examples: metrics, a table by label, files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import count
from ..files import atomic_write
from ..metrics import average_precisions, multi_label_metrics
from ..problem_types import MULTI_LABEL
from ..report.spreadsheets import write_csv
from ..report.tables import table
from .answers import Answer, LabelAnswers, as_rows
from .evaluation_data import Examples, items_of, readable
from .output import printable

FILES = ("evaluation.json", "predictions.csv", "labels.csv")
_COLUMNS = ("label", "examples", "average precision", "precision", "recall", "F1", "threshold")
# More labels than these are listed in labels.csv alone.
_SHOWN = 40


@dataclass(frozen=True)
class LabelEvaluation:
    """Answers beside the truth.

    Args:
        examples, answers: N of each.
        told: with the thresholds of the labels.
        metrics: name -> value in [0, 1], over the examples that could be read.
        labels: name of a label -> what is measured of it by the names of the table's columns; None for what cannot be.
    """

    examples: Examples
    answers: Sequence[Answer]
    told: LabelAnswers
    metrics: dict[str, float]
    labels: dict[str, dict[str, float | None]]


def compare_labels(examples: Examples, answers: Sequence[Answer], told: LabelAnswers) -> LabelEvaluation:
    """Measure the answers against the truth, over the examples that could be read.

    Args:
        examples, answers: N of each; labels [N, C].
        told: names of the labels in the model's order, and their thresholds.

    Raises:
        ValueError: if not one could be read.

    Example:
        >>> examples = Examples("pets.csv", ["a", "b"], np.array([[1, 0], [1, 1]]), [])
        >>> answers = [Answer({"cat": 0.9, "dog": 0.2}), Answer({"dog": 0.8, "cat": 0.4})]
        >>> found = compare_labels(examples, answers, LabelAnswers(1, {"cat": 0.5, "dog": 0.5}))
        >>> found.metrics["subset_accuracy"], found.labels["cat"]["recall"], found.labels["dog"]["F1"]
        (0.5, 0.5, 1.0)
    """
    read = readable(examples, answers)
    names = list(told.thresholds)
    scores = np.array([[answers[i].probabilities[name] for name in names] for i in read])
    true, thresholds = examples.labels[read], np.array(list(told.thresholds.values()))
    metrics = multi_label_metrics(scores, true, thresholds)
    by_label = dict(zip(names, _by_label(scores, true, thresholds), strict=True))
    return LabelEvaluation(examples, answers, told, metrics, by_label)


def _by_label(scores: np.ndarray, true: np.ndarray, thresholds: np.ndarray) -> list[dict[str, float | None]]:
    has, guessed = true > 0.5, scores >= thresholds
    hits = (has & guessed).sum(axis=0)
    found = {
        "examples": has.sum(axis=0),
        "average precision": average_precisions(scores, has),
        "precision": _ratios(hits, guessed.sum(axis=0)),
        "recall": _ratios(hits, has.sum(axis=0)),
        "F1": _ratios(2 * hits, guessed.sum(axis=0) + has.sum(axis=0)),
        "threshold": thresholds,
    }
    rows = zip(*found.values(), strict=True)
    return [{key: None if np.isnan(v) else v.item() for key, v in zip(found, row, strict=True)} for row in rows]


def _ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.where(wholes > 0, parts / np.maximum(wholes, 1), np.nan)


def show_labels(found: LabelEvaluation) -> str:
    """What the screen shows: metrics, and a table by label."""
    values = [[name, "-" if np.isnan(value) else f"{100 * value:.2f} %"] for name, value in found.metrics.items()]
    rows = [[printable(name), *_shown(row)] for name, row in list(found.labels.items())[:_SHOWN]]
    more = len(found.labels) - len(rows)
    read = sum(not answer.error for answer in found.answers)
    parts = [count(read, "example"), table(["metric", "value"], values), table(list(_COLUMNS), rows)]
    return "\n\n".join(parts) + (f"\nand {more:,} more labels" if more else "")


def _shown(row: dict[str, float | None]) -> list[str]:
    shares = ["-" if row[key] is None else f"{100 * row[key]:.1f} %" for key in _COLUMNS[2:6]]  # type: ignore[operator]
    return [f"{row['examples']:,}", *shares, f"{row['threshold']:.3f}"]


def write_labels(folder: Path, found: LabelEvaluation) -> list[str]:
    """Write evaluation.json, predictions.csv and labels.csv; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    unreadable = sum(bool(answer.error) for answer in found.answers)
    content: dict[str, Any] = {
        "problem_type": MULTI_LABEL,
        "metrics": {name: value if np.isfinite(value) else None for name, value in found.metrics.items()},
        "examples": len(found.answers) - unreadable,
        "unreadable": unreadable,
        "labels": found.labels,
    }
    with atomic_write(folder / FILES[0]) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    header, rows = as_rows(items_of(found.examples), found.answers, found.told)
    names, separator = list(found.told.thresholds), found.told.separator
    truth = [
        separator.join(name for name, has in zip(names, row, strict=True) if has) for row in found.examples.labels
    ]
    table_rows = [[*row, true] for row, true in zip(rows, truth, strict=True)]
    write_csv(folder / FILES[1], [*header, "true_labels"], table_rows)
    by_label = [
        [name, *("" if row[key] is None else f"{row[key]:.6g}" for key in _COLUMNS[1:])]
        for name, row in found.labels.items()
    ]
    write_csv(folder / FILES[2], [column.lower().replace(" ", "_") for column in _COLUMNS], by_label)
    return list(FILES)
