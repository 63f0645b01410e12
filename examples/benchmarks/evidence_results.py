"""The results file: one row for each run, written whole or not at all, also by two processes at once."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock


def identity(row: dict[str, Any], names: Sequence[str]) -> tuple:
    """What tells a row from others."""
    return tuple(row[name] for name in names)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []


def add(path: Path, row: dict[str, Any], names: Sequence[str]) -> None:
    """Add a row, or put it in the place of the one of the same identity, by these fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(path) + ".lock"):
        rows = {identity(old, names): old for old in read(path)}
        rows[identity(row, names)] = row
        temporary = path.with_suffix(".tmp")
        lines = ",\n".join(json.dumps(rows[key]) for key in sorted(rows))
        temporary.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")
        os.replace(temporary, path)


def machine() -> dict[str, Any]:
    """What the run was made on."""
    if torch.cuda.is_available():
        return {"processor": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
