"""SLURM: cells in arrays of jobs, through submitit; a job that is preempted goes back into the queue and resumes.

The results folder, and the folder of the checkpoints below it, must be on a disk that all nodes share.
"""

import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import submitit

from ....documents import read_json
from ....files import atomic_write
from ..cells import Cell
from ..environment import repeatable
from .base import Outcome, Work
from .remote import end_of, number, outcome_of, run_within_limit

_JOBS = "jobs.json"
# States of a job that an earlier process submitted and that is waited for.
_ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "PREEMPTED")
# Seconds before the end of a job's time, or of its preemption, at which it goes back into the queue.
_NOTICE = 120
# Minutes of a job's time in which no cell runs: Python and torch start, data are loaded.
_MORE_MINUTES = 15


class CellGroup:
    """Cells that one job runs in turn. submitit calls it, and `checkpoint` when the job is told to make room.

    Nothing has to be kept then: finished cells have their files, and the one that was running its checkpoint.
    """

    def __init__(self, cells: Sequence[Cell], work: Work, until: float):
        self.cells, self.work, self.until = list(cells), work, until

    def __call__(self) -> list[str]:
        """Run the cells; an error of one is in its error file, and does not stop the others.

        Returns:
            the keys of those that were begun in time.
        """
        begun = []
        for cell in self.cells:
            if time.time() < self.until:
                run_within_limit(cell, self.work)
                begun.append(cell.key)
        return begun

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """The same again."""
        return submitit.helpers.DelayedSubmission(self)


@dataclass
class SlurmEngine:
    """Runs cells as SLURM jobs: an array in which each job has one cell, or several if there are more than `array`.

    A job that is preempted, or whose time ends before its cells do, is put back into the queue (at most three times
    for its time) and goes on from the checkpoint. If the process that waits for the jobs is killed, they go on;
    started again, it waits for them. Interrupted with Ctrl-C, it cancels them.

    Args:
        partition, account, qos, constraint: as for `sbatch`; "" for the cluster's own.
        hours: of a job's time, if the grid gives no limit per cell.
        setup: a line of shell that is run before Python starts, such as "module load cuda".
        array: most jobs of the array (SLURM's `MaxArraySize`).
        cluster: "slurm", or "local" for processes of submitit on this machine.
        poll: seconds between two looks.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    hours: str | float = 24.0
    setup: str = ""
    array: str | int = 1000
    cluster: str = "slurm"
    poll: str | float = 10.0

    def __post_init__(self) -> None:
        self.hours = number("hours", self.hours)
        self.array = int(number("array", self.array, 1))
        self.poll = number("poll", self.poll)
        if self.cluster not in ("slurm", "local"):
            raise ValueError(f"--engine-option cluster must be slurm or local, got {self.cluster!r}; choose one")

    def run(self, cells: Sequence[Cell], work: Work) -> Iterator[Outcome]:
        """See `Engine`."""
        base = (work.checkpoints / "slurm").absolute()
        running = self._found(cells, base)
        known = {cell.key for group in running.values() for cell in group}
        new = [cell for cell in cells if cell.key not in known]
        if new:
            running |= self._submit(new, work, base / uuid.uuid4().hex[:12])
        folders, failed = {job.paths.folder for job in running}, set()
        try:
            for folder, outcome in self._wait(running, work):
                if outcome.error is not None:
                    failed.add(folder)
                yield outcome
        finally:
            for job in running:
                job.cancel(check=False)
        for folder in folders:
            (folder / _JOBS).unlink()
        for folder in folders - failed:
            # What the jobs printed stays if one of them failed.
            shutil.rmtree(folder)

    def _wait(self, running: dict[submitit.Job[list[str]], list[Cell]], work: Work) -> Iterator[tuple[Path, Outcome]]:
        """The outcomes of the jobs' cells, with the job's folder; a job is taken out of `running` when it is over."""
        pause = threading.Event()
        while running:
            over = [job for job in running if job.done()]
            for job in over:
                begun, how = _end(job)
                reason = RuntimeError(how)
                for cell in (cell for cell in running.pop(job) if begun is None or cell.key in begun):
                    yield job.paths.folder, outcome_of(cell, work, reason)
            if running and not over:
                pause.wait(float(self.poll))

    def _submit(self, cells: Sequence[Cell], work: Work, folder: Path) -> dict[submitit.Job[list[str]], list[Cell]]:
        number_of_jobs = work.jobs or 1 if self.cluster == "local" else int(self.array)
        number_of_jobs = min(len(cells), number_of_jobs)
        groups = [list(cells[start::number_of_jobs]) for start in range(number_of_jobs)]
        executor, until = self._executor(work, folder, len(groups[0])), end_of(work)
        with executor.batch():
            jobs = [executor.submit(CellGroup(group, work, until)) for group in groups]
        running = dict(zip(jobs, groups, strict=True))
        listed = {job.job_id: [cell.key for cell in group] for job, group in running.items()}
        with atomic_write(folder / _JOBS) as temporary:
            temporary.write_text(json.dumps(listed), encoding="utf-8")
        return running

    def _executor(self, work: Work, folder: Path, cells_per_job: int) -> submitit.AutoExecutor:
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise OSError(f"the engine slurm must run where SLURM's commands are, got {error}; log in there") from None
        minutes = float(self.hours) * 60
        if work.seconds_per_cell is not None:
            minutes = cells_per_job * work.seconds_per_cell / 60 + _MORE_MINUTES
        given = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")}
        settings: dict[str, Any] = {f"slurm_{name}": value for name, value in given.items() if value}
        if work.gpus:
            settings["gpus_per_node"] = work.gpus
        if work.memory_mb is not None:
            settings["mem_gb"] = work.memory_mb / 1024
        exports = [f"export {name}={value}" for name, value in repeatable(work.cores).items()]
        executor.update_parameters(
            name="hf-ssl",
            timeout_min=ceil(minutes),
            cpus_per_task=work.cores,
            slurm_array_parallelism=work.jobs or int(self.array),
            slurm_signal_delay_s=_NOTICE,
            slurm_setup=[*([self.setup] if self.setup else []), *exports],
            # Without it a cluster may end a preempted job instead of queuing it again.
            slurm_additional_parameters={"requeue": True},
            **settings,
        )
        return executor

    def _found(self, cells: Sequence[Cell], base: Path) -> dict[submitit.Job[list[str]], list[Cell]]:
        """The jobs of an earlier process that are still there, with those of these cells that they run."""
        found: dict[submitit.Job[list[str]], list[Cell]] = {}
        if self.cluster != "slurm":
            return found
        wanted = {cell.key: cell for cell in cells}
        for path in sorted(base.glob(f"*/{_JOBS}")):
            for job_id, keys in read_json(path).items():
                job: submitit.Job[list[str]] = submitit.SlurmJob(folder=path.parent, job_id=job_id)
                mine = [wanted[key] for key in keys if key in wanted]
                if mine and any(job.state.upper().startswith(state) for state in _ALIVE):
                    found[job] = mine
        return found


def _end(job: submitit.Job[list[str]]) -> tuple[list[str] | None, str]:
    """The keys of the cells that a job had begun (None: perhaps all), and how it ended, in one line."""
    if not job.paths.result_pickle.exists():  # It was killed; submitit would wait for the file.
        return None, f"the job {job.job_id} ended as {job.state}"
    if (error := job.exception()) is None:
        return job.result(), f"the job {job.job_id} ended without a result"
    lines = [line.strip() for line in str(error).splitlines()]
    return (
        None,
        f"the job {job.job_id} ended: {next((line for line in reversed(lines) if 'Error' in line), 'no error')}",
    )
