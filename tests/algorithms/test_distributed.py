"""Two processes with half a batch each: the same statistics on both, and the same training as one process."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from hf_ssl import SSLBatch
from hf_ssl.distributed import average_gradients

from tests.helpers.algorithm_cases import (
    ALL_CASES,
    fix_mixup,
    make_algorithm,
    make_batch,
    make_models,
    run_step,
)
from tests.helpers.process_pairs import WORLD, in_two_processes, train_steps

pytestmark = pytest.mark.multiprocess
STEPS, LR = 5, 0.1
MIXING = ("mixmatch", "remixmatch", "regmixmatch")
MEASURED = {"initial_loss_threshold": None, "warmup_fraction": 0.3}


def part_of(batch, rank):
    """The share of one rank, a half."""

    def share(values):
        return values[rank * len(values) // WORLD : (rank + 1) * len(values) // WORLD]

    def view(inputs):
        return {key: share(value) for key, value in inputs.items()}

    return SSLBatch(
        labeled=view(batch.labeled),
        labels=share(batch.labels),
        unlabeled={name: view(inputs) for name, inputs in batch.unlabeled.items()},
        labeled_index=share(batch.labeled_index),
        unlabeled_index=share(batch.unlabeled_index),
        labeled_strong=view(batch.labeled_strong),
        rotation_labels=share(batch.rotation_labels),
        perturbation=share(batch.perturbation),
    )


def messages(step):
    """How often `step` talks to the other process; DistributedDataParallel's messages are not counted."""
    count, real = 0, {name: getattr(dist, name) for name in ("all_gather", "all_reduce")}

    def counted(function):
        def method(*args, **kwargs):
            nonlocal count
            count += 1
            return function(*args, **kwargs)

        return method

    for name, function in real.items():
        setattr(dist, name, counted(function))
    try:
        step()
    finally:
        for name, function in real.items():
            setattr(dist, name, function)
    return count


def train(name, rank=None, wrapped=False, **settings):
    """Some steps of gradient descent; returns losses, parameters and buffers."""
    algorithm, models = make_algorithm(name, **settings), make_models()
    student, teacher = models
    if wrapped:
        models = nn.parallel.DistributedDataParallel(student), teacher
    teacher.load_state_dict(student.state_dict())
    parameters = [*student.parameters(), *algorithm.parameters()]
    averaged = list(algorithm.parameters()) if wrapped else parameters

    def loss_of(step):
        batch = make_batch(step) if rank is None else part_of(make_batch(step), rank)
        return run_step(name, algorithm, step, models, fix_mixup(name, batch)).loss

    teachers = list(zip(teacher.parameters(), student.parameters(), strict=True))
    given = STEPS, LR, parameters, loss_of
    losses = train_steps(*given, teachers=teachers, synchronize=lambda: average_gradients(averaged))
    return {"losses": losses, "parameters": [p.detach() for p in parameters], "buffers": algorithm.state_dict()}


def statistics(name, rank=None, **settings):
    """Buffers after some steps at weights that stay; a rank takes each step in two passes, a quarter each."""
    algorithm, models = make_algorithm(name, **settings), make_models()
    for step in range(STEPS):
        batch = make_batch(step)
        passes = [batch] if rank is None else [part_of(part_of(batch, half), rank) for half in range(2)]
        for part in passes:
            run_step(name, algorithm, step, models, fix_mixup(name, part))
    return dict(algorithm.named_buffers())


def count_messages(name, rank):
    """In the algorithm's forward and backward pass, and for the gradients of its heads."""
    algorithm, models = make_algorithm(name), make_models()
    batch = fix_mixup(name, part_of(make_batch(0), rank))
    step = messages(lambda: run_step(name, algorithm, 0, models, batch).loss.backward())
    return [step, messages(lambda: average_gradients(algorithm.parameters()))]


def work(rank):
    runs = {name: train(name, rank) for name in ALL_CASES}
    runs |= {f"{name}, wrapped": train(name, rank, wrapped=True) for name in ALL_CASES}
    runs |= {f"{name}, features": train(name, rank, wrapped=True, modality="audio") for name in MIXING}
    runs |= {f"{name}, passes": statistics(name, rank) for name in ALL_CASES}
    runs["dash, measured"] = statistics("dash", rank, **MEASURED)
    runs["messages"] = {name: count_messages(name, rank) for name in ALL_CASES}
    return runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return in_two_processes(work, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", list(ALL_CASES))
def test_every_process_holds_the_same_state(name, runs):
    first, second = (run[name] for run in runs)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", list(ALL_CASES))
def test_inside_of_ddp_every_parameter_gets_the_same_gradient(name, runs):
    """Views that by-pass the wrapper, and heads and perturbations outside of it, must not lose their part."""
    torch.testing.assert_close(runs[0][f"{name}, wrapped"], runs[0][name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", MIXING)
def test_mixing_features_in_two_processes_agrees(name, runs):
    first, second = (run[f"{name}, features"] for run in runs)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, row in ALL_CASES.items() if row.splits])
def test_two_halves_train_like_one_whole(name, runs):
    torch.testing.assert_close(runs[0][name], train(name), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", list(ALL_CASES))
def test_two_passes_of_two_processes_leave_the_statistics_of_one_whole(name, runs):
    torch.testing.assert_close(runs[1][f"{name}, passes"], statistics(name), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(runs[0][f"{name}, passes"], runs[1][f"{name}, passes"], rtol=0, atol=0)


def test_two_passes_of_two_processes_measure_the_loss_of_one_whole(runs):
    expected = statistics("dash", **MEASURED)
    assert expected["threshold.initial_loss"] > 0
    torch.testing.assert_close(runs[1]["dash, measured"], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name, row in ALL_CASES.items() if not row.splits])
def test_what_is_documented_not_to_split_says_so(name, runs):
    whole = train(name)
    assert (runs[0][name]["losses"] - whole["losses"]).abs().max() > 1e-6
    assert "processes" in type(make_algorithm(name)).__doc__


# Statistics of the joint batch: one message for all that is known at the same time. FreeMatch's term has a sum with
# gradient.
MESSAGES = {
    "propagation": 1,
    "flexmatch": 1,
    "simmatch": 2,
    "comatch": 2,
    "adamatch": 2,
    "freematch": 3,
    "softmatch": 1,
    "remixmatch": 1,
    "sequencematch": 1,
    "shrinkmatch": 1,
    "cgmatch": 2,
    "multimatch": 1,
    "regmixmatch": 3,
    "semireward": 1,
    "allmatch": 1,
    "multi_label/cap": 1,
    "iomatch": 1,
}


@pytest.mark.parametrize("name", ALL_CASES)
def test_a_step_sends_few_messages(name, runs):
    heads = 1 if any(True for _ in make_algorithm(name).parameters()) else 0
    assert [run["messages"][name] for run in runs] == [[MESSAGES.get(name, 0), heads]] * 2
