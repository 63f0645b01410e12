"""The local engine: worker processes on this machine, one per GPU or per N cores, which train cell after cell.

A worker imports torch once and serves many cells. The parent hands out cells in their order, watches memory and time,
and replaces a worker that died: by its system, or by the parent because it passed a limit. What a worker had begun is
resumed from its checkpoint. There is no queue on disk and no daemon: when the parent ends, so do the workers.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from ..cell_file import key_in, note_error
from ..cells import Cell, result_path
from ..environment import changed, repeatable
from ..processes import end_tree
from .base import Outcome, Work

_LOOK_SECONDS = 0.5
# How long idle workers may take to end, all of them together.
_END_SECONDS = 5.0
_BEGUN = "begun"
# Memory that stays free for everything else, as a share of all of it.
_FREE = 0.05


class LocalEngine:
    """Runs cells in worker processes of this machine."""

    # Module and name of the function that trains a cell, which workers import: it takes seconds, and torch.
    runner = ("hf_ssl.benchmark.grid.running", "run_cell")

    def run(self, cells: Sequence[Cell], work: Work) -> Iterator[Outcome]:
        """As `Engine.run`. Workers see one GPU each if `work.gpus` is 1; more `work.jobs` than GPUs share them."""
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        pool = _Pool(cells, work, self.runner)
        try:
            yield from pool.outcomes()
        finally:
            pool.stop()


def usual_jobs(work: Work) -> int:
    """Cells at a time by default: one per GPU group, or as many as the cores allow.

    Example:
        >>> usual_jobs(Work(Path("results"), jobs=3))
        3
    """
    if work.jobs is not None:
        return work.jobs
    if work.gpus:
        return max(_device_count() // work.gpus, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // work.cores, 1)


class _Worker:
    """One process, and what it does now."""

    def __init__(self, place: int, work: Work, runner: tuple[str, str]):
        context = multiprocessing.get_context("spawn")
        self.place = place
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, place, runner), name=f"grid-{place}")
        with changed(_settings(place, work)):
            self.process.start()
        theirs.close()
        self.cell: Cell | None = None
        # When it began its cell; None while it still imports torch.
        self.began: float | None = None
        self.tries, self.why = 0, ""

    def give(self, cell: Cell, tries: int) -> None:
        """Let it train a cell, for the (tries + 1)th time."""
        self.cell, self.tries, self.began, self.why = cell, tries, None, ""
        self.connection.send(cell)

    @property
    def seconds(self) -> float:
        """Since it began its cell."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def memory(self) -> float:
        """MB of the process and of those that make its views."""
        try:
            process = psutil.Process(self.process.pid)
            parts = [process, *process.children(recursive=True)]
            return sum(part.memory_info().rss for part in parts) / 2**20
        except psutil.Error:
            return 0.0

    def dismiss(self) -> None:
        """Let an idle one, which hears no more, end by itself and return what the system lent it."""
        if self.cell is None:
            self.connection.close()

    def stop(self, why: str = "") -> None:
        """End the process and those that it started; it has nothing that is not on the disk."""
        self.why = why
        # The id of one that is gone may be another's by now.
        if self.process.is_alive() and self.process.pid is not None:
            end_tree(self.process.pid)
        self.process.join()


