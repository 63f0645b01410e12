"""Several labels from features: what the pool brings, calibration, scikit-learn's interface, and a model's head."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from hf_ssl.features import MultiLabelFeatureClassifier
from hf_ssl.features.multi_label import calibration, shift_to, thresholds_at

from tests.helpers.tiny_images import make_vit


def pairs(size=1200, seed=0):
    """Pictures of two digits side by side, and which digits are on them."""
    found, rng = load_digits(), np.random.default_rng(seed)
    chosen = rng.choice(len(found.target), (size, 2))
    pictures = np.concatenate([found.images[chosen[:, 0]], found.images[chosen[:, 1]]], axis=2)
    labels = np.zeros((size, 10))
    for column in chosen.T:
        labels[np.arange(size), found.target[column]] = 1
    return pictures.reshape(size, -1).astype(np.float32), labels


def hidden(truth, known, seed=0):
    """The labels of `known` rows, and NaN in the others."""
    rows = np.random.default_rng(seed).permutation(len(truth))[:known]
    labels = np.full(truth.shape, np.nan)
    labels[rows] = truth[rows]
    return labels, rows


def blobs(size=240, width=6, seed=0):
    """Two labels, each of which moves features into a direction of its own."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((size, 2)) < [0.5, 0.2]).astype(float)
    return (3 * truth @ np.eye(2, width) + 0.3 * rng.normal(size=(size, width)) + 5).astype(np.float32), truth


def test_the_pool_adds_to_few_labels():
    features, truth = pairs()
    gains = []
    for seed in range(3):
        labels, rows = hidden(truth, 80, seed)
        rest = np.setdiff1d(np.arange(len(truth)), rows)
        alone = MultiLabelFeatureClassifier().fit(features[rows], truth[rows])
        pool = MultiLabelFeatureClassifier().fit(features, labels)
        precisions = [
            average_precision_score(truth[rest], each.predict_proba(features[rest])) for each in (alone, pool)
        ]
        gains.append(precisions[1] - precisions[0])
    assert min(gains) > 0.01


def test_labels_of_clear_geometry_are_all_found():
    features, truth = blobs()
    labels, _ = hidden(truth, 16)
    found = MultiLabelFeatureClassifier().fit(features, labels)
    assert (found.decision_function(features) > 0).mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.05)
    # Nobody is told that a label is rarer than among the 16; ranks are right.
    assert average_precision_score(truth, found.predict_proba(features)) > 0.999
    new, answers = blobs(seed=1)
    assert ((found.decision_function(new) > 0) == answers).mean() > 0.97


def test_predictions_have_each_label_as_often_as_the_labeled_examples():
    features, truth = blobs()
    labels, rows = hidden(truth, 24)
    found = MultiLabelFeatureClassifier().fit(features, labels)
    np.testing.assert_allclose(found.label_shares_, (truth[rows].sum(axis=0) + 0.5) / 25)
    np.testing.assert_allclose(found.predict(features).mean(axis=0), found.label_shares_, atol=1 / 200)


def test_a_label_that_no_or_every_labeled_example_has_is_nearly_constant():
    features, truth = blobs()
    truth = np.column_stack([truth[:, 0], np.zeros(len(truth)), np.ones(len(truth))])
    found = MultiLabelFeatureClassifier().fit(features, hidden(truth, 20)[0])
    probabilities = found.predict_proba(features)
    np.testing.assert_allclose(probabilities[:, 1], 0.5 / 21, atol=1e-3)
    np.testing.assert_allclose(probabilities[:, 2], 20.5 / 21, atol=1e-3)


def test_it_is_the_same_for_any_order():
    features, truth = blobs()
    labels, _ = hidden(truth, 20)
    order = np.random.default_rng(1).permutation(len(truth))
    first = MultiLabelFeatureClassifier().fit(features, labels).predict_proba(features)
    shuffled = MultiLabelFeatureClassifier().fit(features[order], labels[order]).predict_proba(features)
    np.testing.assert_allclose(first, shuffled, atol=2e-3)


# ---- From scores to logits ----


