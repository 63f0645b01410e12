"""What is done, what is missing, and how long it takes: without loading anything."""

import json
import subprocess
import sys

import pytest

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid.cell_file import make_error, make_result, write
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.planning import plan

GRID = {"tasks": [{"task": "digits", "labels": [40]}], "algorithms": ["supervised", "fixmatch"], "seeds": [0, 1]}


def cells(**changes):
    return parse_grid({**GRID, **changes}, "mine").cells


def result(cell, seconds=10.0):
    steps = cell.settings["training"]["max_steps"]
    row = {"algorithm": cell.algorithm, "seed": cell.seed, "test_accuracy": 0.5, "steps": steps, "seconds": seconds}
    return make_result(cell, "0" * 16, row, {}, [], {})


def test_cells_are_done_missing_failed_or_outdated(tmp_path):
    done, failed, outdated, missing = cells()
    write(tmp_path / done.path, result(done))
    write(tmp_path / failed.error_path, make_error(failed, "ValueError", "no"))
    other = cells(schedule={"base": "short", "training": {"max_steps": 5}})[2]
    write(tmp_path / outdated.path, result(other))
    found = plan(cells(), tmp_path)
    assert (list(found.done), list(found.missing)) == ([done], [failed, missing])
    assert (list(found.failed), list(found.outdated)) == ([failed], [outdated])
    assert list(plan(cells(), tmp_path, replace=True).missing) == [failed, outdated, missing]


def test_the_estimate_is_of_the_cells_that_were_measured(tmp_path):
    chosen = cells()
    # 200 steps of supervised in 72 s; nothing of fixmatch, which is taken for as fast.
    write(tmp_path / chosen[0].path, result(chosen[0], 72.0))
    assert plan(chosen, tmp_path).estimate().lines() == ["about 4 minutes of one worker, by the cells of this folder"]


def test_without_any_a_table_says_which_machine_it_is_of(tmp_path):
    lines = plan(cells(), tmp_path).estimate().lines()
    assert len(lines) == 1 and "one core of an AMD EPYC" in lines[0]


def test_what_nobody_measured_is_said_to_be_unknown(tmp_path):
    grid = parse_grid({**GRID, "schedule": "usb", "tasks": ["ag_news"], "algorithms": ["uda"]}, "mine")
    assert plan(grid.cells, tmp_path).estimate().lines() == [
        "no step time is known for 4 cells; run one of them to learn it: --select 'task=ag_news label=uda seed=0'"
    ]


def test_the_published_cost_of_usb_is_found_again(tmp_path):
    tasks = ["cifar100", "stl10", "eurosat", "tissuemnist", "semi_aves"]
    grid = parse_grid({"schedule": "usb", "tasks": tasks, "algorithms": ["fixmatch"]}, "mine")
    (hours,) = plan(grid.cells, tmp_path).estimate().hours.values()
    assert hours == pytest.approx(39 * 24)


_COUNT = r"""
import re, sys, time
from hf_ssl.benchmark.grid import load_grid, plan
began = time.process_time()
grid = load_grid(sys.argv[1])
found = plan(grid.cells, sys.argv[2])
print(len(grid.cells), len(found.done), len(found.missing), time.process_time() - began)
# Not getrusage's peak, which a process has from the one that started it.
print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read as Linux tells it")
def test_ten_thousand_cells_are_planned_in_a_minute_and_a_gigabyte(tmp_path):
    content = {
        "schedule": "short",
        "tasks": [{"task": "digits", "labels": [10 * (i + 1) for i in range(25)]}],
        "algorithms": "all",
        "seeds": list(range(-(-400 // (len(ALGORITHMS) + 1)))),
    }
    path = tmp_path / "large.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    grid = parse_grid(content, "large")
    assert len(grid.cells) >= 10_000
    template = result(grid.cells[0]) | {"curves": [{"step": i, "loss": 1.0} for i in range(100)]}
    for cell in grid.cells[:5_000]:
        place = tmp_path / "results" / cell.path
        place.parent.mkdir(parents=True, exist_ok=True)
        content = {**template, "key": cell.key, "cell": cell.record(), "settings": cell.settings}
        place.write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-c", _COUNT, str(path), str(tmp_path / "results")]
    output = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.split()
    assert output[:3] == [str(len(grid.cells)), "5000", str(len(grid.cells) - 5_000)]
    assert float(output[3]) < 60 and float(output[4]) < 1024
