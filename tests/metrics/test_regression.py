"""Metrics of numbers: by hand, against scikit-learn and SciPy, and batch by batch."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from hf_ssl.metrics import regression_metrics
from hf_ssl.problem_types import REGRESSION_METRICS


def numbers(examples=60, count=3):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(examples, count)).round(1) * [1, 10, 100]
    guesses = true + rng.normal(size=(examples, count)).round(1) * [1, 5, 200]
    return guesses.astype(np.float32), true.astype(np.float32)


def test_by_hand():
    # Errors 0, -1, 2, -1; targets around 4: -3, -1, 1, 3; ranks 1 2.5 4 2.5 and 1 2 3 4.
    found = regression_metrics([1.0, 2.0, 7.0, 6.0], [1.0, 3.0, 5.0, 7.0])
    assert found == pytest.approx({"mae": 1.0, "rmse": 1.5**0.5, "r2": 1 - 6 / 20, "spearman": 0.8})


def test_agrees_with_scikit_learn_and_scipy():
    guesses, true = numbers()
    found = regression_metrics(guesses, true, names=["a", "b", "c"])
    for k, name in enumerate("abc"):
        given = true[:, k], guesses[:, k]
        assert found[f"mae_{name}"] == pytest.approx(sk.mean_absolute_error(*given))
        assert found[f"rmse_{name}"] == pytest.approx(sk.root_mean_squared_error(*given))
        assert found[f"r2_{name}"] == pytest.approx(sk.r2_score(*given))
        assert found[f"spearman_{name}"] == pytest.approx(spearmanr(*given).statistic)
    for metric in REGRESSION_METRICS:
        assert found[metric] == pytest.approx(np.mean([found[f"{metric}_{name}"] for name in "abc"]))


def test_one_number_has_no_names():
    assert list(regression_metrics([1.0, 2.0], [1.0, 3.0], names=["age"])) == list(REGRESSION_METRICS)
    assert "r2_1" in regression_metrics(*numbers(9, 3))


@pytest.mark.parametrize(("guesses", "missing"), [([2.0, 2.0], ["spearman"]), ([1.0, 3.0], [])])
def test_what_is_not_defined_is_nan(guesses, missing):
    found = regression_metrics(guesses, [1.0, 2.0])
    assert [name for name, value in found.items() if np.isnan(value)] == missing
    found = regression_metrics(guesses, [2.0, 2.0])
    assert np.isnan(found["r2"]) and np.isnan(found["spearman"]) and np.isfinite(found["mae"])


@pytest.mark.parametrize(
    ("guesses", "true", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "must be [N, K] with N, K > 0, got (2, 2) and (2, 3)"),
        (np.zeros((0, 1)), np.zeros((0, 1)), "must be [N, K] with N, K > 0"),
        ([1.0, np.nan], [1.0, 2.0], "predictions must be finite, got NaN or infinity in 1 of 2 rows"),
        ([1.0, 2.0], [np.inf, np.nan], "targets must be finite, got NaN or infinity in 2 of 2 rows"),
    ],
)
def test_what_does_not_fit_is_refused(guesses, true, message):
    with pytest.raises(ValueError) as error:
        regression_metrics(guesses, true)
    assert message in str(error.value)
