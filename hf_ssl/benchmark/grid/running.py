"""`run_cell`: one training of a grid, from its key to its file; the function that every engine calls.

A cell trains through SSLTrainer as a user would. It evaluates on the validation split, which chooses the best
evaluation, and on the test set. While it runs, its checkpoints are in a folder beside the results, named by its key; a
cell whose process was killed goes on from there and gives the same numbers.
"""

import shutil
import time

from filelock import FileLock

from .cell_file import key_in, note_error, validate, write
from .cell_training import train
from .cells import Cell, result_path
from .engines.base import Outcome, Work
from .launching import launch


def run_cell(cell: Cell, work: Work) -> Outcome:
    """Train a cell and write its file, unless the file is there; go on from a checkpoint if there is one.

    It may be called in any process and for any cells one after another. Another process that runs the same cell is
    waited for. An error of the cell is written beside the place of its file, and returned; a cell that failed before
    is tried again.

    Args:
        cell: what to train.
        work: where and with what.

    Example:
        ::

            grid = load_grid("smoke")
            outcome = run_cell(grid.cells[0], Work(Path("results")))
            outcome.path, outcome.error
    """
    path, folder = result_path(work.results, cell), work.checkpoints / cell.key
    began = time.perf_counter()
    work.checkpoints.mkdir(parents=True, exist_ok=True)
    lock = work.checkpoints / f"{cell.key}.lock"
    with FileLock(lock):
        there = key_in(path)
        if there == cell.key:
            shutil.rmtree(folder, ignore_errors=True)
            return Outcome(cell, path)
        if there and not work.replace:
            return Outcome(cell, None, f"{path} has a result of other settings or another version; see --replace")
        try:
            content = train(cell, work, folder) if work.gpus <= 1 else launch(cell, work, folder)
            # A result that nobody could read again is the cell's error, and not the grid's.
            validate(content, cell.title)
        except Exception as error:
            return Outcome(cell, None, note_error(cell, work.results, error), time.perf_counter() - began)
        write(path, content)
        (work.results / cell.error_path).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        # Whoever waits for it finds the result.
        lock.unlink(missing_ok=True)
    return Outcome(cell, path, None, time.perf_counter() - began)
