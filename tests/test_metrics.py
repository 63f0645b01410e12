"""Metrics: by hand, against scikit-learn, and through `evaluate` without network."""

import numpy as np
import pytest
from sklearn import metrics as sk

from hf_ssl.metrics import ClassificationMetrics, classification_metrics, confusion_matrix


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
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    predicted = scores.argmax(axis=1)
    result = classification_metrics(scores, labels)
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert result["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert result["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert result["precision"] == pytest.approx(sk.precision_score(labels, predicted, average="macro"))
    assert result["top5_accuracy"] == pytest.approx(sk.top_k_accuracy_score(labels, scores, k=5))


@pytest.mark.parametrize(("classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_top5_only_where_it_says_something(classes, has_top5):
    result = classification_metrics(np.eye(classes), np.arange(classes))
    assert ("top5_accuracy" in result) is has_top5


@pytest.mark.parametrize(
    ("scores", "labels"),
    [(np.zeros(3), [0, 1, 2]), (np.zeros((2, 3)), [0]), (np.zeros((1, 3)), [3]), (np.zeros((0, 3)), [])],
)
def test_what_does_not_fit_is_refused(scores, labels):
    with pytest.raises(ValueError, match="must be"):
        classification_metrics(scores, labels)


def test_as_an_evaluate_module_offline(tmp_path):
    metric = ClassificationMetrics(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[[0.9, 0.1], [0.2, 0.8]], references=[0, 0])
    assert metric.compute()["accuracy"] == 0.5
