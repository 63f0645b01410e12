"""Metrics of several labels per example: by hand, against scikit-learn, and batch by batch."""

from itertools import pairwise

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sk

from hf_ssl.metrics import (
    MultiLabelMetrics,
    average_precisions,
    decision_metrics,
    multi_label_metrics,
    tune_thresholds,
)
from hf_ssl.problem_types import MULTI_LABEL_METRICS


def random_case(examples=300, labels=7, digits=None):
    rng = np.random.default_rng(0)
    true = (rng.random((examples, labels)) < np.linspace(0.05, 0.6, labels)).astype(int)
    logits = 1.5 * true + rng.normal(size=true.shape) - 1
    scores = 1 / (1 + np.exp(-logits))
    return (scores if digits is None else scores.round(digits)), true, logits


# With one digit most scores are equal to others.
@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("thresholds", [0.5, np.linspace(0.2, 0.8, 7)])
def test_agrees_with_scikit_learn(digits, thresholds):
    scores, labels, _ = random_case(digits=digits)
    predicted = scores >= thresholds
    assert multi_label_metrics(scores, labels, thresholds) == pytest.approx(
        {
            "map": sk.average_precision_score(labels, scores, average="macro"),
            "micro_f1": sk.f1_score(labels, predicted, average="micro"),
            "macro_f1": sk.f1_score(labels, predicted, average="macro"),
            "subset_accuracy": sk.accuracy_score(labels, predicted),
        },
        rel=1e-12,
    )
    each = [sk.average_precision_score(mine, score) for mine, score in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_allclose(average_precisions(scores, labels), each, rtol=1e-12)


def test_by_hand():
    # Label 0 is ranked +-+: (1 + 2/3) / 2; label 1 +-; label 2 never occurs and is never predicted.
    scores = [[0.9, 0.4, 0.1], [0.8, 0.6, 0.2], [0.7, 0.3, 0.3], [0.1, 0.2, 0.4]]
    labels = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    found = multi_label_metrics(scores, labels)
    # Decisions: label 0 has 2 hits of 3 guesses and 2 positives, label 1 is right.
    f1 = 2 * 2 / (3 + 2)
    assert found == pytest.approx(
        {"map": (5 / 6 + 1) / 2, "micro_f1": 2 * 3 / (4 + 3), "macro_f1": (f1 + 1) / 2, "subset_accuracy": 3 / 4}
    )


def test_a_label_that_neither_occurs_nor_is_predicted_changes_nothing():
    scores, labels, _ = random_case()
    more = [np.concatenate([part, np.zeros((len(part), 1))], axis=1) for part in (scores, labels)]
    assert multi_label_metrics(*more) == pytest.approx(multi_label_metrics(scores, labels))


def test_without_any_label_means_are_unknown():
    found = multi_label_metrics(np.zeros((3, 2)), np.zeros((3, 2)))
    assert np.isnan(found["map"]) and np.isnan(found["macro_f1"])
    assert found["micro_f1"] == 0 and found["subset_accuracy"] == 1


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.5, 2.0]], [[0, 1]], r"scores must be probabilities in 0..1, got 0.5..2.0; take the sigmoid of logits"),
        ([[0.5, np.nan]], [[0, 1]], "scores must be probabilities in 0..1, got nan"),
        ([[0.5, 0.1]], [[0, np.nan]], "labels must be 0 or 1, got nan; leave out examples without labels"),
        ([[0.5, 0.1]], [[0, 3]], "labels must be 0 or 1, got 3"),
        ([[0.5, 0.1]], [0], r"must be \[N, C\] with N, C > 0, got \(1, 2\) and \(1,\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), r"got \(0, 2\) and \(0, 2\)"),
    ],
)
def test_what_is_not_probabilities_and_labels_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        multi_label_metrics(scores, labels)


def test_as_a_module_of_evaluate(tmp_path):
    scores, labels, _ = random_case()
    metric = MultiLabelMetrics(cache_dir=str(tmp_path))
    for half in (slice(0, 100), slice(100, None)):
        metric.add_batch(predictions=scores[half], references=labels[half])
    assert metric.compute() == pytest.approx(multi_label_metrics(scores, labels))
    combined = evaluate.combine([MultiLabelMetrics(cache_dir=str(tmp_path))])
    found = combined.compute(predictions=scores.tolist(), references=labels.tolist())
    assert found["map"] == pytest.approx(sk.average_precision_score(labels, scores))


def best_by_trying(scores, labels):
    ordered = np.unique(np.append(scores, 0.0))
    tried = [(low + high) / 2 for low, high in pairwise(ordered)]
    return max(sk.f1_score(labels, scores >= threshold) for threshold in tried)


@pytest.mark.parametrize("digits", [None, 1])
def test_tuned_thresholds_have_the_best_f1_of_each_label(digits):
    scores, labels, _ = random_case(digits=digits)
    chosen = tune_thresholds(scores, labels)
    assert all(0 < threshold < 1 for threshold in chosen)
    for threshold, mine, true in zip(chosen, scores.T, labels.T, strict=True):
        assert sk.f1_score(true, mine >= threshold) == pytest.approx(best_by_trying(mine, true))
    plain, tuned = (multi_label_metrics(scores, labels, each)["macro_f1"] for each in (0.5, chosen))
    assert tuned > plain


@pytest.mark.parametrize(
    ("scores", "labels", "fewest", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 2, 0.5),  # between 0.2 and 0.8
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 3, 0.5),  # too few of both
        ([0.3, 0.2, 0.1, 0.0], [1, 0, 0, 0], 1, 0.25),
        ([0.3, 0.2, 0.1, 0.0], [1, 0, 0, 0], 2, 0.5),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0], 3, 0.5),
        ([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 0], 1, 0.5),  # all or none: half of the way to 0
        ([0.0, 0.0, 0.0, 0.0], [1, 1, 1, 0], 1, 1e-6),
    ],
)
def test_thresholds_by_hand(scores, labels, fewest, expected):
    scores, labels = (np.array(part)[:, None] for part in (scores, labels))
    assert tune_thresholds(scores, labels, fewest) == pytest.approx([expected])


def test_labels_with_few_examples_keep_their_own_threshold():
    scores, labels = np.array([[0.9, 0.3], [0.1, 0.2], [0.1, 0.1]]), np.array([[1, 1], [0, 1], [0, 0]])
    assert tune_thresholds(scores, labels, fewest=2, otherwise=[0.7, 0.8]) == [0.7, 0.8]
    assert tune_thresholds(scores, labels, fewest=2, otherwise=0.6) == [0.6, 0.6]
    assert tune_thresholds(scores, labels, fewest=1, otherwise=[0.7, 0.8]) == pytest.approx([0.5, 0.15])


def test_decisions_alone_have_the_same_numbers():
    scores, labels, _ = random_case()
    whole = multi_label_metrics(scores, labels)
    assert decision_metrics(scores >= 0.5, labels) == {name: whole[name] for name in MULTI_LABEL_METRICS[1:]}


def test_fewest_must_be_a_count():
    with pytest.raises(ValueError, match="fewest must be at least 1, got 0"):
        tune_thresholds([[0.5]], [[1]], fewest=0)
