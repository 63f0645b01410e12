"""Trackers: how the runs of a grid are named and grouped in Trackio, TensorBoard and Weights & Biases.

    Trackio, W&B    project = the grid, group = the algorithm, run = task-labels-seed
    TensorBoard     RESULTS/.tensorboard/algorithm/task-labels-seed

Trackio continues a run that has the same name, so that names there end in the algorithm.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from transformers import Trainer
from transformers.integrations import TrackioCallback, WandbCallback

from ...training.trackio_callback import Grouped
from .cells import Cell, safe_name
from .engines.base import Work
from .environment import changed


def run_name(cell: Cell, work: Work) -> str:
    """The name of a cell's run.

    Example:
        >>> from pathlib import Path
        >>> run_name(Cell("digits", 40, 0, "uda", "m"), Work(Path("results"), report_to=("wandb",)))
        'digits-40-0'
    """
    return f"{cell.run_name} {cell.label}" if "trackio" in work.report_to else cell.run_name


@contextmanager
def tracked(cell: Cell, work: Work) -> Iterator[None]:
    """While a cell's trainer is made and trains, the environment that trackers read says where its run belongs."""
    folder = work.results / ".tensorboard" / safe_name(cell.label) / safe_name(cell.run_name)
    wanted = {
        "WANDB_PROJECT": work.project,
        "TENSORBOARD_LOGGING_DIR": str(folder),
    }
    try:
        with changed(wanted):
            yield
    finally:
        if "wandb" in work.report_to and "wandb" in sys.modules:
            # The next cell of this process is a run of its own.
            sys.modules["wandb"].finish()


def group_runs(trainer: Trainer, cell: Cell) -> None:
    """Let Trackio and W&B know the group, which is the cell's: it names the correction for long tails, too.

    W&B reads its environment once in a process, and a worker trains many cells: a variable would put all of them into
    the group of the first.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TrackioCallback):
            callback._trackio = Grouped(callback._trackio, group=cell.label)
        elif isinstance(callback, WandbCallback):
            callback._wandb = Grouped(callback._wandb, group=cell.label)
