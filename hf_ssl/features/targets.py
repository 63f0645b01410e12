"""Labels that are rows of numbers: several labels, or numbers to predict. Rows of NaN are unlabeled."""

from typing import Any

import numpy as np


def checked_targets(y: Any, size: int) -> np.ndarray:
    """Labels as float64 [N, K], with rows of NaN where there are none.

    Args:
        y: numbers [N] or [N, K].
        size: N.

    Raises:
        ValueError: if the shape does not fit, a row is known in part, a number is infinite, or fewer than two rows
            are known.

    Example:
        >>> checked_targets([1.5, float("nan"), 2.0], 3).tolist()
        [[1.5], [nan], [2.0]]
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    targets = np.asarray(y, dtype=np.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != size or targets.shape[1] == 0:
        raise ValueError(f"y must have one row of numbers per example ({size}), got shape {np.shape(y)}")
    missing = np.isnan(targets)
    for wrong, what in (
        (missing.any(axis=1) & ~missing.all(axis=1), "known in part"),
        (np.isinf(targets).any(axis=1), "infinite"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"y must hold finite numbers or only NaN in each row, got {targets[row].tolist()!s:.60} in row {row}, "
                f"which is {what}; correct it, or set all of it to NaN"
            )
    known = int((~missing[:, 0]).sum())
    if known < 2:
        raise ValueError(
            f"y must hold labels of at least two examples, got {known}; label more, NaN is for the others"
        )
    return targets


def checked_labels(y: Any, size: int) -> np.ndarray:
    """Labels as float64 [N, C] of 0 and 1, with rows of NaN where there are none.

    Raises:
        ValueError: as `checked_targets`, or for another number or shape.

    Example:
        >>> checked_labels([[1, 0], [0, 0], [float("nan")] * 2], 3).tolist()
        [[1.0, 0.0], [0.0, 0.0], [nan, nan]]
    """
    if np.ndim(y) != 2:
        raise ValueError(f"y must be a matrix of 0 and 1, a column per label, got shape {np.shape(y)}")
    labels = checked_targets(y, size)
    wrong = np.isfinite(labels) & (labels != 0) & (labels != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"y must hold 0 or 1 (NaN in rows without labels), got {labels[row, column]:g} in row {row}; "
            "FeatureRegressor learns other numbers"
        )
    return labels
