"""Metrics: by hand, against scikit-learn, and through `evaluate` without network."""

import evaluate
import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from transformers import EvalPrediction

from hf_ssl.confusion import Confusion
from hf_ssl.metrics import (
    ClassificationMetrics,
    RunningMetrics,
    classification_metrics,
    compute_metrics,
)


def random_scores(examples=200, classes=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, classes)).astype(np.float32), rng.integers(0, classes, examples)


def test_by_hand():
    # true 0 0 1 2, predicted 0 1 1 1
    scores = np.eye(3)[[0, 1, 1, 1]]
    result = classification_metrics(scores, [0, 0, 1, 2])
    expected = {
        "accuracy": 2 / 4,
        "balanced_accuracy": (1 / 2 + 1 + 0) / 3,
        "precision": (1 + 1 / 3 + 0) / 3,
        "recall": (1 / 2 + 1 + 0) / 3,
        "f1": (2 / 3 + 1 / 2 + 0) / 3,
    }
    assert result == pytest.approx(expected)
    confusion = Confusion.of(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 2]), 3)
    assert confusion.matrix([0, 1, 2]).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [0, 1, 0],
    ]


def test_agrees_with_scikit_learn():
    scores, labels = random_scores()
    predicted = scores.argmax(axis=1)
    result = classification_metrics(scores, labels)
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert result["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert result["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert result["precision"] == pytest.approx(sk.precision_score(labels, predicted, average="macro"))
    assert result["top5_accuracy"] == pytest.approx(sk.top_k_accuracy_score(labels, scores, k=5))


@pytest.mark.parametrize(("classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_top5_only_if_it_says_something(classes, has_top5):
    result = classification_metrics(np.eye(classes), np.arange(classes))
    assert ("top5_accuracy" in result) is has_top5


@pytest.mark.parametrize(
    ("scores", "labels"),
    [(np.zeros(3), [0, 1, 2]), (np.zeros((2, 3)), [0]), (np.zeros((1, 3)), [3]), (np.zeros((0, 3)), [])],
)
@pytest.mark.parametrize("measure", [classification_metrics, lambda *given: compute_metrics(EvalPrediction(*given))])
def test_what_does_not_fit_is_refused(measure, scores, labels):
    with pytest.raises(ValueError, match="must be"):
        measure(scores, labels)


# ---- The trainer's default, built on a module of `evaluate` ----


@pytest.mark.parametrize(("examples", "classes"), [(1, 2), (7, 3), (200, 8), (50, 40)])
def test_the_trainer_s_default_gives_the_same_numbers_as_the_function(examples, classes):
    scores, labels = random_scores(examples, classes)
    expected = classification_metrics(scores, labels)
    assert compute_metrics(EvalPrediction(scores, labels)) == expected
    assert compute_metrics(EvalPrediction((scores, "hidden states"), labels)) == expected


def without_top5(metrics):
    return {name: value for name, value in metrics.items() if name != "top5_accuracy"}


@pytest.mark.parametrize("classes", [3, 8])
@pytest.mark.parametrize("extra", [False, True])
def test_batches_that_were_not_joined_give_the_same_numbers(classes, extra):
    """eval_do_concat_batches=False: lists of arrays, or of tuples that start with the logits."""
    scores, labels = random_scores(50, classes)
    parts = np.split(scores, [16, 32, 48])
    given = [(part, np.zeros(len(part))) for part in parts] if extra else parts
    found = compute_metrics(EvalPrediction(given, np.split(labels, [16, 32, 48])))
    assert found == classification_metrics(scores, labels)


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("classes", [3, 8])
def test_predicted_classes_give_the_same_numbers_but_top5(classes, joined):
    """preprocess_logits_for_metrics=argmax"""
    scores, labels = random_scores(50, classes)
    predicted = scores.argmax(axis=1)
    given = (predicted, labels) if joined else (np.split(predicted, [16, 32]), np.split(labels, [16, 32]))
    assert compute_metrics(EvalPrediction(*given)) == without_top5(classification_metrics(scores, labels))
    assert (
        compute_metrics(EvalPrediction((given[0], "more") if joined else given[0], given[1]))["accuracy"]
        == (predicted == labels).mean()
    )


def test_classes_beyond_those_that_occur_may_be_predicted():
    assert compute_metrics(EvalPrediction(np.array([7, 0]), np.array([0, 0])))["accuracy"] == 0.5


@pytest.mark.parametrize(("predicted", "labels"), [([-1, 0], [0, 0]), ([0, 0], [-1, 0]), ([0], [0, 0]), ([], [])])
def test_predicted_classes_that_do_not_fit_are_refused(predicted, labels):
    with pytest.raises(ValueError, match="must be"):
        compute_metrics(EvalPrediction(np.array(predicted, dtype=np.int64), np.array(labels)))


def test_metrics_batch_by_batch_are_those_of_all():
    scores, labels = random_scores(50, 8)
    metrics = RunningMetrics()
    for _ in range(2):  # The second evaluation does not remember the first.
        for part in (slice(0, 16), slice(16, 32)):
            batch = torch.from_numpy(scores[part]), torch.from_numpy(labels[part])
            assert metrics(EvalPrediction(*batch), compute_result=False) == {}
        rest = EvalPrediction(torch.from_numpy(scores[32:]), torch.from_numpy(labels[32:]))
        assert metrics(rest, compute_result=True) == classification_metrics(scores, labels)
    half = torch.tensor([[0.1, 0.9]], dtype=torch.bfloat16)
    assert metrics(EvalPrediction(half, torch.tensor([1])), compute_result=True)["accuracy"] == 1.0


@pytest.mark.parametrize(("bad", "is_number"), [(np.nan, False), (np.inf, False), (-np.inf, True)])
def test_a_score_that_is_not_finite_gives_no_number(bad, is_number):
    scores, labels = random_scores(10, 8)
    expected = set(classification_metrics(scores, labels))
    scores[3, 2] = bad
    found = compute_metrics(EvalPrediction(scores, labels))
    assert set(found) == expected
    if is_number:
        assert found == classification_metrics(scores, labels)
    else:
        assert all(np.isnan(value) for value in found.values())
        with pytest.raises(ValueError, match="scores must be finite, got NaN or infinity in 1 of 10 rows"):
            classification_metrics(scores, labels)
    # What comes after is measured as usual.
    assert compute_metrics(EvalPrediction(scores[:3], labels[:3]))["accuracy"] >= 0


def test_the_trainer_s_default_writes_nothing_into_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path)
    compute_metrics(EvalPrediction(*random_scores()))
    assert list(tmp_path.iterdir()) == []


def test_the_module_takes_batches_offline(tmp_path):
    metric = ClassificationMetrics(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1], references=[1])
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)


def test_the_module_can_be_combined(tmp_path):
    class Distance(ClassificationMetrics):
        def _compute(self, predictions, references):
            return {"distance": float(np.abs(predictions - references).mean())}

    both = evaluate.combine([ClassificationMetrics(cache_dir=str(tmp_path)), Distance(cache_dir=str(tmp_path / "b"))])
    found = both.compute(predictions=[0, 2], references=[0, 0])
    assert found["accuracy"] == 0.5 and found["distance"] == 1.0
