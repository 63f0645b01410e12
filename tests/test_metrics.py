"""Metrics: by hand, against scikit-learn, and through `evaluate` without network."""

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sk
from transformers import EvalPrediction

from hf_ssl.metrics import ClassificationMetrics, classification_metrics, compute_metrics, confusion_matrix


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
    assert confusion_matrix(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 2]), 3).tolist() == [
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
