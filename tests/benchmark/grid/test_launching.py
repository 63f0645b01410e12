"""A cell in several processes."""

from dataclasses import replace

import pytest

from hf_ssl.benchmark.grid.cell_file import validate
from hf_ssl.benchmark.grid.launching import launch
from hf_ssl.benchmark.grid.running import run_cell

from tests.helpers.tiny_grid import tiny_grid, tiny_work


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes_train_one_cell(tmp_path):
    cell = tiny_grid(["supervised"], max_steps=2).cells[0]
    content = launch(cell, tiny_work(tmp_path, gpus=2), tmp_path / "folder", cpu=True)
    validate(content, "answer")
    assert content["key"] == cell.key
    row = content["runs"][0]
    assert (row["steps"], row["num_labeled"], row["num_test"]) == (2, 40, 450)
    assert [line["step"] for line in content["curves"]] == [2]


def test_more_gpus_than_there_are_is_an_error_of_the_cell(tmp_path):
    cell = tiny_grid(["supervised"], max_steps=2).cells[0]
    outcome = run_cell(cell, replace(tiny_work(tmp_path), gpus=64))
    assert outcome.error.startswith("ValueError: gpus must be at most") and "got 64; ask for fewer" in outcome.error
