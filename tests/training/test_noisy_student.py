"""Noisy Student in the trainer: the labeled set stays, the pool is labeled by the last round's model."""

import numpy as np
import pytest
import torch

from hf_ssl import get_algorithm
from hf_ssl.algorithms.rounds import Picks

from tests.helpers.in_rounds import STEPS, make_trainer, picked
from tests.helpers.resuming import everything, log_lines

SIZES = {"num_labeled": 6, "feature_size": 4, "labeled_batch_size": 2, "unlabeled_batch_size": 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy_student")
    trainer = make_trainer(folder, "noisy_student", save_steps=2, algorithm_kwargs={"threshold": 0.39})
    trainer.train()
    return trainer


def test_picks_are_labels_of_the_pool_and_do_not_join_the_labeled_set(whole):
    tables = picked(whole)
    assert list(tables) == ["round-2.json", "round-3.json"]
    names = list(whole.data.label_names)
    expected = torch.full((24,), -1)
    for row in tables["round-3.json"]["picked"]:
        assert row["confidence"] >= 0.39
        expected[row["row"]] = names.index(row["class"])
    assert whole.algorithm.pool_labels.tolist() == expected.tolist()
    assert 0 < (expected >= 0).sum() < 24
    assert len(whole.labeled_of_round) == 6 and whole.algorithm.num_labeled == 6


def test_the_first_round_is_the_teacher(whole):
    rows = [row for row in whole.state.log_history if "loss" in row]
    assert [row["round"] for row in rows] == [1, 2, 3, 3]
    assert ["unsupervised" in row for row in rows] == [False, True, True, True]


@pytest.mark.parametrize("step", [2, 4, 6, 8])
def test_resuming_is_bit_for_bit(step, whole, tmp_path):
    settings = {"algorithm_kwargs": {"threshold": 0.39}}
    resumed = make_trainer(tmp_path, "noisy_student", seed=5, **settings)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-{step}")
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert len(log_lines(whole)) == STEPS // 3 and log_lines(whole) == log_lines(resumed)


@pytest.mark.parametrize(
    "settings, weights",
    [({}, [2.0, 2.0, 2.0, 6.0]), ({"balance": False}, [3.0, 3.0, 3.0, 3.0])],
    ids=["classes weigh the same", "examples weigh the same"],
)
def test_the_mean_over_the_pool_is_the_mean_over_what_was_picked(settings, weights):
    algorithm = get_algorithm("noisy_student", num_classes=3, num_unlabeled=12, **SIZES, **settings)
    algorithm.begin_round(1, Picks(np.array([1, 4, 5, 8]), np.array([2, 2, 2, 0])))
    assert algorithm.pool_weights[[1, 4, 5, 8]].tolist() == weights
    assert algorithm.pool_weights.sum() == 12
    algorithm.begin_round(2, Picks(np.array([0]), np.array([1])))
    assert algorithm.pool_weights.tolist() == [12.0] + 11 * [0.0]


def test_picks_every_example_above_the_threshold_and_none_below():
    algorithm = get_algorithm("noisy_student", num_classes=3, num_unlabeled=4, **SIZES, threshold=0.5)
    confidence = np.array([0.5, 0.49, 0.9, 0.34])
    picks = algorithm.pick(np.array([2, 0, 1, 1]), confidence, 1, np.array([2, 2, 2]))
    assert picks.index.tolist() == [0, 2] and picks.labels.tolist() == [2, 1]


def test_rounds_within_rounds_are_refused():
    with pytest.raises(ValueError, match="got SimiS: both train in rounds"):
        get_algorithm("noisy_student", num_classes=3, num_unlabeled=4, **SIZES, imbalance="simis")
