"""USB's draws: known answers, index by index."""

import json
from pathlib import Path

import numpy as np
import pytest

from hf_ssl.benchmark.splits import (
    class_sizes,
    draw_labels,
    index_hash,
    pool_sizes,
    split_first_rows,
    split_first_share,
    split_per_class,
)

KNOWN_DRAWS = Path(__file__).resolve().parents[1] / "known_answers" / "splits.json"


def make_targets(kind: str, count: int, classes: int) -> np.ndarray:
    i = np.arange(count)
    return {
        "cyclic": i % classes,
        "blocks": (i * classes) // count,
        "skewed": ((i * i + 7 * i) % (3 * classes)) % classes,
    }[kind]


LONG_TAILED = {"labeled_imbalance": 100, "num_unlabeled": 300, "unlabeled_imbalance": 100}
REVERSED = {"labeled_imbalance": 50, "num_unlabeled": 300, "unlabeled_imbalance": -50}

# targets, samples, classes, labels, seed, other settings, first labeled indices, SHA-256 of the labeled indices and of
# the rest
KNOWN = [
    ("cyclic", 50000, 100, 200, 0, {}, [9000, 25400, 27701, 30701], "0ab3d32d1ecd2f81", "631158eb6b458fed"),
    ("cyclic", 50000, 100, 200, 1, {}, [30400, 34000, 39801, 2401], "7c090237696da5c5", "c5067fc48c22bf47"),
    ("cyclic", 50000, 100, 200, 2, {}, [12900, 28000, 3701, 39801], "4c0d5ec9d621a6f4", "cfa016af6a82d766"),
    ("blocks", 5000, 10, 40, 0, {}, [90, 254, 283, 445], "5645d6d213a872e8", "801d02b50cb75cae"),
    ("blocks", 5000, 10, 40, 1, {}, [304, 340, 47, 67], "48193b8b305fe894", "916951b9b257156b"),
    ("blocks", 5000, 10, 40, 2, {}, [129, 280, 440, 384], "559224f63899853a", "b9867a13b40a08a0"),
    ("skewed", 7919, 8, 80, 0, {}, [857, 641, 537, 1544], "43b66d295cbc4cc6", "4ecb048bff11058a"),
    ("skewed", 7919, 8, 80, 1, {}, [6376, 7033, 2849, 432], "3d74cbac625e62e1", "9acdefab74b030fb"),
    ("skewed", 7919, 8, 80, 2, {}, [5848, 3544, 6753, 3792], "b6641b40a3b9ab08", "b83b09c77289c00f"),
    (
        "blocks",
        21600,
        10,
        20,
        0,
        {"shuffle_first": True},
        [31, 1569, 3912, 2440],
        "33d4ef81ed84f935",
        "185033d952bcb121",
    ),
    (
        "blocks",
        21600,
        10,
        20,
        1,
        {"shuffle_first": True},
        [512, 415, 2202, 3929],
        "18a5976adfda8e93",
        "f255d7a6d37d02ec",
    ),
    (
        "blocks",
        21600,
        10,
        20,
        2,
        {"shuffle_first": True},
        [268, 1123, 3823, 3052],
        "8a7821b2896adeb2",
        "ef5b28fc1f1da25f",
    ),
    ("cyclic", 5000, 10, 150, 0, LONG_TAILED, [900, 2540, 2830, 4450], "d17043f6e0fb2725", "3cc7f76eca987ea1"),
    ("cyclic", 5000, 10, 150, 1, LONG_TAILED, [3040, 3400, 470, 670], "a9093f1ccc27adf7", "46e154ac14a5551e"),
    ("cyclic", 5000, 10, 150, 2, LONG_TAILED, [1290, 2800, 4400, 3840], "ef3ac869b8dcc0f3", "ebf162398e31183b"),
    ("cyclic", 5000, 10, 150, 0, REVERSED, [900, 2540, 2830, 4450], "1faff088012212c1", "252b2c0021a8fe21"),
    ("cyclic", 5000, 10, 150, 1, REVERSED, [3040, 3400, 470, 670], "ae47e376947db84c", "56016460d0f0e140"),
    ("cyclic", 5000, 10, 150, 2, REVERSED, [1290, 2800, 4400, 3840], "2b7140363956fdc3", "ec993ef1b394db03"),
]


@pytest.mark.parametrize(
    ("kind", "count", "classes", "labels", "seed", "settings", "head", "labeled_hash", "rest_hash"),
    KNOWN,
    ids=lambda value: str(len(value)) if isinstance(value, (dict, list)) else str(value)[:8],
)
def test_draws_are_usb_s(kind, count, classes, labels, seed, settings, head, labeled_hash, rest_hash):
    labeled, rest = draw_labels(
        make_targets(kind, count, classes), num_classes=classes, num_labeled=labels, seed=seed, **settings
    )
    assert labeled.dtype == rest.dtype == np.int64
    assert labeled[:4].tolist() == head
    assert (index_hash(labeled)[:16], index_hash(rest)[:16]) == (labeled_hash, rest_hash)


def test_every_recorded_draw():
    rows = json.loads(KNOWN_DRAWS.read_text(encoding="utf-8"))
    settings = ("num_classes", "seed", "labeled_imbalance", "num_unlabeled", "unlabeled_imbalance", "shuffle_first")
    for row in rows:
        targets = make_targets(row["targets"], row["num_samples"], row["num_classes"])
        labeled, rest = draw_labels(targets, num_labeled=row["num_labels"], **{name: row[name] for name in settings})
        assert (index_hash(labeled), index_hash(rest)) == (row["labeled_sha256"], row["unlabeled_sha256"]), row
        assert labeled[:12].tolist() == row["labeled_head"] and rest[:12].tolist() == row["unlabeled_head"]
    assert len(rows) >= 18


