"""Trackers: group = algorithm, run = task-labels-seed."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers.integrations import TrackioCallback, WandbCallback

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


def test_weights_and_biases_reads_the_project_from_the_environment(cell, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "before")
    with tracked(cell, Work(Path("results"), project="smoke")):
        assert os.environ["WANDB_PROJECT"] == "smoke"
    assert os.environ["WANDB_PROJECT"] == "before"


def test_runs_of_one_worker_have_the_groups_of_their_cells_in_weights_and_biases(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    finish, runs = wandb.finish, []

    def noting():
        runs.append((wandb.run.project, wandb.run.group, wandb.run.name))
        finish()

    monkeypatch.setattr(wandb, "finish", noting)
    work = tiny_work(tmp_path / "results", report_to=("wandb",), project="smoke")
    for cell in tiny_grid(["supervised", "fixmatch"], seeds=[0, 1], max_steps=2).cells:
        assert run_cell(cell, work).error is None
    # Seed after seed: the groups take turns.
    names = [(f"digits-40-{seed}", group) for seed in (0, 1) for group in ("supervised", "fixmatch")]
    assert runs == [("smoke", group, name) for name, group in names]


def test_each_cell_is_a_run_of_its_own_for_weights_and_biases(cell, monkeypatch):
    finished = []
    monkeypatch.setitem(__import__("sys").modules, "wandb", SimpleNamespace(finish=lambda: finished.append(1)))
    for trackers in ((), ("wandb",)):
        with tracked(cell, Work(Path("results"), report_to=trackers)):
            pass
    assert finished == [1]


@pytest.mark.parametrize(("kind", "module"), [(TrackioCallback, "_trackio"), (WandbCallback, "_wandb")])
def test_trackers_learn_the_group(cell, kind, module):
    calls = []
    callback = kind.__new__(kind)
    setattr(callback, module, SimpleNamespace(init=lambda **settings: calls.append(settings), log="log"))
    group_runs(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[callback])), cell)
    getattr(callback, module).init(project="smoke", name="run")
    assert calls == [{"group": "supervised", "project": "smoke", "name": "run"}]
    assert getattr(callback, module).log == "log"


def test_no_two_algorithms_share_a_run_of_trackio(cell):
    assert run_name(cell, Work(Path("r"), report_to=("trackio",))) == "digits-40-0 supervised"
    assert run_name(cell, Work(Path("r"), report_to=("tensorboard",))) == "digits-40-0"
