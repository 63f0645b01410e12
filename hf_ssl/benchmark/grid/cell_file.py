"""The file of a cell: what is in it, and how it is written, read and checked.

    schema, key       layout of the file; hash of what the result depends on
    cell              task, labels, seed, algorithm, backbone, ... and the hash of the draw of labels
    settings          those that change the result, by topic
    runs              one row, as in `results.json` of other commands
    metrics           "last" and "best": all metrics of the test set at the last and the best evaluation
    curves            one row per evaluation
    cost              seconds, memory, energy, machine: what may differ between two runs of a cell
    versions          of Python and the packages

Everything but "cost" and the seconds of the run is the same in two runs on one machine.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...documents import read_json
from ...files import atomic_write
from ...report.results import versions
from .cells import SCHEMA, Cell, key_of

logger = logging.getLogger(__name__)

_BLOCKS: dict[str, type] = {
    "key": str,
    "cell": dict,
    "settings": dict,
    "runs": list,
    "metrics": dict,
    "curves": list,
    "cost": dict,
    "versions": dict,
}
# How the file of a cell is called, or that of its error; a copy of it by hand is not another run.
NAMED = re.compile(r"seed\d+(\.error)?\.json")
# What says which cell it is, and numbers that plans and reports calculate with.
_OF_CELLS = {"task": str, "num_labeled": int, "seed": int, "algorithm": str, "backbone": str}
_NUMBERS = ("steps", "seconds", "num_labeled", "num_unlabeled", "num_test")
_TRAINING_NUMBERS = ("max_steps", "global_batch_size", "per_device_train_batch_size", "unlabeled_batch_ratio")
_LARGEST = 1e15
_SHARES = ("test_accuracy", "best_accuracy", "mask_ratio", "pseudo_label_accuracy")


def make_result(
    cell: Cell,
    draw: str,
    run: Mapping[str, Any],
    metrics: Mapping[str, Any],
    curves: list[dict[str, Any]],
    cost: Mapping[str, Any],
    **noted: Any,
) -> dict[str, Any]:
    """The content of a finished cell's file.

    Args:
        cell: what ran.
        draw: hash of the indices of the labeled examples.
        run: its row of "runs".
        metrics: "last" and "best", each name -> value, or None.
        curves: one row per evaluation.
        cost: seconds, memory, energy, machine.
        noted: further facts for the block "cell", such as the commit that a backbone was loaded at.
    """
    return {
        "schema": SCHEMA,
        "key": cell.key,
        "cell": {**cell.record(), "draw": draw, **noted},
        "settings": {topic: dict(values) for topic, values in cell.settings.items()},
        "runs": [dict(run)],
        "metrics": dict(metrics),
        "curves": curves,
        "cost": dict(cost),
        "versions": versions(),
    }


def make_error(cell: Cell, kind: str, message: str) -> dict[str, Any]:
    """The content of a failed cell's error file; the message is one line without paths."""
    error = {"type": kind, "message": message}
    return {"schema": SCHEMA, "key": cell.key, "cell": cell.record(), "error": error, "versions": versions()}


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a file whole or not at all, with the folders that it needs; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def note_error(cell: Cell, results: Path, error: Exception) -> str:
    """Write the error file of a cell; the error in one line, without paths."""
    message = without_places(" ".join(str(error).split()) or type(error).__name__)
    write(results / cell.error_path, make_error(cell, type(error).__name__, message[:1000]))
    logger.debug("%s failed", cell.title, exc_info=error)
    return f"{type(error).__name__}: {message}"


def without_places(text: str) -> str:
    """A message in which absolute paths keep their last name alone.

    Example:
        >>> without_places("no file /home/me/data/train.csv, see https://example.org/a/b")
        'no file train.csv, see https://example.org/a/b'
    """
    return re.sub(r"(?<![\w:/.])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\",;:]+)+[/\\]([^\s/\\'\",;:]+)", r"\1", text)


def read(path: Path) -> dict[str, Any]:
    """The content of a finished cell's file.

    Raises:
        ValueError: in one line, if it is not one.
        OSError: if it cannot be read.
    """
    content = read_json(path)
    validate(content, str(path))
    return content


