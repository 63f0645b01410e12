"""Two processes with half a batch each: the same state on both, and the same training as one process."""

import pytest
import torch
import torch.distributed as dist

from hf_ssl import SSLBatch
from hf_ssl.distributed import average_gradients

from tests.helpers.number_cases import CASES, make_algorithm, make_batch, make_models, run_step

pytestmark = pytest.mark.multiprocess
WORLD, STEPS, LR = 2, 5, 0.02


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
    losses = []
    for step in range(STEPS):
        batch = make_batch(step)
        loss = run_step(algorithm, step, models, batch if rank is None else part_of(batch, rank)).loss
        loss.backward()
        average_gradients(parameters)
        mean = loss.detach().clone()
        if rank is not None:
            dist.all_reduce(mean)
            mean /= WORLD
        losses.append(mean)
        with torch.no_grad():
            for parameter in parameters:
                parameter.sub_(LR * parameter.grad)
                parameter.grad = None
    parameters = [parameter.detach() for parameter in parameters]
    return {"losses": torch.stack(losses), "parameters": parameters, "state": algorithm.state_dict()}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=WORLD)
    torch.save({case: train(case, rank) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


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
