"""`run_cell`: one training, its file, its errors, and what happens if it is interrupted."""

import json
from dataclasses import replace

import pytest
from transformers import TrainerControl, TrainerState

from hf_ssl.benchmark.grid import cell_training, running
from hf_ssl.benchmark.grid.cell_file import read, read_errors
from hf_ssl.benchmark.grid.cells import result_path
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.running import run_cell
from hf_ssl.class_sizes import SIZE_METRICS

from tests.helpers.tiny_grid import TRAINING, lasting, tiny_grid, tiny_work


@pytest.fixture(scope="module")
def cell():
    return tiny_grid(["freematch"]).cells[0]


@pytest.fixture(scope="module")
def finished(cell, tmp_path_factory):
    work = tiny_work(tmp_path_factory.mktemp("results"))
    outcome = run_cell(cell, work)
    assert outcome.error is None
    return work, outcome, read(outcome.path)


def test_a_cell_leaves_one_file_with_everything_that_is_known_of_it(cell, finished):
    work, outcome, content = finished
    assert outcome.path == result_path(work.results, cell)
    assert content["key"] == cell.key and content["settings"] == cell.settings
    assert {name: content["cell"][name] for name in cell.record()} == cell.record()
    assert len(content["cell"]["draw"]) == 16
    row = content["runs"][0]
    assert (row["algorithm"], row["seed"], row["steps"]) == ("freematch", 0, 6)
    assert (row["num_labeled"], row["num_unlabeled"], row["num_test"]) == (40, 1144, 450)
    assert row["best_split"] == "validation" and row["best_step"] in (2, 4, 6)
    assert [line["step"] for line in content["curves"]] == [2, 4, 6]
    assert row["test_accuracy"] == content["curves"][-1]["test_accuracy"] == content["metrics"]["last"]["accuracy"]
    chosen = max(content["curves"], key=lambda line: line["validation_accuracy"])
    assert row["best_accuracy"] == chosen["test_accuracy"] == content["metrics"]["best"]["accuracy"]
    assert {"mask_ratio", "pseudo_label_accuracy", "loss"} <= set(content["curves"][0])
    assert {"balanced_accuracy", "f1", "top5_accuracy", "loss"} <= set(content["metrics"]["last"])
    assert content["cost"]["peak_memory_mb"] > 50 and content["cost"]["gpu_hours"] == 0.0


def test_a_file_names_no_place_and_nobody(finished):
    work, outcome, _ = finished
    text = outcome.path.read_text(encoding="utf-8")
    assert str(work.results) not in text and "/tmp" not in text and "/home" not in text


def test_nothing_else_is_left(finished):
    work, outcome, _ = finished
    assert [path for path in work.results.rglob("*") if path.is_file()] == [outcome.path]


def test_a_finished_cell_is_not_run_again(cell, finished, monkeypatch):
    work, outcome, _ = finished
    before = outcome.path.stat()
    monkeypatch.setattr(cell_training, "cell_data", None)
    assert run_cell(cell, work) == replace(outcome, seconds=0.0)
    assert outcome.path.stat().st_mtime_ns == before.st_mtime_ns


def test_two_runs_agree_to_the_last_digit_whatever_ran_between(cell, finished, tmp_path):
    work = tiny_work(tmp_path)
    run_cell(tiny_grid(["supervised"], seeds=[1], max_steps=2).cells[0], work)
    assert lasting(read(run_cell(cell, work).path)) == lasting(finished[2])


