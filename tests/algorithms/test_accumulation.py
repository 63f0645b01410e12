"""A step of several forward passes leaves the statistics of one large pass, regardless of how the batch is divided."""

from operator import attrgetter

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.algorithms.parts.alignment import MovingAverageAlignment, QueueAlignment
from hf_ssl.algorithms.parts.memory import FeatureQueue
from hf_ssl.algorithms.parts.thresholds import GaussianWeight, RelativeThreshold, SelfAdaptiveThreshold
from hf_ssl.algorithms.steps import StepStatistics

from tests.helpers.algorithm_cases import (
    ALL_CASES,
    CASES,
    LABELED,
    UNLABELED,
    fix_mixup,
    make_algorithm,
    make_batch,
    make_models,
    make_reference,
    run_step,
)
from tests.helpers.tiny_images import make_vit

# Sizes of the passes of one step: labeled, unlabeled.
DIVISIONS = {
    "one": ((LABELED,), (UNLABELED,)),
    "two": ((2, 2), (4, 4)),
    "four": ((1, 1, 1, 1), (2, 2, 2, 2)),
    "uneven": ((3, 1), (2, 6)),
}
# Variants whose statistics follow other rules: an order statistic, a target that is learned, one Gaussian per class.
VARIANTS = [
    *((name, {}) for name in ALL_CASES),
    ("freematch", {"use_quantile": True, "clip_threshold": True}),
    ("softmatch", {"uniform_alignment": False, "per_class": True}),
    ("flexmatch", {"threshold_warmup": False}),
    ("dash", {"initial_loss_threshold": None, "warmup_fraction": 0.3}),
    ("comatch", {"queue_batches": 2}),
    ("comatch", {"epass": True}),
    ("simmatch", {"epass": True}),
]
EXACT = {"rtol": 1e-11, "atol": 1e-13}


def passes_of(batch, division):
    """The passes of one step: the parts of a batch, each with the labeled and the unlabeled examples that follow."""
    parts = []
    for i in range(len(division[0])):
        first, second = (slice(sum(sizes[:i]), sum(sizes[: i + 1])) for sizes in division)

        def take(view, rows):
            return {key: values[rows] for key, values in view.items()}

        parts.append(
            SSLBatch(
                labeled=take(batch.labeled, first),
                labels=batch.labels[first],
                unlabeled={name: take(view, second) for name, view in batch.unlabeled.items()},
                labeled_index=batch.labeled_index[first],
                unlabeled_index=batch.unlabeled_index[second],
                labeled_strong=take(batch.labeled_strong, first),
                rotation_labels=batch.rotation_labels[second],
                perturbation=batch.perturbation[second],
            )
        )
    return parts


def run(name, division, settings, steps=5):
    """The outputs of all passes of each step, and the algorithm after them; the models stay as they are."""
    algorithm, models, outputs = make_algorithm(name, **settings), make_models(), []
    for step in range(steps):
        parts = passes_of(make_batch(step), division)
        outputs.append([run_step(name, algorithm, step, models, fix_mixup(name, part)) for part in parts])
    return outputs, algorithm


@pytest.mark.parametrize("division", ["two", "four", "uneven"])
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=[f"{n}-{'-'.join(s) or 'usual'}" for n, s in VARIANTS])
def test_statistics_are_those_of_one_large_pass(name, settings, division):
    whole, expected = run(name, DIVISIONS["one"], settings)
    parts, found = run(name, DIVISIONS[division], settings)
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], value, **EXACT, msg=lambda text, key=key: f"{key}: {text}")
    # The last pass of a step knows all of it, so its examples get the weights that the large pass gives them.
    for (large,), small in zip(whole, parts, strict=True):
        if large.mask is not None:
            torch.testing.assert_close(small[-1].mask, large.mask[-len(small[-1].mask) :], **EXACT)


@pytest.mark.parametrize("name", [name for name in ALL_CASES if name not in ("mixmatch", "remixmatch")])
def test_statistics_of_passes_are_those_of_the_formula_for_the_whole_batch(name):
    algorithm, models = make_algorithm(name), make_models()
    reference = make_reference(name, algorithm, models)
    for step in range(4):
        _, mask = reference(fix_mixup(name, make_batch(step)), step)
        for part in passes_of(make_batch(step), DIVISIONS["four"]):
            output = run_step(name, algorithm, step, models, part)
        if mask is not None:
            expected = torch.as_tensor(np.asarray(mask), dtype=torch.float64)[-2:]
            torch.testing.assert_close(output.mask, expected, rtol=1e-6, atol=1e-8)
    for key, value in reference.state.items():
        actual = attrgetter(key)(algorithm).double()
        torch.testing.assert_close(actual, torch.as_tensor(value, dtype=torch.float64), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["flexmatch", "fixmatch", "uda", "supervised", "defixmatch", "multi_label/cap"])
