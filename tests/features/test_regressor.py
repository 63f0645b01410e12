"""Numbers from features: ridge and mixtures by left-out labels, what the pool brings, and scikit-learn's interface."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from hf_ssl.features import FeatureRegressor, Graph
from hf_ssl.features.ridge import fit_ridge, mixture_of, project
from hf_ssl.features.ways import GaussianFeatures, mixed, smoothed


def line(size=60, width=5, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, width)) + 2
    return features, features @ rng.normal(size=(width, 2)) + noise * rng.normal(size=(size, 2)) + [100, 0]


# ---- Ridge ----


@pytest.mark.parametrize("size", [4, 12, 60])
def test_left_out_predictions_are_those_of_fits_without_the_example(size):
    features, targets = line(size, width=8)
    found = fit_ridge(features, targets)
    # The penalty that was chosen follows from the weights.
    center, mean = features.mean(axis=0), targets.mean(axis=0)
    left = (features - center).T @ (targets - mean - (features - center) @ found.weight)
    penalty = float((left * found.weight).sum() / np.square(found.weight).sum())
    for row in range(size):
        others = np.delete(np.arange(size), row)
        fit = Ridge(alpha=penalty).fit(features[others], targets[others])
        np.testing.assert_allclose(found.held_out[row], fit.predict(features[[row]])[0], rtol=1e-5)
    np.testing.assert_allclose(found.bias, mean - center @ found.weight)


def test_left_out_examples_can_be_seen_with_other_features():
    features, targets = line(30)
    seen = features + np.random.default_rng(1).normal(size=features.shape)
    found = fit_ridge(features, targets, seen)
    center, mean = features.mean(axis=0), targets.mean(axis=0)
    left = (features - center).T @ (targets - mean - (features - center) @ found.weight)
    penalty = float((left * found.weight).sum() / np.square(found.weight).sum())
    for row in (0, 7):
        others = np.delete(np.arange(30), row)
        fit = Ridge(alpha=penalty).fit(features[others], targets[others])
        np.testing.assert_allclose(found.held_out[row], fit.predict(seen[[row]])[0], rtol=1e-5)


def test_noise_is_not_learned_and_a_line_is():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 200))
    noise = fit_ridge(features, rng.normal(size=(40, 8)))
    assert np.std(features @ noise.weight) < 0.5
    features, targets = line(200, noise=0)
    np.testing.assert_allclose(features @ fit_ridge(features, targets).weight + [0, 0], targets - [100, 0], atol=30)
    assert np.abs(fit_ridge(features, targets).held_out - targets).max() < 0.01


def test_numbers_of_any_scale_count_alike():
    features, targets = line()
    first, other = fit_ridge(features, targets), fit_ridge(features, targets * [1, 1000])
    np.testing.assert_allclose(first.held_out * [1, 1000], other.held_out)


def test_constant_numbers_and_features_are_no_trouble():
    features = np.ones((5, 3))
    assert fit_ridge(features, np.full((5, 1), 7.0)).held_out.ravel().tolist() == [7.0] * 5
    assert fit_ridge(features, np.arange(5.0)[:, None]).weight.ravel().tolist() == [0.0] * 3


def test_projection_is_least_squares():
    features, targets = line(300)
    weight, bias = project(features, targets)
    expected = np.linalg.lstsq(np.column_stack([features, np.ones(300)]), targets, rcond=None)[0]
    np.testing.assert_allclose(
        features @ weight + bias, np.column_stack([features, np.ones(300)]) @ expected, atol=0.02
    )


# ---- Mixtures ----

RNG = np.random.default_rng(3)
TRUTH = RNG.normal(size=(90, 1))
ROUGH = TRUTH + 0.5 * RNG.normal(size=(90, 1))
MIXTURES = {
    # The squared distance of the ways is 1 per example: 90 / (90 + 15).
    "the other is right": ([np.zeros((90, 1)), TRUTH], 0, [15 / 105, 90 / 105]),
    "the expected is right": ([TRUTH, np.zeros((90, 1))], 0, [1.0, 0.0]),
    "both are the same": ([ROUGH, ROUGH], 0, [1.0, 0.0]),
    "the second is expected": ([ROUGH, ROUGH], 1, [0.0, 1.0]),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_ways_are_mixed_by_what_they_said_of_left_out_examples(name):
    ways, expected, weights = MIXTURES[name]
    np.testing.assert_allclose(mixture_of(ways, (TRUTH / TRUTH.std()), expected), weights, atol=0.12)


def test_two_ways_with_errors_of_their_own_are_both_believed():
    other = TRUTH + 0.5 * RNG.normal(size=(90, 1))
    weights = mixture_of([ROUGH, other, -TRUTH], TRUTH)
    assert weights[0] > weights[1] > 0.3 and weights[2] < 0.05 and weights.sum() == pytest.approx(1)


# ---- Ways ----


def test_gaussian_features_are_those_of_kernel_ridge():
    features, targets = line(40)
    known = np.arange(25)
    made = GaussianFeatures(features, known)
    spread = features.var(axis=0).sum()
    kernel = RBF(np.sqrt(spread))
    np.testing.assert_allclose(made(features) @ made(features[known]).T, kernel(features, features[known]), atol=1e-4)
    expected = KernelRidge(alpha=1.0, kernel=kernel).fit(features[known], targets[known]).predict(features)
    x = made(features)
    weight = np.linalg.solve(x[known].T @ x[known] + np.eye(x.shape[1]), x[known].T @ targets[known])
    np.testing.assert_allclose(x @ weight, expected, atol=0.05)


def test_smoothing_mixes_neighbors_and_keeps_what_all_share():
    features = np.array([[2.0, 0.1], [2.0, 0.3], [0.1, 2.0], [0.4, 2.0]])
    found = smoothed(Graph.build(features, neighbors=1), features)
    pair = np.linalg.solve([[1, -0.8], [-0.8, 1]], 0.2 * features[:2])
    np.testing.assert_allclose(found[:2], pair, atol=1e-3)
    ones = smoothed(Graph.build(features, neighbors=1), np.full((4, 1), 3.0))
    np.testing.assert_allclose(ones, 3.0, rtol=1e-6)


def test_the_expected_way_is_kept_if_labels_cannot_tell():
    features, targets = line(60, noise=30)
    graph, known = Graph.build(features), np.arange(8)
    for expected in range(4):
        found = mixed(features.astype(np.float32), known, targets[known], graph, expected)
        assert found.ways.argmax() == expected and found.ways.sum() == pytest.approx(1)


# ---- The estimator ----


def digit_sums(size=1200, seed=0):
    found, rng = load_digits(), np.random.default_rng(seed)
    chosen = rng.choice(len(found.target), (size, 2))
    pictures = np.concatenate([found.images[chosen[:, 0]], found.images[chosen[:, 1]]], axis=2)
    return pictures.reshape(size, -1).astype(np.float32), found.target[chosen].sum(axis=1).astype(float)


def hidden(truth, known, seed=0):
    rows = np.random.default_rng(seed).permutation(len(truth))[:known]
    labels = np.full(truth.shape, np.nan)
    labels[rows] = truth[rows]
    return labels, rows


def gain(features, truth, known, seed):
    """What the pool takes off the mean absolute error of the others, in standard deviations of the truth."""
    labels, rows = hidden(truth, known, seed)
    rest = np.setdiff1d(np.arange(len(truth)), rows)
    fits = FeatureRegressor().fit(features[rows], truth[rows]), FeatureRegressor().fit(features, labels)
    errors = [np.abs(fit.predict(features[rest]) - truth[rest]).mean() / truth.std() for fit in fits]
    return errors[0] - errors[1]


def test_the_pool_adds_to_numbers_that_neighbors_share():
    features, truth = digit_sums()
    assert np.mean([gain(features, truth, 150, seed) for seed in range(3)]) > 0.02


@pytest.mark.parametrize("known", [50, 150])
def test_it_is_never_much_worse_than_labels_alone(known):
    data = load_diabetes()
    gains = [gain(data.data, data.target, known, seed) for seed in range(5)]
    assert np.mean(gains) > -0.01 and min(gains) > -0.03


def test_without_a_pool_it_is_the_ridge():
    features, targets = line()
    found, ridge = FeatureRegressor().fit(features, targets), fit_ridge(features.astype(np.float32), targets)
    np.testing.assert_allclose(found.predict(features), features @ ridge.weight + ridge.bias, rtol=1e-6)
    assert found.ways_.tolist() == [1, 0, 0, 0]


def test_units_and_order_do_not_matter():
    features, truth = digit_sums(400)
    labels, _ = hidden(truth, 60)
    first = FeatureRegressor().fit(features, labels).predict(features)
    np.testing.assert_allclose(
        FeatureRegressor().fit(features, 1e4 + 200 * labels).predict(features), 1e4 + 200 * first, rtol=1e-5
    )
    order = np.random.default_rng(1).permutation(400)
    again = FeatureRegressor().fit(features[order], labels[order]).predict(features)
    np.testing.assert_allclose(again, first, atol=0.05)


@pytest.mark.slow
def test_it_is_an_estimator_of_scikit_learn():
    results = check_estimator(FeatureRegressor(), on_fail=None, on_skip=None)
    assert not [result["check_name"] for result in results if result["status"] == "failed"]
    assert len(results) > 45


nan, inf = float("nan"), float("inf")
ERRORS = {
    "no numbers": ([nan] * 4, "y must hold labels of at least two examples, got 0; label more"),
    "one number": ([nan, 1.0, nan, nan], "y must hold labels of at least two examples, got 1"),
    "infinite": ([1.0, inf, nan, nan], "got [inf] in row 1, which is infinite"),
    "shape": ([[[1.0]]] * 4, "y must have one row of numbers per example (4), got shape (4, 1, 1)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_named(name):
    numbers, message = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        FeatureRegressor().fit(np.eye(4), numbers)
    assert message in str(caught.value)


def test_the_head_gives_the_numbers():
    features, targets = line(80)
    labels = np.where(np.arange(80)[:, None] < 20, targets, np.nan)
    head, regressor = nn.Linear(5, 2), FeatureRegressor().fit(features, labels)
    regressor.to_head(head)
    with torch.no_grad():
        found = head(torch.tensor(features, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found, regressor.predict(features), rtol=1e-5)
    with pytest.raises(ValueError, match=r"the head must have weights of shape \(2, 5\), got \(3, 5\)"):
        regressor.to_head(nn.Linear(5, 3))
