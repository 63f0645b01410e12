"""The tables and lists that the page has without its scripts: numbers and names as they are shown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..markdown import one_line
from .page_data import TABLE_CLASSES, finite

# Pairs of classes in the list of what is confused, and entries of the lists of examples.
_MOST_PAIRS, _MOST_LISTED = 20, 200
PARTS = ("labeled", "pool", "test")
_WHOSE = {"test": "the test set", "labeled, held out": "the labeled examples, each held out in turn"}


def class_rows(classes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per class: labeled and predicted examples and recall, and how wide their bars are (0..100)."""
    most = max((row["predicted"] or 0 for row in classes), default=0) or 1
    return [
        {
            "name": one_line(row["name"]),
            "labeled": row["labeled"] or 0,
            "predicted": row["predicted"] or 0,
            "predicted_bar": round(100 * (row["predicted"] or 0) / most),
            "recall": None if (recall := finite(row["recall"])) is None else f"{100 * recall:.0f}\u00a0%",
            "recall_bar": round(100 * (recall or 0.0)),
        }
        for row in classes
    ]


def confusion_tables(confusion: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The matrix as rows if it is small, and the pairs of classes that are confused most, in any case.

    Args:
        confusion: "of" which examples, and "counts" [C, C], row true class, column predicted class.
        names: of the classes.
    """
    counts = np.asarray(confusion["counts"], dtype=np.int64).reshape(len(names), len(names))
    examples = counts.sum(axis=1)
    shares = counts / np.maximum(examples[:, None], 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    small = len(names) <= TABLE_CLASSES
    return {
        "of": _whose(confusion["of"]),
        "right": int(np.trace(counts)),
        "total": int(counts.sum()),
        "wrong_pairs": int((wrong > 0).sum()),
        "rows": [_matrix_row(k, counts, shares, names) for k in range(len(names))] if small else [],
        "pairs": [
            {
                "true": true,
                "predicted": predicted,
                "count": int(counts[true, predicted]),
                "share": f"{100 * shares[true, predicted]:.0f}\u00a0%",
            }
            for true, predicted in pairs
        ],
    }


def _matrix_row(true: int, counts: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    cells = [
        {
            "count": int(counts[true, k]),
            "shade": f"{'right' if k == true else 'wrong'}{round(10 * shares[true, k])}"
            if counts[true, k]
            else "none",
        }
        for k in range(len(names))
    ]
    return {"name": names[true], "cells": cells}


def calibration_rows(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Its numbers with three digits, and what the bins say in rows."""
    numbers = {key: "-" if (value := finite(calibration[key])) is None else f"{value:.3f}" for key in ("brier", "nll")}
    error = finite(calibration["ece"])
    rows = [
        [f"{100 * low:.0f} to {100 * high:.0f}\u00a0%", f"{count:,}", _percent(confidence), _percent(accuracy)]
        for low, high, count, confidence, accuracy in calibration["bins"]
    ]
    ece = "-" if error is None else f"{100 * error:.1f} %"
    return {"of": _whose(calibration["of"]), "ece": ece, **numbers, "rows": rows}


def label_error_rows(data: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Which label looks wrong, and what the example looks like."""
    return [
        {
            "example": error["example"],
            "name": _example_name(data["examples"], error["example"]),
            "part": "",
            "given": names[error["given"]],
            "suggested": names[error["suggested"]],
            "probability": _percent(error["probability"]),
        }
        for error in data["label_errors"][:_MOST_LISTED]
    ]


def duplicate_rows(data: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Two examples that are nearly the same, where they are, and what is wrong with that."""
    examples, rows = data["examples"], []
    for pair in data["duplicates"][:_MOST_LISTED]:
        two = (pair["first"], pair["second"])
        parts = [PARTS[examples["part"][i]] for i in two]
        labels = [examples["label"][i] for i in two]
        remarks = []
        if "test" in parts and set(parts) != {"test"}:
            remarks.append("one is in the test set, the other is trained on")
        if min(labels) >= 0 and labels[0] != labels[1]:
            remarks.append(f"labels differ: {names[labels[0]]} and {names[labels[1]]}")
        shown = [
            {"example": i, "name": _example_name(examples, i), "part": part}
            for i, part in zip(two, parts, strict=True)
        ]
        similarity = finite(pair["similarity"])
        rows.append(
            {"two": shown, "similarity": "-" if similarity is None else f"{similarity:.3f}", "remarks": remarks}
        )
    return rows


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values; what is not a text or a number is written as JSON."""
    return [(one_line(name), _value(value)) for name, value in settings.items()]


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return one_line(value if isinstance(value, str | int | float) else json.dumps(value, default=str))


def _example_name(examples: Mapping[str, Any], i: int) -> str:
    """The file's name, else the part and the position in it: what examples.js calls it, too."""
    name = examples["name"][i]
    return (one_line(name) if name else "") or f"{PARTS[examples['part'][i]]} example {examples['row'][i]}"


def _whose(of: str) -> str:
    return _WHOSE.get(of, one_line(of))


def _percent(value: Any) -> str:
    return "-" if (share := finite(value)) is None else f"{100 * share:.0f}\u00a0%"
