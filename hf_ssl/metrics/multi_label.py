"""Metrics for examples with any number of labels, and the thresholds from which a label is predicted.

`multi_label_metrics` is the plain function, and `MultiLabelMetrics` a module of `evaluate` that works offline.
"""

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

_CITATION = """@article{tsoumakas2007multi,
  title={Multi-Label Classification: An Overview},
  author={Tsoumakas, Grigorios and Katakis, Ioannis},
  journal={International Journal of Data Warehousing and Mining},
  year={2007}
}"""
# How near a threshold comes to 0 and to 1.
NEAREST = 1e-6


def multi_label_metrics(scores: ArrayLike, labels: ArrayLike, thresholds: float | ArrayLike = 0.5) -> dict[str, float]:
    """The metrics of C labels of which an example may have any number, each in 0..1.

    `map`, mean average precision, over the labels that occur; `micro_f1`, of all decisions together; `macro_f1`, the
    mean over the labels that occur or were predicted; `subset_accuracy`, the share of examples with all of their
    labels right. The first looks at the order of the examples alone; for the others a label is predicted from its
    threshold on. A ratio without examples counts as 0; a mean over no label is NaN.

    Args:
        scores: probabilities [N, C] in 0..1, each label's by itself (the sigmoid of its logit).
        labels: [N, C], 0 or 1.
        thresholds: one for all labels, or one for each [C].

    Raises:
        ValueError: if the shapes do not fit, or a value is outside its range.

    Example:
        >>> scores, labels = [[0.9, 0.6], [0.8, 0.4], [0.3, 0.2]], [[1, 0], [0, 1], [1, 0]]
        >>> metrics = multi_label_metrics(scores, labels)
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'map': 0.667, 'micro_f1': 0.333, 'macro_f1': 0.25, 'subset_accuracy': 0.0}
        >>> multi_label_metrics(scores, labels, thresholds=[0.85, 0.3])["subset_accuracy"]
        0.3333333333333333
    """
    probabilities, true = _checked(scores, labels)
    predicted = probabilities >= np.asarray(thresholds, np.float64)
    return {"map": _mean(average_precisions(probabilities, true))} | decision_metrics(predicted, true)


