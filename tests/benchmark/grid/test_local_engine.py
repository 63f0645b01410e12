"""The local engine: workers that die, that take too much, and a parent that is gone."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from hf_ssl.benchmark.grid.cell_file import read_errors, read_results
from hf_ssl.benchmark.grid.engines import local, make_engine
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.running import run_cell

from tests.helpers.launching import ROOT
from tests.helpers.tiny_grid import lasting, tiny_grid, tiny_work

LONG = {"max_steps": 100_000, "eval_steps": 50_000, "logging_steps": 25_000}


def run(cells, work, during=lambda engine, outcomes: list(outcomes)):
    engine = make_engine("local")
    with closing(engine.run(cells, work)) as outcomes:
        return during(engine, outcomes)


def workers():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def wait_for(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited for too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.multiprocess
def test_workers_serve_many_cells_and_a_dead_one_is_replaced(tmp_path):
    """One worker is killed in its second cell, which another one finishes."""
    cells = tiny_grid(["supervised", "fixmatch", "freematch"]).cells
    killed = []

    def during(engine, outcomes):
        found = []
        for outcome in outcomes:
            found.append(outcome)
            if not killed:
                killed.extend(workers())
                killed[0].send_signal(signal.SIGKILL)
        return found

    work = tiny_work(tmp_path / "engine", jobs=1)
    outcomes = run(cells, work, during)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [outcome.cell for outcome in outcomes] == list(cells)
    assert workers() == []
    here = tiny_work(tmp_path / "here")
    for cell in cells:
        run_cell(cell, here)
    assert [lasting(a) for a in read_results(work.results)] == [lasting(b) for b in read_results(here.results)]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_cell_that_passes_a_limit_is_stopped_and_the_others_run(tmp_path):
    quick = tiny_grid(["supervised"]).cells[0]
    endless = tiny_grid(["fixmatch"], **LONG).cells[0]
    outcomes = run([endless, quick], tiny_work(tmp_path, jobs=1, seconds_per_cell=25.0))
    assert outcomes[0].error == "RuntimeError: it took longer than 25 s"
    assert outcomes[1].error is None
    assert [error["error"]["message"] for error in read_errors(tmp_path)] == ["it took longer than 25 s"]
    # A worker with torch in it has more than 100 MB.
    outcomes = run([replace(quick, seed=1)], tiny_work(tmp_path, jobs=1, memory_mb=100.0))
    assert outcomes[0].error.startswith("RuntimeError: it used ") and "above the limit of 100" in outcomes[0].error
    assert workers() == []


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_worker_that_dies_again_and_again_fails_its_cell(tmp_path):
    def during(engine, outcomes):
        import threading

        done = threading.Event()

        def kill_all():
            while not done.wait(0.05):
                for worker in workers():
                    worker.kill()

        thread = threading.Thread(target=kill_all)
        thread.start()
        try:
            return list(outcomes)
        finally:
            done.set()
            thread.join()

    outcome = run(tiny_grid(["supervised"]).cells, tiny_work(tmp_path, jobs=1), during)[0]
    assert outcome.error == "RuntimeError: its process ended 2 times, the last time by SIGKILL"


@pytest.mark.slow
@pytest.mark.multiprocess
def test_workers_end_with_their_parent_and_a_closed_run_leaves_none(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.helpers.tiny_grid import *\n"
        "from hf_ssl.benchmark.grid import make_engine\n"
        "if __name__ == '__main__':\n"
        f"    list(make_engine('local').run(tiny_grid(**{LONG}).cells, tiny_work(Path(sys.argv[1]), jobs=1)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path / "results")], env=environment)
    family = []

    def working():
        family[:] = psutil.Process(parent.pid).children(recursive=True)
        return list(tmp_path.glob("results/.work/*.lock"))

    wait_for(working)
    parent.kill()
    parent.wait(timeout=30)
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in family), 30)


def test_no_cell_starts_after_the_time_in_all(tmp_path):
    assert run(tiny_grid().cells, tiny_work(tmp_path, seconds_in_all=-1.0)) == []
    assert workers() == []


def test_a_cell_for_which_there_is_no_memory_is_not_started(tmp_path):
    cells = tiny_grid(seeds=[0, 1]).cells
    pool = local._Pool(cells, tiny_work(tmp_path, jobs=1, memory_mb=500.0))
    pool.peaks[cells[0].task, cells[0].backbone] = 600.0
    outcomes = list(pool.outcomes())
    assert [outcome.cell for outcome in outcomes] == list(cells)
    assert outcomes[0].error.startswith("MemoryError: cells of this kind took 600 MB, and a worker may have 500")
    assert pool.workers == {}


@pytest.mark.parametrize(
    ("given", "gpus", "seen"),
    [(None, 1, ["0", "1"]), ("4,7", 1, ["4", "7"]), ("0,1,2,3", 2, ["0,1", "2,3"])],
)
def test_workers_share_no_gpu(monkeypatch, given, gpus, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    work = Work("results", gpus=gpus)
    assert [local._settings(place, work)["CUDA_VISIBLE_DEVICES"] for place in (0, 1)] == seen


def test_an_unknown_engine_or_setting_is_one_line():
    with pytest.raises(ValueError, match="--engine must be one of local, ray, slurm, jobs, got 'lokal'"):
        make_engine("lokal")
    with pytest.raises(ValueError, match="--engine-option must be a setting of local"):
        make_engine("local", partition="gpu")
