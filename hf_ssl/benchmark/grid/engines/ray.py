"""Ray: cells as tasks on a cluster; those of a node that is lost run again elsewhere.

Nodes need not share a disk with this process: the content of a cell's file comes back with the task. A cell that runs
again goes on from its checkpoint if the nodes share the folder of the checkpoints, and from the beginning if not.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import ray

from ..cell_file import key_in, read, write
from ..cells import Cell, result_path
from ..environment import repeatable
from .base import Outcome, Work
from .remote import RUNNER, end_of, number, outcome_of, run_within_limit

logger = logging.getLogger(__name__)


@dataclass
class RayEngine:
    """Runs cells as Ray tasks with `work.cores` CPUs and `work.gpus` GPUs each.

    Args:
        address: of the cluster, such as "ray://head:10001"; "" for RAY_ADDRESS, a cluster on this machine, or else a
            new one here.
        retries: how often a cell is started again whose worker or node was lost; at least that of the grid.
        window: most tasks that are handed to Ray at a time, if the grid does not say.
    """

    runner: ClassVar[tuple[str, str]] = RUNNER
    address: str = ""
    retries: str | int = 3
    window: str | int = 1000

    def __post_init__(self) -> None:
        self.retries = int(number("retries", self.retries))
        self.window = int(number("window", self.window, 1))

    def run(self, cells: Sequence[Cell], work: Work) -> Iterator[Outcome]:
        """See `Engine`."""
        connected = ray.is_initialized()
        if not connected:
            ray.init(address=self.address or None, log_to_driver=False, logging_level=logging.ERROR)
        running: dict[ray.ObjectRef, Cell] = {}
        try:
            _check_room(work)
            yield from self._run(iter(cells), work, running)
        finally:
            for task in running:
                ray.cancel(task, force=True)
            if not connected:
                ray.shutdown()

    def _run(self, waiting: Iterator[Cell], work: Work, running: dict[Any, Cell]) -> Iterator[Outcome]:
        task: Any = ray.remote(
            num_cpus=work.cores,
            num_gpus=work.gpus,
            max_retries=max(int(self.retries), work.retries),
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": repeatable(work.cores)},
        )(run_on_node)
        until = end_of(work)
        while True:
            for cell in islice(waiting, (work.jobs or int(self.window)) - len(running)):
                running[task.remote(cell, work, until, self.runner)] = cell
            if not running:
                return
            for done in ray.wait(list(running), num_returns=1)[0]:
                cell = running.pop(done)
                try:
                    found = ray.get(done)
                except ray.exceptions.RayError as error:
                    yield outcome_of(cell, work, RuntimeError(_first_line(error)))
                else:
                    if found is not None:
                        yield _brought(cell, work, *found)


def run_on_node(
    cell: Cell, work: Work, until: float, runner: tuple[str, str] = RUNNER
) -> tuple[Outcome, str | None] | None:
    """Run a cell where this is called.

    Args:
        cell, work, runner: as for `run_within_limit`.
        until: when no cell is begun any more, in seconds since 1970.

    Returns:
        its outcome, and the content of its file or of its error file; None if it was not begun.
    """
    if time.time() > until:
        return None
    outcome = run_within_limit(cell, work, runner)
    path = outcome.path or work.results / cell.error_path
    return outcome, path.read_text(encoding="utf-8") if path.is_file() else None


def _brought(cell: Cell, work: Work, outcome: Outcome, content: str | None) -> Outcome:
    """The outcome, once the file is here, too; where the disk is shared it is already."""
    if outcome.path is None:
        if content is not None:
            write(work.results / cell.error_path, json.loads(content))
        return outcome
    place = result_path(work.results, cell)
    if content is not None and key_in(place) != cell.key:
        write(place, json.loads(content))
    read(place)
    (work.results / cell.error_path).unlink(missing_ok=True)
    return Outcome(cell, place, None, outcome.seconds)


def _check_room(work: Work) -> None:
    """Warn if no node can run a cell now: Ray waits without a word for one that can."""
    wanted = {"CPU": work.cores, "GPU": work.gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0) >= count for kind, count in wanted.items()) for node in nodes):
        logger.warning(
            "no node of the Ray cluster has %d CPUs and %d GPUs now; cells wait until one has, or ask for fewer",
            work.cores,
            work.gpus,
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
