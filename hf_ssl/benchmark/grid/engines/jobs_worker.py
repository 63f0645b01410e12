"""What a Hugging Face Job does: it runs its cells and commits the file of each to the results repository."""

import json
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from ....hub.requests import patiently
from ..cell_file import key_in, validate, write
from ..cells import Cell, result_path
from ..remote_results import content_of, fetch, remote_cells
from .base import Outcome, Work
from .remote import run_within_limit

# The environment variable with what to do, see `request`.
VARIABLE = "HF_SSL_CELLS"
# Where a bucket for checkpoints is mounted, so that a job that is tried again goes on from there.
CHECKPOINTS = "/checkpoints"
_TRIES = 6


def request(cells: Sequence[Cell], repo_id: str, work: Work, until: float) -> str:
    """What a job is told, as JSON: its cells, the results repository, and the parts of `work` that hold there too.

    Args:
        cells: of the job.
        repo_id: ACCOUNT/NAME of the results repository.
        work: of the engine.
        until: when no further cell is started, in seconds since 1970; infinity for no end.
    """
    told = {
        "results": repo_id,
        "cells": [{"cell": cell.record(), "settings": cell.settings} for cell in cells],
        "sources": dict(work.sources),
        "data": {task: dict(places) for task, places in work.data.items()},
        "seconds_per_cell": work.seconds_per_cell,
        "replace": work.replace,
        "project": work.project,
        "until": until if math.isfinite(until) else None,
    }
    return json.dumps(told, separators=(",", ":"))


def main() -> None:
    """Run the cells of the environment variable `VARIABLE`; the exit status is 1 if one failed."""
    import torch

    told = json.loads(os.environ[VARIABLE])
    cells = [Cell.from_record(row["cell"], row["settings"]) for row in told["cells"]]
    scratch = Path(CHECKPOINTS)
    work = Work(
        results=Path("results").absolute(),
        scratch=scratch if scratch.is_dir() else None,
        cores=os.cpu_count() or 1,
        gpus=torch.cuda.device_count(),
        **{name: told[name] for name in ("sources", "data", "seconds_per_cell", "replace", "project")},
    )
    api, repo_id, failed = HfApi(), told["results"], False
    # A job that is tried again finds what the first try finished.
    bring(api, repo_id, cells, work)
    for cell in cells:
        if told["until"] is not None and time.time() > told["until"]:
            break
        outcome = run_within_limit(cell, work)
        _commit(api, repo_id, outcome, work)
        print(outcome.error or outcome.path, flush=True)
        failed |= outcome.error is not None
    raise SystemExit(int(failed))


def bring(api: HfApi, repo_id: str, cells: Sequence[Cell], work: Work) -> list[Outcome]:
    """Copy the files of those cells that a results repository has, with their keys, to the results folder here.

    Args:
        api: with the access token.
        repo_id: ACCOUNT/NAME of the results repository.
        cells: which ones are looked for.
        work: where they belong.

    Raises:
        OSError: in one line, if the Hub cannot be reached.
    """
    commit, there = remote_cells(api, repo_id)
    wanted = {cell.path.as_posix(): cell for cell in cells if cell.path.as_posix() in there}
    outcomes = []
    for name, path in fetch(api, repo_id, wanted, commit).items():
        cell, content = wanted[name], content_of(path)
        if content.get("key") != cell.key:
            continue
        validate(content, f"{repo_id}: {name}")
        place = result_path(work.results, cell)
        if key_in(place) != cell.key:
            write(place, content)
            (work.results / cell.error_path).unlink(missing_ok=True)
        outcomes.append(Outcome(cell, place, None, content["runs"][0].get("seconds") or 0.0))
    return outcomes


def _commit(api: HfApi, repo_id: str, outcome: Outcome, work: Work) -> None:
    """Put the file of a cell, or its error file, into the results repository."""
    name = (outcome.cell.error_path if outcome.path is None else outcome.cell.path).as_posix()
    operation = CommitOperationAdd(name, work.results / name)
    for again in range(_TRIES, 0, -1):
        try:
            patiently(
                lambda: api.create_commit(repo_id, [operation], commit_message=outcome.cell.title, repo_type="dataset")
            )
            return
        except HfHubHTTPError as error:
            # Another job has committed at the same moment.
            if error.response is None or error.response.status_code not in (409, 412) or again == 1:
                raise
            time.sleep(random.uniform(1, 5))
