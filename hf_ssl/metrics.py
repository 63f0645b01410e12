"""Classification metrics without network: a function, and the same as a module of `evaluate`.

`evaluate.load("accuracy")` downloads its code from the Hub. Here `ClassificationMetrics()` is an `evaluate.Metric` that lives
in this package, and `classification_metrics` the plain function behind it.
"""

import datasets
import evaluate
import numpy as np


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts [C, C]: row true class, column predicted class."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def classification_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The metrics of the USB benchmark, each in 0..1.

    `accuracy`; `balanced_accuracy` (mean recall of the classes that occur), `precision`, `recall`, `f1` (means over the
    classes that occur or were predicted, a ratio without examples counting 0); `top5_accuracy` with more than five classes.

    Args:
        scores: [N, C] logits or probabilities.
        labels: [N] true classes in 0..C-1.

    Raises:
        ValueError: if the shapes do not fit, or a label is out of range.
    """
    scores, labels = np.asarray(scores), np.asarray(labels).astype(np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or len(labels) == 0:
        raise ValueError(f"scores must be [N, C] and labels [N] with N > 0, got {scores.shape} and {labels.shape}")
    num_classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
    counts = confusion_matrix(scores.argmax(axis=1), labels, num_classes)
    hits, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    recall, precision = hits / np.maximum(true, 1), hits / np.maximum(predicted, 1)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    seen = (true + predicted) > 0
    metrics = {
        "accuracy": hits.sum() / len(labels),
        "balanced_accuracy": recall[true > 0].mean(),
        "precision": precision[seen].mean(),
        "recall": recall[seen].mean(),
        "f1": f1[seen].mean(),
    }
    if num_classes > 5:
        top5 = np.argpartition(-scores, 5, axis=1)[:, :5]
        metrics["top5_accuracy"] = (top5 == labels[:, None]).any(axis=1).mean()
    return {name: float(value) for name, value in metrics.items()}


class ClassificationMetrics(evaluate.Metric):
    """`classification_metrics` for `evaluate`: predictions are score vectors [C], references classes."""

    def _info(self):
        return evaluate.MetricInfo(
            description=classification_metrics.__doc__,
            citation="@inproceedings{usb2022, title={USB: A Unified Semi-supervised Learning Benchmark for Classification}, "
            "author={Wang, Yidong and others}, booktitle={NeurIPS Datasets and Benchmarks}, year={2022}}",
            inputs_description="predictions: N lists of C scores; references: N class indices",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions, references):
        return classification_metrics(np.asarray(predictions), np.asarray(references))


def compute_metrics(prediction) -> dict[str, float]:
    """`classification_metrics` of an `EvalPrediction`: the default `compute_metrics` of `SSLTrainer`."""
    scores = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    return classification_metrics(scores, prediction.label_ids)
