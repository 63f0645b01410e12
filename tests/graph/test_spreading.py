"""Label spreading: known answers by dense linear algebra, scikit-learn's answers, and what must hold for any graph."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import make_moons
from sklearn.semi_supervised import LabelSpreading

from hf_ssl.features import Graph, affinity, normalize, propagate
from hf_ssl.graph.spreading import class_shares, normalize_graph, symmetric_weights

# Name -> symmetric weights and labels of a tiny graph.
TINY = {
    "a chain between two labels": ([(0, 1, 1.0), (1, 2, 0.5), (2, 3, 1.0)], [0, -1, -1, 1]),
    "a triangle and a tail": ([(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0), (2, 3, 0.2)], [0, -1, -1, 1]),
    "three classes": ([(0, 3, 0.9), (1, 3, 0.8), (2, 3, 0.7), (3, 4, 0.1)], [0, 1, 2, -1, -1]),
    "several labels of one class": ([(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (3, 4, 1.0)], [0, 0, -1, -1, 1]),
}


def weights_of(edges, size):
    dense = np.zeros((size, size), dtype=np.float32)
    for a, b, weight in edges:
        dense[a, b] = dense[b, a] = weight
    return dense


def make_clusters(size=240, classes=3, width=8, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    classes_of = np.arange(size) % classes
    centers = rng.normal(size=(classes, width)) * 3
    features = centers[classes_of] + noise * rng.normal(size=(size, width)) + 5
    labels = np.full(size, -1)
    labels[: 2 * classes] = classes_of[: 2 * classes]
    return features.astype(np.float32), labels, classes_of


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("alpha", [0.5, 0.95])
def test_spreading_solves_the_linear_system(name, alpha):
    edges, labels = TINY[name]
    dense, classes = weights_of(edges, len(labels)), max(labels) + 1
    scale = np.diag(dense.sum(axis=1) ** -0.5)
    targets = np.array([[float(label == c) for c in range(classes)] for label in labels])
    expected = (1 - alpha) * np.linalg.solve(np.eye(len(labels)) - alpha * scale @ dense @ scale, targets)
    graph = Graph(normalize_graph(csr_matrix(dense)))
    found = graph.propagate(np.array(labels), num_classes=classes, alpha=alpha, steps=None, class_balance=None)
    assert found == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=2e-5)


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_answers_are_scikit_learns_on_the_same_graph(steps):
    features, labels, _ = make_clusters()
    weights = affinity(features, k=5).toarray()
    reference = LabelSpreading(kernel=lambda *_: weights.copy(), alpha=0.9, max_iter=steps, tol=0.0)
    with pytest.warns(match="max_iter"):
        reference.fit(features, labels)
    graph = Graph(normalize_graph(csr_matrix(weights)))
    found = graph.propagate(labels, num_classes=3, alpha=0.9, steps=steps, class_balance=None)
    reached = reference.label_distributions_.sum(axis=1) > 0
    assert reached.sum() > 2 * (labels >= 0).sum()
    assert found[reached] == pytest.approx(reference.label_distributions_[reached], abs=1e-6)


def test_two_moons_are_told_apart_by_one_label_each():
    points, moons = make_moons(400, noise=0.06, random_state=0)
    # Cosines of random Fourier features are a Gaussian kernel of the points.
    rng = np.random.default_rng(0)
    angles = points @ rng.normal(scale=4.0, size=(2, 256))
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.full(400, -1)
    for moon in (0, 1):
        labels[np.flatnonzero(moons == moon)[0]] = moon
    found = propagate(features, labels, num_classes=2, neighbors=8, steps=None, alpha=0.99)
    assert (found.argmax(axis=1) == moons).mean() > 0.99


def test_rows_sum_to_one_and_clusters_are_found():
    features, labels, classes = make_clusters()
    found = propagate(features, labels, num_classes=3)
    assert found.dtype == np.float32 and found.shape == (240, 3)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert (found.argmax(axis=1) == classes).mean() > 0.97


def test_the_order_of_rows_does_not_matter():
    features, labels, _ = make_clusters()
    order = np.random.default_rng(1).permutation(len(labels))
    found = propagate(features, labels, num_classes=3)
    assert propagate(features[order], labels[order], num_classes=3) == pytest.approx(found[order], abs=1e-5)


def test_the_same_call_gives_the_same_bits():
    features, labels, _ = make_clusters()
    first, second = (propagate(features, labels, num_classes=3) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_graph_is_built_once_for_any_labels():
    features, labels, classes = make_clusters()
    graph = Graph.build(features)
    assert len(graph) == len(features)
    assert np.array_equal(graph.propagate(labels, num_classes=3), propagate(features, labels, num_classes=3))
    more = np.where(np.arange(len(labels)) < 60, classes, -1)
    assert np.array_equal(graph.propagate(more, num_classes=3), propagate(features, more, num_classes=3))


def test_more_classes_than_are_spread_at_once_give_the_same_as_each_alone():
    features, _, classes = make_clusters(size=400, classes=40, width=32)
    labels = np.where(np.arange(400) < 80, classes, -1)
    graph = Graph.build(features)
    found = graph.propagate(labels, num_classes=40, class_balance=None, steps=10)
    alone = graph.propagate(np.where(labels == 20, 0, np.where(labels >= 0, 1, -1)), num_classes=2, steps=10)
    assert found.shape == (400, 40)
    targets = (labels[:, None] == np.arange(40)).astype(np.float32)
    current = targets
    for _ in range(10):
        current = 0.95 * (graph.weights @ current) + 0.05 * targets
    reached = current.sum(axis=1) > 0
    assert found[reached] == pytest.approx((current / np.maximum(current.sum(axis=1, keepdims=True), 1e-30))[reached])
    assert alone.shape == (400, 2)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("uniform", [0.5, 0.5, 0.0]), ("labels", [0.75, 0.25, 0.0]), ([0.1, 0.9, 0.0], [0.1, 0.9, 0.0])],
)
def test_class_balance_sets_the_shares_of_the_classes(balance, expected):
    # One labeled example of each class counts for itself alone: nothing mixes, so the balance is what rows without a
    # label get.
    weights = csr_matrix((5, 5), dtype=np.float32)
    labels = np.array([0, 0, 0, 1, -1])
    if balance == "uniform":
        expected = [1 / 3] * 3
    found = Graph(weights).propagate(labels, num_classes=3, class_balance=balance)
    assert found[:4].argmax(axis=1).tolist() == [0, 0, 0, 1]
    assert found[4] == pytest.approx(expected)


def test_uniform_balance_takes_from_the_class_with_more_labels():
    features, _, classes = make_clusters(noise=4.0)
    labels = np.full(len(classes), -1)
    for number, count in enumerate((30, 2, 2)):
        labels[np.flatnonzero(classes == number)[:count]] = number
    shares = {
        name: propagate(features, labels, num_classes=3, class_balance=balance).mean(axis=0)[0]
        for name, balance in {
            "none": None,
            "uniform": "uniform",
            "labels": "labels",
            "given": np.array([8, 1, 1]),
        }.items()
    }
    assert abs(shares["uniform"] - 1 / 3) < 0.05
    assert shares["uniform"] + 0.1 < min(shares["none"], shares["labels"], shares["given"])


def test_a_class_without_labels_gets_nothing_and_no_nan():
    features, labels, _ = make_clusters()
    labels[labels == 2] = -1
    for balance in ("uniform", "labels", None):
        found = propagate(features, labels, num_classes=4, class_balance=balance)
        assert np.isfinite(found).all() and found[:, 2:].max() <= 0.25
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("odd", ["zeros", "nan", "inf"])
def test_rows_that_say_nothing_are_isolated(odd):
    features, labels, classes = make_clusters()
    features[[50, 51]] = {"zeros": features.mean(axis=0) * 0, "nan": np.nan, "inf": np.inf}[odd]
    found = propagate(features, labels, num_classes=3)
    assert np.isfinite(found).all() and found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert (found.argmax(axis=1) == classes).mean() > 0.95
    if odd != "zeros":  # a row of zeros has the mean of the others subtracted, and so a direction
        assert found[50] == pytest.approx([1 / 3] * 3)


def test_identical_rows_have_no_direction_but_keep_their_labels():
    found = propagate(np.ones((4, 3)), np.array([0, 1, -1, -1]), num_classes=2)
    assert found.tolist() == [[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]]


def test_the_graph_is_symmetric_and_its_eigenvalues_are_at_most_one():
    features, _, _ = make_clusters()
    weights = Graph.build(features).weights
    assert weights.dtype == np.float32 and abs(weights - weights.T).max() < 1e-7
    assert weights.diagonal().max() == 0 and weights.data.min() > 0
    assert np.abs(np.linalg.eigvalsh(weights.toarray())).max() == pytest.approx(1, abs=1e-5)
    assert weights.nnz <= 2 * 15 * len(features)


def test_weights_are_powers_of_cosines_and_mutual_edges_count_twice():
    indices, cosines = np.array([[1], [0], [1]]), np.array([[0.5], [0.5], [0.4]], dtype=np.float32)
    found = symmetric_weights(indices, cosines, power=2.0).toarray()
    assert found == pytest.approx(np.array([[0, 0.5, 0], [0.5, 0, 0.16], [0, 0.16, 0]]), abs=1e-6)
    assert symmetric_weights(indices, -cosines).nnz == 0


def test_normalize_takes_the_direction_away_that_all_share():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 6)) + 10
    found = normalize(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = unit - unit.mean(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=1e-5)
    assert normalize(features[:3], mean=unit.mean(axis=0)) == pytest.approx(expected[:3], abs=1e-5)
    assert normalize(features * 1e30) == pytest.approx(expected, abs=1e-5)


FOUR = np.eye(4)
WRONG = {
    "too few labels": ({"labels": [0, 1]}, "one integer per row"),
    "labels that are not integers": ({"labels": [0.0, 1.0, -1.0, -1.0]}, "must be integers, got float64"),
    "a label that is not a class": ({"labels": [0, 2, -1, -1]}, r"in -1..1, got 2 in row 1"),
    "a label below -1": ({"labels": [0, -2, -1, -1]}, r"got -2 in row 1; use -1"),
    "no label": ({"labels": [-1, -1, -1, -1]}, "at least one label"),
    "no class": ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
    "alpha of 1": ({"alpha": 1.0}, r"alpha must be in \(0, 1\), got 1.0"),
    "no step": ({"steps": 0}, "steps must be at least 1, got 0"),
    "no neighbor": ({"neighbors": 0}, "k must be at least 1, got 0"),
    "no power": ({"power": 0.0}, "power must be above 0, got 0.0"),
    "an unknown balance": ({"class_balance": "equal"}, "class_balance must be .*got 'equal'"),
    "a balance of other classes": ({"class_balance": [1.0]}, r"must be 2 shares.*got \[1.0\]"),
    "a negative balance": ({"class_balance": [1.0, -1.0]}, "2 shares of at least 0"),
    "a vector": ({"features": np.ones(4)}, r"matrix \[N, D\], got shape \(4,\)"),
    "nothing finite": ({"features": np.full((4, 2), np.nan)}, "at least one finite row"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named_with_their_value(name):
    changes, message = WRONG[name]
    given = {"features": FOUR, "labels": [0, 1, -1, -1], "num_classes": 2, **changes}
    given["labels"] = np.array(given["labels"])
    with pytest.raises(ValueError, match=message):
        propagate(given.pop("features"), given.pop("labels"), **given)


def test_shares_are_scaled_to_sum_to_one():
    assert class_shares([3, 1], np.array([0, 1]), 2).tolist() == [0.75, 0.25]
    assert class_shares(None, np.array([0, 1]), 4).tolist() == [0.25] * 4
