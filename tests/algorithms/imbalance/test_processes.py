"""Two processes with half a batch each: a corrected algorithm has the same state on both, and trains as in one."""

import pytest
import torch

from hf_ssl.distributed import average_gradients

from tests.helpers.algorithm_cases import LABELED, UNLABELED, make_models
from tests.helpers.correction_cases import PAIRS, make_batch, make_corrected, run_step, taken
from tests.helpers.process_pairs import WORLD, in_two_processes, train_steps

pytestmark = pytest.mark.multiprocess
STEPS, LR = 5, 0.1
every_pair = pytest.mark.parametrize(("name", "base"), PAIRS, ids=[f"{base}-{name}" for name, base in PAIRS])


def half(size, rank):
    return slice(rank * size // WORLD, (rank + 1) * size // WORLD)


def train(name, base, rank=None):
    """Some steps of gradient descent: losses, parameters and buffers."""
    algorithm, models = make_corrected(name, base), make_models()
    student, teacher = models
    teacher.load_state_dict(student.state_dict())
    parameters = [*student.parameters(), *algorithm.parameters()]

    def loss_of(step):
        batch = make_batch(name, step)
        if rank is not None:
            batch = taken(batch, half(LABELED, rank), half(UNLABELED, rank))
        return run_step(name, base, algorithm, step, models, batch).loss

    teachers = list(zip(teacher.parameters(), student.parameters(), strict=True))
    given = STEPS, LR, parameters, loss_of
    losses = train_steps(*given, teachers=teachers, synchronize=lambda: average_gradients(parameters))
    return {"losses": losses, "parameters": [p.detach() for p in parameters], "buffers": algorithm.state_dict()}


def work(rank):
    return {f"{name}, {base}": train(name, base, rank) for name, base in PAIRS}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return in_two_processes(work, tmp_path_factory.mktemp("processes"))


@every_pair
def test_every_process_holds_the_same_state(name, base, runs):
    torch.testing.assert_close(*(run[f"{name}, {base}"] for run in runs), rtol=0, atol=0)


@every_pair
def test_two_halves_train_like_one_whole(name, base, runs):
    torch.testing.assert_close(runs[0][f"{name}, {base}"], train(name, base), rtol=1e-7, atol=1e-9)
