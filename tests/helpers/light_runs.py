"""Stands for `run_cell` in workers of the local engine: cells that take no torch, and do what their variant says."""

import os
import signal
import time
from pathlib import Path

from hf_ssl.benchmark.grid.cell_file import make_result, write
from hf_ssl.benchmark.grid.cells import Cell, result_path
from hf_ssl.benchmark.grid.engines.base import Outcome, Work

RUNNER = (__name__, "run_cell")


def light_cells(*variants: str) -> list[Cell]:
    """One cell per variant: what it does when it runs."""
    settings = [{"training": {"max_steps": place}} for place in range(len(variants))]
    return [
        Cell("digits", 40, 0, "uda", "m", known, variant=name) for name, known in zip(variants, settings, strict=True)
    ]


def run_cell(cell: Cell, work: Work) -> Outcome:
    """Note that it runs; then end at once, in a minute, with 300 MB, by a signal, or by one the first time."""
    noted = Path(work.checkpoints, f"{cell.variant}.{os.getpid()}.ran")
    first = not list(work.checkpoints.glob(f"{cell.variant}.*.ran"))
    noted.write_text(os.environ.get("OMP_NUM_THREADS", ""))
    if cell.variant == "large":
        ballast = bytearray(os.urandom(1024)) * (300 * 1024)
        time.sleep(60 * bool(ballast))
    if cell.variant == "long":
        time.sleep(60)
    if cell.variant == "dies" or (cell.variant == "stumbles" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    row = {"algorithm": cell.algorithm, "test_accuracy": 0.5}
    path = write(result_path(work.results, cell), make_result(cell, "0" * 16, row, {}, [], {}))
    if cell.variant == "done_and_dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(cell, path, None, 0.1)
