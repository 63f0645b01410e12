"""Classification metrics without network: a function, and a module of `evaluate`.

`evaluate.load("accuracy")` downloads its code from the Hub. `ClassificationMetrics` is an `evaluate.Metric` that lives
in this package, so it works offline, also in `evaluate.combine`. The trainer's default, `RunningMetrics`, is built on
it, which costs 8 ms per 1,000 examples on a CPU core. `classification_metrics` is the plain function for scores.
"""

import tempfile
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
from numpy.typing import ArrayLike
from transformers import EvalPrediction

from ..class_sizes import Imbalance, size_groups
from ..confusion import Confusion

METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "top5_accuracy")
_CITATION = """@inproceedings{usb2022,
  title={USB: A Unified Semi-supervised Learning Benchmark for Classification},
  author={Wang, Yidong and others},
  booktitle={NeurIPS Datasets and Benchmarks},
  year={2022}
}"""


def classification_metrics(
    scores: ArrayLike, labels: ArrayLike, class_counts: ArrayLike | None = None
) -> dict[str, float]:
    """The metrics of the USB benchmark and of long tails, each in 0..1.

    `accuracy`; `balanced_accuracy` (mean recall of the classes that occur); `precision`, `recall` and `f1` (means over
    the classes that occur or were predicted, where a ratio without examples counts as 0); with more than five classes
    `top5_accuracy`. With label counts that are clearly imbalanced also `geometric_mean`, that of the recalls, which is
    0 if one of them is, and `many_recall`, `medium_recall` and `few_recall`, the mean recalls of the classes with
    many, a medium number of and few labeled examples (see `hf_ssl.class_sizes`).

    Args:
        scores: [N, C] logits or probabilities.
        labels: [N] true classes in 0..C-1.
        class_counts: labeled examples [C] of each class that the classifier was trained on.

    Raises:
        ValueError: if the shapes do not fit, a label is out of range, or a score is NaN or infinite.

    Example:
        >>> metrics = classification_metrics([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]], [0, 0, 1, 1])
        >>> metrics["accuracy"], metrics["balanced_accuracy"], round(metrics["f1"], 3)
        (0.75, 0.75, 0.733)
        >>> metrics = classification_metrics(np.eye(3)[[0, 0, 2, 0]], [0, 1, 2, 2], class_counts=[90, 30, 9])
        >>> {name: metrics[name] for name in ("many_recall", "medium_recall", "few_recall")}
        {'many_recall': 1.0, 'medium_recall': 0.0, 'few_recall': 0.5}
    """
    scores, labels = _checked(scores, labels)
    if bad := int((~finite_rows(scores)).sum()):
        raise ValueError(
            f"scores must be finite, got NaN or infinity in {bad:,} of {len(scores):,} rows; check the model's weights"
        )
    predicted, top5 = scores.argmax(axis=1), _top5(_in_top5(scores, labels))
    groups = size_metrics(class_recalls(predicted, labels, scores.shape[1]), class_counts)
    return class_metrics(predicted, labels, scores.shape[1]) | top5 | groups


def ranking_metrics(ranked: ArrayLike, labels: ArrayLike, num_classes: int) -> dict[str, float]:
    """`classification_metrics`, from the most probable classes of each example instead of all scores.

    Args:
        ranked: [N, K] the K most probable classes, the most probable first; K is 5, or C if that is less.
        labels: [N] true classes in 0..C-1.
        num_classes: C.

    Example:
        >>> ranking_metrics([[1, 0], [0, 1], [1, 0], [1, 0]], [1, 0, 1, 0], num_classes=2)["accuracy"]
        0.75
    """
    ranked, labels = np.asarray(ranked), np.asarray(labels)
    hits = (ranked == labels[:, None]).any(axis=1) if num_classes > 5 else np.empty(0)
    return class_metrics(ranked[:, 0], labels, num_classes) | _top5(hits)