def test_what_looks_at_the_past_only_trains_like_one_large_pass(name):
    """Nothing that these algorithms count in a step decides over its own examples: loss and weights are equal, too."""
    whole, _ = run(name, DIVISIONS["one"], {})
    parts, _ = run(name, DIVISIONS["two"], {})
    for (large,), small in zip(whole, parts, strict=True):
        torch.testing.assert_close(torch.stack([part.loss for part in small]).mean(), large.loss, **EXACT)
        if large.mask is not None:
            torch.testing.assert_close(torch.cat([part.mask for part in small]), large.mask, **EXACT)


# ---- The rules, by numbers ----

FIRST, SECOND = torch.tensor([[0.8, 0.2], [0.6, 0.4]]), torch.tensor([[0.1, 0.9]])


def two_passes(part, *calls):
    """What the last of the calls, which are the passes of one step, returns."""
    for place, arguments in enumerate(calls):
        part.begin_pass(place > 0)
        result = part(*arguments[:-1], **arguments[-1])
    return result


def test_a_mean_is_that_of_all_examples_not_of_the_passes():
    rule = SelfAdaptiveThreshold(2, momentum=0.5)
    two_passes(rule, (FIRST, {}), (SECOND, {}))
    assert rule.global_threshold.item() == pytest.approx(0.5 * 0.5 + 0.5 * (0.8 + 0.6 + 0.9) / 3)
    torch.testing.assert_close(rule.class_probability, torch.tensor([0.25 + 0.5 * 1.5 / 3, 0.25 + 0.5 * 1.5 / 3]))
    torch.testing.assert_close(rule.label_histogram, torch.tensor([0.25 + 0.5 * 2 / 3, 0.25 + 0.5 / 3]))


def test_a_quantile_is_that_of_all_examples():
    rule = SelfAdaptiveThreshold(2, momentum=0.0, use_quantile=True)
    two_passes(rule, (FIRST, {}), (SECOND, {}))
    assert rule.global_threshold.item() == pytest.approx(np.quantile([0.8, 0.6, 0.9], 0.8), rel=1e-6)


def test_a_variance_is_that_of_all_examples():
    rule = GaussianWeight(2, momentum=0.5)
    two_passes(rule, (FIRST, {}), (SECOND, {}))
    assert rule.confidence_mean.item() == pytest.approx(0.25 + 0.5 * np.mean([0.8, 0.6, 0.9]))
    assert rule.confidence_variance.item() == pytest.approx(0.5 + 0.5 * np.var([0.8, 0.6, 0.9], ddof=1))


def test_the_first_step_sets_the_average_not_its_first_pass():
    alignment = MovingAverageAlignment(2, momentum=0.9)
    labeled = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.3, 0.7]])
    two_passes(alignment, (FIRST, labeled[0], {}), (SECOND, labeled[1], {}))
    torch.testing.assert_close(alignment.alignment_model, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(alignment.alignment_target, torch.tensor([0.45 + 0.06, 0.45 + 0.04]))


def test_a_queue_of_means_has_one_row_per_step():
    alignment = QueueAlignment(2, queue_size=3)
    for _ in range(2):
        two_passes(alignment, (FIRST, {}), (SECOND, {}))
    torch.testing.assert_close(alignment.alignment_model, torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]))
    assert alignment.alignment_position.tolist() == [2]


def test_a_relative_threshold_is_relative_to_all_labeled_examples():
    rule, labeled = RelativeThreshold(1.0), torch.tensor([[0.9, 0.1]])
    probs = torch.tensor([[0.74, 0.26], [0.76, 0.24]])
    mask = two_passes(rule, (FIRST, {"labeled_probs": labeled}), (probs, {"labeled_probs": FIRST[1:]}))
    assert mask.tolist() == [0, 1]


