"""Ridge regression whose penalty is chosen by leaving each example out, and mixtures of several of them.

Both need no repeated fits: the prediction for an example that is left out follows from the fit to all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

# Penalties that are tried, in mean squared lengths of the centered features, times the root of their number.
_PENALTIES = np.logspace(-5, 3, 33)
# Examples that the expectation is worth, when ways to predict are mixed.
_PRIOR_EXAMPLES = 15.0
# Rows that are worked on at once.
_ROWS = 16_384
# The penalty of `project`, in mean variances of the features: so little that only directions without spread feel it.
_PROJECTION = 1e-3


@dataclass(frozen=True)
class Ridge:
    """A linear model: predictions = features @ weight + bias.

    Args:
        weight: float64 [D, K].
        bias: float64 [K].
        held_out: [L, K], predictions for the examples it was fitted to, each by the fit to all others.
    """

    weight: np.ndarray
    bias: np.ndarray
    held_out: np.ndarray


def fit_ridge(features: np.ndarray, targets: np.ndarray, seen_as: np.ndarray | None = None) -> Ridge:
    """Least squares with a penalty on the weights: the one of 33 whose left-out examples are predicted best.

    The penalty is the same for all targets, each of which counts by its share of variance that is left.

    Args:
        features: [L, D], L at least 2.
        targets: [L, K].
        seen_as: what the features of the same examples are for those who use the model, [L, D], if that differs.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> ridge = fit_ridge(features, 2 * features + 1)
        >>> (10 * ridge.weight + ridge.bias).round(1).tolist(), ridge.held_out[0].round(1).tolist()
        ([[21.0]], [1.0])

    Note:
        Without example i the weights are w - A^-1 x_i r_i / (1 - h_i), with the matrix A of the normal equations, the
        residuals r and the diagonal h of the matrix that maps targets to predictions (Allen's PRESS, 1974).
    """
    features, targets = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    size, center, mean = len(features), features.mean(axis=0), targets.mean(axis=0)
    left, singular, right = np.linalg.svd(features - center, full_matrices=False)
    spread, aims = np.square(singular), left.T @ (targets - mean)
    # The examples in the coordinates of the singular vectors, as they are fitted and as they are predicted.
    fitted = left * singular
    seen = fitted if seen_as is None else (seen_as - center) @ right.T
    variance = deviation_of(targets) ** 2
    best, chosen, held_out = np.inf, 0.0, targets
    for penalty in _PENALTIES * max(spread.sum() / np.sqrt(size), 1e-300):
        inverse = 1 / (spread + penalty)
        weight = (singular * inverse)[:, None] * aims
        leverage = np.square(fitted) @ inverse + 1 / size
        change = (seen * fitted) @ inverse + 1 / size
        residuals = (targets - mean - fitted @ weight) / np.maximum(1 - leverage, 1e-6)[:, None]
        without = mean + seen @ weight - change[:, None] * residuals
        error = (np.square(targets - without).mean(axis=0) / variance).mean()
        if error < best:
            best, chosen, held_out = error, penalty, without
    weight = right.T @ ((singular / (spread + chosen))[:, None] * aims)
    return Ridge(weight, mean - center @ weight, held_out)


def mixture_of(held_out: Sequence[np.ndarray], targets: np.ndarray, expected: int = 0) -> np.ndarray:
    """Weights [M] of M ways to predict, not negative and with sum 1, by what each said of left-out examples.

    One way is what the others have to improve on: their weights are drawn to zero as if 15 further examples spoke
    for it, so that few labels change little and many decide.

    Args:
        held_out: of each way the predictions [L, K] for left-out examples.
        targets: [L, K].
        expected: the way that is believed without labels.

    Example:
        >>> targets = np.linspace(0, 1, 60)[:, None]
        >>> mixture_of([np.full((60, 1), 0.5), targets], targets).round(2).tolist()  # 60 against 15 for the second
        [0.2, 0.8]
        >>> mixture_of([targets, 1 - targets], targets).tolist()
        [1.0, 0.0]

    Note:
        Weights that are not negative and fitted to left-out predictions are Breiman's "Stacked Regressions" (1996).
    """
    deviation = deviation_of(targets)
    first = held_out[expected] / deviation
    steps = np.stack([(way / deviation - first).ravel() for way in held_out], axis=1)
    prior = np.sqrt(_PRIOR_EXAMPLES * targets.shape[1]) * np.eye(len(held_out))
    wanted = np.concatenate([(targets / deviation - first).ravel(), np.zeros(len(held_out))])
    weights = nnls(np.concatenate([steps, prior]), wanted)[0]
    weights /= max(weights.sum(), 1.0)
    weights[expected] += 1 - weights.sum()
    return weights


def project(
    features: np.ndarray, rows: np.ndarray, made: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [D, K] and bias [K], float64, of the linear model of features [N, D] that comes nearest to other numbers.

    Args:
        features: [N, D].
        rows: [N, R], from which the numbers are made.
        made: from some of the rows to their numbers [n, K]; by default they are the numbers. Never more than 16,384
            rows are asked for at once.

    Example:
        >>> weight, bias = project(np.array([[0.0], [1.0], [2.0]]), np.array([[5.0], [7.0], [9.0]]))
        >>> weight.round(2).tolist(), bias.round(2).tolist()
        ([[2.0]], [5.0])
    """
    width = features.shape[1]
    center = features.mean(axis=0, dtype=np.float64)
    moments, cross, total = np.zeros((width, width)), 0.0, 0.0
    for start in range(0, len(features), _ROWS):
        part = slice(start, start + _ROWS)
        centered, numbers = features[part] - center, np.asarray(made(rows[part]), dtype=np.float64)
        moments += centered.T @ centered
        cross, total = cross + centered.T @ numbers, total + numbers.sum(axis=0)
    moments[np.diag_indices(width)] += max(_PROJECTION * np.trace(moments) / width, 1e-300)
    weight = np.linalg.solve(moments, cross)
    return weight, total / len(features) - center @ weight


def deviation_of(targets: np.ndarray) -> np.ndarray:
    """The standard deviation [K] of targets [L, K]; 1 for one that is constant."""
    deviation = targets.std(axis=0)
    return np.where(deviation > 0, deviation, 1.0)
