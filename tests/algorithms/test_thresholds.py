"""Thresholds and weights by themselves, and the memories they share."""

import numpy as np
import pytest
import torch

from hf_ssl import Progress
from hf_ssl.algorithms.parts.memory import FeatureQueue, last_occurrence
from hf_ssl.algorithms.parts.thresholds import (
    FixedThreshold,
    FlexibleThreshold,
    GaussianWeight,
    LossThreshold,
    RelativeThreshold,
    SelfAdaptiveThreshold,
    make_targets,
)

PROBS = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])


def test_targets():
    logits = torch.log(PROBS)
    assert make_targets(logits, True, 1.0).tolist() == [0, 0, 1]
    torch.testing.assert_close(make_targets(logits, False, 1.0), PROBS)


def test_fixed_threshold_includes_its_bound():
    assert FixedThreshold(0.6)(PROBS).tolist() == [1, 1, 1]
    assert FixedThreshold(0.85)(PROBS).tolist() == [1, 0, 0]
    assert FixedThreshold(0.85)(PROBS.double()).dtype == torch.float64


def test_relative_threshold():
    rule = RelativeThreshold(0.9)
    assert rule(PROBS, labeled_probs=torch.tensor([[1.0, 0.0], [0.6, 0.4]])).tolist() == [1, 0, 1]


def recount(rule):
    return np.bincount(rule.selected_labels.numpy() + 1, minlength=len(rule.class_counts) + 1)[1:].tolist()


def test_flexible_threshold_keeps_its_counts_over_many_batches_with_duplicates():
    generator = torch.Generator().manual_seed(0)
    rule, selected = FlexibleThreshold(0.8, 5, 40), -np.ones(40, dtype=int)
    for _ in range(60):
        index = torch.randint(40, (16,), generator=generator)
        labels = torch.randint(5, (16,), generator=generator)
        confident = torch.rand(16, generator=generator) < 0.5
        rule.update(index, labels, confident)
        for i, label, sure in zip(index.tolist(), labels.tolist(), confident.tolist(), strict=True):
            if sure:
                selected[i] = label
        assert rule.selected_labels.tolist() == selected.tolist()
        assert rule.class_counts.tolist() == recount(rule)
        counts = [(selected == c).sum() for c in range(-1, 5)]
        expected = torch.tensor(np.array(counts[1:]) / max(counts), dtype=torch.float32)
        torch.testing.assert_close(rule.class_learning_status, expected)


def test_flexible_threshold_without_warm_up_compares_classes_alone():
    for warmup, expected in ((True, [0.2, 0.1]), (False, [1.0, 0.5])):
        rule = FlexibleThreshold(0.8, 2, 13, warmup)
        index = torch.arange(3)
        rule.update(index, torch.tensor([0, 0, 1]), torch.tensor([True, True, True]))
        torch.testing.assert_close(rule.class_learning_status, torch.tensor(expected))


def test_flexible_threshold_of_a_class_follows_its_learning_status():
    rule = FlexibleThreshold(0.8, 2, 13)
    rule.class_learning_status.copy_(torch.tensor([1.0, 0.5]))
    probs = torch.tensor([[0.79, 0.21], [0.81, 0.19], [0.75, 0.25], [0.2, 0.8], [0.45, 0.55]])
    assert rule(probs, index=torch.arange(5)).tolist() == [0, 1, 0, 1, 1]
    rule.class_learning_status.copy_(torch.tensor([1.0, 0.9]))  # a limit of 0.8 * 0.9 / 1.1 = 0.65
    probs = torch.tensor([[0.36, 0.64], [0.34, 0.66]])
    assert rule(probs, index=torch.arange(2)).tolist() == [0, 1]


def test_flexible_threshold_starts_from_nothing_without_dividing_by_zero():
    rule = FlexibleThreshold(0.8, 2, 13, warmup=False)
    mask = rule(PROBS - 0.3, index=torch.tensor([0, 1, 2]))
    assert mask.tolist() == [1, 1, 1] and rule.class_learning_status.tolist() == [0, 0]


def test_self_adaptive_threshold():
    rule = SelfAdaptiveThreshold(2, momentum=0.5)
    mask = rule(PROBS)
    level = 0.5 * 0.5 + 0.5 * (0.9 + 0.6 + 0.8) / 3
    classes = [0.25 + 0.5 * 1.7 / 3, 0.25 + 0.5 * 1.3 / 3]
    assert rule.global_threshold.item() == pytest.approx(level)
    torch.testing.assert_close(rule.class_probability, torch.tensor(classes))
    torch.testing.assert_close(rule.label_histogram, torch.tensor([0.25 + 1 / 3, 0.25 + 0.5 / 3]))
    assert mask.tolist() == [1, float(level <= 0.6), float(level * classes[1] / classes[0] <= 0.8)]


