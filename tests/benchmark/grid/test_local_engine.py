"""The local engine: workers that die, that take too much, and a parent that is gone."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from hf_ssl.benchmark.grid.cell_file import read_errors, read_results
from hf_ssl.benchmark.grid.engines import local, make_engine
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.running import run_cell

from tests.helpers.launching import ROOT
from tests.helpers.light_runs import RUNNER, light_cells
from tests.helpers.tiny_grid import lasting, tiny_grid, tiny_work


class LightEngine(local.LocalEngine):
    runner = RUNNER


def run(engine, cells, work):
    with closing(engine.run(cells, work)) as outcomes:
        return list(outcomes)


def workers():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def wait_for(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited for too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.multiprocess
def test_workers_give_the_files_that_the_cells_give_here(tmp_path):
    cells = tiny_grid(["supervised", "fixmatch"]).cells
    work, here = tiny_work(tmp_path / "engine", jobs=1), tiny_work(tmp_path / "here")
    killed = []
    with closing(make_engine("local").run(cells, work)) as outcomes:
        for outcome in outcomes:
            assert outcome.error is None
            if not killed:
                # In its second cell, which another worker finishes.
                killed.extend(workers())
                killed[0].send_signal(signal.SIGKILL)
    assert workers() == [] and len(killed) == 1
    for cell in cells:
        run_cell(cell, here)
    assert [lasting(a) for a in read_results(work.results)] == [lasting(b) for b in read_results(here.results)]


@pytest.mark.multiprocess
def test_what_workers_do_and_suffer(tmp_path):
    names = ["plain", "stumbles", "dies", "done_and_dies", "long", "large", "last"]
    work = Work(tmp_path, jobs=1, cores=2, seconds_per_cell=4.0, memory_mb=300.0)
    outcomes = {outcome.cell.variant: outcome for outcome in run(LightEngine(), light_cells(*names), work)}
    assert set(outcomes) == set(names)
    failed = {name: outcome.error for name, outcome in outcomes.items() if outcome.error is not None}
    assert failed.pop("large").startswith("RuntimeError: it used ")
    assert failed == {
        "dies": "RuntimeError: its process ended 2 times, the last time by SIGKILL",
        "long": "RuntimeError: it took longer than 4 s",
    }
    assert len(read_results(tmp_path)) == 4 and len(read_errors(tmp_path)) == 3
    ran = {name: list(work.checkpoints.glob(f"{name}.*.ran")) for name in names}
    assert {name: len(files) for name, files in ran.items()} == {
        name: 1 + (name in ("stumbles", "dies")) for name in names
    }
    assert {file.read_text() for files in ran.values() for file in files} == {"2"}
    assert workers() == []


@pytest.mark.multiprocess
def test_workers_work_side_by_side(tmp_path):
    cells = light_cells(*(f"plain{i}" for i in range(8)))
    outcomes = run(LightEngine(), cells, Work(tmp_path, jobs=2))
    assert sorted(outcome.cell.variant for outcome in outcomes) == sorted(cell.variant for cell in cells)
    processes = {path.name.split(".")[1] for path in tmp_path.rglob("*.ran")}
    assert 1 <= len(processes) <= 2


@pytest.mark.multiprocess
def test_a_run_that_is_closed_leaves_no_worker(tmp_path):
    outcomes = LightEngine().run(light_cells("plain", "long"), Work(tmp_path, jobs=1))
    assert next(outcomes).error is None
    assert len(workers()) == 1
    outcomes.close()
    assert workers() == []


@pytest.mark.multiprocess
def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from hf_ssl.benchmark.grid.engines.base import Work\n"
        "from hf_ssl.benchmark.grid.engines.local import LocalEngine\n"
        "from tests.helpers.light_runs import RUNNER, light_cells\n"
        "if __name__ == '__main__':\n"
        "    LocalEngine.runner = RUNNER\n"
        "    list(LocalEngine().run(light_cells('long'), Work(Path(sys.argv[1]), jobs=1)))\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    wait_for(lambda: list(tmp_path.glob(".work/long.*.ran")))
    family = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait(timeout=30)
    assert family
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in family), 30)


def test_no_cell_starts_after_the_time_in_all(tmp_path):
    assert run(LightEngine(), light_cells("plain"), Work(tmp_path, seconds_in_all=-1.0)) == []
    assert workers() == []


def test_a_cell_for_which_there_is_no_memory_is_not_started(tmp_path):
    cells = light_cells("plain", "last")
    pool = local._Pool(cells, Work(tmp_path, jobs=1, memory_mb=500.0), RUNNER)
    pool.peaks[cells[0].task, cells[0].backbone] = 600.0
    outcomes = list(pool.outcomes())
    assert [outcome.cell for outcome in outcomes] == cells
    assert outcomes[0].error.startswith("MemoryError: cells of this kind took 600 MB, and a worker may have 500")
    assert pool.workers == {}


@pytest.mark.parametrize(
    ("given", "gpus", "seen"),
    [
        (None, 1, ["0", "1", "0", "1"]),
        ("4,7", 1, ["4", "7", "4", "7"]),
        ("0,1,2,3", 2, ["0,1", "2,3", "0,1", "2,3"]),
        # The fifth is nobody's: groups are whole.
        ("0,1,2,3,4", 2, ["0,1", "2,3", "0,1", "2,3"]),
    ],
)
def test_workers_share_gpus_only_if_there_are_more_of_them(monkeypatch, given, gpus, seen):
    monkeypatch.setattr(local, "_device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    work = Work(Path("results"), gpus=gpus)
    assert [local._settings(place, work)["CUDA_VISIBLE_DEVICES"] for place in range(4)] == seen


def test_an_unknown_engine_or_setting_is_one_line():
    with pytest.raises(ValueError, match="--engine must be one of local, ray, slurm, jobs, got 'lokal'"):
        make_engine("lokal")
    with pytest.raises(ValueError, match="--engine-option must be a setting of local"):
        make_engine("local", partition="gpu")