def finite_rows(scores: np.ndarray) -> np.ndarray:
    """Which rows [N] of scores [N, C] say which class is the best: no NaN, and no infinity but a negative one.

    Example:
        >>> finite_rows(np.array([[0.1, 0.2], [np.nan, 0.2], [np.inf, 0.2], [-np.inf, 0.2]])).tolist()
        [True, False, False, True]
    """
    return ~(np.isnan(scores) | (scores == np.inf)).any(axis=1)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """`classification_metrics` of what a model predicted, as `Trainer` hands it over.

    Args:
        prediction: logits [N, C], or a tuple that starts with them; or predicted classes [N], integers, as
            `preprocess_logits_for_metrics` may leave them, which have no `top5_accuracy`. Lists hold one array for
            each batch (`eval_do_concat_batches=False`).

    Returns:
        The metrics; all NaN if a logit is NaN or infinite, since then it is unknown what the model predicts.

    Example:
        >>> compute_metrics(EvalPrediction(np.array([[2.0, -1.0], [0.5, 0.7]]), np.array([0, 1])))["accuracy"]
        1.0
    """
    return RunningMetrics()(prediction)


class RunningMetrics:
    """The default `compute_metrics` of `SSLTrainer`: that of all batches, or batch by batch (`batch_eval_metrics`).

    Args:
        class_counts: labeled examples [C] of each class, for the metrics by class size; see `classification_metrics`.

    Attributes:
        recalls: recall [C] of each class in the last result, NaN for classes that did not occur; None before one.
        confusion: which classes were taken for which in the last result; None before one.

    Example:
        >>> metrics = RunningMetrics()
        >>> metrics(EvalPrediction(np.array([[2.0, -1.0]]), np.array([0])), compute_result=False)
        {}
        >>> metrics(EvalPrediction(np.array([[0.5, 0.7]]), np.array([0])), compute_result=True)["accuracy"]
        0.5
    """

    def __init__(self, class_counts: ArrayLike | None = None) -> None:
        self.class_counts = class_counts
        self.recalls: np.ndarray | None = None
        self.confusion: Confusion | None = None
        self.clear()

    def clear(self) -> None:
        """Forget the batches so far."""
        self._predicted: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._in_top5: list[np.ndarray] = []
        self._finite = True
        self._num_classes = 0

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Add a batch (or all of them); with `compute_result` the metrics over everything since the last result."""
        self._add(prediction)
        if not compute_result:
            return {}
        # Nothing is written: the module would make its folder even so, and a home folder may be read-only.
        metric = ClassificationMetrics(keep_in_memory=True, cache_dir=tempfile.gettempdir())
        predicted, labels = np.concatenate(self._predicted), np.concatenate(self._labels)
        metrics = metric.compute(predictions=predicted, references=labels) or {}
        classes = max(self._num_classes, int(max(predicted.max(), labels.max())) + 1)
        self.recalls = class_recalls(predicted, labels, classes)
        self.confusion = Confusion.of(predicted, labels, classes)
        metrics |= _top5(np.concatenate(self._in_top5 or [np.empty(0)]))
        metrics |= size_metrics(self.recalls, self.class_counts)
        result = metrics if self._finite else dict.fromkeys(metrics, float("nan"))
        self.clear()
        return result

    def _add(self, prediction: EvalPrediction) -> None:
        scores, labels = prediction_arrays(prediction)
        if scores.ndim == 1 and scores.dtype.kind in "iu":
            labels = labels.astype(np.int64)
            if labels.shape != scores.shape or len(labels) == 0 or min(labels.min(), scores.min()) < 0:
                raise ValueError(
                    "predictions and labels must be [N] classes from 0 on with N > 0, got shapes "
                    f"{scores.shape} and {labels.shape}, from {scores.min(initial=0)} and {labels.min(initial=0)} on"
                )
            self._predicted.append(scores.astype(np.int64))
        else:
            scores, labels = _checked(scores, labels)
            self._num_classes = scores.shape[1]
            self._finite = self._finite and bool(finite_rows(scores).all())
            self._predicted.append(scores.argmax(axis=1))
            self._in_top5.append(_in_top5(scores, labels))
        self._labels.append(labels)


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
        return class_metrics(predicted, labels, int(max(predicted.max(), labels.max())) + 1)


def prediction_arrays(prediction: EvalPrediction) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels, each as one array."""
    predictions, labels = prediction.predictions, prediction.label_ids
    if isinstance(labels, list) and labels and np.ndim(labels[0]) >= 1:
        first = [batch[0] if isinstance(batch, tuple) else batch for batch in predictions]
        return np.concatenate([_array(batch) for batch in first]), np.concatenate([_array(batch) for batch in labels])
    return _array(predictions[0] if isinstance(predictions, tuple) else predictions), _array(labels)


