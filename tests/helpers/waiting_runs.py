"""Stands for `run_cell` on the nodes of a cluster: cells that take no torch, and wait until they may end."""

import os
import time

from hf_ssl.benchmark.grid.cell_file import write
from hf_ssl.benchmark.grid.cells import Cell, result_path
from hf_ssl.benchmark.grid.engines.base import Outcome, Work

from tests.helpers.grid_cells import make_content

RUNNER = (__name__, "run_cell")
GO = "go"


def run_cell(cell: Cell, work: Work) -> Outcome:
    """Note that the cell runs, in which process; wait until there is the file `GO`; end."""
    (work.checkpoints / f"{cell.key}.{os.getpid()}.ran").write_text(os.environ["OMP_NUM_THREADS"])
    limit = time.monotonic() + 120
    while not (work.checkpoints / GO).exists() and time.monotonic() < limit:
        time.sleep(0.02)
    return Outcome(cell, write(result_path(work.results, cell), make_content(cell)), None, 0.1)
