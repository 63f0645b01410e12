"""The feature classifier: what the pool brings, class shares, scikit-learn's interface, and a model's head."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from hf_ssl.features import FeatureClassifier, normalize
from hf_ssl.features.balance import balanced, expected_shares, likely_shares, shares_in_pool, shrunken_shares
from hf_ssl.features.probe import fit_probe, one_hot
from hf_ssl.features.self_training import self_train, surest

from tests.helpers.tiny_images import make_vit


def labels_of(truth, per_class, seed=0):
    """Labels with `per_class` known ones of each class, and -1 else."""
    rng = np.random.default_rng(seed)
    labels = np.full(len(truth), -1)
    for number in np.unique(truth):
        known = rng.permutation(np.flatnonzero(truth == number))[:per_class]
        labels[known] = number
    return labels


def clusters(sizes, width=16, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = rng.normal(size=(len(sizes), width))
    return (centers[truth] + noise * rng.normal(size=(len(truth), width))).astype(np.float32) + 3, truth


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data.astype(np.float32), data.target


def alone(features, labels):
    """The accuracy's counterpart without a pool: scikit-learn's logistic regression on the labels."""
    known = labels >= 0
    x = normalize(features)
    return LogisticRegression(C=10, max_iter=500).fit(x[known], labels[known]).predict(x)


@pytest.mark.parametrize(("per_class", "least"), [(1, 0.10), (4, 0.05), (10, 0.02)])
def test_the_pool_adds_much_to_few_labels(digits, per_class, least):
    features, truth = digits
    gains = []
    for seed in range(3):
        labels = labels_of(truth, per_class, seed)
        found = FeatureClassifier().fit(features, labels).transduction_
        gains.append((found == truth).mean() - (alone(features, labels) == truth).mean())
    assert np.mean(gains) > least


def test_classes_of_any_form_are_followed_by_the_graph():
    points, truth = make_moons(400, noise=0.06, random_state=0)
    features = np.column_stack([points, points**2, points**3, np.ones(len(points))])
    labels = labels_of(truth, 3)
    assert (FeatureClassifier().fit(features, labels).transduction_ == truth).mean() > 0.93


def test_labeled_examples_keep_their_class():
    features, truth = clusters([60, 60, 60], noise=2.5)
    labels = labels_of(truth, 5)
    found = FeatureClassifier().fit(features, labels).transduction_
    assert (found[labels >= 0] == truth[labels >= 0]).all()


def test_it_is_the_same_for_any_order_and_again():
    features, truth = clusters([50, 50, 50])
    labels = labels_of(truth, 3)
    order = np.random.default_rng(1).permutation(len(truth))
    first, again = (FeatureClassifier().fit(features, labels).predict_proba(features) for _ in range(2))
    shuffled = FeatureClassifier().fit(features[order], labels[order]).predict_proba(features)
    assert np.array_equal(first, again)
    assert np.abs(first - shuffled).max() < 0.02


def test_without_a_pool_it_is_the_probe():
    features, truth = clusters([30, 30, 30])
    found = FeatureClassifier().fit(features, truth).predict_proba(features)
    x = normalize(features)
    expected = LogisticRegression(C=10, max_iter=2000, tol=1e-8).fit(x, truth).predict_proba(x)
    np.testing.assert_allclose(found, expected, atol=0.005)


# ---- The probe ----


def test_the_probe_is_scikit_learns_logistic_regression():
    features, truth = clusters([40, 30, 20], noise=1.5)
    x, weights = normalize(features), np.linspace(0.5, 2, len(truth))
    # Free weights are not driven to the last digit, which no prediction notices.
    for regularization, difference in ((0.1, 0.002), (1.0, 0.005), (30.0, 0.05)):
        probe = fit_probe(x, truth, weights, regularization=regularization)
        expected = LogisticRegression(C=regularization, max_iter=5000, tol=1e-9).fit(x, truth, weights)
        np.testing.assert_allclose(probe.probabilities(x), expected.predict_proba(x), atol=difference)
        assert (probe.logits(x).argmax(axis=1) == expected.predict(x)).all()


def test_soft_targets_are_as_many_weighted_examples():
    features, truth = clusters([40, 40])
    soft = np.full((len(truth), 2), 0.25)
    soft[np.arange(len(truth)), truth] = 0.75
    twice = np.concatenate([features, features])
    weights = np.repeat([0.75, 0.25], len(truth))
    probe = fit_probe(features, soft)
    expected = fit_probe(twice, np.concatenate([truth, 1 - truth]), weights)
    np.testing.assert_allclose(probe.probabilities(features), expected.probabilities(features), atol=2e-3)


def test_self_training_trusts_the_surest_of_each_class():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    rows, classes = surest(probabilities, 0.5)
    assert rows.tolist() == [0, 1, 3] and classes.tolist() == [0, 0, 1]


def test_self_training_from_a_right_start_ends_right():
    features, truth = clusters([50, 50, 50])
    x, labels = normalize(features), labels_of(truth, 1)
    start = 0.8 * one_hot(truth, 3) + 0.2 / 3
    found = self_train(x, labels, start, lambda p: p, rounds=3)[1].argmax(axis=1)
    assert (found == truth).mean() > 0.97


# ---- Class shares ----

SHARES = {
    "even": ([10, 10, 10], [1 / 3, 1 / 3, 1 / 3]),
    "as uneven as chance": ([5, 4, 6], [1 / 3, 1 / 3, 1 / 3]),
    # n = 70, p = (6, 1) / 7: weight (1 - 37/49) / (69 * 2 * (5/14)^2) = 0.01391.
    "clearly uneven": ([60, 10], [0.5 * 0.013911 + 6 / 7 * 0.986089, 0.5 * 0.013911 + 1 / 7 * 0.986089]),
    "one label": ([1, 0], [0.5, 0.5]),
}


@pytest.mark.parametrize("name", SHARES)
def test_label_counts_give_up_uniform_shares_only_for_more_than_chance(name):
    counts, expected = SHARES[name]
    np.testing.assert_allclose(shrunken_shares(np.array(counts)), expected, atol=1e-5)


def test_shares_are_the_most_likely_ones():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.1
    values = rng.normal(size=len(truth)) + 1.5 * truth
    second = 1 / (1 + np.exp(-(1.5 * values - 1.5**2 / 2)))
    assert likely_shares(np.column_stack([1 - second, second]))[1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [([150, 150, 150], 0.32, 0.35), ([500, 100, 30], 0.55, 0.85), ([30, 100, 500], 0.0, 0.2)],
)
def test_even_labels_of_an_uneven_pool_are_seen_through(sizes, least, most):
    features, truth = clusters(sizes)
    shares = shares_in_pool(normalize(features), labels_of(truth, 8), 3)
    assert shares.sum() == pytest.approx(1)
    assert least <= shares[0] <= most


@pytest.mark.parametrize("per_class", [4, 10])
def test_a_long_tail_is_not_flattened(per_class):
    features, truth = clusters([600, 200, 60, 20], noise=1.2)
    labels = labels_of(truth, per_class)
    accuracy = {
        name: (FeatureClassifier(class_balance=name).fit(features, labels).transduction_ == truth).mean()
        for name in ("auto", "uniform")
    }
    assert accuracy["auto"] > accuracy["uniform"] + 0.05
    assert accuracy["auto"] > (alone(features, labels) == truth).mean()


@pytest.mark.parametrize(
    ("class_balance", "expected", "strength"),
    [
        ("uniform", [0.5, 0.5], 1.0),
        ("labels", [0.75, 0.25], 1.0),
        (np.array([3.0, 1.0]), [0.75, 0.25], 1.0),
        (None, [0.5, 0.5], 0.0),
    ],
)
def test_expected_shares_can_be_given(class_balance, expected, strength):
    labels = np.array([0, 0, 0, 1, -1])
    shares, found = expected_shares(class_balance, np.zeros((5, 2)), labels, 2)
    assert shares.tolist() == expected and found == strength


def test_balancing_reaches_the_shares_and_keeps_the_order_within_a_class():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([4, 1, 1], size=500)
    result = balanced(probabilities, np.array([0.2, 0.3, 0.5]), steps=50)
    np.testing.assert_allclose(result.mean(axis=0), [0.2, 0.3, 0.5], atol=1e-6)
    ratio, again = (p[:, 0] / p[:, 1] for p in (probabilities, result))
    assert np.array_equal(np.argsort(ratio), np.argsort(again))
    np.testing.assert_allclose(balanced(probabilities, np.ones(3) / 3, strength=0.0), probabilities, atol=1e-9)


# ---- Interface ----

# What scikit-learn's checks ask and a classifier with -1 for "unlabeled" cannot give.
EXPECTED_FAILURES = {
    "check_classifiers_classes": "uses -1 as a class; here it means unlabeled, as in SelfTrainingClassifier"
}


@pytest.mark.slow
def test_it_is_an_estimator_of_scikit_learn():
    results = check_estimator(FeatureClassifier(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: str(result["exception"]) for result in results if result["status"] == "failed"}
    assert failed.keys() == EXPECTED_FAILURES.keys()
    assert "y must hold at least two classes" in failed["check_classifiers_classes"]
    assert len(results) > 40


ERRORS = {
    "no labels": ({}, [-1] * 6, "y must hold labels, got -1 for all"),
    "one class": ({}, [0, 0, -1, -1, -1, -1], "y must hold at least two classes, got one class"),
    "rounds": ({"rounds": 0}, [0, 1, -1, -1, -1, -1], "rounds must be at least 1, got 0; 8 is usual"),
    "share": ({"share": 1.5}, [0, 1, -1, -1, -1, -1], r"share must be in \(0, 1\], got 1.5"),
    "balance": ({"class_balance": "even"}, [0, 1, -1, -1, -1, -1], "class_balance must be 'uniform'"),
    "neighbors": ({"neighbors": 0}, [0, 1, -1, -1, -1, -1], "k must be at least 1, got 0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_named(name):
    settings, labels, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        FeatureClassifier(**settings).fit(np.random.default_rng(0).normal(size=(6, 4)), np.array(labels))


# ---- The head ----


def test_the_head_predicts_as_the_classifier():
    model = make_vit()
    width = model.classifier.in_features
    features, truth = clusters([80, 80, 80], width=width)
    classifier = FeatureClassifier().fit(features, labels_of(truth, 4))
    classifier.to_head(model)
    with torch.no_grad():
        found = model.classifier(torch.tensor(features)).argmax(dim=1).numpy()
    assert (found == classifier.predict(features)).mean() > 0.97


def test_a_class_without_a_label_is_never_predicted_by_the_head():
    features, truth = clusters([80, 80, 80], width=6)
    labels = np.where(truth == 1, -1, labels_of(truth, 4))
    head = nn.Linear(6, 3)
    FeatureClassifier().fit(features, labels).to_head(head)
    with torch.no_grad():
        assert not (head(torch.tensor(features)).argmax(dim=1) == 1).any()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (nn.Linear(5, 3), "the head must read 6 features, got one that reads 5; encode with this model"),
        (nn.Linear(6, 3, bias=False), "the head must have a bias, got one without"),
        (nn.Linear(6, 2), "every class must be one of the head's 2, got 2"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(head, message):
    features, truth = clusters([20, 20, 20], width=6)
    with pytest.raises(ValueError, match=message):
        FeatureClassifier().fit(features, labels_of(truth, 2)).to_head(head)


@pytest.mark.parametrize("seed", range(3))
def test_unequal_numbers_of_labels_do_not_make_an_equal_pool_look_unequal(seed):
    """With 3, 4, 3 and 10 labels, halves of them agree that the last class is frequent, unless they are cut alike."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), 300)
    features = normalize(rng.normal(size=(4, 64))[truth] + 2 * rng.normal(size=(1200, 64)))
    labels = np.full(1200, -1)
    for number, count in enumerate([3, 4, 3, 10]):
        labels[rng.permutation(np.flatnonzero(truth == number))[:count]] = number
    assert np.ptp(shares_in_pool(features, labels, 4)) < 0.05


def test_labels_of_picked_examples_say_nothing_about_the_pool():
    features, labels = np.random.default_rng(0).normal(size=(60, 5)), np.full(60, -1)
    labels[:31] = [0] * 30 + [1]
    assert expected_shares("auto", features, labels, 2)[0][0] > 0.9
    assert expected_shares("pool", features, labels, 2)[0].tolist() == [0.5, 0.5]
