"""What the trainer measures by itself of several labels and of numbers: all at once, or batch by batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from hf_ssl.metrics import regression_metrics
from hf_ssl.metrics.default import default_metrics


def numbers(examples=60, count=3):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(examples, count)).round(1) * [1, 10, 100]
    guesses = true + rng.normal(size=(examples, count)).round(1) * [1, 5, 200]
    return guesses.astype(np.float32), true.astype(np.float32)


def metrics_of_numbers(names):
    return default_metrics(SimpleNamespace(problem_type="regression", label_names=list(names)))


@pytest.mark.parametrize("count", [1, 3])
def test_batches_give_the_numbers_of_all(count):
    guesses, true = numbers(50, 3)
    guesses, true = guesses[:, :count], true[:, :count]
    expected = regression_metrics(guesses, true, "abc"[:count] if count > 1 else None)
    metrics = metrics_of_numbers("abc"[:count])
    assert metrics(EvalPrediction((guesses, "hidden states"), true)) == expected
    parts = np.split(guesses, [16, 32]), np.split(true, [16, 32])
    assert metrics(EvalPrediction(*parts)) == expected
    for _ in range(2):  # The second evaluation does not remember the first.
        for part in (slice(0, 16), slice(16, 32)):
            batch = torch.from_numpy(guesses[part]), torch.from_numpy(true[part])
            assert metrics(EvalPrediction(*batch), compute_result=False) == {}
        assert metrics(EvalPrediction(guesses[32:], true[32:]), compute_result=True) == expected


def test_a_prediction_that_is_not_finite_gives_no_number():
    guesses, true = numbers(10, 3)
    guesses[3, 1] = np.inf
    found = default_metrics(SimpleNamespace(problem_type="regression", label_names=list("abc")))(
        EvalPrediction(guesses, true)
    )
    assert set(found) == set(regression_metrics(true, true, list("abc"))) and all(
        np.isnan(value) for value in found.values()
    )
