"""What the newer methods do beside their formulas: warm-ups, memories, heads, partners, the penalty on margins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, losses
from hf_ssl.algorithms.allmatch import fewest_classes
from hf_ssl.algorithms.parts import history, reward
from hf_ssl.algorithms.parts.history import LabelHistory
from hf_ssl.algorithms.parts.margins import MarginMemory, grouped_quantile
from hf_ssl.algorithms.parts.partners import choose_partners
from hf_ssl.algorithms.parts.reward import RewardFilter
from hf_ssl.algorithms.parts.thresholds import ClassWeightThreshold
from hf_ssl.algorithms.shrinkmatch import shrunken_classes
from hf_ssl.training.watch import describe_milestones

from tests.helpers.algorithm_cases import (
    CLASSES,
    DIM,
    POOL,
    UNLABELED,
    make_algorithm,
    make_batch,
    make_models,
    run_step,
)

# ---- EPASS ----


@pytest.mark.parametrize("name", ["comatch", "simmatch"])
def test_epass_embeds_with_the_mean_of_three_projections(name):
    algorithm, features = make_algorithm(name, epass=True), make_batch(0).labeled["x"]
    heads = [algorithm.projection, algorithm.projection_2, algorithm.projection_3]
    assert len({float(head[0].weight.detach().sum()) for head in heads}) == 3
    mean = torch.stack([head(features) for head in heads]).mean(dim=0)
    torch.testing.assert_close(algorithm.embed(features), mean / mean.norm(dim=-1, keepdim=True))
    assert not hasattr(make_algorithm(name), "projection_2")


def test_the_teacher_of_epass_has_three_averages():
    algorithm, (student, teacher) = make_algorithm("simmatch", epass=True), make_models()
    algorithm(ModelForward(student, teacher=teacher), make_batch(0), Progress(0, 10, 5))
    features = make_batch(1).labeled["x"]
    remembered = losses.unit_length(algorithm.teacher_projection(features))
    torch.testing.assert_close(remembered, algorithm.embed(features))


# ---- ShrinkMatch ----


@pytest.mark.parametrize(
    ("probs", "kept"),
    [
        ([0.4, 0.35, 0.15, 0.1], [True, False, False, True]),
        ([0.5, 0.35, 0.1, 0.05], [True, False, True, True]),
        ([0.3, 0.3, 0.2, 0.2], [True, True, True, True]),
        ([0.9, 0.1], [True, True]),
    ],
    ids=["two are removed", "one is enough", "none is enough", "of two classes none can be"],
)
def test_classes_are_removed_until_the_first_is_certain(probs, kept):
    found, order = shrunken_classes(torch.tensor([probs]), threshold=0.75)
    assert found.tolist() == [kept] and order.tolist() == [list(range(len(probs)))]


# ---- CGMatch ----


def test_the_oldest_prediction_is_overwritten_first():
    memory = LabelHistory(num_unlabeled=2, size=3, num_classes=4)
    for label in (3, 3, 1, 2, 2):
        memory.push(torch.tensor([1]), torch.tensor([label]))
    assert memory.label_queue.tolist() == [[-1, -1, -1], [2, 2, 1]]
    assert memory.gaps(torch.tensor([0, 1])).tolist() == [0, 1]
    # An example that is here twice is written once.
    memory.push(torch.tensor([0, 0]), torch.tensor([1, 3]))
    assert memory.label_queue[0].tolist() == [3, -1, -1]


def test_the_mean_gap_is_that_of_the_pool_in_any_parts(monkeypatch):
    memory = LabelHistory(num_unlabeled=7, size=5, num_classes=3)
    memory.label_queue = torch.randint(-1, 3, (7, 5), generator=torch.Generator().manual_seed(0)).short()
    counts = [sorted((row == c).sum() for c in range(3)) for row in memory.label_queue.numpy()]
    expected = np.mean([each[-1] - each[-2] for each in counts])
    for most in (1 << 24, 9):
        monkeypatch.setattr(history, "_MOST_COUNTS", most)
        assert memory.mean_gap().item() == pytest.approx(expected)


def test_in_the_warm_up_only_labels_count():
    algorithm, models = make_algorithm("cgmatch", warmup_steps=2), make_models()
    before = {name: value.clone() for name, value in algorithm.state_dict().items()}
    for step in (0, 1):
        output = run_step("cgmatch", algorithm, step, models)
        assert output.mask.sum() == 0
        torch.testing.assert_close(output.loss, output.terms["supervised"])
    torch.testing.assert_close(algorithm.state_dict(), before, rtol=0, atol=0)
    assert run_step("cgmatch", algorithm, 2, models).mask.sum() > 0
    assert algorithm.milestones(Progress(0, 10, 1)) == {"pool counts": 2}


def test_the_warm_up_is_a_share_of_the_run_unless_it_is_set():
    progress = Progress(0, 5_000, 25)
    assert make_algorithm("cgmatch", warmup_steps=None).begins_at(progress) == 50
    assert make_algorithm("cgmatch", warmup_steps=7).begins_at(progress) == 7


def test_propagation_trains_on_no_example_that_it_has_not_seen_before():
    algorithm = make_algorithm("propagation", refresh_steps=2)
    passes = POOL // UNLABELED
    assert algorithm.milestones(Progress(0, 100, 1)) == {"pool has labels": max(2, passes)}
    seen_once = make_algorithm("propagation", refresh_steps=1)
    seen_once.problem = replace(seen_once.problem, num_unlabeled=20 * UNLABELED)
    (late,) = describe_milestones(seen_once, Progress(0, 10, 1))
    assert late == (
        20,
        "Label Propagation's pool has labels from step 20, after the end of this run of 10 steps: never",
    )


# ---- MultiMatch ----


def test_the_answer_of_multimatch_is_the_mean_of_its_heads():
    algorithm, features = make_algorithm("multimatch"), make_batch(0).labeled["x"]
    weight, bias = algorithm.answer.corrected_head(ModelForward(make_models()[0]))
    torch.testing.assert_close(features @ weight.T + bias, algorithm.logits(features).mean(dim=1))
    assert list(algorithm.answer.heads().values()) == list(algorithm.heads)
    assert algorithm.answer.answers and algorithm.answer is not algorithm.correction


def test_the_heads_of_multimatch_begin_around_a_given_one():
    algorithm = make_algorithm("multimatch")
    apart = algorithm.heads[0].weight - algorithm.heads[1].weight
    weight, bias = torch.randn(3, 4).double(), torch.randn(3).double()
    algorithm.answer.begin_with(weight, bias)
    torch.testing.assert_close(algorithm.answer.corrected_head(None), (weight, bias))
    torch.testing.assert_close(algorithm.heads[0].weight - algorithm.heads[1].weight, apart)


def test_other_algorithms_answer_with_their_correction():
    algorithm = make_algorithm("fixmatch")
    assert algorithm.answer is algorithm.correction


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_quantiles_of_groups_are_those_of_numpy(share):
    generator = torch.Generator().manual_seed(0)
    values, groups = torch.randn(40, generator=generator).double(), torch.randint(6, (40,), generator=generator)
    groups[groups == 2] = 5
    found, present = grouped_quantile(values, groups, 5, share)
    assert present.tolist() == [1, 1, 0, 1, 1]
    expected = [np.quantile(values[groups == c], share) if c != 2 else 0.0 for c in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("skips", "later"), [(False, 1.5), (True, 0.7)])
def test_published_thresholds_stop_at_the_first_class_without_an_example(skips, later):
    memory = MarginMemory(2, 3, percentile=0.5, smoothness=1.0, no_low=False, skips=skips)
    memory.margin_thresholds = torch.full((3, 3), 0.7)
    memory.last_labels = torch.tensor([[0, 2]] * 3)
    memory.average_margin[:, 0, 0], memory.average_margin[:, 1, 2] = 2.0, 1.5
    memory.find_thresholds()
    assert memory.margin_thresholds[0].tolist() == pytest.approx([2.0, 0.7 if skips else 0.0, later])


def test_heads_teach_from_the_second_epoch_on():
    algorithm, models = make_algorithm("multimatch"), make_models()
    assert run_step("multimatch", algorithm, 0, models).mask.sum() == 0
    assert run_step("multimatch", algorithm, 1, models).mask.sum() > 0
    without = make_algorithm("multimatch", base_threshold="none")
    masks = [run_step("multimatch", without, step, models).mask for step in (0, 1)]
    assert masks[1].sum() > 0
    assert set((masks[1] * 3).round().long().tolist()) <= {0, 1, 2, 3, 4, 5, 6, 7, 9}


# ---- RegMixMatch ----


@pytest.mark.parametrize("with_labeled", [False, True])
def test_partners_are_drawn_among_those_who_may_be(with_labeled):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for seed in range(30):
        torch.manual_seed(seed)
        labels, predicted = torch.tensor([0, 1]), torch.randint(4, (9,), generator=generator)
        confident = torch.rand(9, generator=generator) < 0.5
        chosen = choose_partners(labels, predicted, confident, with_labeled)
        among = torch.cat([torch.full((2,), with_labeled), confident])
        assert chosen.among.equal(among)
        # Those that are mixed with each other are permuted.
        assert sorted(chosen.partner[among].tolist()) == among.nonzero().flatten().tolist()
        seen.add(tuple(chosen.partner[among].tolist()))
        classes = torch.cat([labels, predicted])
        known = torch.cat([torch.ones(2).bool(), confident])
        for row in range(2, 11):
            there = [i for i in range(11) if known[i] and classes[i] == classes[row]]
            if not among[row]:
                assert chosen.alone[row] == (not there)
                assert not there or int(chosen.partner[row]) in there
    assert len(seen) > 10


@pytest.mark.parametrize("modality", ["image", "text"])
def test_without_a_confident_example_only_labeled_ones_are_mixed_in(modality):
    algorithm = make_algorithm("regmixmatch", threshold_high=1.0, modality=modality)
    output = run_step("regmixmatch", algorithm, 0, batch=make_batch(0))
    assert output.terms["regmix"] == 0 and output.terms["class_aware"] > 0
    assert output.metrics["confident_ratio"] == 0


def test_labeled_examples_can_be_mixed_as_well():
    with_labeled = make_algorithm("regmixmatch", threshold_high=1.0, mix_labeled=True)
    assert run_step("regmixmatch", with_labeled, 0, batch=make_batch(0)).terms["regmix"] > 0


# ---- AllMatch ----


@pytest.mark.parametrize(
    ("mass", "kept"),
    [
        (0.3, [False, True, False, False]),
        (0.5, [False, True, False, False]),
        (0.51, [False, True, True, False]),
        (0.8, [True, True, True, False]),
        (1.0, [True, True, True, True]),
    ],
)
def test_candidates_are_the_fewest_classes_with_the_mass(mass, kept):
    probs = torch.tensor([[0.125, 0.5, 0.25, 0.125]], dtype=torch.float64)
    assert fewest_classes(probs, mass).tolist() == [kept]


def test_if_all_classes_are_candidates_there_is_nothing_to_learn():
    output = run_step("allmatch", make_algorithm("allmatch", candidate_mass=1.0), 3)
    assert output.terms["binary"].item() == pytest.approx(0, abs=1e-12) and output.metrics["candidates"] == CLASSES


def test_a_certain_prediction_leaves_one_candidate():
    algorithm, models = make_algorithm("allmatch", candidate_mass=0.95), make_models()
    with torch.no_grad():
        models[0].double().classifier.weight.mul_(1e6)
    output, batch = run_step("allmatch", algorithm, 3, models), make_batch(3)
    assert output.metrics["candidates"] == 1
    # Then it is the cross-entropy of all examples.
    weak, strong = (models[0](batch.unlabeled[view]["x"]) for view in ("weak", "strong"))
    expected = nn.functional.cross_entropy(strong, weak.argmax(dim=-1))
    torch.testing.assert_close(output.terms["binary"], expected.detach())


@pytest.mark.parametrize(("second", "counts"), [(1.0, [1.0, 0.0, 1.0]), (0.5, [1.0, 1.0, 1.0])])
def test_classes_with_small_weights_have_a_lower_threshold(second, counts):
    rule = ClassWeightThreshold(num_classes=2, momentum=0.0)
    probs = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]])
    # The mean confidence is 0.8.
    assert rule(probs, weight_norms=torch.tensor([2.0, 2 * second])).tolist() == counts


# ---- SemiReward ----

# Of the family all that have a step of their own, or further parts in it.
REWARDED = (
    "fixmatch",
    "softmatch",
    "adamatch",
    "dash",
    "propagation",
    "comatch",
    "simmatch",
    "refixmatch",
    "openmatch",
)


@pytest.mark.parametrize("name", REWARDED)
def test_every_descendant_of_fixmatch_can_drop_pseudo_labels_by_their_reward(name):
    rewarded, plain, models = make_algorithm(name, reward_start=0.0), make_algorithm(name), make_models()
    rewarded.load_state_dict(plain.state_dict(), strict=False)
    output, before = (run_step(name, algorithm, 3, models) for algorithm in (rewarded, plain))
    torch.testing.assert_close(output.pseudo_labels, before.pseudo_labels)
    # The features are the inputs.
    rewards = rewarded.reward.rewarder.of_classes(make_batch(3).unlabeled["weak"]["x"], torch.arange(CLASSES))
    labels = output.pseudo_labels
    labels = labels if labels.is_floating_point() else losses.one_hot(labels, CLASSES)
    rewards = (labels * rewards).sum(dim=-1)
    kept = (rewards >= rewards.mean()).double()
    assert 0 < kept.sum() < len(kept)
    torch.testing.assert_close(output.mask, before.mask * kept)


def test_before_the_reward_starts_nothing_is_dropped():
    rewarded, plain, models = make_algorithm("semireward"), make_algorithm("flexmatch"), make_models()
    for step in range(4):
        output = run_step("semireward", rewarded, step, models)
        before = run_step("flexmatch", plain, step, models)
        torch.testing.assert_close(output.mask, before.mask)
        torch.testing.assert_close(output.loss, before.loss + output.terms["rewarder"])
    assert rewarded.milestones(Progress(0, 10, 5)) == {"reward drops pseudo-labels": 4}
    voting = make_algorithm("simmatch", reward_start=0.5)
    assert voting.milestones(Progress(0, 10, 2)) == {"reward drops pseudo-labels": 5, "memory votes": 2}


def test_the_pool_teaches_the_reward_in_every_tenth_step_once_it_has_started():
    part = RewardFilter(feature_size=DIM, num_classes=CLASSES, start=0.1)
    labels, features = torch.tensor([0, 1, 2, 1]), torch.randn(4, DIM)
    of_labels, taught = part.lesson(features, labels), []
    for step in range(100):
        keep, term = part(features, labels, features, labels, Progress(step, 100, 10))
        assert term in (of_labels, of_labels + part.lesson(features, labels, keep))
        taught += [step] if term > of_labels else []
    assert taught == [*range(10, 100, 10)]


@pytest.mark.parametrize("soft", [False, True])
def test_the_reward_of_the_right_label_is_the_higher_one_after_training(soft):
    torch.manual_seed(0)
    centers, labels = 3 * torch.randn(CLASSES, DIM), torch.arange(60) % CLASSES
    features = (centers[labels] + 0.3 * torch.randn(60, DIM)).requires_grad_()
    part = RewardFilter(feature_size=DIM, num_classes=CLASSES, start=0.9)
    optimizer = torch.optim.Adam(part.parameters(), lr=5e-4)
    for _ in range(150):
        optimizer.zero_grad()
        part.lesson(features, losses.one_hot(labels, CLASSES).float() if soft else labels).backward()
        optimizer.step()
    right, wrong = (part.rewards(features, (labels + turn) % CLASSES) for turn in (0, 1))
    assert right.min() > 0.9 and wrong.max() < 0.6
    half = (losses.one_hot(labels, CLASSES) + losses.one_hot((labels + 1) % CLASSES, CLASSES)).float() / 2
    torch.testing.assert_close(part.rewards(features, half), (right + wrong) / 2)
    assert features.grad is None


def test_of_many_classes_a_lesson_asks_about_the_right_ones_and_some_others(monkeypatch):
    part = RewardFilter(feature_size=DIM, num_classes=50, start=0.1)
    labels, features = torch.tensor([7, 40, 7]), torch.randn(3, DIM)
    whole = part.lesson(features, labels)
    monkeypatch.setattr(reward, "_MOST_ASKED", 20)
    asked = part._asked(labels)
    assert {7, 40} <= set(asked.tolist()) and 15 <= len(asked) <= 22
    torch.manual_seed(0)
    found = torch.stack([part.lesson(features, labels) for _ in range(200)]).mean()
    torch.testing.assert_close(found, whole, rtol=0.02, atol=0)


# ---- The penalty on margins ----


@pytest.mark.parametrize("name", ["fixmatch", "softmatch", "comatch"])
def test_a_penalty_on_margins_draws_large_logits_nearer(name):
    models = make_models()
    with torch.no_grad():
        models[0].classifier.weight.mul_(8)
    output, plain = (run_step(name, make_algorithm(name, margin_penalty=penalty), 3, models) for penalty in (0.5, 0.0))
    logits, targets = models[0](make_batch(3).unlabeled["strong"]["x"]), output.pseudo_labels
    labels = targets if targets.ndim == 1 else targets.argmax(dim=-1)
    chosen, total, weights = output.mask * (logits.argmax(dim=-1) == labels), 0.0, 0.0
    for row, weight in zip(logits.tolist(), chosen.tolist(), strict=True):
        total += weight * sum(max(max(row) - value - 10, 0) for value in row) / len(row)
        weights += weight
    assert total > 0
    assert output.terms["margin"].item() == pytest.approx(total / weights)
    torch.testing.assert_close(output.loss, plain.loss + 0.5 * output.terms["margin"])
    assert "margin" not in plain.terms


def test_nothing_is_penalized_if_nothing_counts():
    algorithm = make_algorithm("fixmatch", margin_penalty=0.5, threshold=1.0)
    output = run_step("fixmatch", algorithm, 3)
    assert output.mask.sum() == 0 and output.terms["margin"] == 0