@pytest.mark.parametrize("step", [3, 4])
def test_an_interrupted_cell_goes_on_and_gives_the_same_numbers(cell, finished, tmp_path, monkeypatch, step):
    work, steps = tiny_work(tmp_path), []
    whole = cell_training.Watcher.on_step_end

    def interrupted(self, args, state, control, **kwargs):
        steps.append(state.global_step)
        if state.global_step == step and len(steps) == step:
            raise KeyboardInterrupt
        whole(self, args, state, control, **kwargs)

    monkeypatch.setattr(cell_training.Watcher, "on_step_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, work)
    assert not result_path(work.results, cell).exists()
    outcome = run_cell(cell, work)
    # From the checkpoint of step 2, and not from the beginning.
    assert steps[step:] == [3, 4, 5, 6]
    assert lasting(read(outcome.path)) == lasting(finished[2])
    assert not (work.checkpoints / cell.key).exists()


def test_a_failed_cell_leaves_its_error_without_paths_and_is_tried_again(cell, tmp_path, monkeypatch):
    work = tiny_work(tmp_path)

    def broken(*args):
        raise OSError(f"{tmp_path}/data/train.csv cannot be read;\nask somebody")

    with monkeypatch.context() as patch:
        patch.setattr(cell_training, "cell_data", broken)
        outcome = run_cell(cell, work)
    assert outcome.path is None and outcome.error == "OSError: train.csv cannot be read; ask somebody"
    error = read_errors(work.results)[0]
    assert error["error"] == {"type": "OSError", "message": "train.csv cannot be read; ask somebody"}
    assert error["key"] == cell.key and str(tmp_path) not in json.dumps(error)
    assert run_cell(cell, work).error is None
    assert read_errors(work.results) == []


def test_a_result_that_could_not_be_read_again_is_the_error_of_its_cell(cell, tmp_path, monkeypatch):
    work, whole = tiny_work(tmp_path), running.train

    def with_too_large_a_share(*args):
        content = whole(*args)
        content["runs"][0]["mask_ratio"] = 1.25
        return content

    monkeypatch.setattr(running, "train", with_too_large_a_share)
    outcome = run_cell(cell, work)
    assert outcome.path is None and "mask_ratio must be a share in 0..1, got 1.25" in outcome.error
    assert not result_path(work.results, cell).exists() and len(read_errors(work.results)) == 1


def test_a_result_of_other_settings_is_only_replaced_on_request(cell, finished, tmp_path):
    work, other = tiny_work(tmp_path), tiny_grid(["freematch"], max_steps=2).cells[0]
    assert other.path == cell.path and other.key != cell.key
    run_cell(other, work)
    refused = run_cell(cell, work)
    assert refused.path is None and "has a result of other settings or another version" in refused.error
    assert read(result_path(tmp_path, other))["key"] == other.key
    assert run_cell(cell, replace(work, replace=True)).error is None
    assert lasting(read(result_path(tmp_path, cell))) == lasting(finished[2])


def test_a_training_that_ends_between_evaluations_is_evaluated_at_its_end(tmp_path):
    cell = tiny_grid(["supervised"], max_steps=3).cells[0]
    content = read(run_cell(cell, tiny_work(tmp_path)).path)
    assert [line["step"] for line in content["curves"]] == [2, 3]


def test_a_long_tailed_cell_tells_how_classes_of_all_sizes_are_recognized(tmp_path):
    task = {"task": "digits", "name": "digits_lt", "labels": [40], "labeled_imbalance": 10}
    task |= {"num_unlabeled": 60, "unlabeled_imbalance": 10}
    schedule = {"base": "short", "training": {**TRAINING, "max_steps": 2}}
    grid = parse_grid({"schedule": schedule, "tasks": [task], "algorithms": ["supervised"], "seeds": [0]}, "tails")
    content = read(run_cell(grid.cells[0], tiny_work(tmp_path)).path)
    row, last, best = content["runs"][0], content["metrics"]["last"], content["metrics"]["best"]
    names = ("balanced_accuracy", *SIZE_METRICS)
    assert {name: row[name] for name in names} == {name: last[name] for name in names}
    assert row["best_balanced_accuracy"] == best["balanced_accuracy"]
    recalls = [of_class["recall"] for of_class in row["classes"].values()]
    assert len(recalls) == 10 and sum(recalls) / 10 == pytest.approx(last["balanced_accuracy"])


def test_one_clock_decides_for_all_processes_whether_to_save(monkeypatch):
    args, state = None, TrainerState(max_steps=9)
    for decided in (True, False):
        monkeypatch.setattr(cell_training, "broadcast_object_list", lambda values, decided=decided: [decided])
        control = TrainerControl(should_evaluate=True)
        watcher = cell_training.Watcher(cell_training.Meter(1, 0), save_seconds=1e9 if decided else 0.0)
        watcher.on_step_end(args, state, control)
        assert control.should_save is decided


def test_fully_supervised_trains_on_every_label(tmp_path):
    cell = tiny_grid(["fully_supervised"], max_steps=2).cells[0]
    row = read(run_cell(cell, tiny_work(tmp_path)).path)["runs"][0]
    assert row["algorithm"] == "fully_supervised" and row["num_labeled"] == row["num_unlabeled"] == 1144
