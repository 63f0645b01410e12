"""Labeled examples drawn class by class: equal chances, no repetition within a class, an order that can be resumed."""

import numpy as np
import pytest

from hf_ssl.batches.sampler import GROUP, JointBatchSampler, LabeledDraws
from hf_ssl.batches.streams import StreamBatchSampler

# Six, three and one of a class, not sorted; class 1 has none.
CLASSES = np.array([2, 0, 0, 3, 0, 2, 0, 0, 2, 0])
BATCH = 4


def sampler(seed=0, batch=BATCH, unlabeled=4, **options):
    return JointBatchSampler(len(CLASSES), 60, batch, unlabeled, seed, classes=CLASSES, **options)


def labeled(batches):
    return [key for batch in batches for key in batch if key.labeled]


def test_every_class_with_examples_is_drawn_equally_often():
    drawn = CLASSES[[key.index for key in labeled(sampler(batch=6))]]
    assert np.bincount(drawn).tolist() == [30, 0, 30, 30]
    # In each block of three draws, and not only on average.
    assert all(len(set(block)) == 3 for block in drawn.reshape(-1, 3).tolist())


def test_within_a_class_nothing_comes_twice_before_all_came_once():
    keys = labeled(sampler())
    for each in (0, 2, 3):
        members = [key for key in keys if CLASSES[key.index] == each]
        size = int((each == CLASSES).sum())
        for start in range(0, len(members) - size, size):
            cycle = members[start : start + size]
            assert sorted(key.index for key in cycle) == np.flatnonzero(each == CLASSES).tolist()
            assert {key.cycle for key in cycle} == {start // size}


def test_no_draw_of_an_example_has_the_random_numbers_of_another():
    keys = labeled(sampler())
    assert len(set(keys)) == len(keys)


def test_order_is_a_function_of_seed_and_epoch_alone():
    first, again, other = sampler(), sampler(), sampler(seed=1)
    assert labeled(first) == labeled(again) != labeled(other)
    again.set_epoch(1)
    assert labeled(again) != labeled(first)
    first.set_epoch(1)
    assert labeled(again) == labeled(first)


def test_a_run_may_begin_with_any_batch():
    draws = LabeledDraws(len(CLASSES), BATCH, seed=3, classes=CLASSES)
    whole = draws.of_batches(0, 0, 3 * GROUP)
    for start, count in ((0, 1), (7, GROUP), (2 * GROUP, GROUP), (3 * GROUP - 1, 1)):
        assert np.array_equal(draws.of_batches(0, start, count), whole[:, start : start + count])


def test_the_pool_is_drawn_as_without():
    plain = JointBatchSampler(len(CLASSES), 60, BATCH, 4)
    expected, found = ([[key for key in batch if not key.labeled] for batch in each] for each in (plain, sampler()))
    assert found == expected


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_a_stream_has_the_same_labeled_draws(classes):
    streamed = StreamBatchSampler(len(CLASSES), BATCH, 4, 15, None, seed=2, classes=classes)
    joint = JointBatchSampler(len(CLASSES), 60, BATCH, 4, seed=2, classes=classes)
    expected, found = labeled(joint), [draw.key for batch in streamed for draw in batch if draw.key.labeled]
    assert found == expected


def test_groups_by_length_are_so_large_that_no_batch_holds_an_example_twice():
    lengths = np.arange(len(CLASSES)), np.arange(60)
    batches = [[key.index for key in batch if key.labeled] for batch in sampler(batch=3, lengths=lengths)]
    assert all(len(set(batch)) == 3 for batch in batches)
    drawn = np.bincount(CLASSES[np.concatenate(batches)])
    assert drawn.tolist() == [15, 0, 15, 15]