def test_self_adaptive_threshold_by_quantile_is_clipped():
    sure = torch.tensor([[0.999, 0.001]] * 4)
    for clip, limit in ((False, 0.9), (True, 0.95)):
        rule = SelfAdaptiveThreshold(2, momentum=0.0, use_quantile=True, clip_threshold=clip)
        rule(sure)
        assert rule.global_threshold.item() == pytest.approx(0.95) if clip else rule.global_threshold > limit
    rule = SelfAdaptiveThreshold(2, momentum=0.0, use_quantile=True)
    rule(PROBS)
    assert rule.global_threshold.item() == pytest.approx(np.quantile([0.9, 0.6, 0.8], 0.8), rel=1e-5)


def test_loss_threshold_falls_every_ten_epochs_down_to_its_minimum():
    rule, supervised = LossThreshold(0.5, initial=1.0, gamma=2.0, c=1.0, minimum=0.1), torch.tensor(3.0)
    for epoch, expected in ((0, 1.0), (9, 1.0), (10, 0.5), (29, 0.25), (90, 0.1)):
        rule(PROBS, progress=Progress(epoch * 5, 1000, 5), supervised=supervised)
        assert rule.loss_threshold.item() == pytest.approx(expected)
    torch.testing.assert_close(rule.targets(PROBS), torch.tensor([[1.0, 0], [1, 0], [0, 1]]))
    assert rule(
        torch.tensor([[0.95, 0.05], [0.9, 0.1]]), progress=Progress(450, 1000, 5), supervised=supervised
    ).tolist() == [
        1,
        0,
    ]


def test_gaussian_weight():
    rule = GaussianWeight(2, n_sigma=2, momentum=0.5)
    weights = rule(PROBS)
    confidence = np.array([0.9, 0.6, 0.8])
    mean, variance = 0.25 + confidence.mean() / 2, 0.5 + confidence.var(ddof=1) / 2
    expected = np.exp(-(np.minimum(confidence - mean, 0) ** 2) / (2 * variance / 4))
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))


def test_gaussian_weight_per_class_leaves_rare_classes_alone():
    rule = GaussianWeight(2, momentum=0.5, per_class=True)
    rule(PROBS)
    confidence = np.array([0.9, 0.6])
    torch.testing.assert_close(rule.confidence_mean, torch.tensor([0.25 + confidence.mean() / 2, 0.5]).float())
    torch.testing.assert_close(rule.confidence_variance, torch.tensor([0.5 + confidence.var(ddof=1) / 2, 1.0]).float())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: FixedThreshold(-0.1), "threshold"),
        (lambda: FixedThreshold(1.1), "threshold"),
        (lambda: SelfAdaptiveThreshold(2, momentum=1.0), "momentum"),
        (lambda: GaussianWeight(2, n_sigma=0), "n_sigma"),
        (lambda: GaussianWeight(2, momentum=-0.1), "momentum"),
        (lambda: LossThreshold(0.5, 0.0, 1.27, 1.0, 0.05), "initial_loss_threshold"),
        (lambda: LossThreshold(0.5, 1.0, 0.9, 1.0, 0.05), "gamma"),
        (lambda: LossThreshold(0.5, None, 1.27, 1.0, 0.05, warmup_fraction=1.0), "warmup_fraction"),
    ],
)
def test_settings_are_checked(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make()


def test_last_occurrence():
    index = torch.tensor([3, 1, 3, 0, 1, 3])
    assert last_occurrence(index).tolist() == [5, 4, 5, 3, 4, 5]
    selected = torch.tensor([True, True, True, False, False, False])
    assert last_occurrence(index, selected).tolist() == [2, 1, 2, -1, 1, 2]
    assert last_occurrence(index, torch.zeros(6, dtype=torch.bool)).tolist() == [-1] * 6


def test_feature_queue_overwrites_the_oldest():
    queue = FeatureQueue(5, 1, 2)
    for start in (0, 3, 6):
        values = torch.arange(start, start + 3.0).unsqueeze(-1)
        queue.push(values, torch.cat([values, values], dim=1))
    assert queue.queue_features.flatten().tolist() == [5, 6, 7, 8, 4]
    queue.queue_features.copy_(torch.tensor([[1.0], [0], [0], [0], [0]]))
    queue.queue_probabilities.copy_(torch.tensor([[1.0, 0]] + [[0, 1.0]] * 4))
    torch.testing.assert_close(queue.vote(torch.ones(1, 1), 0.01), torch.tensor([[1.0, 0.0]]))
