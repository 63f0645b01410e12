"""How foreign examples look: right values on a known geometry, and what is saved of it."""

import numpy as np
import pytest

from hf_ssl.data.labels import UNKNOWN
from hf_ssl.features.foreignness import FILE, Foreignness, ForeignPool, find_foreign
from hf_ssl.features.reading import Reading

CENTERS = np.array([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 3]])


def draw(counts, seed=0, scale=0.3):
    """Examples around two known centers and a foreign one, and their classes, 2 for the last."""
    classes = np.repeat(np.arange(3), counts)
    noise = np.random.default_rng(seed).normal(scale=scale, size=(len(classes), 4))
    return CENTERS[classes] + noise, classes


@pytest.fixture
def reading():
    """6 labels of each known class, and a pool of 30 known and 20 foreign examples, two of them of unknown truth."""
    labeled, labels = draw((6, 6, 0))
    pool, hidden = draw((15, 15, 20), seed=1)
    hidden = np.where(hidden == 2, UNKNOWN, hidden)
    hidden[[0, 30]] = -1
    features = np.concatenate([labeled, pool])
    return Reading(features, features, np.concatenate([labels, np.full(50, -1)]), 2, np.arange(50) + 100, hidden)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def by_hand(features, labels):
    """The distances of all rows, and those of the labeled ones that are left out of their class, with plain loops."""
    rows = unit(unit(features) - unit(features).mean(axis=0))

    def means(left_out=None):
        sums = []
        for label in (0, 1):
            mine = [i for i in range(len(rows)) if labels[i] == label and i != left_out]
            sums.append((rows[mine].sum(axis=0), len(mine)))
        center = np.mean([total / count for total, count in sums], axis=0)
        return unit(np.array([(total + 2 * center) / (count + 2) for total, count in sums]))

    def distance(i, to):
        return 1 - max(rows[i] @ mean for mean in to)

    known = [i for i in range(len(rows)) if labels[i] >= 0]
    return [distance(i, means()) for i in range(len(rows))], [distance(i, means(left_out=i)) for i in known]


def test_scores_and_limit_are_those_of_the_formula_written_out(reading):
    found = Foreignness.fit(reading.features, reading.labels)
    distances, left_out = by_hand(reading.features, reading.labels)
    center, spread = np.mean(left_out), np.std(left_out)
    np.testing.assert_allclose(found.scores(reading.features), (distances - center) / spread, rtol=2e-3, atol=2e-3)
    assert found.limit == pytest.approx(np.quantile((left_out - center) / spread, 0.9), rel=1e-3)


def test_the_foreign_cluster_is_found_and_the_labels_are_only_looked_at(reading):
    foreignness, found, rows = find_foreign(reading)
    assert found.auroc == 1.0 and found.examples == 50
    # All of the foreign ones, at positions 130 to 149 of the pool, and few of the others.
    assert set(range(130, 150)) <= set(rows.tolist()) and found.foreign == len(rows) <= 26
    others = Reading(**{**vars(reading), "hidden_labels": None})
    blind, seen, same = find_foreign(others)
    assert seen.auroc is None and same.tolist() == rows.tolist() and blind.limit == foreignness.limit


def test_what_is_dropped_is_of_the_pool_alone(reading):
    left = reading.without_pool_rows(np.array([103, 149]))
    assert (left.labels >= 0).sum() == 12 and len(left.pool_rows) == 48 == len(left.hidden_labels)
    assert not {103, 149} & set(left.pool_rows.tolist())
    np.testing.assert_array_equal(left.features[:12], reading.features[:12])
    np.testing.assert_array_equal(left.features[12:15], reading.features[12:15])
    np.testing.assert_array_equal(left.features[15], reading.features[16])


@pytest.mark.parametrize("count", [1, 2])
def test_a_limit_takes_two_examples_of_a_class(count):
    features, labels = draw((count, count, 5))
    found = Foreignness.fit(features, np.where(labels == 2, -1, labels))
    assert (found.limit is None) == (count == 1)
    if count == 1:
        assert not found.are_foreign(features).any() and found.scores(features).min() >= 0


def test_examples_that_cannot_be_read_are_not_foreign(reading):
    features = reading.features.copy()
    features[[2, 40]] = np.nan
    found = Foreignness.fit(features, reading.labels)
    assert np.isnan(found.scores(features)[[2, 40]]).all() and not found.are_foreign(features)[[2, 40]].any()
    assert np.isfinite(found.class_means).all()


def test_labels_of_no_example_are_an_error():
    with pytest.raises(ValueError, match=r"^labels must have a class for at least one of 3 examples, got none$"):
        Foreignness.fit(np.eye(3), np.full(3, -1))


def test_a_saved_one_gives_the_same_scores_and_holds_no_example(reading, tmp_path):
    found = Foreignness.fit(reading.features, reading.labels)
    found.save(tmp_path)
    again = Foreignness.load(tmp_path / FILE)
    np.testing.assert_array_equal(again.scores(reading.features), found.scores(reading.features))
    assert again.limit == found.limit
    # Five vectors' worth of numbers for 62 examples.
    assert (tmp_path / FILE).stat().st_size < 500


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a file of tensors"])
def test_a_damaged_file_is_one_line(content, tmp_path):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"must hold what `hf-ssl train --open-set` wrote") as error:
        Foreignness.load(tmp_path / FILE)
    assert "\n" not in str(error.value)


def test_what_was_found_is_said_in_one_sentence():
    assert str(ForeignPool(12_345, 1_234)) == "1,234 of 12,345 pool examples look foreign (10.0 %)"
    assert str(ForeignPool(0, 0)) == "0 of 0 pool examples look foreign (0.0 %)"
