"""Numbers from a few labels and a pool of features: several ways to predict them, mixed by left-out labels.

    labels ── ridge, Gaussian kernel ─────────────────────┐
                                                          ├── one linear model of the features
    labels + graph of the pool ── ridge, Gaussian kernel ─┘   mixed by left-out labels

The first of these ways (`hf_ssl.features.ways`) is labels alone. It is believed unless left-out labels speak for
the others. The result is linear in the features, so that it can become a model's head.
"""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from .linear_estimator import LinearEstimator
from .targets import checked_targets
from .ways import fit_ways

# The way that is believed without labels: linear, on features as they are.
_EXPECTED = 0


class FeatureRegressor(RegressorMixin, LinearEstimator):
    """Semi-supervised regression on feature vectors, with scikit-learn's interface.

    Args:
        neighbors: of each example in the graph, at least 1.
        power: of the cosines that weigh its edges, above 0.

    Attributes:
        coef_, intercept_: [K, D] and [K] of the linear model, on features as they are.
        ways_: [4], the weights of the ways: ridge and Gaussian kernel on features as they are, and on smoothed ones.
        held_out_: [L, K], predictions for the labeled examples, in their order, each left out of the fits.
        n_features_in_: D.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(200, 6))
        >>> numbers = 10 + features @ np.array([3.0, 1.0, 0.0, 0.0, 0.0, 0.0])
        >>> labels = np.where(np.arange(200) < 20, numbers, np.nan)
        >>> regressor = FeatureRegressor().fit(features, labels)
        >>> regressor.score(features, numbers) > 0.99
        True
    """

    def fit(self, X: Any, y: Any) -> "FeatureRegressor":
        """Learn from labeled and unlabeled examples together.

        Args:
            X: features [N, D].
            y: numbers [N] or [N, K]; rows of NaN are unlabeled.

        Raises:
            ValueError: if shapes, numbers or settings do not fit, or fewer than two examples have numbers.
        """
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        y = None if y is None else np.asarray(y)
        targets = checked_targets(y, len(X))
        self._flat = y is not None and y.ndim == 1
        found = fit_ways(X, targets, _EXPECTED, neighbors=self.neighbors, power=self.power)
        self.ways_ = found.ways
        self.coef_, self.intercept_, self.held_out_ = found.weight.T, found.bias, found.held_out
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers [N, K] of features [N, D]; [N] if `y` was such."""
        numbers = self._outputs(X)
        return numbers[:, 0] if self._flat else numbers
