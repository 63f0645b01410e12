"""Two processes with half a batch each: the same state on both, and the same training as one process."""

import pytest
import torch

from hf_ssl import SSLBatch
from hf_ssl.distributed import average_gradients

from tests.helpers.number_cases import CASES, make_algorithm, make_batch, make_models, run_step
from tests.helpers.process_pairs import WORLD, in_two_processes, train_steps

pytestmark = pytest.mark.multiprocess
STEPS, LR = 5, 0.02


def part_of(batch, rank):
    def share(values):
        return values.chunk(WORLD)[rank]

    return SSLBatch(
        labeled={"x": share(batch.labeled["x"])},
        labels=share(batch.labels),
        unlabeled={name: {"x": share(view["x"])} for name, view in batch.unlabeled.items()},
        labeled_index=share(batch.labeled_index),
        unlabeled_index=share(batch.unlabeled_index),
    )


def train(case, rank=None):
    """Some steps of gradient descent; returns losses, parameters and state."""
    algorithm, models = make_algorithm(case), make_models()
    parameters = [*models[0].parameters(), *algorithm.parameters()]

    def loss_of(step):
        batch = make_batch(step)
        return run_step(algorithm, step, models, batch if rank is None else part_of(batch, rank)).loss

    losses = train_steps(STEPS, LR, parameters, loss_of, synchronize=lambda: average_gradients(parameters))
    return {"losses": losses, "parameters": [p.detach() for p in parameters], "state": algorithm.state_dict()}


def work(rank):
    return {case: train(case, rank) for case in CASES}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return in_two_processes(work, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("case", list(CASES))
def test_every_process_holds_the_same_state(case, runs):
    first, second = (run[case] for run in runs)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("case", [case for case, row in CASES.items() if row.splits])
def test_two_halves_train_like_one_whole(case, runs):
    torch.testing.assert_close(runs[0][case], train(case), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", [case for case, row in CASES.items() if not row.splits])
def test_pairs_are_those_of_each_process(case, runs):
    """So the ranking differs, as documented; the memory of the pool is that of the joint batch."""
    whole = train(case)
    assert (runs[0][case]["losses"] - whole["losses"]).abs().max() > 1e-6
    for name, tensor in whole["state"].items():
        if name in ("alignment.seen", "alignment.aligned", "alignment.known", "alignment.labels"):
            assert torch.equal(tensor, runs[0][case]["state"][name])
