"""SLURM: the batch file that is submitted, and preempted jobs that go on; by submitit's executor on this machine."""

import os
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest

submitit = pytest.importorskip("submitit")

from hf_ssl.benchmark.grid.cell_file import read  # noqa: E402
from hf_ssl.benchmark.grid.engines import make_engine  # noqa: E402
from hf_ssl.benchmark.grid.engines import slurm as slurm_engine  # noqa: E402
from hf_ssl.benchmark.grid.engines.base import Work  # noqa: E402
from hf_ssl.benchmark.grid.engines.slurm import SlurmEngine  # noqa: E402
from hf_ssl.benchmark.grid.running import run_cell  # noqa: E402
from hf_ssl.benchmark.submission.checks import measured  # noqa: E402

from tests.helpers.grid_cells import make_cell, tiny_cells, write_cell  # noqa: E402

# Commands of a SLURM whose jobs are over as soon as they are submitted; the batch file is kept.
FAKE = {
    "srun": "exit 0",
    "sbatch": 'cp "$1" "$(dirname "$0")/batch.sh"; echo "Submitted batch job 4711"',
    "sacct": 'echo "JobID|State|NodeList"; for i in 0 1 2 3; do echo "4711_$i|$STATE|node1"; done',
    "scancel": 'echo "$@" >> "$(dirname "$0")/canceled"',
}


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """The folder of SLURM's commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, line in FAKE.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STATE", "FAILED")
    submitit.SlurmJob.watcher.clear()
    return folder


def cells(number):
    return [make_cell(seed=seed) for seed in range(number)]


def flags(folder: Path) -> dict[str, str]:
    lines = (folder / "batch.sh").read_text().splitlines()
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH"))


def test_the_batch_file_asks_for_what_a_cell_needs(slurm, tmp_path):
    engine = SlurmEngine(partition="gpu", account="lab", hours="2", setup="module load cuda")
    work = Work(tmp_path / "results", jobs=3, cores=6, gpus=1, memory_mb=8192)
    outcomes = list(engine.run(cells(4), work))
    found = flags(slurm)
    assert found["array"] == "0-3%3" and found["time"] == "120" and found["requeue"] == ""
    assert (found["partition"], found["account"], found["mem"]) == ("gpu", "lab", "8GB")
    assert (found["cpus-per-task"], found["gpus-per-node"], found["signal"]) == ("6", "1", "USR2@120")
    assert "qos" not in found and "constraint" not in found
    text = (slurm / "batch.sh").read_text()
    assert "\nmodule load cuda\nexport OMP_NUM_THREADS=6\nexport CUBLAS_WORKSPACE_CONFIG=:4096:8\n" in text
    # The jobs failed without a word: so do their cells, and the folder of what jobs print is kept.
    assert [outcome.error for outcome in outcomes] == [
        f"RuntimeError: the job 4711_{index} ended as FAILED" for index in range(4)
    ]
    (folder,) = (tmp_path / "results" / ".work" / "slurm").iterdir()
    assert not (folder / "jobs.json").exists()


def test_a_limit_per_cell_is_a_limit_for_its_job(slurm, tmp_path):
    list(SlurmEngine(array=2).run(cells(4), Work(tmp_path / "results", seconds_per_cell=600)))
    # Two jobs of two cells: twice ten minutes, and fifteen to start.
    assert (flags(slurm)["array"], flags(slurm)["time"]) == ("0-1%2", "35")


def test_jobs_of_a_process_that_was_killed_are_waited_for(slurm, tmp_path, monkeypatch):
    work = Work(tmp_path / "results")
    monkeypatch.setenv("STATE", "RUNNING")
    engine = SlurmEngine(poll=0.01)
    jobs = engine._submit(cells(4), work, tmp_path / "results" / ".work" / "slurm" / "earlier")
    (slurm / "batch.sh").unlink()
    for cell in cells(4):
        write_cell(work.results, cell)
    monkeypatch.setattr(submitit.SlurmJob, "done", lambda job: True)
    outcomes = list(engine.run(cells(4), work))
    assert len(jobs) == 4 and [outcome.cell for outcome in outcomes] == cells(4)
    assert all(outcome.error is None for outcome in outcomes) and not (slurm / "batch.sh").exists()
    assert list((tmp_path / "results" / ".work" / "slurm").iterdir()) == []


def test_who_stops_waiting_cancels_the_jobs(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE", "RUNNING")
    done = iter([True, False, False, False])
    monkeypatch.setattr(submitit.SlurmJob, "done", lambda job: next(done))
    outcomes = SlurmEngine().run(cells(4), Work(tmp_path / "results"))
    next(outcomes)
    outcomes.close()
    assert (slurm / "canceled").read_text().split() == ["4711_1", "4711_2", "4711_3"]


def test_a_machine_without_slurm_is_told(tmp_path):
    with pytest.raises(OSError, match="the engine slurm must run where SLURM's commands are, got "):
        list(SlurmEngine().run(cells(1), Work(tmp_path)))
    with pytest.raises(ValueError, match="cluster must be slurm or local, got 'pbs'"):
        make_engine("slurm", cluster="pbs")
    with pytest.raises(ValueError, match="--engine-option must be a setting of slurm: "):
        make_engine("slurm", partitions="gpu")


def test_a_group_begins_no_cell_after_the_end(tmp_path, monkeypatch):
    now = iter([0.0, 5.0, 10.0])
    monkeypatch.setattr(slurm_engine, "run_within_limit", lambda cell, work: None)
    monkeypatch.setattr(slurm_engine.time, "time", lambda: next(now))
    group = slurm_engine.CellGroup(cells(3), Work(tmp_path), until=7.0)
    assert group() == [cell.key for cell in cells(2)]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_preempted_job_goes_on_and_gives_the_same_numbers(tmp_path):
    (cell,) = several = tiny_cells(1, max_steps=16, eval_steps=4)
    engine, work = SlurmEngine(cluster="local", poll=0.05), Work(tmp_path / "results", save_seconds=0.0)
    running = engine._submit(several, work, tmp_path / "jobs")
    (job,) = running
    # As soon as the first cell has a checkpoint, the job is told to make room.
    deadline = time.monotonic() + 120
    while not list(work.checkpoints.glob("*/checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    # SLURM signals the process that runs the cell, and not the one that started it.
    (process,) = psutil.Process(job._process.pid).children()
    process.send_signal(signal.SIGUSR2)
    outcomes = [outcome for _, outcome in engine._wait(running, work)]
    assert [outcome.error for outcome in outcomes] == [None]
    log = job.paths.stdout.read_text() + job.paths.stderr.read_text()
    assert "Requeued job" in log
    undisturbed = run_cell(cell, Work(tmp_path / "here"))
    assert measured(read(work.results / cell.path)) == measured(read(undisturbed.path))
