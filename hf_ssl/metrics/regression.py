"""Metrics of numbers."""

import numpy as np
from numpy.typing import ArrayLike


def regression_metrics(predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
    """`mae` and `rmse` in the units of the numbers, and `r2` of at most 1, each the mean over K numbers.

    Args:
        predictions: [N, K].
        targets: [N, K].

    Example:
        >>> regression_metrics([[1.0], [3.0]], [[1.0], [5.0]])
        {'mae': 1.0, 'rmse': 1.4142135623730951, 'r2': 0.5}
    """
    predictions, targets = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    errors = predictions - targets
    spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    explained = 1 - np.square(errors).sum(axis=0) / np.where(spread > 0, spread, np.nan)
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean(axis=0)).mean()),
        "r2": float(explained.mean()),
    }
