"""What the estimators of several labels and of numbers share: a linear model of the features, which is a head, too."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from .reading import LinearHead


class LinearEstimator(MultiOutputMixin, BaseEstimator):
    """A scikit-learn estimator with several outputs, whose `fit` sets `coef_` [C, D] and `intercept_` [C].

    Args:
        neighbors: of each example in the graph, at least 1.
        power: of the cosines that weigh its edges, above 0.
    """

    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(self, *, neighbors: int = 15, power: float = 3.0):
        self.neighbors = neighbors
        self.power = power

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs [N, C] of features [N, D]."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32)
        return X @ self.coef_.T + self.intercept_

    def to_head(self, model: nn.Module) -> None:
        """Write the linear model into the model's head, whose outputs are then these: logits, or numbers.

        Args:
            model: one whose head reads the features that were fitted, with C outputs.

        Raises:
            ValueError: if the head is of another shape, has no bias, or is under an adapter.
        """
        check_is_fitted(self)
        LinearHead(self.coef_.astype(np.float32), self.intercept_.astype(np.float32)).write(model)
