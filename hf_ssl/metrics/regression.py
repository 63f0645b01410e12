"""Metrics of predicted numbers: `regression_metrics`.

scikit-learn has the first three as functions, for one number at a time or joined in ways of its own, and SciPy the
last; the trainer wants all of them at once, and of each number by name.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata


def regression_metrics(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str] | None = None
) -> dict[str, float]:
    """How near predicted numbers are to the true ones; of several numbers the means of the metrics, and each by name.

    `mae`, the mean absolute error, and `rmse`, the root of the mean squared error, both in the user's units; `r2`, the
    share of the variance that is predicted, 1 at best, 0 for predicting the mean, below it for worse; `spearman`, the
    correlation of the ranks, from -1 to 1, which asks for the order alone. The last two are NaN if all true numbers
    are the same, and `spearman` also if all predicted ones are.

    Args:
        predictions: [N, K], or [N] for one number.
        targets: of the same shape.
        names: of the K numbers; None numbers them from 0 on. With several numbers each metric is also told of each, as
            `mae_width`.

    Raises:
        ValueError: if the shapes do not fit, or a value is NaN or infinite.

    Example:
        >>> metrics = regression_metrics([1.0, 2.0, 4.0], [1.0, 3.0, 4.0])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'mae': 0.333, 'rmse': 0.577, 'r2': 0.786, 'spearman': 1.0}
        >>> metrics = regression_metrics([[1.0, 5.0], [2.0, 7.0]], [[1.0, 6.0], [2.0, 9.0]], names=["width", "height"])
        >>> metrics["mae"], metrics["mae_width"], metrics["mae_height"]
        (0.75, 0.0, 1.5)
    """
    guesses, true = _checked(predictions, targets)
    for name, values in (("predictions", guesses), ("targets", true)):
        if bad := int((~np.isfinite(values)).any(axis=1).sum()):
            raise ValueError(
                f"{name} must be finite, got NaN or infinity in {bad:,} of {len(values):,} rows; leave these out"
            )
    error = guesses - true
    spread = (true - true.mean(axis=0)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - (error**2).sum(axis=0) / spread.sum(axis=0)
    found = {
        "mae": np.abs(error).mean(axis=0),
        "rmse": np.sqrt((error**2).mean(axis=0)),
        "r2": np.where(spread.sum(axis=0) > 0, r2, np.nan),
        "spearman": _correlation(rankdata(guesses, axis=0), rankdata(true, axis=0)),
    }
    metrics = {metric: float(values.mean()) for metric, values in found.items()}
    count = true.shape[1]
    if count > 1:
        own = [str(number) for number in range(count)] if names is None else list(names)
        metrics |= {
            f"{metric}_{name}": float(value)
            for metric, values in found.items()
            for name, value in zip(own, values, strict=True)
        }
    return metrics


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's, of the columns [N, K] of both; NaN for a column that is constant."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    sizes = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return np.where(sizes > 0, (first * second).sum(axis=0) / np.where(sizes > 0, sizes, 1), np.nan)


def _checked(predictions: ArrayLike, targets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [N, K]."""
    guesses, true = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    # A model of one number may answer without its axis.
    guesses, true = (values[:, None] if values.ndim == 1 else values for values in (guesses, true))
    if true.ndim != 2 or guesses.shape != true.shape or true.size == 0:
        raise ValueError(f"predictions and targets must be [N, K] with N, K > 0, got {guesses.shape} and {true.shape}")
    return guesses, true