class _Pool:
    """The workers, and the cells that wait."""

    def __init__(self, cells: Sequence[Cell], work: Work, runner: tuple[str, str]):
        self.work, self.runner = work, runner
        self.waiting: deque[tuple[Cell, int]] = deque((cell, 0) for cell in cells)
        self.jobs = max(min(usual_jobs(work), len(cells)), 1)
        self.workers: dict[int, _Worker] = {}
        self.peaks: dict[tuple[str, str], float] = {}
        self.ends = None if work.seconds_in_all is None else time.monotonic() + work.seconds_in_all

    def outcomes(self) -> Iterator[Outcome]:
        while True:
            if self.ends is not None and time.monotonic() > self.ends:
                self.waiting.clear()
            yield from self._hand_out()
            busy = {worker.connection: worker for worker in self.workers.values() if worker.cell is not None}
            if not busy:
                if not self.waiting:
                    return
                continue
            for ready in wait(list(busy), timeout=_LOOK_SECONDS):
                assert isinstance(ready, Connection)
                yield from self._hear(busy[ready])
            self._watch()

    def _hand_out(self) -> Iterator[Outcome]:
        """Give a cell to each worker that has none, if there is memory for it."""
        for place in range(self.jobs):
            worker = self.workers.get(place)
            if not self.waiting or (worker is not None and worker.cell is not None):
                continue
            cell, tries = self.waiting[0]
            if (needed := self._lacking(cell)) is not None:
                if any(other.cell is not None for other in self.workers.values()):
                    return  # until another one ends
                self.waiting.popleft()
                yield self._failed(cell, MemoryError(needed))
                continue
            self.waiting.popleft()
            if worker is None:
                worker = self.workers[place] = _Worker(place, self.work, self.runner)
            worker.give(cell, tries)

    def _lacking(self, cell: Cell) -> str | None:
        """What is missing for a cell like those that ran before; None if there is enough memory, or nobody knows."""
        known = self.peaks.get((cell.task, cell.backbone))
        limit = self.work.memory_mb
        if known is None:
            return None
        if limit is not None and known > limit:
            return f"cells of this kind took {known:,.0f} MB, and a worker may have {limit:,.0f}; raise --memory"
        free = psutil.virtual_memory().available / 2**20
        idle = [worker for worker in self.workers.values() if worker.cell is None]
        free += idle[0].memory() if idle else 0.0
        if known > free:
            return f"cells of this kind took {known:,.0f} MB, and {free:,.0f} are free; free some, or use fewer --jobs"
        return None

    def _hear(self, worker: _Worker) -> Iterator[Outcome]:
        """The outcome that a worker sends, or what follows from its death."""
        cell = worker.cell
        assert cell is not None, "only busy workers are listened to"
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(worker, cell)
            return
        if message == _BEGUN:
            worker.began = time.monotonic()
            return
        outcome, peak = message
        worker.cell = None
        place = cell.task, cell.backbone
        self.peaks[place] = max(self.peaks.get(place, 0.0), peak)
        yield outcome

    def _bury(self, worker: _Worker, cell: Cell) -> Iterator[Outcome]:
        worker.stop(worker.why)
        worker.connection.close()
        del self.workers[worker.place]
        path = result_path(self.work.results, cell)
        if key_in(path) == cell.key:  # it died after its work was done
            yield Outcome(cell, path, None, worker.seconds)
        elif worker.why:
            yield self._failed(cell, RuntimeError(worker.why), worker)
        elif worker.tries < self.work.retries:
            self.waiting.appendleft((cell, worker.tries + 1))
        else:
            code = worker.process.exitcode
            how = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
            what = f"its process ended {worker.tries + 1} times, the last time by {how}"
            yield self._failed(cell, RuntimeError(what), worker)

    def _failed(self, cell: Cell, error: Exception, worker: _Worker | None = None) -> Outcome:
        seconds = 0.0 if worker is None else worker.seconds
        return Outcome(cell, None, note_error(cell, self.work.results, error), seconds)

    def _watch(self) -> None:
        """Stop workers that passed a limit; `_hear` finds them dead."""
        busy = [worker for worker in self.workers.values() if worker.cell is not None and not worker.why]
        for worker in busy:
            limit = self.work.seconds_per_cell
            if limit is not None and worker.seconds > limit:
                worker.stop(f"it took longer than {limit:,.0f} s")
            elif (most := self.work.memory_mb) is not None and (used := worker.memory()) > most:
                worker.stop(f"it used {used:,.0f} MB, above the limit of {most:,.0f}")
        memory = psutil.virtual_memory()
        if busy and memory.available < _FREE * memory.total:
            largest = max(busy, key=_Worker.memory)
            largest.stop(f"memory ran out while it used {largest.memory():,.0f} MB; use fewer --jobs")

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.dismiss()
        until = time.monotonic() + _END_SECONDS
        for worker in self.workers.values():
            if worker.cell is None:
                worker.process.join(max(until - time.monotonic(), 0.0))
            worker.stop()
        self.workers.clear()


def _device_count() -> int:
    import torch

    return torch.accelerator.device_count()


def _settings(place: int, work: Work) -> dict[str, str]:
    """What must be known before a worker imports torch: its threads and its GPUs."""
    settings = repeatable(work.cores)
    if work.gpus:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        all_of_them = given.split(",") if given else [str(number) for number in range(_device_count())]
        # The last group is whole: GPUs that are left over serve no worker.
        groups = max(len(all_of_them) // work.gpus, 1)
        first = place % groups * work.gpus
        mine = all_of_them[first : first + work.gpus]
        settings["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return settings


def _serve(connection: Connection, work: Work, place: int, runner: tuple[str, str]) -> None:
    """The life of a worker: cells come, outcomes go, until the parent is gone."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _write_to(work.checkpoints / f"worker-{place}.log")
    run_cell = getattr(import_module(runner[0]), runner[1])
    process = psutil.Process()
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        connection.send(_BEGUN)
        outcome = run_cell(cell, work)
        connection.send((outcome, process.memory_info().rss / 2**20))


def _end_with(parent: int) -> None:
    """End this process and those that it started when its parent is gone, also in the middle of a cell."""
    while os.getppid() == parent:
        time.sleep(1.0)
    end_tree(os.getpid(), itself=False)
    os._exit(1)


def _write_to(path: Path) -> Any:
    """Send what libraries print to a file: the screen is the parent's."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
