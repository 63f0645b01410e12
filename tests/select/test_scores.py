"""The choice without labels: the seven numbers, ranks and choices are those of V-PET's own code."""

import json
from pathlib import Path

import numpy as np
import pytest

from hf_ssl.select import METRICS, choose, label_free_scores

KNOWN = json.loads((Path(__file__).parents[1] / "known_answers" / "newer" / "v_pet.json").read_text())
RUNS = KNOWN["runs"]
OF_LOGITS = [name for name in METRICS if name not in ("rankme", "chi")]
WAYS = {
    "rank": {},
    "non_squared_rank": {"squared": False},
    "rank_logit_metrics_only": {"metrics": OF_LOGITS},
    "non_squared_rank_logit_metrics_only": {"metrics": OF_LOGITS, "squared": False},
}


@pytest.mark.parametrize("run", RUNS)
def test_the_numbers_of_a_model_are_the_known_ones(run):
    wanted = {name: run[name] for name in METRICS}
    given = np.array(run["features"]), np.array(run["logits"])
    assert label_free_scores(*given, clusters=np.array(run["clusters"])) == pytest.approx(wanted, abs=1e-6)
    # Its clusters are stable, so that any k-means finds them.
    assert run["clusters_stable"] and label_free_scores(*given) == pytest.approx(wanted, abs=1e-6)


def test_ranks_their_squares_and_the_choices_are_the_known_ones():
    choice = choose(RUNS, KNOWN["metric_order"])
    assert choice.ranks.tolist() == KNOWN["ranks"]
    assert choice.penalties.tolist() == pytest.approx(KNOWN["mean_squared_rank"])
    few = choose(RUNS, OF_LOGITS).penalties.tolist()
    assert few == pytest.approx(KNOWN["mean_squared_rank_logit_metrics_only"])
    ways = WAYS | {name: {"metrics": [name]} for name in METRICS}
    assert {name: choose(RUNS, **way).chosen for name, way in ways.items()} == KNOWN["selected"]


@pytest.mark.parametrize("case", KNOWN["selection_tables"])
def test_squares_decide_where_plain_ranks_would_choose_another_model(case):
    rows = [dict(zip(METRICS, values, strict=True)) for values in case["table"]]
    assert {name: choose(rows, **way).chosen for name, way in WAYS.items()} == case["selected"]


def test_numbers_that_all_models_share_change_nothing():
    rows = [{**row, "rankme": 3.0, "chi": 10.0} for row in RUNS]
    assert choose(rows).order == choose(RUNS, OF_LOGITS).order


def test_a_collapsed_model_has_no_clusters_and_the_least_of_all():
    scores = label_free_scores(np.ones((20, 4)), np.tile([3.0, 0.0, 0.0], (20, 1)))
    assert scores["chi"] == 0 and scores["rankme"] == pytest.approx(1, abs=1e-4)
    assert scores["bnm"] < 1 / np.sqrt(20)


@pytest.mark.parametrize(
    ("accuracies", "spearman", "regret"),
    [
        # The order of the known runs is 3, 2, 4, 0, 1.
        ([0.6, 0.5, 0.8, 0.9, 0.7], 1.0, 0.0),
        ([0.6, 0.9, 0.7, 0.5, 0.8], -0.7, 0.4),
        ([0.7, 0.7, 0.7, 0.7, 0.7], None, 0.0),
    ],
)
def test_agreement_with_known_accuracies(accuracies, spearman, regret):
    found = choose(RUNS).agreement(accuracies)
    assert found.regret == pytest.approx(regret) and found.chosen == accuracies[3]
    assert found.spearman is None if spearman is None else found.spearman == pytest.approx(spearman)
    assert choose(RUNS).agreement([*accuracies[:4], None]) is None


@pytest.mark.parametrize(
    ("features", "logits", "said"),
    [
        (np.ones((5, 2)), np.ones((4, 3)), "of the same examples"),
        (np.ones((3, 2)), np.ones((3, 3)), "more examples than the 3 classes, got 3"),
        (np.full((5, 2), np.nan), np.ones((5, 3)), "must be finite"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(features, logits, said):
    with pytest.raises(ValueError, match=said):
        label_free_scores(features, logits)


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        choose([])
    with pytest.raises(ValueError, match="'chi' among its scores"):
        choose([{name: 1.0 for name in METRICS if name != "chi"}])
