"""Which rows are picked: worked examples, a greedy cover found by brute force, and what must not matter."""

import numpy as np
import pytest

from hf_ssl.features import pick
from hf_ssl.features.picking import MOST_ROWS, greedy_cover, pure_nearness, typicality
from hf_ssl.graph.normalization import unit_rows


def blobs(sizes, width=6, spread=0.05, seed=0):
    """Clusters of these sizes around axes, and the cluster of each row."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return (np.eye(width)[truth] + spread * rng.normal(size=(len(truth), width))).astype(np.float32), truth


def on_a_circle(*angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_typical_takes_the_largest_clusters_first():
    features, truth = blobs([30, 50, 40, 20])
    assert truth[pick(features, 4)].tolist() == [1, 2, 0, 3]


def test_typical_leaves_clusters_with_a_label_for_later():
    features, truth = blobs([30, 50, 40])
    labels = np.where(np.isin(np.arange(len(truth)), [35, 36]), 7, -1)  # two of the largest cluster
    rows = pick(features, 2, labels)
    assert set(truth[rows]) == {0, 2} and (labels[rows] < 0).all()


def test_random_is_a_sample_of_what_has_no_label_in_which_each_row_is_equally_likely():
    features = blobs([60, 20])[0]
    labels = np.where(np.arange(80) < 10, 0, -1)
    drawn = [pick(features, 20, labels, by="random", seed=seed) for seed in range(200)]
    assert all(len(set(rows)) == 20 and (labels[rows] < 0).all() for rows in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=80)[10:]
    # 200 draws of 20 of 70 rows: 57.1 times each, with a standard deviation of 6.4.
    assert abs(counts - 200 * 20 / 70).max() < 4 * 6.4
    assert drawn[0].tolist() == pick(features, 20, labels, by="random", seed=0).tolist()


def test_typicality_is_the_inverse_mean_distance_to_the_nearest():
    rows = on_a_circle(0.0, 0.5, 0.7)
    chords = 2 * np.sin(np.array([[0.5, 0.7], [0.5, 0.2], [0.7, 0.2]]) / 2)
    np.testing.assert_allclose(typicality(rows), 1 / (chords.mean(axis=1) + 1e-5), rtol=1e-3)


def test_a_dense_row_is_more_typical_than_one_at_the_edge():
    rng = np.random.default_rng(0)
    rows = unit_rows(np.concatenate([[[1.0, 0, 0]], [[1, 0, 0]] + rng.normal(size=(60, 3)) * 0.2]))
    far = np.argmin(rows @ rows[0])
    assert typicality(rows)[0] > 2 * typicality(rows)[far]


def brute_force_cover(rows, nearness, n):
    near = (rows @ rows.T > nearness) | np.eye(len(rows), dtype=bool)
    covered, picked = np.zeros(len(rows), dtype=bool), []
    for _ in range(n):
        counts = (near & ~covered).sum(axis=1)
        counts[picked] = 0
        if counts.max() == 0:
            break
        picked.append(int(counts.argmax()))
        covered |= near[picked[-1]]
    return picked


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nearness", [0.2, 0.7, 0.95])
def test_the_cover_is_the_greedy_one(seed, nearness):
    rows = unit_rows(np.random.default_rng(seed).normal(size=(300, 3)))
    found = greedy_cover(rows, nearness, 12, np.array([], dtype=int))
    assert found.tolist() == brute_force_cover(rows, nearness, 12)


def test_what_labels_cover_is_not_covered_again():
    rows = on_a_circle(0.0, 0.05, 0.1, 0.15, 1.0, 1.05, 2.0)
    assert greedy_cover(rows, np.cos(0.12), 2, np.array([1])).tolist() == [4, 6]


def test_the_radius_is_the_largest_with_pure_balls():
    """Of 20 balls one may reach into another cluster: the second nearest of the foreign neighbors decides."""
    angles = np.concatenate([np.linspace(0, 0.9, 10), np.linspace(1.1, 2.0, 10)])
    rows = on_a_circle(*angles)
    clusters = np.repeat([0, 1], 10)
    nearest = [min(abs(a - b) for b, other in zip(angles, clusters, strict=True) if other != own)
               for a, own in zip(angles, clusters, strict=True)]  # fmt: skip
    assert pure_nearness(rows, clusters) == pytest.approx(np.cos(sorted(nearest)[1]), abs=1e-6)


def test_cover_goes_on_with_smaller_balls_once_all_is_covered():
    features, truth = blobs([20, 10])
    rows = pick(features, 8, by="cover", num_classes=2)
    assert truth[rows][:2].tolist() == [0, 1] and len(set(rows.tolist())) == 8


def test_margin_takes_rows_between_the_classes_before_sure_ones():
    angles = np.concatenate([np.linspace(0, 0.4, 40), [0.74, 0.79, 0.84], np.linspace(1.17, 1.57, 40)])
    features = on_a_circle(*angles)
    labels = np.full(len(angles), -1)
    labels[[0, 10, 50, 80]] = [0, 0, 1, 1]
    probabilities = np.stack([1.57 - angles, angles], axis=1) / 1.57
    assert set(pick(features, 3, labels, "margin", probabilities=probabilities).tolist()) <= set(range(36, 48))
    # Fitted to the labels, the classifier is least sure between the two arcs.
    assert {40, 41, 42} & set(pick(features, 3, labels, "margin")[:2].tolist())


def test_margin_needs_two_classes():
    features, _ = blobs([10, 10])
    with pytest.raises(ValueError, match="needs labels of at least two classes"):
        pick(features, 2, np.where(np.arange(20) == 3, 0, -1), "margin")


WAYS = ("typical", "cover", "margin")


@pytest.mark.parametrize("by", WAYS)
def test_the_order_of_the_rows_does_not_matter(by):
    features, truth = blobs([40, 30, 30], spread=0.3)
    labels = np.full(100, -1)
    labels[[1, 50, 80]] = truth[[1, 50, 80]]
    order = np.random.default_rng(1).permutation(100)
    found = order[pick(features[order], 9, labels[order], by)]
    assert found.tolist() == pick(features, 9, labels, by).tolist()


@pytest.mark.parametrize("by", WAYS)
def test_equal_rows_are_picked_once_and_never_if_one_of_them_has_a_label(by):
    few, _ = blobs([3, 3], spread=0.3)
    features = np.concatenate([few, few, few])
    labels = np.full(18, -1)
    labels[[0, 4]] = [0, 1]
    rows = pick(features, 50, labels, by)
    assert sorted(rows % 6) == [1, 2, 3, 5] and (rows < 6).all()


@pytest.mark.parametrize("by", WAYS)
def test_rows_that_could_not_be_read_are_left_out_and_a_small_pool_is_picked_whole(by):
    features, _ = blobs([6, 6])
    features[[2, 9]] = np.nan
    labels = np.full(12, -1)
    labels[[0, 6]] = [0, 1]
    assert sorted(pick(features, 100, labels, by)) == [1, 3, 4, 5, 7, 8, 10, 11]


def test_a_pool_that_is_labeled_or_unreadable_gives_nothing():
    assert pick(np.full((3, 2), np.nan), 2).tolist() == []
    assert pick(np.eye(2), 2, np.array([0, 1])).tolist() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"by": "best"}, "by must be one of typical, cover, margin, random, got 'best'"),
        ({"labels": np.zeros(3)}, r"labels must have shape \(20,\), got \(3,\)"),
        ({"features": np.zeros(20)}, r"features must be a matrix \[N, D\], got shape \(20,\)"),
        ({"by": "margin", "probabilities": np.zeros((3, 2))}, "probabilities must have 20 rows"),
    ],
)
def test_what_does_not_fit_is_an_error_of_one_line(change, message):
    given = {"features": np.zeros((20, 2)), "n": 4, **change}
    with pytest.raises(ValueError, match=message):
        pick(**given)


def test_of_a_large_pool_a_part_is_looked_at(monkeypatch):
    monkeypatch.setattr("hf_ssl.features.picking.MOST_ROWS", 200)
    features, truth = blobs([4000, 2000])
    assert truth[pick(features, 2)].tolist() == [0, 1]
    assert MOST_ROWS >= 10_000
