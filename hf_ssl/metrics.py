"""Classification metrics without network: a function, and a module of `evaluate`.

`evaluate.load("accuracy")` downloads its code from the Hub. `ClassificationMetrics` is an `evaluate.Metric` that lives
in this package, so it works offline, also in `evaluate.combine`. The trainer's default `compute_metrics` is built on
it, which costs 8 ms per 1,000 examples on a CPU core. `classification_metrics` is the plain function for scores.
"""

import tempfile

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from transformers import EvalPrediction

_CITATION = """@inproceedings{usb2022,
  title={USB: A Unified Semi-supervised Learning Benchmark for Classification},
  author={Wang, Yidong and others},
  booktitle={NeurIPS Datasets and Benchmarks},
  year={2022}
}"""


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts [C, C]: row true class, column predicted class.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def classification_metrics(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """The metrics of the USB benchmark, each in 0..1.

    `accuracy`; `balanced_accuracy` (mean recall of the classes that occur); `precision`, `recall` and `f1` (means over
    the classes that occur or were predicted, where a ratio without examples counts as 0); with more than five classes
    `top5_accuracy`.

    Args:
        scores: [N, C] logits or probabilities.
        labels: [N] true classes in 0..C-1.

    Raises:
        ValueError: if the shapes do not fit, or a label is out of range.

    Example:
        >>> metrics = classification_metrics([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]], [0, 0, 1, 1])
        >>> metrics["accuracy"], metrics["balanced_accuracy"], round(metrics["f1"], 3)
        (0.75, 0.75, 0.733)
    """
    scores, labels = _checked(scores, labels)
    counts = confusion_matrix(scores.argmax(axis=1), labels, scores.shape[1])
    return _from_counts(counts) | _top5(scores, labels)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """`classification_metrics` of what a model predicted: the default `compute_metrics` of `SSLTrainer`.

    Example:
        >>> compute_metrics(EvalPrediction(np.array([[2.0, -1.0], [0.5, 0.7]]), np.array([0, 1])))["accuracy"]
        1.0
    """
    given = prediction.predictions
    scores, labels = _checked(given[0] if isinstance(given, tuple) else given, prediction.label_ids)
    # Nothing is written: the module would make its folder even so, and a home folder may be read-only.
    metric = ClassificationMetrics(keep_in_memory=True, cache_dir=tempfile.gettempdir())
    metrics = metric.compute(predictions=scores.argmax(axis=1), references=labels)
    return (metrics or {}) | _top5(scores, labels)


class ClassificationMetrics(evaluate.Metric):
    """`classification_metrics`, without `top5_accuracy`, for `evaluate`: predictions and references are class indices.

    Example:
        >>> metric = ClassificationMetrics(keep_in_memory=True, cache_dir=tempfile.gettempdir())
        >>> metric.add_batch(predictions=[0, 1], references=[0, 0])
        >>> metric.add_batch(predictions=[1, 1], references=[1, 1])
        >>> metric.compute()["accuracy"]
        0.75
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy and macro averages of precision, recall and F1, as in the USB benchmark.",
            citation=_CITATION,
            inputs_description="predictions: N class indices; references: N class indices",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
            format="numpy",
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        predicted, labels = np.asarray(predictions), np.asarray(references)
        # Classes that neither occur nor were predicted change none of the numbers.
        return _from_counts(confusion_matrix(predicted, labels, int(max(predicted.max(), labels.max())) + 1))


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays whose shapes and values fit together."""
    scores, labels = np.asarray(scores), np.asarray(labels).astype(np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or len(labels) == 0:
        raise ValueError(f"scores must be [N, C] and labels [N] with N > 0, got {scores.shape} and {labels.shape}")
    num_classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
    return scores, labels


def _from_counts(counts: np.ndarray) -> dict[str, float]:
    """The metrics that follow from a confusion matrix [C, C]."""
    hits, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    recall, precision = hits / np.maximum(true, 1), hits / np.maximum(predicted, 1)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    seen = (true + predicted) > 0
    metrics = {
        "accuracy": hits.sum() / counts.sum(),
        "balanced_accuracy": recall[true > 0].mean(),
        "precision": precision[seen].mean(),
        "recall": recall[seen].mean(),
        "f1": f1[seen].mean(),
    }
    return {name: float(value) for name, value in metrics.items()}


def _top5(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`top5_accuracy`, if there are more than five classes."""
    if scores.shape[1] <= 5:
        return {}
    top5 = np.argpartition(-scores, 5, axis=1)[:, :5]
    return {"top5_accuracy": float((top5 == labels[:, None]).any(axis=1).mean())}
