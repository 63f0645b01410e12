"""Hugging Face Jobs: cells on rented machines, their files in a results repository, and copied here.

A job runs `uv run` with a script of a few lines (jobs_script.py), which is committed to the results repository once.
The access token travels as a secret alone.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, Volume, constants, get_token

from ...._version import __version__
from ....files import is_local
from ....hub.errors import clear_errors
from ....hub.repositories import create_repository
from ....hub.requests import patiently
from ....hub.upload import commit_files
from ..cell_file import write
from ..cells import Cell, short_hash
from ..remote_results import content_of, fetch
from .base import Outcome, Work
from .jobs_worker import CHECKPOINTS, VARIABLE, bring, request
from .remote import end_of, number, outcome_of

logger = logging.getLogger(__name__)

SCRIPT = ".jobs/run_cells.py"
LABEL = "hf-ssl-cells"
# Jobs at a time, if the grid does not say.
_JOBS = 8
_RUNNING = ("SCHEDULING", "RUNNING")
# Minutes of a job in which no cell runs: packages and data are downloaded.
_MORE_MINUTES = 20
# How often in a row the Hub may not answer before it is given up.
_SILENCES = 30


@dataclass
class JobsEngine:
    """Runs cells as Hugging Face Jobs, which are paid for by the minute.

    Started again, it takes what the results repository has, and waits for jobs that are still running. Interrupted
    with Ctrl-C, it cancels them.

    Args:
        results: ACCOUNT/NAME of the dataset repository that the jobs commit to; a private one is created if there is
            none.
        flavor: the machine, as `hf jobs hardware` lists them.
        timeout: of a job, such as "6h", if the grid gives no limit per cell.
        cells: per job; jobs of several save the minutes in which packages are installed.
        attempts: how often a job is started that fails; at least one more than the retries of the grid.
        bucket: ACCOUNT/NAME of a bucket for checkpoints, so that a job that is started again goes on from them.
        namespace: account or organization that pays; yours if "".
        package: what is installed there, as pip spells it; this version of hf-ssl if "".
        poll: seconds between two looks.
    """

    results: str = ""
    flavor: str = "cpu-basic"
    timeout: str = "6h"
    cells: str | int = 1
    attempts: str | int = 1
    bucket: str = ""
    namespace: str = ""
    package: str = ""
    poll: str | float = 20.0

    def __post_init__(self) -> None:
        self.cells, self.attempts = int(number("cells", self.cells, 1)), int(number("attempts", self.attempts, 1))
        self.poll = number("poll", self.poll)
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.results):
            raise ValueError(
                "--engine-option results must be ACCOUNT/NAME of a dataset repository for the results, got "
                f"{self.results!r}; give one"
            )
        if not re.fullmatch(r"\d+(\.\d+)?[smhd]", self.timeout):
            raise ValueError(
                f"--engine-option timeout must be a number with s, m, h or d, got {self.timeout!r}; give one like 6h"
            )

    def run(self, cells: Sequence[Cell], work: Work) -> Iterator[Outcome]:
        """See `Engine`."""
        _check_places(work)
        if get_token() is None:
            raise PermissionError(
                "the engine jobs needs an access token; log in with `hf auth login`, or set HF_TOKEN"
            )
        api = HfApi()
        create_repository(api, self.results, "dataset", private=True)
        outcomes = bring(api, self.results, cells, work)
        yield from outcomes
        done = {outcome.cell.key for outcome in outcomes}
        missing = [cell for cell in cells if cell.key not in done]
        size = int(self.cells)
        groups = [missing[start : start + size] for start in range(0, len(missing), size)]
        if groups:
            yield from _Jobs(self, api, work).run(groups)


class _Jobs:
    """The jobs of one run: those that were started, or found, and have not ended."""

    def __init__(self, engine: JobsEngine, api: HfApi, work: Work):
        self.engine, self.api, self.work = engine, api, work
        with clear_errors(engine.results):
            # Once: the client would ask before each call, and the Hub answers only so often.
            self.namespace = engine.namespace or patiently(api.whoami)["name"]
        self.running: dict[str, list[Cell]] = {}
        self.until = end_of(work)
        self.pause = threading.Event()

    def run(self, groups: Sequence[list[Cell]]) -> Iterator[Outcome]:
        """Start a job for each group of cells, not too many at a time, and give what they leave."""
        script, earlier, waiting = self.script(), self.earlier(), deque(groups)
        silences = 0
        try:
            while waiting or self.running:
                if time.time() > self.until:
                    waiting.clear()
                while waiting and len(self.running) < (self.work.jobs or _JOBS):
                    group = waiting.popleft()
                    self.running[earlier.get(_mark(group)) or self.start(group, script)] = group
                try:
                    over = self.over()
                    silences = 0
                except OSError as error:
                    silences += 1
                    if silences == _SILENCES or isinstance(error, PermissionError):
                        raise
                    logger.warning("%s", error)
                    over = {}
                for job_id, how in over.items():
                    yield from self.outcomes(self.running.pop(job_id), how)
                if self.running and not over:
                    self.pause.wait(float(self.engine.poll))
        finally:
            self.cancel()

    def script(self) -> str:
        """The address of the script, at the commit that holds it."""
        text = Path(__file__).with_name("jobs_script.py").read_text(encoding="utf-8")
        package = self.engine.package or f"hf-ssl[vision,audio]=={__version__}"
        text = text.replace('"hf-ssl[vision,audio]"', f'"{package}"', 1)
        results = self.engine.results
        commit = commit_files(results, "dataset", {SCRIPT: text.encode()}, "The script of the jobs")
        return f"{constants.ENDPOINT}/datasets/{results}/resolve/{commit.oid}/{SCRIPT}"

    def earlier(self) -> dict[str, str]:
        """The jobs of an earlier process that are still running: mark of the cells -> id."""
        with clear_errors(self.namespace):
            jobs = patiently(lambda: list(self.api.list_jobs(namespace=self.namespace)))
        return {str((job.labels or {}).get(LABEL)): job.id for job in jobs if job.status.stage in _RUNNING}

    def start(self, group: Sequence[Cell], script: str) -> str:
        """Start a job; its id."""
        engine, work = self.engine, self.work
        timeout: str | int = engine.timeout
        if work.seconds_per_cell is not None:
            timeout = int(len(group) * work.seconds_per_cell + 60 * _MORE_MINUTES)
        volumes = [Volume(type="bucket", source=engine.bucket, mount_path=CHECKPOINTS, read_only=False)]
        with clear_errors(f"a job for {group[0].title}", outcome="no job was started, try again later"):
            job = patiently(
                lambda: self.api.run_uv_job(
                    script,
                    env={
                        VARIABLE: request(group, engine.results, work, self.until),
                        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
                    },
                    secrets={"HF_TOKEN": get_token()},
                    flavor=engine.flavor,
                    timeout=timeout,
                    attempts=max(int(engine.attempts), work.retries + 1),
                    labels={LABEL: _mark(group)},
                    volumes=volumes if engine.bucket else None,
                    namespace=self.namespace,
                )
            )
        logger.info("%s: %s", job.url, ", ".join(cell.title for cell in group))
        return job.id

    def over(self) -> dict[str, str]:
        """The jobs that have ended: id -> how, in words."""
        over = {}
        for job_id in self.running:
            with clear_errors(f"the job {job_id}", outcome="trying again"):
                job = patiently(partial(self.api.inspect_job, job_id=job_id, namespace=self.namespace))
            if job.status.stage not in _RUNNING:
                message = f" ({job.status.message})" if job.status.message else ""
                over[job_id] = f"the job ended as {job.status.stage}{message} without a result; see {job.url}"
        return over

    def outcomes(self, group: Sequence[Cell], how: str) -> Iterator[Outcome]:
        """What a job that has ended left in the results repository."""
        results = self.engine.results
        done = {outcome.cell.key: outcome for outcome in bring(self.api, results, group, self.work)}
        for cell in group:
            if cell.key in done:
                yield done[cell.key]
            elif (failed := _failed(self.api, results, cell, self.work)) is not None:
                yield failed
            elif time.time() < self.until:
                yield outcome_of(cell, self.work, RuntimeError(how))

    def cancel(self) -> None:
        """End the jobs that are running: they cost money, and nobody waits for them any more."""
        for job_id in self.running:
            try:
                with clear_errors(f"the job {job_id}", outcome="cancel it with `hf jobs cancel`"):
                    self.api.cancel_job(job_id=job_id, namespace=self.namespace)
            except OSError as error:
                logger.warning("%s", error)


def _failed(api: HfApi, repo_id: str, cell: Cell, work: Work) -> Outcome | None:
    """The error that a job left of a cell, with its file copied here; None if it left none."""
    name = cell.error_path.as_posix()
    with clear_errors(repo_id, outcome="try again later"):
        info = patiently(lambda: api.dataset_info(repo_id))
    if name not in {sibling.rfilename for sibling in info.siblings or []}:
        return None
    content = content_of(fetch(api, repo_id, [name], str(info.sha))[name])
    error = content.get("error")
    if content.get("key") != cell.key or not isinstance(error, dict):
        return None
    write(work.results / name, content)
    return Outcome(cell, None, " ".join(f"{error.get('type')}: {error.get('message')}".split())[:1000])


def _mark(group: Sequence[Cell]) -> str:
    """By which a job is known that runs these cells."""
    return short_hash([cell.key for cell in group])


def _check_places(work: Work) -> None:
    """Raise a ValueError if cells need something of this machine: jobs see the Hub alone."""
    local = [source for source in work.sources.values() if is_local(source)]
    local += [place for places in work.data.values() for place in places.values() if is_local(place)]
    local += [*work.backbones, *work.imports]
    if local:
        raise ValueError(
            f"jobs run elsewhere, so data and backbones must be on the Hub, got {local[0]}; publish it there "
            "(`hf-ssl benchmark publish` for tasks), and give its id; files of `imports` cannot be there"
        )
