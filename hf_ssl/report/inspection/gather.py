"""All that a page shows of a run, as one JSON document.

what the run wrote: results, logs ───────────────> summary, stages, curves, settings
its parts: features and probabilities ─ examples ─> map, examples with their media, classes, confusion, calibration
                                                 └> wrong labels, near duplicates
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...calibration import calibration_metrics, reliability
from ...confusion import Confusion
from .parts import Part
from .shown import Shown
from .subject import Subject

# Columns of the log that become curves.
_CURVES = {
    "loss": "loss",
    "mask_ratio": "mask_ratio",
    "pseudo_label_accuracy": "pseudo_label_accuracy",
    "pseudo_label_f1": "pseudo_label_f1",
    "pseudo_label_mae": "pseudo_label_mae",
    "eval_accuracy": "accuracy",
    "eval_balanced_accuracy": "balanced_accuracy",
    "eval_map": "mean average precision",
    "eval_mae": "mean absolute error",
    "test_accuracy": "accuracy",
}


def gather(subject: Subject, map_method: str = "pca", most: int = 10_000) -> dict[str, Any]:
    """The document of a run, of JSON values.

    Args:
        subject: the run.
        map_method: how features become a map, see `hf_ssl.report.inspection.projection.project`.
        most: examples on the map.

    Example:
        >>> part = Part(2, np.array([0, 1]), np.array([0, 1]), probabilities={"probe": np.eye(2)})
        >>> found = gather(Subject("run", names=["cat", "dog"], methods=["probe"], parts={"test": part}))
        >>> found["confusion"]
        {'of': 'test', 'counts': [[1, 0], [0, 1]]}
    """
    shown = Shown.of(subject, map_method, most)
    facts = [*subject.facts, *_facts_of(subject, shown)]
    return {
        "title": subject.title,
        "subtitle": subject.subtitle,
        "facts": [*facts, *(["Note", note] for note in subject.notes)],
        "verdict": subject.verdict,
        "stages": list(subject.results.get("runs", [])),
        "curves": curves_of(subject.histories),
        "classes": _classes(subject),
        "methods": subject.methods,
        "examples": shown.columns(),
        "media": shown.media,
        "confusion": _confusion(subject),
        "calibration": _calibration(subject),
        "label_errors": shown.label_errors,
        "duplicates": shown.duplicates,
        "settings": dict(subject.results.get("settings", {})),
        "command": subject.command,
        "versions": dict(subject.results.get("versions", {})),
    }


def curves_of(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, list[list[float]]]]:
    """Logs as curves: quantity -> method -> [step, value] pairs.

    Example:
        >>> curves_of({"fixmatch": [{"step": 5, "loss": 1.5}, {"step": 10, "eval_accuracy": 0.8}]})
        {'loss': {'fixmatch': [[5, 1.5]]}, 'accuracy': {'fixmatch': [[10, 0.8]]}}
    """
    found: dict[str, dict[str, list[list[float]]]] = {}
    for method, history in histories.items():
        for key, name in _CURVES.items():
            rows = [[row["step"], row[key]] for row in history if "step" in row and _is_number(row.get(key))]
            if rows:
                found.setdefault(name, {})[method] = rows
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _facts_of(subject: Subject, shown: "Shown") -> list[list[str]]:
    """What a reader must know of the numbers of single examples."""
    facts = []
    if shown.size:
        sizes = {part: (len(places), subject.parts[part].size) for part, places in shown.places.items()}
        counts = [f"{n:,}{f' of {all_:,}' if n < all_ else ''} {part}" for part, (n, all_) in sizes.items()]
        facts.append(["Examples shown", ", ".join(counts)])
    if shown.change_means:
        facts.append(["Change", shown.change_means])
    if shown.features is not None:
        whose = "pretrained" if subject.of_pretrained else "trained"
        facts.append(["Map", f"{shown.map_means} of the {whose} model's features"])
        if not subject.of_pretrained:
            facts.append(["Wrong labels, duplicates", "not looked for: this model has seen the labels"])
    return facts


# ---- What all examples say together ----


def _classes(subject: Subject) -> list[dict[str, Any]]:
    """One row per class."""
    size = len(subject.names)
    labeled = subject.parts.get("labeled")
    counts = _tally(None if labeled is None else labeled.labels, size)
    pool = subject.parts.get("pool")
    guesses = None if pool is None or subject.kept not in pool.probabilities else pool.probabilities[str(subject.kept)]
    predicted = _tally(None if guesses is None else _sure_classes(guesses), size)
    confusion = _confusion_of(subject)
    recalls: list[float | None] = [None] * size
    if confusion is not None:
        true = confusion.examples
        recalls = [
            round(float(hits / total), 4) if total else None for hits, total in zip(confusion.hits, true, strict=True)
        ]
    rows = zip(subject.names, counts, predicted, recalls, strict=True)
    return [{"name": name, "labeled": n, "predicted": p, "recall": recall} for name, n, p, recall in rows]


def _tally(classes: np.ndarray | None, size: int) -> list[int]:
    return [0] * size if classes is None else np.bincount(classes[classes >= 0], minlength=size).tolist()


def _sure_classes(probabilities: np.ndarray) -> np.ndarray:
    """Classes [N] of probabilities [N, C], -1 for rows that are not finite."""
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.where(finite[:, None], probabilities, 0.0).argmax(axis=1), -1)


def _judge(subject: Subject) -> Part | None:
    """Examples of known class that the kept model has not learned from, with its answers; None if there are none."""
    for part in (subject.parts.get("test"), subject.held_out):
        if part is not None and subject.kept in part.probabilities:
            finite = np.isfinite(part.probabilities[str(subject.kept)]).all(axis=1)
            known = np.flatnonzero((part.labels >= 0) & finite)
            if len(known):
                return part.take(known)
    return None


def _judged(subject: Subject) -> tuple[np.ndarray, np.ndarray] | None:
    """Probabilities [N, C] and classes [N] of these examples."""
    part = _judge(subject)
    return None if part is None else (part.probabilities[str(subject.kept)], part.labels)


def _of_test(subject: Subject) -> str:
    """Which examples these are."""
    test, part = subject.parts.get("test"), _judge(subject)
    if test is None or part is None or subject.kept not in test.probabilities:
        return "labeled, held out"
    return "test" if len(part.labels) == test.size else f"test, {len(part.labels):,} of {test.size:,} examples"


def _confusion_of(subject: Subject) -> Confusion | None:
    found = _judged(subject)
    return None if found is None else Confusion.of(found[0].argmax(axis=1), found[1], len(subject.names))


def _confusion(subject: Subject) -> dict[str, Any] | None:
    confusion = _confusion_of(subject)
    if confusion is None:
        return None
    return {"of": _of_test(subject), "counts": confusion.matrix(range(len(subject.names))).tolist()}


def _calibration(subject: Subject) -> dict[str, Any] | None:
    found = _judged(subject)
    if found is None:
        return None
    metrics = {name: round(float(value), 5) for name, value in calibration_metrics(*found).items()}
    bins = [[_rounded(value) for value in row] for row in reliability(*found)]
    return {"of": _of_test(subject), **metrics, "bins": bins}


def _rounded(value: Any, digits: int = 4) -> Any:
    """A number of JSON: None if it is not finite."""
    if value is None or not np.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else round(float(value), digits)