def decision_metrics(predicted: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Those of `multi_label_metrics` that follow from the predicted labels [N, C], 0 or 1 as the true ones.

    Example:
        >>> decision_metrics([[1, 0], [1, 1]], [[1, 0], [0, 1]])
        {'micro_f1': 0.8, 'macro_f1': 0.8333333333333333, 'subset_accuracy': 0.5}
    """
    guesses, true = np.asarray(predicted, bool), np.asarray(labels, bool)
    hits, either = (guesses & true).sum(axis=0), guesses.sum(axis=0) + true.sum(axis=0)
    f1 = np.where(either > 0, 2 * hits / np.maximum(either, 1), np.nan)
    return {
        "micro_f1": float(2 * hits.sum() / max(either.sum(), 1)),
        "macro_f1": _mean(f1),
        "subset_accuracy": float((guesses == true).all(axis=1).mean()),
    }


def average_precisions(scores: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The average precision [C] of each label: the mean of the precisions at its positives, the highest score first.

    Examples with equal scores are taken at once, as in scikit-learn. NaN for labels that no example has.

    Args:
        scores: [N, C], the higher the likelier.
        labels: [N, C], 0 or 1.

    Example:
        >>> average_precisions([[0.9], [0.8], [0.3]], [[1], [0], [1]]).round(3).tolist()  # (1/1 + 2/3) / 2
        [0.833]
    """
    values, true = np.asarray(scores), np.asarray(labels, bool)
    order = np.argsort(-values, axis=0, kind="stable")
    ordered, hits = np.take_along_axis(values, order, axis=0), np.take_along_axis(true, order, axis=0)
    found = hits.cumsum(axis=0)
    precision = found / np.arange(1, len(values) + 1)[:, None]
    # Of equal scores the precision is that behind the last of them: from the end, the first value of each run.
    last = np.ones_like(hits)
    last[:-1] = ordered[:-1] != ordered[1:]
    places = np.where(last, np.arange(len(values))[:, None], len(values) - 1)
    places = np.minimum.accumulate(places[::-1], axis=0)[::-1]
    precision = np.take_along_axis(precision, places, axis=0)
    positives = true.sum(axis=0)
    return np.where(positives > 0, (precision * hits).sum(axis=0) / np.maximum(positives, 1), np.nan)


def tune_thresholds(
    scores: ArrayLike, labels: ArrayLike, fewest: int = 5, otherwise: float | ArrayLike = 0.5
) -> list[float]:
    """The threshold [C] of each label at which its F1 is the highest, between two of the scores.

    Of equally good ones it is the one nearest to 0.5. A label with fewer than `fewest` positives, or negatives, keeps
    the one that it has: the best threshold on a handful of examples is an accident.

    Args:
        scores: probabilities [N, C] in 0..1 of examples that the model was not trained on. Of those it was trained on
            it is surer than it is right, and thresholds that suit them do not suit others.
        labels: [N, C], 0 or 1.
        fewest: positives, and negatives, that a label needs, at least 1.
        otherwise: the threshold of a label that has fewer, one for all or one for each [C].

    Raises:
        ValueError: as `multi_label_metrics`.

    Example:
        >>> tune_thresholds([[0.4], [0.3], [0.1], [0.05]], [[1], [1], [0], [0]], fewest=2)
        [0.2]
        >>> tune_thresholds([[0.4], [0.3], [0.1], [0.05]], [[1], [1], [0], [0]])
        [0.5]
    """
    probabilities, true = _checked(scores, labels)
    if fewest < 1:
        raise ValueError(f"fewest must be at least 1, got {fewest}")
    kept = np.broadcast_to(np.asarray(otherwise, np.float64), probabilities.shape[1:]).tolist()
    labelwise = zip(probabilities.T, true.T, kept, strict=True)
    return [_best_threshold(mine, has) if _is_known(has, fewest) else own for mine, has, own in labelwise]


def _is_known(labels: np.ndarray, fewest: int) -> bool:
    return min(labels.sum(), (~labels).sum()) >= fewest


def _best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """That of one label, from scores [N] and labels [N]."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], labels[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + labels.sum())
    # Examples with the same score are on the same side.
    below = np.append(ordered[1:], 0.0)
    between = (ordered + below) / 2
    possible = np.append(ordered[1:] != ordered[:-1], True)
    best = np.flatnonzero(possible & (f1 >= f1[possible].max() - 1e-12))
    chosen = between[best[np.argmin(np.abs(between[best] - 0.5))]]
    return float(np.clip(chosen, NEAREST, 1 - NEAREST))


class MultiLabelMetrics(evaluate.Metric):
    """`multi_label_metrics` for `evaluate`, also offline: predictions are probabilities, references are 0 or 1.

    Example:
        >>> import tempfile
        >>> metric = MultiLabelMetrics(keep_in_memory=True, cache_dir=tempfile.gettempdir())
        >>> metric.add_batch(predictions=[[0.9, 0.2]], references=[[1, 0]])
        >>> metric.add_batch(predictions=[[0.1, 0.7]], references=[[0, 1]])
        >>> metric.compute()["subset_accuracy"]
        1.0
    """

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Sequence(datasets.Value("float64")),
            "references": datasets.Sequence(datasets.Value("int64")),
        }
        return evaluate.MetricInfo(
            description="Mean average precision, micro and macro F1, and subset accuracy of several labels.",
            citation=_CITATION,
            inputs_description="predictions: N lists of C probabilities; references: N lists of C labels, 0 or 1",
            features=datasets.Features(features),
        )

    def _compute(
        self, predictions: ArrayLike, references: ArrayLike, thresholds: float | ArrayLike = 0.5
    ) -> dict[str, float]:
        return multi_label_metrics(predictions, references, thresholds)


def _mean(values: np.ndarray) -> float:
    """The mean of numbers that are known, NaN if none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _checked(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, C] in float64, and labels [N, C] as booleans."""
    values, true = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 2 or true.shape != values.shape or values.size == 0:
        raise ValueError(f"scores and labels must be [N, C] with N, C > 0, got {values.shape} and {true.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"scores must be probabilities in 0..1, got {values.min()}..{values.max()}; take the sigmoid of logits"
        )
    if not ((true == 0) | (true == 1)).all():
        wrong = true[(true != 0) & (true != 1)].flat[0]
        raise ValueError(f"labels must be 0 or 1, got {wrong}; leave out examples without labels")
    return values, true.astype(bool)
