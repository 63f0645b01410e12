"""Soft labels: those that V-PET's code computes, and the rule of its paper."""

import json
from pathlib import Path

import numpy as np
import pytest

from hf_ssl.ensemble import VOTES, soft_labels
from hf_ssl.ensemble.votes import agreement

KNOWN = json.loads((Path(__file__).parents[1] / "known_answers" / "newer" / "v_pet.json").read_text())["soft_labels"]


@pytest.mark.parametrize(("rule", "name"), [("softmax_votes", "voting"), ("mean_probabilities", "mean_softmax")])
def test_soft_labels_are_the_known_ones(rule, name):
    np.testing.assert_allclose(soft_labels(KNOWN["logits"], rule), KNOWN[name], atol=1e-6)


def test_votes_are_shares_of_the_known_votes():
    shares = np.eye(4)[np.array(KNOWN["votes"])].mean(axis=0)
    np.testing.assert_array_equal(soft_labels(KNOWN["logits"], "votes"), shares)


def test_rules_differ_most_with_many_classes():
    logits = np.zeros((4, 1, 397))
    logits[:, 0, 7] = 20.0
    winner = {rule: soft_labels(logits, rule)[0, 7] for rule in VOTES}
    assert winner["votes"] == 1 and winner["mean_probabilities"] == pytest.approx(1, abs=1e-4)
    assert winner["softmax_votes"] == pytest.approx(0.121, abs=1e-3)


@pytest.mark.parametrize("rule", VOTES)
def test_an_example_that_one_member_cannot_read_has_no_class(rule):
    logits = np.array([[[9.0, 0.0], [9.0, 0.0]], [[9.0, 0.0], [np.nan, np.nan]]])
    soft = soft_labels(logits, rule)
    assert soft[0, 0] > 0.8 and soft[1].tolist() == [0.5, 0.5]


def test_members_agree_on_a_share_of_the_examples():
    logits = np.eye(2)[np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]])]
    assert agreement(logits) == pytest.approx((3 + 2 + 1) / 12)
    assert agreement(logits[:1]) == 1


@pytest.mark.parametrize(
    ("logits", "rule", "said"),
    [(np.zeros((1, 2, 3)), "majority", "vote must be one of votes, "), (np.zeros((2, 3)), "votes", "got shape")],
)
def test_other_rules_and_shapes_are_refused(logits, rule, said):
    with pytest.raises(ValueError, match=said):
        soft_labels(logits, rule)
