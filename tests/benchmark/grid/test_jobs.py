"""Hugging Face Jobs: the real client against a loopback Hub, which runs the script of each job in a process."""

import json

import pytest

from hf_ssl._version import __version__
from hf_ssl.benchmark.grid.cell_file import read, read_errors
from hf_ssl.benchmark.grid.engines import make_engine
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.engines.jobs import SCRIPT, JobsEngine
from hf_ssl.benchmark.grid.engines.jobs_worker import VARIABLE

from tests.helpers.grid_cells import make_cell, make_content, tiny_cells
from tests.helpers.hub_client import run_client
from tests.helpers.loopback_hub import TOKEN, LoopbackHub, Repository

OPTIONS = {
    "no repository": (
        {},
        "--engine-option results must be ACCOUNT/NAME of a dataset repository for the results, got ''",
    ),
    "a timeout in words": (
        {"timeout": "long"},
        "--engine-option timeout must be a number with s, m, h or d, got 'long'",
    ),
    "no cell per job": ({"cells": "0"}, "--engine-option cells must be a number of at least 1, got '0'"),
}


@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_options_that_cannot_be_are_told(options, message):
    with pytest.raises(ValueError) as error:
        make_engine("jobs", **({"results": "someone/results"} if options else {}), **options)
    assert str(error.value).startswith(message)


def test_data_of_this_machine_cannot_be_used(tmp_path):
    for work in (
        Work(tmp_path, sources={"ag_news": str(tmp_path)}),
        Work(tmp_path, backbones={"mine": "models/mine"}),
        Work(tmp_path, data={"mine": {"train": "someone/data@train", "test": str(tmp_path)}}),
        Work(tmp_path, imports=(str(tmp_path / "models.py"),)),
    ):
        with pytest.raises(ValueError, match="jobs run elsewhere, so data and backbones must be on the Hub, got "):
            next(JobsEngine(results="someone/results").run([make_cell()], work))


RUN = """
import dataclasses, json, sys
from pathlib import Path
from hf_ssl.benchmark.grid.cells import Cell
from hf_ssl.benchmark.grid.engines import jobs, make_engine
from hf_ssl.benchmark.grid.engines.base import Work
from huggingface_hub import HfApi
from tests.helpers.grid_cells import make_cell

work = Work(Path(sys.argv[1]), jobs=2, seconds_per_cell=600.0)
options = dict(results="someone/results", flavor="t4-small", poll="0.2", cells="2", bucket="someone/checkpoints")
good = Cell.from_record(*json.loads(sys.argv[2]))
# A model that is nowhere.
bad = dataclasses.replace(good, backbone="someone/nowhere")

def run(cells, **more):
    return [[o.cell.path.as_posix(), o.error] for o in make_engine("jobs", **options | more).run(cells, work)]

known = os.environ.pop("HF_TOKEN")
try:
    run([good])
except PermissionError as error:
    told = {"no token": str(error)}
os.environ["HF_TOKEN"] = known
told["run"] = run([make_cell(), good, bad])
told["again"] = run([make_cell(), good])

# Killed while a job waits for a machine, started again, and then interrupted.
def interrupt(self):
    raise KeyboardInterrupt

jobs._Jobs.over, cancel = interrupt, jobs._Jobs.cancel
stages = []
for jobs._Jobs.cancel in (lambda self: None, cancel):
    try:
        run([make_cell("uda")], flavor="never")
    except KeyboardInterrupt:
        stages.append([job.status.stage for job in HfApi().list_jobs()])
told["stages"] = stages
tell(told)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the client told, and the Hub and the results folder afterwards."""
    folder = tmp_path_factory.mktemp("jobs")
    there = make_cell()
    with LoopbackHub() as hub:
        hub.repositories["someone/results"] = Repository()
        hub.repositories["someone/results"].files = {there.path.as_posix(): json.dumps(make_content(there)).encode()}
        (good,) = tiny_cells(1)
        cell = json.dumps([good.record(), good.settings])
        told = run_client(hub, folder / "home", RUN, folder / "results", cell)
        yield {"told": told, "hub": hub, "results": folder / "results", "there": there}


@pytest.mark.slow
@pytest.mark.multiprocess
def test_cells_run_in_jobs_and_come_back(ran):
    told, results, there, (good,) = ran["told"], ran["results"], ran["there"], tiny_cells(1)
    done = dict(told["run"])
    assert done[there.path.as_posix()] is None and done[good.path.as_posix()] is None
    content = read(results / good.path)
    files = ran["hub"].repositories["someone/results"].files
    assert content["key"] == good.key and content == json.loads(files[good.path.as_posix()])
    # What the repository has is not run again.
    assert told["again"] == [[cell.path.as_posix(), None] for cell in (there, good)]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_an_error_in_a_job_is_told_and_left_here(ran):
    ((name, error),) = [row for row in ran["told"]["run"] if row[1]]
    assert "someone__nowhere" in name and "someone/nowhere" in error
    (left,) = read_errors(ran["results"])
    assert left["cell"]["backbone"] == "someone/nowhere"


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_job_has_a_time_limit_and_its_token_only_as_a_secret(ran):
    hub, told = ran["hub"], ran["told"]
    assert told["no token"] == "the engine jobs needs an access token; log in with `hf auth login`, or set HF_TOKEN"
    job = next(iter(hub.jobs.values()))
    assert job.spec["secrets"] == {"HF_TOKEN": TOKEN} and job.spec["flavor"] == "t4-small"
    shown = json.dumps({key: value for key, value in job.spec.items() if key != "secrets"})
    assert TOKEN not in shown + job.output and str(ran["results"]) not in shown
    # Two cells of ten minutes, and twenty minutes to start.
    assert (job.spec["timeoutSeconds"], job.spec["attempts"]) == (2400, 2)
    assert set(job.spec["labels"]) == {"hf-ssl-cells", "name"}
    (volume,) = job.spec["volumes"]
    assert (volume["source"], volume["mountPath"]) == ("someone/checkpoints", "/checkpoints")
    *command, script = job.spec["command"]
    assert command == ["uv", "run"] and script.endswith(f"/{SCRIPT}")
    assert f"hf-ssl[vision,audio]=={__version__}" in job.header
    assert len(json.loads(job.spec["environment"][VARIABLE])["cells"]) == 2
    assert TOKEN.encode() not in b"".join(hub.repositories["someone/results"].files.values())


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_job_is_found_again_and_ends_with_who_waits_for_it(ran):
    before, after = ran["told"]["stages"]
    # One of its two cells failed.
    assert (before, after) == (["ERROR", "SCHEDULING"], ["ERROR", "CANCELED"])
