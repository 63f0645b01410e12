"""Metrics of several labels per example."""

import numpy as np
from numpy.typing import ArrayLike


def multi_label_metrics(scores: ArrayLike, labels: ArrayLike, thresholds: ArrayLike = 0.5) -> dict[str, float]:
    """`map`, `micro_f1`, `macro_f1` and `subset_accuracy`, each in 0..1.

    Args:
        scores: [N, C] probabilities of the labels.
        labels: [N, C] of 0 and 1.
        thresholds: one, or [C]: an example has the labels whose scores are at least that.

    Example:
        >>> multi_label_metrics([[0.9, 0.2], [0.1, 0.8]], [[1, 0], [1, 1]])["subset_accuracy"]
        0.5
    """
    from sklearn.metrics import average_precision_score

    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels) > 0.5
    chosen = scores >= np.asarray(thresholds)
    hits = (chosen & labels).sum(axis=0)
    either = chosen.sum(axis=0) + labels.sum(axis=0)
    seen = labels.any(axis=0)
    precisions = [average_precision_score(labels[:, place], scores[:, place]) for place in np.flatnonzero(seen)]
    return {
        "map": float(np.mean(precisions)) if precisions else float("nan"),
        "micro_f1": float(2 * hits.sum() / max(either.sum(), 1)),
        "macro_f1": float((2 * hits / np.maximum(either, 1))[either > 0].mean()) if either.any() else 0.0,
        "subset_accuracy": float((chosen == labels).all(axis=1).mean()),
    }
