"""Two processes with half a batch each: a corrected algorithm has the same state on both, and trains as in one."""

import pytest
import torch
import torch.distributed as dist

from hf_ssl.distributed import average_gradients

from tests.helpers.algorithm_cases import LABELED, UNLABELED, make_models
from tests.helpers.correction_cases import PAIRS, make_batch, make_corrected, run_step, taken

pytestmark = pytest.mark.multiprocess
WORLD, STEPS, LR = 2, 5, 0.1
every_pair = pytest.mark.parametrize(("name", "base"), PAIRS, ids=[f"{base}-{name}" for name, base in PAIRS])


def half(size, rank):
    return slice(rank * size // WORLD, (rank + 1) * size // WORLD)


def train(name, base, rank=None):
    """Some steps of gradient descent: losses, parameters and buffers."""
    algorithm, models = make_corrected(name, base), make_models()
    student, teacher = models
    teacher.load_state_dict(student.state_dict())
    parameters = [*student.parameters(), *algorithm.parameters()]
    losses = []
    for step in range(STEPS):
        batch = make_batch(name, step)
        if rank is not None:
            batch = taken(batch, half(LABELED, rank), half(UNLABELED, rank))
        loss = run_step(name, base, algorithm, step, models, batch).loss
        loss.backward()
        average_gradients(parameters)
        mean = loss.detach().clone()
        if rank is not None:
            dist.all_reduce(mean)
            mean /= WORLD
        losses.append(mean)
        with torch.no_grad():
            for parameter in parameters:
                parameter.sub_(LR * (0 if parameter.grad is None else parameter.grad))
                parameter.grad = None
            for average, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
                average.lerp_(parameter, 0.1)
    parameters = [parameter.detach() for parameter in parameters]
    return {"losses": torch.stack(losses), "parameters": parameters, "buffers": algorithm.state_dict()}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=WORLD)
    torch.save({f"{name}, {base}": train(name, base, rank) for name, base in PAIRS}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@every_pair
def test_every_process_holds_the_same_state(name, base, runs):
    torch.testing.assert_close(*(run[f"{name}, {base}"] for run in runs), rtol=0, atol=0)


@every_pair
def test_two_halves_train_like_one_whole(name, base, runs):
    torch.testing.assert_close(runs[0][f"{name}, {base}"], train(name, base), rtol=1e-7, atol=1e-9)
