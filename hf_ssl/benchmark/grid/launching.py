"""A cell on several GPUs: `accelerate launch` runs this module in as many processes, which train it together."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ...documents import read_json
from ...files import atomic_write
from .cell_training import train
from .cells import Cell
from .engines.base import Work
from .processes import end_tree


def launch(cell: Cell, work: Work, folder: Path, *, cpu: bool = False) -> dict[str, Any]:
    """Train a cell in `work.gpus` processes, and wait; the content of its file.

    Args:
        folder: of its checkpoints.
        cpu: do without GPUs.

    Raises:
        RuntimeError: in one line, if a process fails, or they take longer than `work.seconds_per_cell`.
        ValueError: if there are fewer GPUs.
    """
    if not cpu and work.gpus > torch.cuda.device_count():
        raise ValueError(f"gpus must be at most {torch.cuda.device_count()}, got {work.gpus}; ask for fewer per cell")
    folder.mkdir(parents=True, exist_ok=True)
    job, answer = folder / "job.json", folder / "answer.json"
    answer.unlink(missing_ok=True)
    with atomic_write(job) as temporary:
        temporary.write_text(json.dumps(_written(cell, work)), encoding="utf-8")
    arguments = ["--num_processes", str(work.gpus), "--num_machines", "1", "--mixed_precision", "no"]
    arguments += ["--dynamo_backend", "no", "--main_process_port", "0", "--multi_gpu"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *arguments, "-m", __name__, str(job), str(answer)]
    status, told = _until_done(command, work.seconds_per_cell)
    found = read_json(answer) if answer.is_file() else {}
    if status != 0 or "error" in found or not found:
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        raise RuntimeError(
            f"a process of {work.gpus} failed: {found.get('error', (lines or ['nothing is known'])[-1])}"
        )
    return found


def _until_done(command: list[str], seconds: float | None) -> tuple[int, str]:
    """Exit status of a command and what it wrote to stderr; however this ends, nothing that it started runs on."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, told = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it took longer than {seconds:,.0f} s") from None
        finally:
            if process.poll() is None:
                end_tree(process.pid)
    return process.returncode, told


def _written(cell: Cell, work: Work) -> dict[str, Any]:
    plain = {item.name: getattr(work, item.name) for item in fields(work)}
    plain |= {"results": str(work.results), "scratch": str(work.checkpoints)}
    plain |= {"sources": dict(work.sources), "backbones": dict(work.backbones)}
    plain |= {"data": {task: dict(places) for task, places in work.data.items()}}
    return {"cell": cell.record(), "settings": dict(cell.settings), "work": plain}


def _main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("answer", type=Path)
    args = parser.parse_args(arguments)
    content = read_json(args.job)
    plain = content["work"]
    plain |= {"results": Path(plain["results"]), "scratch": Path(plain["scratch"])}
    work = Work(**{**plain, **{name: tuple(plain[name]) for name in ("report_to", "imports")}})
    try:
        found = train(Cell.from_record(content["cell"], content["settings"]), work, args.job.parent)
    except Exception as error:
        _answer(args.answer, {"error": f"{type(error).__name__}: {error}"})
        raise
    if int(os.environ.get("RANK", "0")) == 0:
        _answer(args.answer, found)


def _answer(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    _main()
