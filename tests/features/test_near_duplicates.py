"""Near duplicates: copies are found, neighbors are not, whatever the encoder makes of the data."""

import numpy as np
import pytest

from hf_ssl.features import near_duplicates as module
from hf_ssl.features.near_duplicates import least_similarity, near_duplicates


def spread(count=200, width=32, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_every_copy_is_found_once_with_the_smaller_row_first():
    features = spread()
    features[150], features[60], features[61] = features[20], features[5] + 0.02, features[5] - 0.02
    found = near_duplicates(features)
    assert found[0][:2] == (20, 150) and found[0][2] == pytest.approx(1)
    assert {pair[:2] for pair in found[1:]} == {(5, 60), (5, 61)}
    cosines = [cosine for *_, cosine in found]
    assert cosines == sorted(cosines, reverse=True) and min(cosines) > 0.99


def test_rows_of_two_sets_are_compared_across_the_sets_alone():
    first, second = spread(50), spread(300, seed=1)
    second[1], second[299], second[298] = second[0], first[7], second[0]
    assert [pair[:2] for pair in near_duplicates(first, second)] == [(7, 299)]
    assert near_duplicates(first, second[:0]) == [] and near_duplicates(first[:0], second) == []


def test_blocks_change_nothing(monkeypatch):
    first, second = spread(40), spread(90, seed=1)
    expected = near_duplicates(first, second, 0.2)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert len(expected) > 10
    assert [pair[:2] for pair in near_duplicates(first, second, 0.2)] == [pair[:2] for pair in expected]


def test_a_thousand_copies_make_as_many_pairs_and_no_more():
    features = spread(1_200)
    features[100:1_100] = features[100]
    found = near_duplicates(features, None, 0.999)
    assert len(found) == 999 and {row for pair in found for row in pair[:2]} == set(range(100, 1_100))


def test_examples_that_all_resemble_each_other_are_no_copies():
    # Digits of a class differ little for an encoder of photographs: cosines within a class are above 0.99.
    rng = np.random.default_rng(0)
    digits = np.eye(32)[np.arange(400) % 10] + 0.015 * rng.normal(size=(400, 32))
    assert least_similarity(digits) > 0.99 and near_duplicates(digits) == []
    digits[399] = digits[0] + 0.0005
    assert [pair[:2] for pair in near_duplicates(digits)] == [(0, 399)]


def test_the_threshold_is_an_eighth_of_the_usual_distance_and_at_least_nine_tenths():
    assert least_similarity(np.eye(50)) == 0.9
    assert least_similarity(spread(5)) == least_similarity(spread(1)) == 0.9
    # Two directions, with the same angle between neighbors everywhere.
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    tenth = np.cos(5 * 2 * np.pi / 400)
    assert least_similarity(circle) == pytest.approx(1 - (1 - tenth) / 8, abs=1e-6)


def test_examples_that_could_not_be_read_are_like_none():
    features = spread()
    features[3] = features[4] = np.nan
    assert near_duplicates(features) == []
    assert near_duplicates(np.full((3, 4), np.nan)) == []
    assert near_duplicates(spread(1)) == []


@pytest.mark.parametrize("similarity", [0, -0.5, 1.5])
def test_a_similarity_out_of_range_is_refused(similarity):
    with pytest.raises(ValueError, match=f"similarity must be in .0, 1., got {similarity}"):
        near_duplicates(spread(), None, similarity)
