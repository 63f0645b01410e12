"""A grid that is killed at random moments and started again leaves the files of an undisturbed one."""

import os
import random
import signal
import sys
import time

import pytest

from hf_ssl.benchmark.grid.cell_file import read_results
from hf_ssl.benchmark.grid.planning import plan
from hf_ssl.benchmark.grid.running import run_cell

from tests.helpers.children import finish, start_child
from tests.helpers.tiny_grid import lasting, tiny_grid, tiny_work

KILLS = int(os.environ.get("GRID_KILLS", "2"))


@pytest.mark.multiprocess
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_killed_at_random_moments_the_files_are_the_same(tmp_path):
    cells = tiny_grid(["fixmatch", "freematch"], max_steps=12, logging_steps=2).cells
    undisturbed, disturbed = tiny_work(tmp_path / "a"), tiny_work(tmp_path / "b")

    def run(work):
        for cell in plan(cells, work.results).missing:
            assert run_cell(cell, work).error is None

    began = time.monotonic()
    run(undisturbed)
    whole, generator, killed = time.monotonic() - began, random.Random(0), 0
    for _ in range(KILLS):
        child = start_child(lambda: run(disturbed))
        time.sleep(generator.uniform(0, 1.2 * whole / max(KILLS / 4, 1)))
        os.kill(child, signal.SIGKILL)
        killed += finish(child) == -signal.SIGKILL
        # Nothing that can be seen is ever half written.
        assert all(record["runs"] for record in read_results(disturbed.results)) or killed
    run(disturbed)
    found = [[lasting(record) for record in read_results(work.results)] for work in (undisturbed, disturbed)]
    assert len(found[0]) == 2 and found[0] == found[1]
    left = [path.name for path in disturbed.checkpoints.iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []
    print(f"{killed} of {KILLS} were killed before their end", file=sys.stderr)
