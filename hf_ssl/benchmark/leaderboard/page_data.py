"""What the page knows of single runs: compact, so that 10,000 of them stay below 5 MB, and safe within HTML."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ...report.pages.assemble import embedded
from .runs import Results, Run

# Characters of the data, if curves can be thinned that far; the tables take up to a million more.
LARGEST = 3_700_000
# Most points of a curve, and about what a point takes in characters, comma included.
_MOST_POINTS, _POINT = 60, 4.5
CURVES = ("test_accuracy", "validation_accuracy", "mask_ratio", "pseudo_label_accuracy")
# Longest text of a setting, and of a value that is not a text.
_LONGEST = 300


class _Table:
    """Values that many runs share, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def add(self, value: Any) -> int:
        text = json.dumps(value, sort_keys=True, default=str)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(value)
        return self._places[text]


def page_data(results: Results) -> tuple[str, dict[tuple[Any, str], int]]:
    """The data of the page as JSON, and the number of each (setting, algorithm) in it.

    Returns:
        JSON that cannot end the element that it is in, and where a number of the tables finds its runs.
    """
    numbers = {key: place for place, key in enumerate(results.cells)}
    without = embedded(_content(results, 0))
    room = (LARGEST - len(without)) / _POINT / len(CURVES) / max(len(results.runs), 1)
    points = min(int(room), _MOST_POINTS)
    while points > 1:
        text = embedded(_content(results, points))
        if len(text) <= LARGEST:
            return text, numbers
        points //= 2
    return without, numbers


def _content(results: Results, points: int) -> dict[str, Any]:
    shared = {name: _Table() for name in ("steps", "settings", "versions", "machines", "splits", "metrics")}
    places = {setting: place for place, setting in enumerate(results.settings)}
    names = {name: place for place, name in enumerate(results.algorithms)}
    cells = [
        [places[setting], names[name], _folder(runs), [_run(run, shared, points) for run in runs.values()]]
        for (setting, name), runs in results.cells.items()
    ]
    titles = [[results.titles[s], s.modality, s.backbone, s.schedule] for s in results.settings]
    tables = {name: found.values for name, found in shared.items()}
    return {"settings": titles, "algorithms": list(results.algorithms), "cells": cells, "shared": tables}


def _folder(runs: Mapping[int, Run]) -> str:
    return next(iter(runs.values())).path.rpartition("/")[0]


def _run(run: Run, shared: Mapping[str, _Table], points: int) -> list[Any]:
    content, row = run.content, run.row
    cost = content["cost"]
    topics = {topic: shared["settings"].add(_plain(values)) for topic, values in content["settings"].items() if values}
    steps, curves = _curves(content["curves"], points)
    return [
        run.seed,
        _rounded(run.error),
        _rounded(run.best_error),
        shared["splits"].add(_plain(row.get("best_split"))),
        _plain(row.get("best_step")),
        _plain(row.get("steps")),
        _rounded(_percent(row.get("mask_ratio"))),
        _rounded(_percent(row.get("pseudo_label_accuracy"))),
        _rounded(run.seconds),
        _plain(cost.get("peak_memory_mb")),
        _plain(cost.get("energy_kwh")),
        topics,
        shared["versions"].add(_plain(content["versions"])),
        shared["machines"].add(run.machine),
        content["key"],
        _plain(content["cell"].get("draw")),
        shared["steps"].add(steps),
        curves,
        _metrics(content["metrics"].get("last"), shared["metrics"]),
    ]


def _metrics(last: Any, names: _Table) -> list[Any]:
    """Those that are shares, in percent: which ones, and their values."""
    found = {name: _percent(value) for name, value in last.items()} if isinstance(last, Mapping) else {}
    shares = {str(name)[:_LONGEST]: round(value, 2) for name, value in found.items() if value is not None}
    return [names.add(list(shares)), list(shares.values())]


def _curves(rows: Sequence[Any], points: int) -> tuple[list[int], list[Any]]:
    """The steps, and the curves in tenths of a percent, thinned evenly; the last point stays."""
    known = [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("step"), int)]
    if not points or not known:
        return [], []
    if len(known) > points:
        known = [known[(len(known) - 1) * k // (points - 1)] for k in range(points)]
    found = []
    for name in CURVES:
        values = [_percent(row.get(name)) for row in known]
        is_there = any(value is not None for value in values)
        found.append([None if value is None else round(10 * value) for value in values] if is_there else 0)
    return [row["step"] for row in known], found


def _percent(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 100 * value if is_number and 0 <= value <= 1 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _plain(value: Any) -> Any:
    """A JSON value with texts that are not too long; whatever is deeper than settings are becomes a text."""
    if isinstance(value, Mapping):
        return {str(name)[:_LONGEST]: _leaf(found) for name, found in value.items()}
    return _leaf(value)


def _leaf(value: Any) -> Any:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
