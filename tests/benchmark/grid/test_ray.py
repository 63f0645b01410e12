"""Ray: a real cluster of two nodes on this machine, one of which is lost in the middle of the run."""

import threading
import time

import pytest

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from hf_ssl.benchmark.grid.cell_file import read, read_errors  # noqa: E402
from hf_ssl.benchmark.grid.engines import make_engine  # noqa: E402
from hf_ssl.benchmark.grid.engines import ray as engine_module  # noqa: E402
from hf_ssl.benchmark.grid.engines.base import Outcome, Work  # noqa: E402
from hf_ssl.benchmark.grid.running import run_cell  # noqa: E402
from hf_ssl.benchmark.submission.checks import measured  # noqa: E402

from tests.helpers.grid_cells import make_cell, make_content, tiny_cells, write_cell  # noqa: E402


def test_a_result_of_a_node_with_its_own_disk_is_written_here(tmp_path, monkeypatch):
    cell, here, there = make_cell(), Work(tmp_path / "here"), Work(tmp_path / "there")
    path = write_cell(there.results, cell)
    monkeypatch.setattr(engine_module, "run_within_limit", lambda cell, work: Outcome(cell, path, None, 3.0))
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


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_node_that_is_lost_costs_no_cell(tmp_path):
    cells, work = tiny_cells(4, max_steps=16, eval_steps=4), Work(tmp_path / "results", save_seconds=0.0)
    room = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**room, "include_dashboard": False})
    try:
        lost = cluster.add_node(**room)
        cluster.wait_for_nodes()
        killer = threading.Thread(target=kill_in_mid_run, args=(cluster, lost, work))
        killer.start()
        with ray.init(address=cluster.address, log_to_driver=False):
            outcomes = list(make_engine("ray").run(cells, work))
            killer.join()
            alive = [node for node in ray.nodes() if node["Alive"]]
    finally:
        cluster.shutdown()
    assert len(alive) == 1
    assert [outcome.error for outcome in outcomes] == 4 * [None] and {outcome.cell for outcome in outcomes} == {*cells}
    undisturbed = run_cell(cells[1], Work(tmp_path / "here"))
    assert measured(read(work.results / cells[1].path)) == measured(read(undisturbed.path))


def kill_in_mid_run(cluster, node, work: Work) -> None:
    """Kill a node, as a loss of power would, once two cells are in progress: each node has room for one."""
    deadline = time.monotonic() + 240
    while len({path.parent for path in work.checkpoints.glob("*/checkpoint-*")}) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)