def test_a_draw_neither_reads_nor_changes_the_global_generator():
    targets = make_targets("cyclic", 100, 10)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first = draw_labels(targets, num_classes=10, num_labeled=20, seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(4)
    np.testing.assert_array_equal(draw_labels(targets, num_classes=10, num_labeled=20, seed=0)[0], first[0])


def test_labeled_and_rest_are_everything_once():
    targets = make_targets("cyclic", 300, 3)
    labeled, rest = draw_labels(targets, num_classes=3, num_labeled=30, seed=1, shuffle_first=True)
    assert np.bincount(targets[labeled], minlength=3).tolist() == [10, 10, 10]
    assert sorted([*labeled, *rest]) == list(range(300))


WRONG = [
    ({"num_labeled": 200}, r"class 0 has 10 examples, this draw needs 20 of it"),
    ({"num_labeled": 25}, r"num_labeled must be a multiple of the 10 classes, got 25"),
    ({"num_labeled": 0}, r"num_labeled must be at least 1, got 0"),
    ({"num_classes": 9, "num_labeled": 9}, r"targets must be 0 to 8 for 9 classes, got 9"),
    ({"num_labeled": 50, "num_unlabeled": 60}, r"class 0 has 10 examples, this draw needs 11 of it"),
    (
        {"unlabeled_imbalance": 10},
        r"unlabeled_imbalance must be 1 without num_unlabeled, got 10; for a long-tailed pool give num_unlabeled",
    ),
    ({"pool_shape": "uniform"}, r"pool_shape must be consistent without num_unlabeled, got uniform"),
    (
        {"num_unlabeled": 10, "pool_shape": "flat"},
        r"pool_shape must be one of consistent, uniform, reversed, middle, head-tail, got 'flat'",
    ),
    ({"labeled_imbalance": 0.5}, r"an imbalance must be at least 1, or at most -1 .*got 0.5"),
    ({"targets": [0.5, 1.0]}, r"targets must be a non-empty list of integers, got float64"),
    ({"targets": []}, r"targets must be a non-empty list of integers"),
    ({"targets": [-1, 0]}, r"targets must be 0 to 9 for 10 classes, got -1"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_impossible_draws_say_why(settings, message):
    defaults = {"targets": make_targets("cyclic", 100, 10), "num_classes": 10, "num_labeled": 10, "seed": 0}
    with pytest.raises(ValueError, match=message):
        draw_labels(**{**defaults, **settings})


def test_long_tails_follow_the_power_law():
    assert class_sizes("n", 100, 3, 100) == [100, 10, 1]
    assert class_sizes("n", 100, 3, -100) == [1, 10, 100]
    assert class_sizes("n", 9, 3) == [3, 3, 3]


# Sizes of the pool's classes by shape and gamma, of 64 in the most frequent one: 64, 32, 16, 8, 4 by rank.
POOLS = [
    ("consistent", 16, [64, 32, 16, 8, 4]),
    ("consistent", -16, [4, 8, 16, 32, 64]),
    ("uniform", 16, [64, 64, 64, 64, 64]),
    ("reversed", 16, [4, 8, 16, 32, 64]),
    ("reversed", -16, [64, 32, 16, 8, 4]),
    ("middle", 16, [8, 32, 64, 16, 4]),
    ("head-tail", 16, [32, 8, 4, 16, 64]),
]


@pytest.mark.parametrize(("shape", "gamma", "sizes"), POOLS)
def test_the_pool_has_the_sizes_of_its_shape(shape, gamma, sizes):
    assert pool_sizes(64, 5, gamma, shape) == sizes
    targets = make_targets("cyclic", 600, 5)
    settings = {"num_classes": 5, "num_labeled": 20, "labeled_imbalance": 10, "seed": 1, "num_unlabeled": 64}
    labeled, pool = draw_labels(targets, **settings, unlabeled_imbalance=gamma, pool_shape=shape)
    assert np.bincount(targets[pool]).tolist() == sizes
    assert np.bincount(targets[labeled]).tolist() == [20, 11, 6, 3, 2]
    assert not set(labeled) & set(pool)


def test_text_classes_are_cut_into_train_and_validation():
    targets = make_targets("cyclic", 40, 4)
    (train, validation), short = split_per_class(targets, (6, 3), num_classes=4)
    assert np.bincount(targets[train]).tolist() == [6] * 4 and np.bincount(targets[validation]).tolist() == [3] * 4
    assert not set(train) & set(validation) and short == []
    assert train.tolist() == sorted(train) and train.tolist() != list(range(24))


def test_classes_with_too_few_rows_are_cut_in_proportion():
    targets = np.array([0] * 20 + [1] * 5)
    (train, validation), short = split_per_class(targets, (8, 2), num_classes=2)
    assert np.bincount(targets[train]).tolist() == [8, 4] and np.bincount(targets[validation]).tolist() == [2, 1]
    assert short == [1]


def test_eurosat_takes_the_first_share_of_each_class():
    targets = np.array([0] * 5 + [1] * 10)
    train, test = split_first_share(targets, 0.8, num_classes=2)
    assert train.tolist() == [0, 1, 2, 3, *range(5, 13)] and test.tolist() == [4, 13, 14]


def test_the_first_rows_of_each_class_are_told_from_the_rest():
    first, rest = split_first_rows(np.array([1, 0, 0, 1, 0]), 2, num_classes=2)
    assert first.tolist() == [0, 1, 2, 3] and rest.tolist() == [4]
