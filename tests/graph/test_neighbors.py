"""Nearest neighbors: the same as by comparing all pairs, for any size of blocks, with equals in a fixed order."""

import importlib.util
import sys

import numpy as np
import pytest

from hf_ssl.features import nearest_neighbors
from hf_ssl.graph import neighbors

HAS_FAISS = importlib.util.find_spec("faiss") is not None


def brute_force(features, k):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
def test_blocks_do_not_change_the_neighbors(block_rows):
    features = np.random.default_rng(0).normal(size=(150, 5))
    indices, cosines = nearest_neighbors(features, 4, block_rows=block_rows)
    expected = brute_force(features, 4)
    assert np.array_equal(indices, expected[0]) and indices.dtype == np.int64
    assert cosines == pytest.approx(expected[1], abs=1e-6) and cosines.dtype == np.float32


@pytest.mark.parametrize("block_rows", [2, 5, 100])
def test_of_equal_neighbors_the_smaller_index_comes_first(block_rows):
    # Small integers: cosines of equal rows are equal bit for bit.
    features = np.tile(np.array([[4.0, 0.0], [0.0, 4.0]]), (10, 1))
    indices, cosines = nearest_neighbors(features, 3, block_rows=block_rows)
    assert np.array_equal(cosines, np.ones((20, 3)))
    assert indices[0].tolist() == [2, 4, 6] and indices[2].tolist() == [0, 4, 6] and indices[19].tolist() == [1, 3, 5]


def test_few_rows_have_few_neighbors():
    indices, _ = nearest_neighbors(np.eye(3), 15)
    assert indices.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_memory_mapped_features_are_read_and_not_changed(tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    features[3] = np.nan
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    indices, cosines = nearest_neighbors(mapped, 3)
    assert np.isfinite(cosines).all() and cosines[3].tolist() == [0, 0, 0]
    assert not (indices[np.arange(40) != 3] == 3)[cosines[np.arange(40) != 3] > 0].any()
    assert np.array_equal(np.load(tmp_path / "features.npy"), features, equal_nan=True)


@pytest.mark.parametrize(
    ("features", "settings", "message"),
    [
        (np.eye(1), {}, r"at least two rows, got shape \(1, 1\)"),
        (np.ones(4), {}, r"got shape \(4,\)"),
        (np.eye(3), {"k": 0}, "k must be at least 1, got 0"),
        (np.eye(3), {"block_rows": 0}, "block_rows must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named_with_their_value(features, settings, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(features, **settings)


def test_without_a_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(neighbors, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'faiss is not installed; do pip install "hf-ssl\[features\]"'):
        nearest_neighbors(np.eye(3), exact=False)
    assert neighbors._compares_all_pairs(10**7, None)


def test_a_long_search_is_announced(monkeypatch, caplog):
    monkeypatch.setattr(neighbors, "_LONG", 0.0)
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 2)
    with caplog.at_level("WARNING", logger=neighbors.logger.name):
        monkeypatch.setattr(neighbors.logger, "propagate", True)
        neighbors._warn_of_time(30.0, 200_000, 49)
    assert "all pairs of 200,000 rows takes about 12 minutes; FAISS would be faster" in caplog.text


@pytest.mark.skipif(not HAS_FAISS, reason="faiss is not installed")
def test_faiss_finds_nearly_the_same_neighbors():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 16))[rng.integers(30, size=3000)] + 0.5 * rng.normal(size=(3000, 16))
    exact, _ = nearest_neighbors(features, 10)
    indices, cosines = nearest_neighbors(features, 10, exact=False)
    assert indices.shape == cosines.shape == (3000, 10)
    assert not (indices == np.arange(3000)[:, None]).any()
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, indices, strict=True)])
    assert recall > 0.9
    again = nearest_neighbors(features, 10, exact=False)
    assert np.array_equal(indices, again[0]) and np.array_equal(cosines, again[1])


def test_the_row_itself_is_dropped_from_what_faiss_returns():
    indices = np.array([[0, 2, 1], [2, 0, 1], [0, 1, 3], [3, -1, -1]])
    cosines = np.array([[1.0, 0.9, 0.8], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, -9.0, -9.0]], dtype=np.float32)
    found, kept = neighbors._without_self(indices, cosines)
    assert found.tolist() == [[2, 1], [2, 0], [0, 1], [3, 3]]
    assert kept.tolist()[0] == pytest.approx([0.9, 0.8]) and kept.tolist()[3] == [0, 0]