def test_a_queue_gives_back_what_a_further_pass_must_not_have_seen():
    """The votes of all passes are those of the queue before the step, also where the queue is shorter than a step."""
    queue, probs = FeatureQueue(2, 1, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    queue.push(torch.tensor([[1.0], [-1.0]]), probs[:2])
    before = queue.vote(torch.tensor([[1.0]]), 0.1)
    queue.begin_pass(False)
    queue.push(torch.tensor([[5.0]]), probs[1:2])
    queue.begin_pass(True)
    torch.testing.assert_close(queue.vote(torch.tensor([[1.0]]), 0.1), before)
    queue.push(torch.tensor([[5.0], [6.0], [7.0]]), probs)
    assert queue.queue_features.flatten().tolist() == [7.0, 6.0] and queue.queue_position == 1


# ---- What tells a further pass from a step ----


def test_without_an_algorithm_every_call_is_a_step():
    rule = SelfAdaptiveThreshold(2, momentum=0.5)
    rule(FIRST), rule(FIRST)
    assert rule.global_threshold.item() == pytest.approx(0.125 + 0.25 * 0.7 + 0.5 * 0.7)


@pytest.mark.parametrize("end", ["begin_step", "load_state_dict"])
def test_a_step_with_the_number_of_the_last_one_can_be_begun(end):
    """A second training may begin with the step with which the first one ended."""
    models = make_models()
    algorithm, twice = make_algorithm("freematch"), make_algorithm("freematch")
    for step in (0, 1):
        run_step("freematch", twice, step, models, make_batch(0))
    run_step("freematch", algorithm, 0, models, make_batch(0))
    algorithm.begin_step() if end == "begin_step" else algorithm.load_state_dict(algorithm.state_dict())
    run_step("freematch", algorithm, 0, models, make_batch(0))
    torch.testing.assert_close(algorithm.state_dict(), twice.state_dict())


def test_no_statistic_of_an_algorithm_is_left_out():
    """Buffers that follow the batches are in parts that know of passes, but for those listed here and why."""
    known = {
        "class_distribution",  # follows from the labeled set
        "average_0_weight", "average_0_bias", "average_2_weight", "average_2_bias",  # follow the teacher, and so steps
        "classifier_before", "started",
        "pool_labels", "pool_weights",  # change between rounds
    }  # fmt: skip
    for name in ALL_CASES:
        for part in make_algorithm(name).modules():
            if not isinstance(part, StepStatistics):
                assert set(dict(part.named_buffers(recurse=False))) <= known, name


# ---- In the trainer ----

WATCHED = {
    "softmatch": {"momentum": 0.6},
    "freematch": {"momentum": 0.6},
    "adamatch": {"momentum": 0.6},
    "flexmatch": {"threshold": 0.35},
    "remixmatch": {},
    "simmatch": {"projection_size": 4},
    "comatch": {"projection_size": 4, "queue_batches": 1},
    "dash": {"warmup_fraction": 0.8},
}


def still(make_trainer, algorithm, accumulation, **config):
    """A trainer in float64 whose weights never move, for steps of 4 + 8 images."""
    trainer = make_trainer(
        make_vit(),
        algorithm=algorithm,
        algorithm_kwargs=WATCHED[algorithm],
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        **{"learning_rate": 0.0, "max_steps": 4, **config},
    )
    trainer.model.double()
    trainer.algorithm.double()
    cast = trainer.views.finish
    trainer.views.finish = lambda view: {key: value.double() for key, value in cast(view).items()}
    return trainer


@pytest.mark.parametrize("algorithm", [name for name in WATCHED if name != "remixmatch"])
def test_the_trainer_leaves_the_same_statistics_for_any_accumulation(make_trainer, algorithm):
    states = []
    for accumulation in (1, 2, 4):
        trainer = still(make_trainer, algorithm, accumulation)
        trainer.train()
        assert trainer.algorithm.labeled_batch_size == 4 and trainer.algorithm.unlabeled_batch_size == 8
        states.append(trainer.algorithm.state_dict())
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_dash_measures_the_same_loss_however_often_it_is_trained(make_trainer, accumulation):
    trainer = still(make_trainer, "dash", accumulation)
    # 6 labeled images, 4 per step: one pass over them takes two steps, the last two of the three of the warm-up.
    seen: list[list[float]] = []
    supervised = trainer.algorithm.supervised

    def noted(*given):
        loss = supervised(*given)
        seen[-1].append(loss.item())
        return loss

    trainer.algorithm.supervised = noted
    for _ in range(3):
        seen.append([])
        trainer.train()
        expected = np.mean(seen[-1][accumulation : 3 * accumulation])
        assert trainer.algorithm.initial_loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_training_of_one_step_can_be_repeated(make_trainer):
    trainer = still(make_trainer, "freematch", 2, max_steps=1)
    found = []
    for _ in range(2):
        trainer.train()
        found.append(trainer.algorithm.global_threshold.item())
    # The same step twice: the second one moves on from where the first one ended.
    start = 1 / 3
    level = start + (found[0] - start) / 0.4
    assert found[1] == pytest.approx(0.6 * found[0] + 0.4 * level)


def test_every_algorithm_is_looked_at():
    assert {name for name, _ in VARIANTS if name in CASES} == set(ALGORITHMS)
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
    algorithm = get_algorithm("fixmatch", num_classes=3, feature_size=4, **sizes).double()
    batch = make_batch(0)
    losses = [algorithm(ModelForward(make_models()[0]), batch, Progress(0, 10, 1)).loss for _ in range(2)]
    assert losses[0] == losses[1]
