"""The opinions of a larger model as a further term: what holds for it beside every algorithm."""

import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.distributed import average_gradients

from tests.helpers.algorithm_cases import (
    CASES,
    CLASSES,
    DIM,
    LABELED,
    MAX_STEPS,
    UNLABELED,
    fix_mixup,
    make_algorithm,
    make_batch,
    make_models,
    run_step,
)
from tests.helpers.correction_cases import taken
from tests.helpers.process_pairs import in_two_processes, train_steps
from tests.helpers.text_model import Words

# Two tests run all algorithms; what does not depend on them is shown for a few kinds of step.
every_algorithm = pytest.mark.parametrize("name", list(ALGORITHMS))
# The pool's examples without an opinion.
SILENT = (1, 5)


def opinions(size: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.rand(size, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn /= drawn.sum(dim=1, keepdim=True)
    drawn[[place for place in SILENT if place < size]] = 0
    return drawn


def taught(name: str, step: int = 3, **teacher):
    """An algorithm with a teacher, and a batch of a step with opinions."""
    algorithm = make_algorithm(name, teacher=teacher)
    return algorithm, replace(fix_mixup(name, make_batch(step)), opinions=opinions(UNLABELED, step))


def step_of(name, algorithm, batch, models=None, step=3):
    return run_step(name, algorithm, step, models or make_models(), batch)


def expected_term(algorithm, view: torch.Tensor, given: torch.Tensor) -> float:
    """The formula by NumPy: the model of these tests has its inputs for features."""
    head = algorithm.outside_teacher.head
    logits = view.numpy() @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-(given.numpy() * logs).sum(axis=1).mean())


@every_algorithm
def test_the_term_is_the_cross_entropy_of_an_auxiliary_head(name):
    algorithm, batch = taught(name, weight=0.5, schedule="falling")
    plain = make_algorithm(name)
    plain.load_state_dict({key: value for key, value in algorithm.state_dict().items() if "outside" not in key})
    output, without = step_of(name, algorithm, batch), step_of(name, plain, batch)
    views = CASES[name].gradient & set(batch.unlabeled)
    learned = next((view for view in ("weak", "strong", "medium") if view in views), "weak")
    # Weak views have a gradient there only in mixtures of inputs.
    learned = {"mixmatch": "weak", "remixmatch": "strong"}.get(name, learned)
    term = expected_term(algorithm, batch.unlabeled[learned]["x"], batch.opinions)
    assert output.terms["teacher"].item() == pytest.approx(term, rel=1e-6)
    # Step 3 of 10: the factor has fallen to 0.5 * 0.7.
    assert output.loss.item() == pytest.approx(without.loss.item() + 0.35 * term, rel=1e-6)
    assert output.metrics["teacher_ratio"].item() == pytest.approx(1 - len(SILENT) / UNLABELED)
    assert {*without.terms, "teacher"} == set(output.terms)


@every_algorithm
def test_the_gradient_reaches_features_and_auxiliary_head_and_not_the_head_of_the_model(name):
    torch.manual_seed(0)
    body, head = torch.nn.Linear(DIM, DIM).double(), torch.nn.Linear(DIM, CLASSES).double()
    model = _Layers(body, head)
    algorithm, batch = taught(name, weight=1.0, schedule="constant")
    forward = ModelForward(model, teacher=deepcopy(model) if algorithm.uses_teacher else None)
    plain = make_algorithm(name)
    plain.load_state_dict({key: value for key, value in algorithm.state_dict().items() if "outside" not in key})
    progress = Progress(3, MAX_STEPS, CASES[name].steps_per_epoch)
    gradients = []
    for each in (algorithm, plain):
        for module in (model, algorithm):
            module.zero_grad()
        torch.manual_seed(1)
        each(forward, batch, progress).loss.backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in (body.weight, head.weight)])
        if each is algorithm:
            assert algorithm.outside_teacher.head.weight.grad.abs().sum() > 0
    (body_taught, head_taught), (body_plain, head_plain) = gradients
    assert not torch.allclose(body_taught, torch.zeros(()) if body_plain is None else body_plain)
    if head_plain is not None:
        torch.testing.assert_close(head_taught, head_plain, rtol=1e-6, atol=1e-9)


class _Layers(torch.nn.Module):
    def __init__(self, body, classifier):
        super().__init__()
        self.body, self.classifier = body, classifier

    def forward(self, x):
        return self.classifier(torch.tanh(self.body(x)))


@every_algorithm
def test_state_round_trip_continues_identically(name):
    algorithm, batch = taught(name)
    models = make_models()
    for step in range(3):
        step_of(name, algorithm, batch, models, step)
    restored = make_algorithm(name, teacher={})
    torch.nn.init.zeros_(restored.outside_teacher.head.weight)
    restored.load_state_dict({key: value.clone() for key, value in algorithm.state_dict().items()})
    copied = pickle.loads(pickle.dumps(algorithm))
    copied.begin_step()
    expected, *found = (step_of(name, each, batch, models, 3).loss for each in (algorithm, restored, copied))
    assert all(torch.equal(loss, expected) for loss in found)


