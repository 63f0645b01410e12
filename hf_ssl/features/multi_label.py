"""Several labels per example, from a few labeled ones and a pool of features.

    labels ── ridge, Gaussian kernel ─────────────────────┐
                                                          ├── one linear model of scores ── logits ── thresholds
    labels + graph of the pool ── ridge, Gaussian kernel ─┘   mixed by left-out labels

The ways are those of `hf_ssl.features.ways`, with 0 and 1 as the numbers. Neighbors mostly share their labels, so
ridge regression on features that are smoothed over the graph is believed first. Scores become logits by one factor for
all labels, which left-out examples tell, and a shift of each.
"""

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import validate_data

from ..metrics.multi_label import NEAREST
from .linear_estimator import LinearEstimator
from .targets import checked_labels
from .ways import fit_ways

# The way that is believed without labels: linear, smoothed over the graph.
_EXPECTED = 2
# Factors from scores to logits that are tried, and halvings that find a shift up to 30.
_FACTORS, _HALVINGS, _LARGEST_SHIFT = np.logspace(-1, 1.5, 26), 40, 30.0


class MultiLabelFeatureClassifier(LinearEstimator):
    """Semi-supervised classification of feature vectors with several labels each, with scikit-learn's interface.

    Args:
        neighbors: of each example in the graph, at least 1.
        power: of the cosines that weigh its edges, above 0.

    Attributes:
        coef_, intercept_: [C, D] and [C] of the linear model that gives logits, on features as they are.
        label_shares_: [C], how often each label is expected: as among the labeled examples, counting half an example
            with and half a one without it more.
        thresholds_: [C], the probabilities above which as large a part of the examples is as `label_shares_` says.
        ways_: [4], the weights of the ways: ridge and Gaussian kernel on features as they are, and on smoothed ones.
        held_out_logits_: [L, C], of the labeled examples, in their order, each left out of the fits.
        held_out_: [L, C], the probabilities of these logits.
        n_features_in_: D.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(300, 6))
        >>> truth = (features[:, :3] > [0, 0.5, 1]).astype(int)
        >>> labels = np.where(np.arange(300)[:, None] < 30, truth, np.nan)
        >>> classifier = MultiLabelFeatureClassifier().fit(features, labels)
        >>> bool((classifier.predict(features) == truth).mean() > 0.8)
        True

    Note:
        Thresholds at which the pool has a label as often as the labeled examples are those of CAP (arXiv 2305.02795).
    """

    def fit(self, X: Any, y: Any) -> "MultiLabelFeatureClassifier":
        """Learn from labeled and unlabeled examples together.

        Args:
            X: features [N, D].
            y: 0 or 1 [N, C]; rows of NaN are unlabeled.

        Raises:
            ValueError: if shapes, labels or settings do not fit, or fewer than two examples have labels.
        """
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        targets = checked_labels(y, len(X))
        given = targets[np.isfinite(targets[:, 0])]
        self.label_shares_ = (given.sum(axis=0) + 0.5) / (len(given) + 1)
        found = fit_ways(X, targets, _EXPECTED, neighbors=self.neighbors, power=self.power)
        self.ways_ = found.ways
        factor, shift = calibration(found.held_out, given, self.label_shares_)
        self.coef_, self.intercept_ = (found.weight * factor).T, found.bias * factor + shift
        # Not to be had from the probabilities: where labels are easy, these are 1 to the last digit.
        self.held_out_logits_ = found.held_out * factor + shift
        self.held_out_ = expit(self.held_out_logits_)
        self.thresholds_ = thresholds_at(self.predict_proba(X), self.label_shares_)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits [N, C] of features [N, D]."""
        return self._outputs(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, C] of the labels, each by itself."""
        return expit(self.decision_function(X))

    def predict(self, X: Any) -> np.ndarray:
        """The labels [N, C], 0 or 1: those above `thresholds_`."""
        return (self.predict_proba(X) > self.thresholds_).astype(np.int64)

    def score(self, X: Any, y: Any) -> float:
        """The share of examples all of whose labels are right, in [0, 1], as of scikit-learn's classifiers."""
        return float((self.predict(X) == np.asarray(y)).all(axis=1).mean())


def calibration(scores: np.ndarray, labels: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift, [C] each, that turn scores into logits: those of least cross-entropy on left-out examples.

    Scores are numbers near 0 and 1. If a label's share is p, the logit changes 1 / (p (1 - p)) times as much as the
    score. This is taken times one number for all labels; shifts bring the mean probability of each label to its share.
    It is Platt's scaling (1999), with fewer numbers to find.

    Args:
        scores: [L, C] of labeled examples, by models that did not see them.
        labels: 0 or 1, [L, C].
        shares: of the labels, [C], in (0, 1).
    """
    best, found = np.inf, (np.ones(len(shares)), np.zeros(len(shares)))
    for factor in _FACTORS[:, None] / (shares * (1 - shares)):
        shift = shift_to(scores * factor, shares)
        logits = scores * factor + shift
        loss = (np.logaddexp(0, logits) - labels * logits).mean()
        if loss < best:
            best, found = loss, (factor, shift)
    return found


def shift_to(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What to add [C] to logits [N, C], so that the mean probability of each label is its share, by bisection.

    Example:
        >>> shift_to(np.array([[1.0], [1.0]]), np.array([0.5])).round(6).tolist()
        [-1.0]
    """
    low, high = -logits.max(axis=0) - _LARGEST_SHIFT, -logits.min(axis=0) + _LARGEST_SHIFT
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = expit(logits + middle).mean(axis=0) > shares
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def thresholds_at(probabilities: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The thresholds [C] above which a share [C] of the probabilities [N, C] is; in (0, 1).

    Example:
        >>> thresholds_at(np.array([[0.1], [0.2], [0.6], [0.9]]), np.array([0.5])).round(2).tolist()
        [0.4]
    """
    found = [np.quantile(column, 1 - share) for column, share in zip(probabilities.T, shares, strict=True)]
    return np.clip(found, NEAREST, 1 - NEAREST)
