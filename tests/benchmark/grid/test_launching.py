"""A cell in several processes."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hf_ssl.benchmark.grid import launching
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


# Starts a process in a session of its own, as launchers do, writes its id and waits for it.
STARTS_ANOTHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""


def runs(place: Path) -> bool:
    process = int(place.read_text())
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def within(seconds: float, holds) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds())


@pytest.mark.multiprocess
def test_nothing_outlives_a_launcher_that_took_too_long(tmp_path):
    place = tmp_path / "pid"
    with pytest.raises(RuntimeError, match="it took longer than 2 s"):
        launching._until_done([sys.executable, "-c", STARTS_ANOTHER, str(place)], 2.0)
    assert within(5, lambda: not runs(place))


@pytest.mark.multiprocess
def test_a_worker_whose_parent_is_gone_ends_what_it_started(tmp_path):
    place = tmp_path / "pid"
    code = f"""
import subprocess, sys
from hf_ssl.benchmark.grid.engines.local import _end_with
subprocess.Popen([sys.executable, "-c", {STARTS_ANOTHER!r}, {str(place)!r}])
while True:
    try:
        int(open({str(place)!r}).read())
        break
    except (OSError, ValueError):
        pass
_end_with(-1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 1
    assert within(5, lambda: not runs(place))


def test_more_gpus_than_there_are_is_an_error_of_the_cell(tmp_path):
    cell = tiny_grid(["supervised"], max_steps=2).cells[0]
    outcome = run_cell(cell, replace(tiny_work(tmp_path), gpus=64))
    assert outcome.error.startswith("ValueError: gpus must be at most") and "got 64; ask for fewer" in outcome.error