@pytest.mark.parametrize("name", ["supervised", "fixmatch", "freematch", "mean_teacher", "pseudo_label"])
def test_passes_of_a_step_add_up_to_one_large_pass(name):
    whole, batch = taught(name)
    parts = deepcopy(whole)
    expected = step_of(name, whole, batch).terms["teacher"]
    halves = [taken(batch, slice(i * LABELED // 2, (i + 1) * LABELED // 2), _half(i, UNLABELED)) for i in range(2)]
    found = sum(step_of(name, parts, half).terms["teacher"] for half in halves) / 2
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def _half(rank, size):
    return slice(rank * size // 2, (rank + 1) * size // 2)


@pytest.mark.parametrize("name", ["fixmatch", "mixmatch", "supervised", "noisy_student"])
def test_runs_on_text_and_in_bfloat16(name):
    torch.manual_seed(0)
    algorithm, model = make_algorithm(name, torch.float32, modality="text", teacher={}), Words()

    def tokens(rows):
        return {"input_ids": torch.randint(11, (rows, 5)), "attention_mask": torch.ones(rows, 5, dtype=torch.int64)}

    batch = make_batch(0, torch.float32)
    unlabeled = {view: tokens(UNLABELED) for view in batch.unlabeled}
    batch = replace(
        batch,
        labeled=tokens(LABELED),
        labeled_strong=tokens(LABELED),
        unlabeled=unlabeled,
        opinions=opinions(UNLABELED).float(),
    )
    with torch.autocast("cpu", torch.bfloat16):
        output = algorithm(ModelForward(model), batch, Progress(3, 10, 2))
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert 0.5 < output.terms["teacher"] < 3
    assert all(torch.isfinite(p.grad).all() for p in [*model.parameters(), *algorithm.outside_teacher.parameters()])


def test_labels_alone_ask_for_a_view_of_the_pool_if_there_is_a_teacher():
    assert make_algorithm("supervised").views == {}
    assert make_algorithm("supervised", teacher={}).views == {"weak": "weak"}
    assert make_algorithm("noisy_student", teacher={}).views == make_algorithm("noisy_student").views


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("falling", [2.0, 1.0, 0.0]), ("constant", [2.0, 2.0, 2.0]), ("rising", [0.0, 1.0, 2.0])],
)
def test_the_factor_follows_its_schedule(schedule, factors):
    teacher = make_algorithm("fixmatch", teacher={"weight": 2.0, "schedule": schedule}).outside_teacher
    assert [teacher.weight_at(Progress(step, 10, 1)) for step in (0, 5, 10)] == factors


def test_wrong_settings_and_a_batch_without_opinions_are_refused():
    with pytest.raises(ValueError, match=r"teacher_weight must be at least 0, got -1"):
        make_algorithm("fixmatch", teacher={"weight": -1.0})
    with pytest.raises(ValueError, match="teacher_schedule must be one of falling, constant, rising, got cosine"):
        make_algorithm("fixmatch", teacher={"schedule": "cosine"})
    algorithm, batch = taught("fixmatch")
    with pytest.raises(ValueError, match="opinions must be in the batch, got None"):
        step_of("fixmatch", algorithm, replace(batch, opinions=None))


def test_a_correction_for_long_tails_composes_with_it():
    sizes = {"num_labeled": 6, "num_unlabeled": 12, "labeled_batch_size": LABELED, "unlabeled_batch_size": UNLABELED}
    algorithm = get_algorithm(
        "fixmatch", num_classes=CLASSES, feature_size=DIM, imbalance="abc", class_counts=[3, 2, 1], teacher={}, **sizes
    )
    output = step_of("fixmatch", algorithm.double(), taught("fixmatch")[1])
    assert list(output.terms) == ["supervised", "unsupervised", "balanced", "teacher"]


# ---- Two processes ----

PAIRED = ("supervised", "fixmatch", "freematch", "vat", "noisy_student")


def train(name, rank=None):
    """Some steps of gradient descent: the parameters of model and algorithm."""
    algorithm, models = make_algorithm(name, teacher={}), make_models()
    parameters = [*models[0].parameters(), *algorithm.parameters()]

    def loss_of(step):
        batch: SSLBatch = replace(make_batch(step), opinions=opinions(UNLABELED, step))
        if rank is not None:
            batch = taken(batch, _half(rank, LABELED), _half(rank, UNLABELED))
        return step_of(name, algorithm, batch, models, step).loss

    train_steps(3, 0.1, parameters, loss_of, synchronize=lambda: average_gradients(parameters))
    return [parameter.detach() for parameter in parameters]


def work(rank):
    return {name: train(name, rank) for name in PAIRED}


@pytest.mark.multiprocess
def test_two_processes_with_half_a_batch_each_train_like_one(tmp_path):
    first, second = in_two_processes(work, tmp_path)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, {name: train(name) for name in PAIRED}, rtol=1e-7, atol=1e-9)
