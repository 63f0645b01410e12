"""Which of two models is kept: labels that are held out in turn, what was known before, and the pool."""

import numpy as np
import pytest

from hf_ssl.features.choose import PRIOR, Agreement, compare

CLASSES = 4


def ways(truth, right, seed=0):
    """Two ways to predict that are right for given shares of the examples, whatever they are fitted to."""

    def way(share, seed):
        rng = np.random.default_rng(seed)
        hit = rng.permutation(len(truth)) < share * len(truth)
        return lambda features, labels, count: np.eye(count)[np.where(hit, truth, (truth + 1) % count)[: len(labels)]]

    return way(right[0], seed), way(right[1], seed + 1)


def labeled(per_class, pool=0):
    truth = np.tile(np.arange(CLASSES), per_class + pool)
    labels = np.where(np.arange(len(truth)) < CLASSES * per_class, truth, -1)
    return np.zeros((len(truth), 1)), labels, truth


def test_estimates_are_shares_of_hits_and_both_ways_see_the_same_labels():
    features, labels, truth = labeled(25)
    found = compare(features, labels, CLASSES, *ways(truth, (0.6, 0.9)))
    assert (found.first.value, found.second.value, found.first.examples) == (0.6, 0.9, 100)
    # Agresti and Coull: (60 + 2) of (100 + 4).
    assert found.first.error == pytest.approx(np.sqrt(62 / 104 * 42 / 104 / 104))
    assert found.difference == pytest.approx(0.3) and found.second_is_better


def test_no_fit_sees_the_label_that_it_predicts():
    features, labels, _ = labeled(3, pool=2)
    seen = []

    def record(features, fewer, count):
        seen.append(fewer)
        return np.eye(count)[np.maximum(fewer, 0)]

    compare(features, labels, CLASSES, record, record)
    known = labels >= 0
    hidden = np.array([known & (fewer < 0) for fewer in seen[::2]])
    assert hidden[:, known].sum(axis=0).tolist() == [1] * known.sum()  # each exactly once
    assert not any(hidden[:, ~known].ravel())
    assert all(set(fewer[known & (fewer >= 0)]) == set(range(CLASSES)) for fewer in seen)


@pytest.mark.parametrize(
    ("per_class", "right", "second"),
    [
        (2, (0.75, 0.625), True),  # one label of eight says little against what was known before
        (50, (0.75, 0.625), False),  # 25 of 200 say enough
        (50, (0.625, 0.75), True),
    ],
)
def test_labels_overrule_the_expectation_as_they_grow(per_class, right, second):
    features, labels, truth = labeled(per_class)
    assert compare(features, labels, CLASSES, *ways(truth, right)).second_is_better is second


def test_the_prior_and_the_labels_are_joined_by_their_precision():
    features, labels, truth = labeled(25)
    found = compare(features, labels, CLASSES, *ways(truth, (0.6, 0.6)))
    (mean, deviation), error = PRIOR, found.error
    expected = (mean / deviation**2 + found.difference / error**2) / (1 / deviation**2 + 1 / error**2)
    assert found.expected == pytest.approx(expected)
    assert found.expected_error == pytest.approx((1 / deviation**2 + 1 / error**2) ** -0.5)


def test_one_label_per_class_leaves_the_expectation():
    features, labels, truth = labeled(1, pool=3)
    found = compare(features, labels, CLASSES, *ways(truth, (1.0, 0.0)))
    assert found.difference is None and found.first.value is None
    assert (found.expected, found.expected_error) == PRIOR and found.second_is_better


@pytest.mark.parametrize(
    ("changed", "accuracy", "holds"),
    [(10, 0.85, True), (20, 0.85, True), (30, 0.85, False), (30, 0.7, True), (45, None, True), (55, None, False)],
)
def test_a_model_that_ran_away_from_its_start_is_given_up(changed, accuracy, holds):
    start = np.arange(100) % CLASSES
    tuned = np.where(np.arange(100) < changed, (start + 1) % CLASSES, start)
    found = Agreement.of(start, tuned, accuracy)
    assert found.share == pytest.approx(1 - changed / 100) and found.holds is holds


def test_held_out_logits_are_of_heads_that_did_not_see_the_label():
    features, labels, _ = labeled(3, pool=2)
    inputs = np.eye(len(labels))  # a head can give every example a class of its own

    def by_label(features, fewer, count):
        return np.where(fewer[:, None] >= 0, np.eye(count)[np.maximum(fewer, 0)], 1 / count)

    assert compare(features, labels, CLASSES, by_label, by_label).held_out is None
    found = compare(features, labels, CLASSES, by_label, by_label, inputs).held_out
    assert found.labels.tolist() == labels[labels >= 0].tolist() and found.logits.shape == (2, 3 * CLASSES, CLASSES)
    # The class of a hidden label is unknown to its head.
    gaps = np.ptp(found.logits, axis=2)
    assert gaps.max() < 0.5


def test_one_label_per_class_says_nothing_of_probabilities():
    features, labels, truth = labeled(1, pool=2)
    found = compare(features, labels, CLASSES, *ways(truth, (0.5, 0.5)), np.eye(len(labels)))
    assert found.held_out is None
