"""What a classifier's answers to labeled examples say: metrics, tables and files. `evaluation_data` loads them."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ..calibration import RunningCalibration, Selected
from ..confusion import Confusion
from ..data.sources import count
from ..documents import read_json
from ..files import atomic_write
from ..metrics import ranking_metrics, size_metrics
from ..report.plots import draw_class_recalls, draw_confusion, draw_reliability
from ..report.spreadsheets import write_csv
from ..report.tables import class_table, confusion_text, table
from .answers import Answer, ClassAnswers, as_rows
from .evaluation_data import Examples, items_of, readable
from .output import drawn

# Of each answer the classes that metrics look at are kept. More classes than these are drawn, or listed in
# evaluation.json, only if they are often mistaken, or occur.
RANKS, _DRAWN, _LISTED = 5, 100, 1000
# Answers whose calibration is added up at once.
_TOGETHER = 256
# Metrics that are no shares.
_NUMBERS = ("brier", "nll")


@dataclass(frozen=True)
class Evaluation:
    """Answers beside the truth.

    Args:
        examples, answers: N of each.
        names: the model's classes.
        metrics: name -> value, over the examples that could be read; in [0, 1], but for `brier` and `nll`.
        confusion: which classes are taken for which.
        counts: labeled examples [C] that the model was trained on, if it was trained on imbalanced labels.
        calibration: of the probabilities; None if those of the classes do not sum to 1.
        foreign: how many examples of other classes there were besides; None if nobody looked for them.
    """

    examples: Examples
    answers: Sequence[Answer]
    names: list[str]
    metrics: dict[str, float]
    confusion: Confusion
    counts: list[int] | None = None
    calibration: RunningCalibration | None = None
    foreign: int | None = None

    @property
    def recalls(self) -> np.ndarray:
        """The recall [C] of each class, NaN for those without an example."""
        hits, true = self.confusion.hits, self.confusion.examples
        return np.where(true > 0, hits / np.maximum(true, 1), np.nan)


def labeled_counts(model: str, names: Sequence[str]) -> list[int] | None:
    """Labeled examples [C] of each class that a model was trained on, from `results.json` in its folder.

    None if there is no such file, or its labels were not imbalanced.
    """
    try:
        runs = read_json(Path(model) / "results.json")["runs"]
        run = next((run for run in runs if run.get("kept")), runs[-1])
        counts = [run["classes"][name]["labeled"] for name in names]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    return counts if all(isinstance(count, int) and count >= 0 for count in counts) and any(counts) else None


def calibrated(answers: Iterable[Answer], labels: np.ndarray, calibration: RunningCalibration) -> Iterator[Answer]:
    """The answers one by one; their logits, which would not fit into memory together, are only added up.

    Args:
        answers: to N examples, with logits.
        labels: true classes [N].
        calibration: what they are added to; those without logits, or of unknown classes, are left out.
    """
    waiting: list[tuple[np.ndarray, int]] = []

    def add() -> None:
        if waiting:
            logits, classes = zip(*waiting, strict=True)
            # In double precision, in which a class that is hardly possible has a probability above 0.
            calibration.add(softmax(np.array(logits, dtype=np.float64), axis=1), np.array(classes))
            waiting.clear()

    for answer, label in zip(answers, labels, strict=True):
        if answer.logits is not None and label >= 0:
            waiting.append((answer.logits, int(label)))
        answer.logits = None
        if len(waiting) == _TOGETHER:
            add()
        yield answer
    add()


def compare(
    examples: Examples,
    answers: Sequence[Answer],
    names: list[str],
    counts: list[int] | None = None,
    calibration: RunningCalibration | None = None,
) -> Evaluation:
    """Measure the answers against the truth, over the examples that could be read.

    Args:
        examples, answers: N of each.
        names: the model's classes.
        counts: labeled examples [C] that it was trained on, for the metrics by class size (`labeled_counts`).
        calibration: of the answers (`calibrated`).

    Raises:
        ValueError: if not one could be read.
    """
    read = readable(examples, answers)
    position = {name: index for index, name in enumerate(names)}
    ranked = np.array([[position[name] for name in islice(answers[i].probabilities, RANKS)] for i in read])
    metrics = ranking_metrics(ranked, examples.labels[read], len(names))
    confusion = Confusion.of(ranked[:, 0], examples.labels[read], len(names))
    found = Evaluation(examples, answers, names, metrics, confusion, counts, calibration)
    metrics |= size_metrics(found.recalls, counts)
    metrics |= calibration.metrics() if calibration is not None else {}
    return found


def shown(evaluation: Evaluation) -> str:
    """What the screen shows: metrics, tables by confidence and class, and which classes are taken for which."""
    values = [
        [name, f"{value:.4f}" if name in _NUMBERS else f"{100 * value:.2f} %"]
        for name, value in evaluation.metrics.items()
    ]
    calibration = evaluation.calibration
    return "\n\n".join(
        [
            count(int(evaluation.confusion.counts.sum()), "example"),
            table(["metric", "value"], values),
            *([] if calibration is None else [_selective_table(calibration.selective())]),
            class_table(evaluation.confusion, evaluation.names),
            confusion_text(evaluation.confusion, evaluation.names),
        ]
    )


def _selective_table(found: Sequence[Selected]) -> str:
    """How often the most confident answers are right, and the threshold that keeps them."""
    rows = [
        [f"{100 * part.share:.0f} %", f"{100 * part.accuracy:.2f} %", f"{_below(part.threshold, 4):.4f}"]
        # Equally confident answers can make two shares one.
        for part in dict.fromkeys(found)
    ]
    title = "Accuracy of the most confident answers; `hf-ssl predict --threshold` leaves the others without a label"
    return f"{title}\n{table(['answers', 'accuracy', 'threshold'], rows)}"


def _below(value: float, digits: int) -> float:
    """A number with so many digits that is not above it: a threshold that lets the same answers pass."""
    return math.floor(value * 10**digits) / 10**digits


def write_evaluation(folder: Path, evaluation: Evaluation) -> list[str]:
    """Write evaluation.json, predictions.csv, confusion_matrix.png and reliability.png.

    Returns:
        names of the files that were written: without matplotlib there is no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "evaluation.json") as temporary:
        temporary.write_text(json.dumps(_as_json(evaluation), indent=2) + "\n", encoding="utf-8")
    examples = evaluation.examples
    header, rows = as_rows(items_of(examples), evaluation.answers, ClassAnswers(top=1))
    truth = [evaluation.names[label] for label in examples.labels]
    table_rows = [[*row, true] for row, true in zip(rows, truth, strict=True)]
    write_csv(folder / "predictions.csv", [*header, "true_label"], table_rows)
    picture = folder / "confusion_matrix.png"
    written = ["evaluation.json", "predictions.csv"]
    shown = evaluation.confusion.hardest(_DRAWN)
    counts, names = evaluation.confusion.matrix(shown), [evaluation.names[i] for i in shown]
    if drawn(picture, lambda path: draw_confusion(path, counts, names)):
        written.append(picture.name)
    sizes, path = evaluation.counts, folder / "class_recalls.png"
    if sizes is not None and drawn(
        path, lambda path: draw_class_recalls(path, sizes, evaluation.recalls, evaluation.names)
    ):
        written.append(path.name)
    path, calibration = folder / "reliability.png", evaluation.calibration
    if calibration is not None and drawn(path, lambda path: draw_reliability(path, calibration.reliability())):
        written.append(path.name)
    return written


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    confusion, answers, names = evaluation.confusion, evaluation.answers, evaluation.names
    hits, true, guesses = confusion.hits.tolist(), confusion.examples.tolist(), confusion.guesses.tolist()
    classes = {
        name: {"examples": true[i], "recall": hits[i] / true[i] if true[i] else None}
        for i, name in enumerate(names)
        if len(names) <= _LISTED or true[i] or guesses[i]
    }
    unreadable = sum(bool(answer.error) for answer in answers)
    return {
        "metrics": evaluation.metrics,
        "examples": len(answers) - unreadable,
        "unreadable": unreadable,
        **({} if evaluation.foreign is None else {"foreign_examples": evaluation.foreign}),
        "classes": classes,
        "confusion_matrix": {"rows": "true class", "columns": "predicted class", **_counts(confusion, names)},
        **_calibration_json(evaluation.calibration),
    }


def _calibration_json(calibration: RunningCalibration | None) -> dict[str, Any]:
    """What the picture and the table by confidence show."""
    if calibration is None:
        return {}
    selective = [part._replace(threshold=_below(part.threshold, 6))._asdict() for part in calibration.selective()]
    return {"reliability": [part._asdict() for part in calibration.reliability()], "most_confident": selective}


def _counts(confusion: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """The whole matrix, or of more than `_LISTED` classes the pairs that occur: true class, predicted class, count."""
    if len(names) <= _LISTED:
        return {"counts": confusion.matrix(range(len(names))).tolist()}
    pairs = zip(confusion.true, confusion.predicted, confusion.counts.tolist(), strict=True)
    return {"pairs": [[names[true], names[guess], number] for true, guess, number in pairs]}
