"""Trackers: group = algorithm, run = task-labels-seed."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers.integrations import TrackioCallback

from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.running import run_cell
from hf_ssl.benchmark.grid.tracking import group_runs, run_name, tracked

from tests.helpers.tiny_grid import tiny_grid, tiny_work


@pytest.fixture(scope="module")
def cell():
    return tiny_grid(["supervised"], max_steps=2).cells[0]


def test_tensorboard_has_a_folder_per_algorithm_and_run(cell, tmp_path):
    pytest.importorskip("tensorboard")
    outcome = run_cell(cell, tiny_work(tmp_path, report_to=("tensorboard",)))
    assert outcome.error is None
    events = list((tmp_path / ".tensorboard").rglob("events.*"))
    assert {path.parent.relative_to(tmp_path / ".tensorboard") for path in events} == {Path("supervised/digits-40-0")}
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


def test_weights_and_biases_reads_group_and_project_from_the_environment(cell, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "before")
    with tracked(cell, Work(Path("results"), project="smoke")):
        assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_RUN_GROUP"]) == ("smoke", "supervised")
    assert os.environ["WANDB_PROJECT"] == "before" and "WANDB_RUN_GROUP" not in os.environ


def test_each_cell_is_a_run_of_its_own_for_weights_and_biases(cell, monkeypatch):
    finished = []
    monkeypatch.setitem(__import__("sys").modules, "wandb", SimpleNamespace(finish=lambda: finished.append(1)))
    for trackers in ((), ("wandb",)):
        with tracked(cell, Work(Path("results"), report_to=trackers)):
            pass
    assert finished == [1]


def test_trackio_learns_the_group_and_no_two_algorithms_share_a_run(cell):
    calls = []
    callback = TrackioCallback.__new__(TrackioCallback)
    callback._trackio = SimpleNamespace(init=lambda **settings: calls.append(settings), log="log")
    group_runs(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[callback])), cell)
    callback._trackio.init(project="smoke", name="run")
    assert calls == [{"group": "supervised", "project": "smoke", "name": "run"}]
    assert callback._trackio.log == "log"
    assert run_name(cell, Work(Path("r"), report_to=("trackio",))) == "digits-40-0 supervised"
    assert run_name(cell, Work(Path("r"), report_to=("tensorboard",))) == "digits-40-0"
