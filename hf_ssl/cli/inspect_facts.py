"""What a run says of itself in its files: which method was kept, how training went, and the lines of a summary."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.sources import count
from ..documents import read_json
from ..features.label_errors import LabelError
from ..report.inspection.subject import Subject
from ..report.measures import Measure, measure_of, tested
from .durations import duration
from .train_doubts import LABEL_ERRORS
from .train_stages import BASELINES


def kept_method(results: Mapping[str, Any], model: Path) -> str:
    """The method of the model that a run kept: as its results say, or its settings.

    Example:
        >>> rows = [{"algorithm": "probe"}, {"algorithm": "features", "kept": True}, {"algorithm": "softmatch"}]
        >>> kept_method({"runs": rows}, Path("run"))
        'features'
    """
    runs = results.get("runs") or []
    settings = results.get("settings") or {}
    kept = next((row.get("algorithm") for row in runs if row.get("kept")), None)
    kept = kept or settings.get("model_algorithm") or (runs[-1].get("algorithm") if runs else None)
    return str(kept or _read(model / "ssl_config.json").get("algorithm") or "model")


def with_kept(results: Mapping[str, Any], method: str) -> list[dict[str, Any]]:
    """The rows of results, of which one is marked as the model that was kept.

    Example:
        >>> rows = [{"algorithm": "uda", "seed": seed} for seed in (0, 1)]
        >>> with_kept({"runs": rows, "settings": {"model_seed": 1}}, "uda")[1]["kept"]
        True
    """
    runs = [dict(row) for row in results.get("runs") or [] if isinstance(row, dict)]
    seed = (results.get("settings") or {}).get("model_seed")
    if not any(row.get("kept") for row in runs):
        mine = [row for row in runs if row.get("algorithm") == method and seed in (None, row.get("seed"))]
        for row in mine[:1]:
            row["kept"] = True
    return runs


def histories_of(model: Path, method: str) -> dict[str, list[dict[str, Any]]]:
    """The logs of a run's trainings, by method; those that are damaged or missing are left out."""
    places = {**{name: model / folder for name, folder in BASELINES.items()}, method: model}
    found = {name: _read(folder / "trainer_state.json").get("log_history") for name, folder in places.items()}
    return {name: history for name, history in found.items() if isinstance(history, list) and history}


def doubtful_labels(model: Path, names: Sequence[str]) -> list[LabelError]:
    """The labels that `hf-ssl train` found to look wrong, as its file says; a line that does not fit is left out.

    Args:
        model: folder of the run's model.
        names: of the classes.
    """
    path, place = model / LABEL_ERRORS, {name: index for index, name in enumerate(names)}
    if not path.is_file():
        return []
    found = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            try:
                classes = place[row["label"]], place[row["suggested"]]
                found.append(LabelError(int(row["row"]), *classes, float(row["probability"])))
            except (KeyError, ValueError, TypeError):
                continue
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def summary_facts(subject: Subject, method: str, base: str) -> None:
    """Add the lines of the summary that every run has."""
    runs = [row for row in subject.results.get("runs", []) if isinstance(row, dict)]
    kept = next((row for row in runs if row.get("kept")), None)
    kept = kept or next((row for row in runs if row.get("algorithm") == method), {})
    measure = measure_of(runs)
    facts: list[tuple[str, str | None]] = [
        ("Model", f"{method}, from {base}" if base else method),
        (f"{measure.title.capitalize()} on the test set", _shown(measure, tested(kept))),
        ("Labels alone", _shown(measure, _alone(runs, method, measure))),
        ("Labeled", _size(subject, "labeled", kept.get("num_labeled"))),
        ("Pool", _size(subject, "pool", kept.get("num_unlabeled"))),
        ("Foreign in the pool", _foreign(kept)),
        ("Test set", _size(subject, "test", None)),
        ("Time of all stages", duration(sum(row.get("seconds") or 0 for row in runs)) if runs else None),
    ]
    subject.facts += [[name, value] for name, value in facts if value is not None]
    classes = f", {count(len(subject.names), 'class', 'classes')}" if len(subject.names) else ""
    labeled, pool = (dict(facts)[name] for name in ("Labeled", "Pool"))
    if labeled is not None:
        subject.subtitle = f"{labeled} labeled{classes}" + (f", a pool of {pool}" if pool else "")


def _shown(measure: Measure, value: float | None) -> str | None:
    return None if value is None else measure.text([value])


def _foreign(row: Mapping[str, Any]) -> str | None:
    """How many examples of the pool looked foreign before training, as `OpenSet.row` says; None if nobody looked.

    Example:
        >>> _foreign({"foreign_examples": 1_500, "foreign_ratio": 0.25, "foreign_dropped": 1_500})
        '1,500 (25.0 %), left out'
    """
    if not isinstance(number := row.get("foreign_examples"), int):
        return None
    share = 100 * row.get("foreign_ratio", 0.0)
    return f"{number:,} ({share:.1f} %)" + ", left out" * bool(row.get("foreign_dropped"))


def _alone(runs: list[dict[str, Any]], method: str, measure: Measure) -> float | None:
    """The result of labels without the pool, by the best of the baselines."""
    names = {"probe", *BASELINES} - {method}
    values = (tested(row) for row in runs if row.get("algorithm") in names)
    found = [value for value in values if value is not None]
    return (max if measure.greater_is_better else min)(found, default=None)


def _size(subject: Subject, part: str, noted: int | None) -> str | None:
    size = subject.parts[part].size if part in subject.parts else noted
    return None if size is None else f"{size:,}"