def test_calibration_finds_the_factor_of_scores():
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.1])
    values = rng.normal(size=(4000, 2))
    labels = (rng.random((4000, 2)) < expit(0.7 * values + logit(shares))).astype(float)
    scores = shares * (1 - shares) * values
    factor, shift = calibration(scores, labels, labels.mean(axis=0))
    np.testing.assert_allclose(factor * shares * (1 - shares), [0.7, 0.7], rtol=0.15)
    np.testing.assert_allclose(expit(scores * factor + shift).mean(axis=0), labels.mean(axis=0), atol=1e-9)


def test_scores_that_say_nothing_become_shares():
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 1)) < 0.3).astype(float)
    shares = labels.mean(axis=0)
    factor, shift = calibration(rng.normal(size=(500, 1)), labels, shares)
    assert np.abs(expit(rng.normal(size=(500, 1)) * factor + shift) - shares).max() < 0.35


@pytest.mark.parametrize("shares", [[0.5, 0.1], [0.001, 0.999]])
def test_a_shift_brings_the_mean_to_the_share(shares):
    logits = np.random.default_rng(0).normal(scale=40, size=(300, 2))
    np.testing.assert_allclose(expit(logits + shift_to(logits, np.array(shares))).mean(axis=0), shares, atol=1e-6)


def test_thresholds_leave_a_share_above():
    probabilities = np.random.default_rng(0).random((1000, 3))
    thresholds = thresholds_at(probabilities, np.array([0.1, 0.5, 0.999]))
    np.testing.assert_allclose((probabilities > thresholds).mean(axis=0), [0.1, 0.5, 0.999], atol=1e-3)
    assert thresholds_at(np.ones((3, 1)), np.array([0.5])) < 1 and thresholds_at(np.zeros((3, 1)), [0.5]) > 0


# ---- Interface ----


class OfClasses(MultiLabelFeatureClassifier):
    """Takes one class per example, as scikit-learn's checks give it: that and no other label."""

    def fit(self, X, y):
        return super().fit(X, None if y is None else self._labels(y))

    def score(self, X, y):
        return super().score(X, self._labels(y))

    @staticmethod
    def _labels(y):
        y = np.asarray(y).ravel()
        return (y[:, None] == np.unique(y)).astype(float)


@pytest.mark.slow
def test_it_is_an_estimator_of_scikit_learn():
    results = check_estimator(OfClasses(), on_fail=None, on_skip=None)
    assert not [result["check_name"] for result in results if result["status"] == "failed"]
    assert len(results) > 35


nan = float("nan")
ERRORS = {
    "one column": ([0, 1, 1, 0], "y must be a matrix of 0 and 1, a column per label, got shape (4,)"),
    "no labels": ([[nan, nan]] * 4, "y must hold labels of at least two examples, got 0"),
    "another number": (
        [[0, 2], [1, 0], [1, 1], [0, 0]],
        "y must hold 0 or 1 (NaN in rows without labels), got 2 in row 0",
    ),
    "known in part": ([[0, 1], [1, nan], [1, 1], [0, 0]], "got [1.0, nan] in row 1, which is known in part"),
    "fewer rows": ([[0, 1], [1, 0]], "y must have one row of numbers per example (4), got shape (2, 2)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_named(name):
    labels, message = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        MultiLabelFeatureClassifier().fit(np.eye(4), labels)
    assert message in str(caught.value)


def test_the_head_gives_the_logits():
    model = make_vit()
    width, size = model.classifier.in_features, model.classifier.out_features
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, width)).astype(np.float32)
    truth = (features[:, :size] > 0.3).astype(float)
    classifier = MultiLabelFeatureClassifier().fit(features, hidden(truth, 40)[0])
    classifier.to_head(model)
    with torch.no_grad():
        found = model.classifier(torch.tensor(features)).numpy()
    np.testing.assert_allclose(found, classifier.decision_function(features), atol=1e-4)
    with pytest.raises(ValueError, match=r"the head must have weights of shape \(3, 16\), got \(3, 5\)"):
        classifier.to_head(nn.Linear(5, 3))