def key_in(path: Path) -> str | None:
    """The key in a cell's file; None if there is no such file, "" if it is damaged.

    Example:
        >>> key_in(Path("no", "such", "seed0.json")) is None
        True
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except ValueError:
        return ""
    return str(content.get("key", "")) if isinstance(content, dict) else ""


def validate(content: Any, what: str) -> None:
    """Check that a cell's file says what its key says, and has all of its parts.

    Args:
        content: of the file.
        what: names it in errors.

    Raises:
        ValueError: in one line, with the first thing that is wrong.

    Example:
        >>> cell = Cell("ag_news", 40, 0, "freematch", "m")
        >>> row = {"algorithm": "freematch", "seed": 0, "test_accuracy": 81.0}
        >>> validate(make_result(cell, "0" * 16, row, {}, [], {}), "seed0.json")
        Traceback (most recent call last):
        ValueError: seed0.json: test_accuracy must be a share in 0..1, got 81.0; leave percent to the report
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{what}: schema must be {SCHEMA}, got {found!r}; it is not a result of this version")
    for name, kind in _BLOCKS.items():
        if not isinstance(content.get(name), kind):
            found = type(content.get(name)).__name__
            raise ValueError(f"{what}: {name} must be a {kind.__name__}, got {found}; run the cell again")
    if len(content["runs"]) != 1 or not isinstance(content["runs"][0], dict):
        raise ValueError(f"{what}: runs must have one row, got {len(content['runs'])}; run the cell again")
    for name in _SHARES:
        value = content["runs"][0].get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ValueError(f"{what}: {name} must be a share in 0..1, got {value!r}; leave percent to the report")
    for problem in _wrong_kinds(content):
        raise ValueError(f"{what}: {problem}; run the cell again")
    key = key_of(content["cell"], content["settings"], str(content["versions"].get("hf-ssl")))
    if key != content["key"]:
        raise ValueError(f"{what}: key must be {key}, got {content['key']!r}; the file was changed, run it again")


def _wrong_kinds(content: Mapping[str, Any]) -> Iterator[str]:
    """What is not of the kind that it must be, within the blocks."""
    cell, run, settings = content["cell"], content["runs"][0], content["settings"]
    for name, kind in _OF_CELLS.items():
        if not isinstance(value := cell.get(name), kind) or isinstance(value, bool):
            yield f"cell.{name} must be of type {kind.__name__}, got {value!r}"
    for topic, values in settings.items():
        if not isinstance(values, dict):
            yield f"settings.{topic} must be a dict, got {type(values).__name__}"
    training = settings.get("training", {})
    numbers = {f"runs[0].{name}": run.get(name) for name in _NUMBERS}
    numbers |= {f"settings.training.{name}": training.get(name) for name in _TRAINING_NUMBERS}
    for place, value in numbers.items():
        if value is not None and not _is_count(value):
            yield f"{place} must be a number in 0..{_LARGEST:g}, got {str(value)[:40]}"
    for name in ("last", "best"):
        if not isinstance(content["metrics"].get(name), dict | None):
            yield f"metrics.{name} must be a dict, got {type(content['metrics'][name]).__name__}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def path_in_results(content: Mapping[str, Any]) -> str:
    """Where a checked file belongs, below a results folder."""
    return str(Cell.from_record(content["cell"], content["settings"]).path)


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """The finished cells below a results folder, in the order of their paths.

    A damaged file is left out, with a warning.

    Args:
        folder: of the results; one without any gives an empty list.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    return list(each_result(folder))


def each_result(folder: str | Path) -> Iterator[dict[str, Any]]:
    """As `read_results`, one after another, for folders that need not fit into memory."""
    for path in _files(Path(folder)):
        if path.name.endswith(".error.json"):
            continue
        try:
            yield read(path)
        except ValueError as error:
            logger.warning("%s", error)


def read_errors(folder: str | Path) -> list[dict[str, Any]]:
    """The error files of failed cells below a results folder: {"schema", "key", "cell", "error", "versions"}.

    A damaged file is left out, with a warning.
    """
    contents = []
    for path in _files(Path(folder)):
        if path.name.endswith(".error.json"):
            try:
                contents.append(read_json(path))
            except ValueError as error:
                logger.warning("%s", error)
    return [content for content in contents if isinstance(content, dict) and isinstance(content.get("error"), dict)]


def _files(folder: Path) -> Iterator[Path]:
    """Files named as cells are; what hidden folders hold (checkpoints) and the report are none of them."""
    if not folder.is_dir():
        raise FileNotFoundError(f"the results must be a folder, got {folder}; `hf-ssl benchmark run` writes one")
    return iter(path for path in sorted(folder.glob("[!.]*/*/*/*/seed*.json")) if NAMED.fullmatch(path.name))
