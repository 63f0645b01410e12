"""What the engines for other machines share."""

import time

import pytest

from hf_ssl.benchmark.grid.cell_file import read_errors
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.engines.remote import number, outcome_of, run_within_limit, time_limit

from tests.helpers.grid_cells import make_cell, write_cell


def test_a_block_is_stopped_at_its_limit_and_no_other_one():
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="it took longer than 0 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    with time_limit(None):
        time.sleep(0.1)
    assert time.monotonic() - began < 2


def test_a_cell_that_takes_too_long_leaves_its_error(tmp_path, monkeypatch):
    import hf_ssl.benchmark.grid.running as running

    monkeypatch.setattr(running, "train", lambda cell, work, folder: time.sleep(5))
    outcome = run_within_limit(make_cell(), Work(tmp_path, seconds_per_cell=0.05))
    assert (outcome.path, outcome.error) == (None, "TimeoutError: it took longer than 0 s")
    (left,) = read_errors(tmp_path)
    assert left["key"] == make_cell().key and left["error"]["type"] == "TimeoutError"


def test_a_cell_whose_process_is_gone_is_finished_if_its_file_is_there(tmp_path):
    work, error = Work(tmp_path), RuntimeError("the node was lost")
    assert outcome_of(make_cell(), work, error).error == "RuntimeError: the node was lost"
    path = write_cell(tmp_path, make_cell())
    assert outcome_of(make_cell(), work, error).path == path
    # A file of other settings is not this cell's.
    other = make_cell(settings={"training": {"max_steps": 1}})
    assert outcome_of(other, work, error).path is None


@pytest.mark.parametrize("value", ["many", "-1", "nan", ""])
def test_an_option_that_is_no_number_is_told(value):
    with pytest.raises(ValueError, match=f"--engine-option hours must be a number of at least 0, got '{value}'"):
        number("hours", value)
