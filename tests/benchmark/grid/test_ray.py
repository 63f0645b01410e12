"""Ray: a real cluster of two nodes on this machine, one of which is lost in the middle of the run."""

import threading
import time

import psutil
import pytest

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from hf_ssl.benchmark.grid.cell_file import read, read_errors  # noqa: E402
from hf_ssl.benchmark.grid.engines import ray as engine_module  # noqa: E402
from hf_ssl.benchmark.grid.engines.base import Outcome, Work  # noqa: E402

from tests.helpers.grid_cells import make_cell, make_content, write_cell  # noqa: E402
from tests.helpers.waiting_runs import GO, RUNNER  # noqa: E402


def test_a_result_of_a_node_with_its_own_disk_is_written_here(tmp_path, monkeypatch):
    cell, here, there = make_cell(), Work(tmp_path / "here"), Work(tmp_path / "there")
    path = write_cell(there.results, cell)
    monkeypatch.setattr(engine_module, "run_within_limit", lambda cell, work, runner: Outcome(cell, path, None, 3.0))
    outcome = engine_module._brought(cell, here, *engine_module.run_on_node(cell, there, time.time() + 60))
    assert outcome == Outcome(cell, here.results / cell.path, None, 3.0)
    assert read(outcome.path) == make_content(cell)


def test_an_error_of_a_node_with_its_own_disk_is_written_here(tmp_path, monkeypatch):
    import hf_ssl.benchmark.grid.running as running

    def fail(cell, work, folder):
        raise ValueError("no data")

    monkeypatch.setattr(running, "train", fail)
    there, here = Work(tmp_path / "there"), Work(tmp_path / "here")
    outcome = engine_module._brought(
        make_cell(), here, *engine_module.run_on_node(make_cell(), there, time.time() + 60)
    )
    assert engine_module.run_on_node(make_cell(), there, time.time() - 1) is None
    assert (outcome.path, outcome.error) == (None, "ValueError: no data")
    assert [found["error"]["message"] for found in read_errors(here.results)] == ["no data"]


class WaitingEngine(engine_module.RayEngine):
    runner = RUNNER


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_node_that_is_lost_costs_no_cell(tmp_path):
    cells, work = [make_cell(seed=seed) for seed in range(5)], Work(tmp_path / "results")
    work.checkpoints.mkdir(parents=True)
    room = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**room, "include_dashboard": False})
    try:
        lost = cluster.add_node(**room)
        cluster.wait_for_nodes()
        killer = threading.Thread(target=kill_in_mid_run, args=(cluster, lost, work))
        killer.start()
        with ray.init(address=cluster.address, log_to_driver=False):
            outcomes = list(WaitingEngine().run(cells, work))
            killer.join()
    finally:
        cluster.shutdown()
    assert [outcome.error for outcome in outcomes] == 5 * [None] and {outcome.cell for outcome in outcomes} == {*cells}
    assert [read(outcome.path)["key"] for outcome in outcomes] == [outcome.cell.key for outcome in outcomes]
    # The cell that was lost with its node ran twice, and no other one.
    ran = [path.name.split(".")[0] for path in work.checkpoints.glob("*.ran")]
    assert sorted(ran.count(cell.key) for cell in cells) == [1, 1, 1, 1, 2]
    assert {path.read_text() for path in work.checkpoints.glob("*.ran")} == {"1"}


def kill_in_mid_run(cluster, node, work: Work) -> None:
    """Kill a node, as a loss of power would, when both are at work: each has room for one cell, which waits."""

    def workers() -> list[int]:
        return [int(path.name.split(".")[1]) for path in work.checkpoints.glob("*.ran")]

    wait_for(lambda: len(workers()) == 2)
    cluster.remove_node(node, allow_graceful=False)
    wait_for(lambda: not all(map(psutil.pid_exists, workers())))
    (work.checkpoints / GO).touch()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 240
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
