"""The numbers of single examples, against what they mean."""

import numpy as np
import pytest

from hf_ssl.features.foreignness import Foreignness
from hf_ssl.report.inspection.examples import disagreement, distance, first_shown, foreign_ranks, places_of
from hf_ssl.report.inspection.projection import project


def random_probabilities(seed, count=30, classes=4):
    logits = np.random.default_rng(seed).normal(size=(count, classes))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_disagreement_of_two_methods_is_the_jensen_shannon_divergence():
    first, second = random_probabilities(0), random_probabilities(1)
    middle = (first + second) / 2
    kl = [(each * np.log(each / middle)).sum(axis=1) for each in (first, second)]
    np.testing.assert_allclose(disagreement([first, second]), (kl[0] + kl[1]) / 2 / np.log(2), atol=1e-9)


# Methods' answers to one example -> disagreement.
ANSWERS = {
    "the same": ([[1, 0, 0], [1, 0, 0], [1, 0, 0]], 0.0),
    "three of three": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1.0),
    "two of two classes": ([[1, 0], [0, 1], [0, 1]], (np.log(3) - 2 / 3 * np.log(2)) / np.log(2)),
    "one class": ([[1], [1]], 0.0),
}


@pytest.mark.parametrize(("answers", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_disagreement_is_between_0_and_1(answers, expected):
    (found,) = disagreement([np.array([each], dtype=float) for each in answers])
    assert found == pytest.approx(expected)


def test_distance_is_the_largest_difference_of_any_event():
    first, last = random_probabilities(2, classes=3), random_probabilities(3, classes=3)
    events = np.array([[0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(distance(first, last), np.abs((first - last) @ events.T).max(axis=1))


def test_foreign_ranks_are_those_of_the_scores_that_training_uses():
    features = np.random.default_rng(0).normal(size=(40, 5))
    labels, pool = np.full(40, -1), (np.arange(40) >= 4) & (np.arange(40) < 30)
    labels[:4] = 0, 1, 1, 0
    scores = Foreignness.fit(features, labels).scores(features)
    expected = [0.0 if i < 4 else float((scores[pool] < scores[i]).mean()) for i in range(40)]
    np.testing.assert_allclose(foreign_ranks(features, labels, pool), expected, atol=1e-9)
    nobody = np.zeros(40, dtype=bool)
    assert not foreign_ranks(features, np.full(40, -1), pool).any()
    assert not foreign_ranks(features, labels, nobody).any()


def test_every_example_is_shown_once_the_most_interesting_first():
    found = list(first_shown([np.array([7, 3, 5]), np.array([3, 9])], 12))
    assert found[:4] == [7, 3, 9, 5] and sorted(found) == list(range(12))
    assert found == list(first_shown([np.array([7, 3, 5]), np.array([3, 9])], 12))
    assert sorted(first_shown([], 3)) == [0, 1, 2]


# Examples of each part, and the most of all -> how many are shown.
PLACES = [
    ({"labeled": 40, "pool": 4000, "test": 1000}, 10_000, {"labeled": 40, "pool": 4000, "test": 1000}),
    ({"labeled": 9000, "pool": 9000, "test": 9000}, 1000, {"labeled": 250, "pool": 500, "test": 250}),
    ({"test": 9000}, 1000, {"test": 250}),
    ({"pool": 5}, 1000, {"pool": 5}),
    ({}, 10, {}),
]


@pytest.mark.parametrize(("sizes", "most", "expected"), PLACES)
def test_a_page_has_room_for_labels_and_tests_and_most_of_it_is_the_pool(sizes, most, expected):
    assert places_of(sizes, most) == expected


# ---- The map ----


def groups(count=60):
    rng = np.random.default_rng(0)
    return np.eye(6)[np.arange(count) % 3] + 0.05 * rng.normal(size=(count, 6))


@pytest.mark.parametrize("method", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_map_keeps_groups_together_and_is_the_same_each_time(method):
    if method == "umap":
        pytest.importorskip("umap")
    places = project(groups(), method)
    assert places.min() >= 0 and places.max() <= 1 and places.dtype == np.float32
    centers = np.stack([places[g::3].mean(axis=0) for g in range(3)])
    within = max(np.linalg.norm(places[g::3] - centers[g], axis=1).max() for g in range(3))
    between = min(np.linalg.norm(centers[a] - centers[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert within < between / 2
    np.testing.assert_array_equal(places, project(groups(), method))


@pytest.mark.parametrize("features", [np.zeros((0, 4)), np.ones((2, 4)), np.ones((5, 1)), np.ones((9, 4))])
def test_what_has_no_extent_has_a_place_all_the_same(features):
    places = project(features)
    assert places.shape == (len(features), 2) and np.isfinite(places).all()


def test_a_map_that_is_not_known_or_not_installed_is_an_error_that_says_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match="--map must be one of pca, umap, got 'tsne'"):
        project(groups(), "tsne")
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ImportError, match=r'pip install "hf-ssl\[inspect\]"'):
        project(groups(), "umap")