def _array(values: Any) -> np.ndarray:
    # Metrics of single batches are given tensors, as they are on the device; NumPy has no bfloat16.
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays whose shapes and values fit together."""
    scores, labels = np.asarray(scores), np.asarray(labels).astype(np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or len(labels) == 0:
        raise ValueError(f"scores must be [N, C] and labels [N] with N > 0, got {scores.shape} and {labels.shape}")
    num_classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
    return scores, labels


def class_metrics(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> dict[str, float]:
    """The metrics that follow from predicted classes [N] and true ones [N]."""
    hits, true, guesses = (
        np.bincount(classes, minlength=num_classes) for classes in (labels[labels == predicted], labels, predicted)
    )
    recall, precision = hits / np.maximum(true, 1), hits / np.maximum(guesses, 1)
    f1 = 2 * hits / np.maximum(true + guesses, 1)
    seen = (true + guesses) > 0
    metrics = {
        "accuracy": hits.sum() / len(labels),
        "balanced_accuracy": recall[true > 0].mean(),
        "precision": precision[seen].mean(),
        "recall": recall[seen].mean(),
        "f1": f1[seen].mean(),
    }
    return {name: float(value) for name, value in metrics.items()}


def geometric_mean(recalls: np.ndarray) -> float:
    """The geometric mean of numbers [n] of at least 0: 0 if one of them is.

    Example:
        >>> geometric_mean(np.array([0.9, 0.4])), geometric_mean(np.array([1.0, 0.0]))
        (0.6, 0.0)
    """
    return round(float(np.exp(np.log(recalls).mean())), 12) if recalls.min() > 0 else 0.0


def class_recalls(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The recall [C] of each class, from predicted classes [N] and true ones [N]; NaN for classes that do not occur.

    Example:
        >>> class_recalls(np.array([0, 1, 1]), np.array([0, 0, 1]), 3).tolist()
        [0.5, 1.0, nan]
    """
    hits, true = (np.bincount(part, minlength=num_classes) for part in (labels[labels == predicted], labels))
    return np.where(true > 0, hits / np.maximum(true, 1), np.nan)


def size_metrics(recalls: np.ndarray, class_counts: ArrayLike | None) -> dict[str, float]:
    """The geometric mean of the recalls, and their means over classes with many, a medium number of and few labels.

    Args:
        recalls: [C], NaN for classes to leave out.
        class_counts: labeled examples [C]; without them, or if they are not clearly imbalanced, the answer is empty.
    """
    if class_counts is None or not Imbalance.of(counts := np.asarray(class_counts)).is_clear:
        return {}
    found = {"geometric_mean": geometric_mean(recalls[np.isfinite(recalls)])}
    for group, classes in size_groups(counts).items():
        seen = recalls[[number for number in classes if number < len(recalls)]]
        if np.isfinite(seen).any():
            found[f"{group}_recall"] = float(np.nanmean(seen))
    return found


def foreign_auroc(scores: np.ndarray, foreign: np.ndarray) -> float | None:
    """How well scores tell foreign examples from known ones: the area under the ROC curve, in 0..1.

    It is how often a random foreign example has a higher score than a random known one; 0.5 is chance.

    Args:
        scores: [N], higher for what looks foreign; those that are not finite are left out.
        foreign: which examples are, bool [N].

    Returns:
        None if all examples are of one kind.

    Example:
        >>> foreign_auroc(np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]))
        0.75
    """
    finite = np.isfinite(scores)
    foreign = foreign[finite]
    if foreign.all() or not foreign.any():
        return None
    # Not at the top: it takes a second to import, and few runs have foreign examples.
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(foreign, scores[finite]))


def _in_top5(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the label of each row is among its five highest scores, [N]; empty with five classes or fewer."""
    if scores.shape[1] <= 5:
        return np.empty(0)
    top5 = np.argpartition(-scores, 5, axis=1)[:, :5]
    return (top5 == labels[:, None]).any(axis=1)


def _top5(hits: np.ndarray) -> dict[str, float]:
    """`top5_accuracy`, if there are more than five classes."""
    return {"top5_accuracy": float(hits.mean())} if len(hits) else {}
