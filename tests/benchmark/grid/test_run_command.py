"""`hf-ssl benchmark run`: what it prints, what it leaves, and its exit status."""

import re

import pytest
import yaml

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid.cell_file import read_results
from hf_ssl.benchmark.grid.engines.local import LocalEngine
from hf_ssl.cli import main

from tests.helpers.light_runs import RUNNER


def grid_file(folder, *variants, **further):
    content = {"tasks": [{"task": "digits", "labels": [40]}], "seeds": [0], **further}
    content["algorithms"] = [{"algorithm": "uda", "name": name} for name in variants]
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.fixture
def light(monkeypatch):
    monkeypatch.setattr(LocalEngine, "runner", RUNNER)


def run(*words):
    return main(["benchmark", "run", *map(str, words)])


def test_a_dry_run_shows_cells_and_hours_and_writes_nothing(tmp_path, capsys):
    assert run("smoke", "--dry-run", "--output-dir", tmp_path / "results", "--select", "seed=0 task=digits") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("smoke: ") and lines[1] == "4 cells: 0 done, 4 to run"
    assert re.fullmatch(r"  to run    [0-9a-f]{16}  digits 40 supervised tiny-resnet seed 0", lines[2])
    assert lines[6].startswith("about ") and "of one worker, by one core of" in lines[6]
    assert not (tmp_path / "results").exists()


def test_a_dry_run_of_many_cells_has_a_line_per_task(tmp_path, capsys):
    assert run("usb_all", "--dry-run", "--output-dir", tmp_path) == 0
    out, runs = capsys.readouterr().out, len(ALGORITHMS) + 1  # and fully supervised
    assert f"{3 * 28 * runs:,} cells: 0 done, {3 * 28 * runs:,} to run" in out
    assert (
        f"  ag_news 40 labels, google-bert/bert-base-uncased: {runs} algorithms, seeds 0, 1, 2: {3 * runs} cells, 0"
        in out
    )
    assert len(out.splitlines()) == 2 + 28 + 2


@pytest.mark.multiprocess
def test_a_grid_is_run_once_and_says_so(tmp_path, capsys, light):
    grid, results = grid_file(tmp_path, "a", "b"), tmp_path / "results"
    assert run(grid, "--output-dir", results, "--jobs", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "[1/2] digits 40 uda-a tiny-resnet seed 0: test accuracy 50.0 %, 0 s"
    assert lines[-1] == f"The results are in {results}; `hf-ssl benchmark report {results}` shows them"
    assert len(read_results(results)) == 2
    assert run(grid, "--output-dir", results) == 0
    assert "2 cells: 2 done, 0 to run" in capsys.readouterr().out


@pytest.mark.multiprocess
def test_failed_cells_are_told_at_the_end_with_status_2(tmp_path, capsys, light):
    assert run(grid_file(tmp_path, "dies", "b"), "--output-dir", tmp_path / "results", "--jobs", 1) == 2
    told = capsys.readouterr()
    assert "failed: digits 40 uda-dies tiny-resnet seed 0: RuntimeError: its process ended 2 times" in told.out
    assert "hf-ssl: error: 1 of 2 cells failed; run the same command again to retry them" in told.err
    assert run(grid_file(tmp_path, "dies", "b"), "--output-dir", tmp_path / "results", "--dry-run") == 0
    assert "2 cells: 1 done, 1 to run, of which 1 failed before" in capsys.readouterr().out


def test_the_budget_in_all_is_kept_and_told(tmp_path, capsys, light):
    grid = grid_file(tmp_path, "a", budget={"total": "0s"})
    assert run(grid, "--output-dir", tmp_path / "results") == 0
    assert "1 cells were not started within the budget" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smok"], "a grid must be a file or one of"),
        (["smoke", "--engine", "cloud"], "--engine must be one of local, ray, slurm, jobs, got 'cloud'"),
        (["smoke", "--engine-option", "partition"], "--engine-option must be NAME=VALUE, got 'partition'"),
        (["smoke", "--select", "seed=9"], "--select seed must be one of 0, 1, 2, got '9'"),
        (["smoke", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["smoke", "--gpus", "-1"], "--gpus must be at least 0, got -1"),
    ],
)
def test_wrong_words_are_one_line(tmp_path, capsys, words, message):
    assert run(*words, "--output-dir", tmp_path) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("further", "words", "message"),
    [
        ({"budget": {"cell": "soon"}}, (), "budget: cell must be such as 90s, 30m or 8h, got 'soon'"),
        ({}, ("--report-to", "wandbb"), "--report-to must be one of "),
    ],
)
def test_a_dry_run_finds_wrong_limits_and_trackers(tmp_path, capsys, further, words, message):
    assert run(grid_file(tmp_path, "a", **further), "--dry-run", "--output-dir", tmp_path / "results", *words) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_budget_is_one_line(tmp_path, capsys):
    assert run(grid_file(tmp_path, "a", budget={"cell": "soon"}), "--output-dir", tmp_path) == 2
    assert "mine: budget: cell must be such as 90s, 30m or 8h, got 'soon'" in capsys.readouterr().err
