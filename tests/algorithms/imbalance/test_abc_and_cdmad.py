"""ABC and CDMAD by their formulas, written out in NumPy, around an algorithm that is not FixMatch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress
from hf_ssl.algorithms import IMBALANCE, get_algorithm

from tests.helpers.algorithm_cases import LABELED, UNLABELED, make_models
from tests.helpers.correction_cases import COUNTS, make_batch, make_corrected, run_step

# Three steps to an epoch, ten to the run.
EPOCHS = 3


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def balanced_term(algorithm, batch, epoch, hard):
    """ABC's term for a model whose features are its inputs."""
    head, settings = algorithm.balanced_head, algorithm.correction
    probs = {
        name: softmax((view["x"] @ head.weight.T + head.bias).detach().numpy())
        for name, view in {"labeled": batch.labeled, **batch.unlabeled}.items()
    }
    balance = (COUNTS.min() / COUNTS).numpy().astype(float)
    labels, q = batch.labels.numpy(), probs["weak"]
    total = sum(-balance[y] * np.log(p[y]) for y, p in zip(labels, probs["labeled"], strict=True)) / LABELED
    for i in range(UNLABELED):
        guess = q[i].argmax()
        if q[i].max() >= settings.threshold:
            target = np.eye(len(q[i]))[guess] if hard else q[i]
            weight = 1 - epoch / EPOCHS * (1 - balance[guess])
            total += -weight * (target * np.log(probs["strong"][i])).sum() / UNLABELED
    return total


@pytest.mark.parametrize("hard", [False, True])
def test_abc_is_its_formula_whatever_the_algorithm_makes_of_the_views(hard):
    settings = {"threshold": 0.5, "weight": 0.7, "hard_labels": hard}
    algorithm, models = make_corrected("abc", "freematch", settings=settings), make_models()
    plain = make_corrected(None, "freematch")
    for step in range(9):
        batch = make_batch("abc", step)
        output = run_step("abc", "freematch", algorithm, step, models, batch)
        expected = balanced_term(algorithm, batch, step // 3, hard)
        assert output.terms["balanced"].item() == pytest.approx(expected, rel=1e-6)
        without = run_step(None, "freematch", plain, step, models, batch)
        torch.testing.assert_close(output.loss, without.loss + 0.7 * output.terms["balanced"])


def test_abc_weights_are_the_expectation_of_the_masks_that_the_authors_draw():
    algorithm, models = make_corrected("abc", settings={"threshold": 0.0}), make_models()
    batch = make_batch("abc", 6)
    expected = run_step("abc", "fixmatch", algorithm, 6, models, batch).terms["balanced"].item()
    head, generator = algorithm.balanced_head, np.random.default_rng(0)

    def losses(view, targets):
        logits = (view["x"] @ head.weight.T + head.bias).detach()
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none").numpy()

    weak = (batch.unlabeled["weak"]["x"] @ head.weight.T + head.bias).detach()
    balance = (COUNTS.min() / COUNTS).numpy()
    keep = balance[batch.labels], 1 - 2 / EPOCHS * (1 - balance[weak.argmax(dim=-1)])
    given = losses(batch.labeled, batch.labels), losses(batch.unlabeled["strong"], weak.softmax(dim=-1))
    drawn = [
        sum((loss * (generator.random(len(loss)) < chance)).mean() for loss, chance in zip(given, keep, strict=True))
        for _ in range(4000)
    ]
    assert abs(np.mean(drawn) - expected) < 4 * np.std(drawn) / 4000**0.5


def test_cdmad_takes_the_answer_to_nothing_off_once_it_has_begun():
    algorithm, models = make_corrected("cdmad", settings={"start_step": 2}), make_models()
    for step in range(4):
        batch = make_batch("cdmad", step)
        output = run_step("cdmad", "fixmatch", algorithm, step, models, batch)
        logits = models[0](batch.unlabeled["weak"]["x"]).detach()
        if step >= 2:
            logits = logits - models[0](batch.content_free["x"]).detach()
        probs = logits.softmax(dim=-1)
        assert torch.equal(output.pseudo_labels, probs.argmax(dim=-1))
        assert torch.equal(output.mask, (probs.amax(dim=-1) >= algorithm.threshold.threshold).double())


def test_cdmad_trains_towards_soft_targets_as_they_are():
    algorithm, models = make_corrected("cdmad", hard_labels=False, temperature=0.5), make_models()
    batch = make_batch("cdmad", 3)
    found = run_step("cdmad", "fixmatch", algorithm, 3, models, batch).pseudo_labels
    logits = models[0](batch.unlabeled["weak"]["x"]) - models[0](batch.content_free["x"])
    torch.testing.assert_close(found, logits.softmax(dim=-1).detach())


def test_cdmad_begins_after_a_fifth_of_the_run_and_says_so():
    correction = make_corrected("cdmad", settings={}).correction
    (begins,) = correction.milestones(Progress(0, 500, 5)).values()
    assert begins == 100
    batch = replace(make_batch("cdmad", 0), content_free=None)
    algorithm, models = make_corrected("cdmad", settings={}), make_models()
    assert algorithm(ModelForward(models[0]), batch, Progress(99, 500, 5)).loss > 0
    with pytest.raises(ValueError, match="content_free must be in the batch, got None"):
        algorithm(ModelForward(models[0]), batch, Progress(100, 500, 5))


def test_heads_are_parts_of_the_algorithm_once():
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
    for name, cls in IMBALANCE.items():
        counts = {"class_counts": [3, 2, 1], "imbalance": name}
        algorithm = get_algorithm("fixmatch", num_classes=3, feature_size=4, **counts, **sizes)
        assert set(algorithm.correction.heads()) <= set(dict(algorithm.named_children()))
        saved = [key for key in algorithm.state_dict() if key.endswith("balanced_head.weight")]
        assert saved == (["balanced_head.weight"] if "balanced_head" in algorithm.correction.heads() else []), cls
