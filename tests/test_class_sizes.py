"""Whether label counts are imbalanced, and which classes are large and small."""

import numpy as np
import pytest
from scipy import stats
from transformers import EvalPrediction

from hf_ssl.class_sizes import Imbalance, size_groups
from hf_ssl.metrics import RunningMetrics, classification_metrics


@pytest.mark.parametrize("counts", [[30, 20, 10, 4], [5, 5, 6, 4], [100, 64, 41, 27, 17, 11, 7, 4, 3, 2], [9, 2]])
def test_the_chance_is_that_of_a_chi_square_test(counts):
    exact = stats.chisquare(counts).pvalue
    found = Imbalance.of(counts).chance
    assert found == pytest.approx(exact, abs=0.006) and (found < 0.01) == (exact < 0.01)


def test_balanced_labels_that_were_drawn_at_random_are_rarely_called_imbalanced():
    rng = np.random.default_rng(0)
    for classes, labels in ((4, 20), (10, 40), (10, 400)):
        draws = rng.multinomial(labels, np.full(classes, 1 / classes), size=400)
        assert np.mean([Imbalance.of(counts).is_clear for counts in draws]) < 0.03


def test_long_tails_are_called_imbalanced():
    for gamma in (10, 50, 100):
        assert Imbalance.of([int(60 * gamma ** (-c / 9)) for c in range(10)]).is_clear
    assert Imbalance.of([20, 0, 20]).is_clear, "a class without labels"
    assert not Imbalance.of([5_000, 4_500]).is_clear, "significant, and too small to matter"


def test_the_interval_of_the_ratio_covers_the_true_one():
    rng = np.random.default_rng(1)
    shares = np.array([0.75, 0.25])
    found = [Imbalance.of(counts) for counts in rng.multinomial(60, shares, size=400)]
    assert np.mean([each.low <= 3 <= each.high for each in found]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("wrong", [[3], [0, 0], [-1, 4], [[1, 2]]])
def test_counts_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="counts must be those of at least two classes and not all 0"):
        Imbalance.of(wrong)


GROUPS = [
    ([1000, 400, 200, 100, 50, 20, 10], {"many": [0, 1], "medium": [2, 3, 4], "few": [5, 6]}),
    ([729, 81, 9, 1], {"many": [0, 1], "medium": [2], "few": [3]}),
    ([2, 100, 14], {"many": [1], "medium": [2], "few": [0]}),
    ([7, 0], {"many": [0], "few": [1]}),
    ([4, 4, 4], {"many": [0, 1, 2]}),
]


@pytest.mark.parametrize(("counts", "groups"), GROUPS, ids=str)
def test_groups_are_thirds_of_the_logarithm(counts, groups):
    assert size_groups(counts) == groups


def test_metrics_by_class_size():
    counts = [90, 30, 9]
    # Recalls 1, 1/2 and 1/4.
    labels, predicted = [0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 1, 0, 2, 0, 0, 1]
    found = classification_metrics(np.eye(3)[predicted], labels, class_counts=counts)
    assert found["geometric_mean"] == pytest.approx((1 / 8) ** (1 / 3))
    assert [found[f"{group}_recall"] for group in ("many", "medium", "few")] == [1, 0.5, 0.25]
    assert "geometric_mean" not in classification_metrics(np.eye(3)[predicted], labels, class_counts=[30, 31, 30])


def test_a_class_that_is_never_recognized_makes_the_geometric_mean_0():
    found = classification_metrics(np.eye(2)[[0, 0]], [0, 1], class_counts=[90, 9])
    assert found["geometric_mean"] == 0 and found["balanced_accuracy"] == 0.5


def test_running_metrics_know_recalls_of_classes_that_did_not_occur():
    measure = RunningMetrics(class_counts=[90, 30, 9])
    found = measure(EvalPrediction(np.eye(3)[[0, 1, 0]], np.array([0, 1, 1])))
    assert measure.recalls[:2].tolist() == [1, 0.5] and np.isnan(measure.recalls[2])
    assert found["many_recall"] == 1 and "few_recall" not in found
