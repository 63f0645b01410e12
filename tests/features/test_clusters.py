"""Clusters are a teacher only where the pool has them."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_moons

from hf_ssl.features import FeatureClassifier, Graph, normalize
from hf_ssl.features.clusters import cut_alike, mixture, stable_clusters


def free(probabilities):
    return probabilities


def blobs(count, per_blob=150, noise=0.25, seed=0):
    """Features of `count` clusters on the sphere, and the cluster of each row."""
    rng = np.random.default_rng(seed)
    centers = np.eye(count, 12)
    truth = np.repeat(np.arange(count), per_blob)
    return normalize(centers[truth] + noise * rng.normal(size=(len(truth), 12))), truth


def ring(size=600, seed=0):
    """Features without clusters: all directions of a plane alike."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, size)
    return np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


@pytest.mark.parametrize(
    ("features", "num_classes", "stable"),
    [
        (blobs(4)[0], 4, True),
        (blobs(4)[0], 3, False),
        (ring(), 5, False),
        (blobs(4, per_blob=15)[0], 4, False),
    ],
    ids=["as many as classes", "more than classes", "none", "too few rows"],
)
def test_random_starts_lead_to_the_same_clusters_if_there_are_any(features, num_classes, stable):
    assert stable_clusters(features, num_classes, free) is stable


def test_the_means_of_a_mixture_are_those_of_its_classes():
    # One turn by hand: equal shares of two directions at right angles to each other, 0.6 on the way to the second.
    features = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], dtype=np.float32)
    found = mixture(features, np.eye(2)[[0, 1, 0]], free)
    first = np.array([1.8, 0.6]) / np.hypot(1.8, 0.6)
    # At its fixed point the third row belongs to the first mean, at a cosine of 0.95 against 0.6.
    margin = 20 * (features[2] @ first - features[2, 1])
    assert found[2, 0] == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-3)
    assert found.argmax(axis=1).tolist() == [0, 1, 0]


def test_labeled_rows_keep_their_class_in_the_means():
    features = np.array([[1.0, 0.0], [0.98, 0.2], [0.0, 1.0], [0.2, 0.98]], dtype=np.float32)
    labels = np.array([1, -1, 0, -1])
    assert mixture(features, np.full((4, 2), 0.5), free, labels).argmax(axis=1).tolist() == [1, 1, 0, 0]


def test_clusters_that_cut_the_graph_are_not_believed():
    points, truth = make_moons(400, noise=0.06, random_state=0)
    features = normalize(np.column_stack([points, points**2, points**3, np.ones(len(points))]))
    graph = Graph.build(features)
    halves = (points[:, 0] > 0.5).astype(int)
    assert not cut_alike(graph.weights, halves, [truth])
    assert cut_alike(graph.weights, truth, [halves])


def test_a_cut_of_less_than_a_third_more_is_alike():
    weights = sparse.csr_matrix(np.diag([10.0, 12.0, 14.0], k=1))
    best, near, far = ([0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1])
    assert cut_alike(weights, np.array(near), [np.array(best)])
    assert not cut_alike(weights, np.array(far), [np.array(best)])


def test_one_untypical_label_per_class_names_a_cluster(monkeypatch):
    features, truth = blobs(4, noise=0.35, seed=1)
    labels = np.full(len(truth), -1)
    for number in range(4):
        # Of the tenth of each class that is farthest from its center.
        members = np.flatnonzero(truth == number)
        distance = features[members] @ features[members].mean(axis=0)
        row = members[np.argsort(distance)[len(members) // 10]]
        labels[row] = number
    found = FeatureClassifier().fit(features, labels).transduction_
    means = np.stack([features[truth == number].mean(axis=0) for number in range(4)])
    reachable = ((features @ means.T).argmax(axis=1) == truth).mean()
    assert reachable - 0.005 <= (found == truth).mean() <= reachable + 0.005
    # Without clusters, the labels' place misleads the others.
    monkeypatch.setattr("hf_ssl.features.classifier.stable_clusters", lambda *_: False)
    assert (FeatureClassifier().fit(features, labels).transduction_ == truth).mean() < reachable - 0.05
