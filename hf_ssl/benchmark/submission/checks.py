"""Whether the file of a cell may be published: complete, unchanged, where it belongs, and without anything private."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...documents import parse_json, read_text
from ...hub.secrets import YOURS, secret_in
from ...hub.upload import check_regular, check_secrets
from ..grid.cell_file import path_in_results, validate

# A cell is a few KB; a curve of 10,000 evaluations stays below this.
LARGEST_CELL = 1 << 21
# Two folders or more from the root, but not the end of an address or of a Hub id; a drive or server of Windows; a home
# folder.
_LOCAL = re.compile(r"(?<![\w.:/~-])/(?:[\w.+ -]+/)+[\w.+-]*|\b[A-Za-z]:[\\/](?!/)|\\\\\w|\bfile://|(?<!\w)~[\w-]*/")
# As in the header of a request.
_BEARER = re.compile(r"\b[Bb]earer [\w.~+/-]{20,}")
_DRAW = re.compile(r"[0-9a-f]{16,64}")


def check_cell(path: Path, name: str, token: str | None = None) -> dict[str, Any]:
    """The content of a cell's file, if it may be published.

    Args:
        path: of the file.
        name: where it is below the results folder.
        token: the access token in use, which must not be in it.

    Raises:
        ValueError: in one line, with the first thing that is wrong: a block is missing, the key or the path is not
            that of what the file says, a number is not one, or a local path, token or key is in it.
        OSError: if it cannot be read.
    """
    check_regular(path, name)
    check_secrets(path, token)
    content = parse_json(read_text(path, LARGEST_CELL), name)
    for problem in _private_or_infinite(content, token):
        raise ValueError(f"{name}: {problem}")
    validate(content, name)
    for problem in _contradictions(content, name):
        raise ValueError(f"{name}: {problem}")
    return content


def _private_or_infinite(content: Any, token: str | None) -> Iterator[str]:
    for where, value in _values(content):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{where} must be finite, got {value}; write null for what is not known"
        if isinstance(value, str) and (kind := _key_in(value, token)) is not None:
            # Also where a letter of it is written as its number, which the bytes of the file do not show.
            place = where if where.startswith("a key of") else f"the text at {where}"
            yield f"{place} holds {kind} and is not published; take it out"
        if isinstance(value, str) and (found := _LOCAL.search(value)):
            yield f"{where} must not name a local path, got {found[0]!r}; take it out of the grid's settings"


def _key_in(text: str, token: str | None) -> str | None:
    kind = secret_in(text.encode("utf-8", "surrogatepass"), [token] if token else [])
    if kind is None and _BEARER.search(text):
        kind = "bearer token"
    return kind if kind in (None, YOURS) else f"what looks like a key ({kind})"


def _contradictions(content: Mapping[str, Any], name: str) -> Iterator[str]:
    cell, run = content["cell"], content["runs"][0]
    if not isinstance(draw := cell.get("draw"), str) or not _DRAW.fullmatch(draw):
        yield f"cell.draw must be the hash of the labeled indices, got {draw!r}; run the cell again"
    if (place := path_in_results(content)) != name:
        yield f"it must be at {place}, got {name}; move it there"
    for field in ("algorithm", "seed"):
        if run.get(field) != cell[field]:
            yield f"runs must be of {field} {cell[field]!r}, got {run.get(field)!r}; run the cell again"
    last = (content["metrics"].get("last") or {}).get("accuracy")
    if last is not None and last != run.get("test_accuracy"):
        yield f"test_accuracy must be that of metrics.last, {last!r}, got {run.get('test_accuracy')!r}; run it again"
    steps = [row["step"] for row in content["curves"] if isinstance(row, dict) and isinstance(row.get("step"), int)]
    if len(steps) < len(content["curves"]) or steps != sorted(set(steps)):
        yield "the steps of curves must increase; run the cell again"


def _values(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and every single value of a JSON document, with where it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"a key of {where or 'the file'}", key
            yield from _values(inner, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _values(inner, f"{where}[{index}]")
    else:
        yield where, value


def measured(content: Mapping[str, Any]) -> str:
    """What two runs of one cell must agree on, in a form that can be compared: everything but costs and versions."""
    runs = content.get("runs")
    if isinstance(runs, list):
        runs = [{**run, "seconds": None} if isinstance(run, dict) else run for run in runs]
    parts = {key: content.get(key) for key in ("key", "cell", "settings", "metrics", "curves")}
    return json.dumps({**parts, "runs": runs}, sort_keys=True)
