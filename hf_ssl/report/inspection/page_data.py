"""What the scripts of the page know: the examples, their media and the confusion matrix, checked and made small."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..markdown import one_line

# Digits that are kept of a column; others are whole numbers or texts.
_DIGITS = {"x": 4, "y": 4, "confidence": 3, "disagreement": 3, "change": 3, "foreign": 3}
_COLUMNS = ("part", "row", "name", "label", *_DIGITS, "media")
_STARTS = {"image": "data:image/", "audio": "data:audio/"}
# Classes of a confusion matrix that is a table; of more, the script draws a picture of at most so many.
TABLE_CLASSES, PICTURE_CLASSES = 20, 150


def page_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the document that the scripts need, ready to be written as JSON.

    Args:
        data: what was gathered of a run.

    Raises:
        ValueError: if columns have different lengths, or media are not texts, images or recordings in `data:`
            addresses.
    """
    media = [_medium(medium) for medium in data["media"]]
    return {
        "classes": [one_line(row["name"]) for row in data["classes"]],
        "methods": [one_line(method) for method in data["methods"]],
        "examples": _examples(data["examples"], data["methods"], len(media)),
        "media": media,
        "confusion": _picture(data["confusion"]),
    }


def _examples(examples: Mapping[str, Any], methods: Sequence[str], media: int) -> dict[str, Any]:
    columns: dict[str, Any] = {name: _column(name, examples[name]) for name in _COLUMNS}
    columns["predicted"] = [[_whole(value) for value in examples["predicted"][method]] for method in methods]
    lengths = {name: len(column) for name, column in columns.items() if name != "predicted"}
    lengths |= {f"predicted by {method}": len(of) for method, of in zip(methods, columns["predicted"], strict=True)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"columns of examples must be of one length, got {listed}; give a value for each example")
    if any(value >= media for value in columns["media"]):
        raise ValueError(f"media of examples must be below {media}, got {max(columns['media'])}; list all media")
    return columns


def _column(name: str, values: Sequence[Any]) -> list[Any]:
    if name == "name":
        return [None if value is None else one_line(value) or None for value in values]
    if name in _DIGITS:
        return [None if (number := finite(value)) is None else round(number, _DIGITS[name]) for value in values]
    return [_whole(value) for value in values]


def _whole(value: Any) -> int:
    """A class, place or part; -1 if it is not known."""
    number = finite(value)
    return -1 if number is None else int(number)


def finite(value: Any) -> float | None:
    """A number that can be shown; None for what is missing, NaN or infinite.

    Example:
        >>> finite(0.5), finite(float("nan")), finite(None)
        (0.5, None, None)
    """
    return None if value is None or not isfinite(value) else float(value)


def _medium(medium: Mapping[str, Any]) -> dict[str, Any]:
    kind = medium["kind"]
    if kind == "text":
        return {"kind": kind, "text": str(medium["text"])}
    if kind not in _STARTS or not str(medium["src"]).startswith(_STARTS[kind]):
        raise ValueError(f"media must be texts, or images and audio in data: addresses, got {str(medium)[:60]!r}")
    known = {"kind": kind, "src": medium["src"]}
    return known if kind == "image" else known | {"seconds": finite(medium.get("seconds"))}


def _picture(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The matrix for the script, as pairs that occur: [true, predicted, count], numbered as in "classes".

    None if it is small enough for a table. Of very many classes only those with the most errors.
    """
    if confusion is None or len(confusion["counts"]) <= TABLE_CLASSES:
        return None
    counts = np.asarray(confusion["counts"], dtype=np.int64)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    classes = np.sort(np.argsort(-wrong, kind="stable")[:PICTURE_CLASSES])
    shown = counts[np.ix_(classes, classes)]
    true, predicted = np.nonzero(shown)
    pairs = np.stack([true, predicted, shown[true, predicted]], axis=1)
    return {"classes": classes.tolist(), "examples": counts.sum(axis=1)[classes].tolist(), "pairs": pairs.tolist()}
