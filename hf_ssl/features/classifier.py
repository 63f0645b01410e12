"""A classifier from a few labels and a pool of features: a graph and linear models teach each other, and agree.

    labels + pool ── normalize ──┬── Graph.propagate ──────────────┬── probe on its classes ──┐
                                 │                                 └── self-training from it ─┤
                                 └── probe on the labels ── self-training from it ────────────┴── mean, balanced
                                                                                                     │
                         clusters, named by this mean, if the pool falls into them (`clusters`) ─────┤
                                                                                                     │
                                                    one linear model on the pool's classes and labels

The graph is right if classes are clusters of any form, the linear model if they are not; each alone loses up to ten
points to the other on some data. Their mean was near the better of the two on all data that were looked at, without a
setting to choose. The result is one linear layer, so that it can become a model's classification head.
"""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ..graph.normalization import normalize, pool_mean
from ..graph.spreading import Graph
from ..model.head import feature_size, find_head, linear_of, write_head
from .balance import ClassBalance, balanced, expected_shares
from .clusters import cut_alike, mixture, stable_clusters
from .probe import FREE, fit_probe, fit_raw, one_hot
from .self_training import self_train, shared_weights

# Share of the weight that the labeled examples have together, in every fit with pseudo-labels.
_LABEL_WEIGHT = 0.5
# Logits by which a class without a label is below all others, in a model's head.
_UNLABELED_CLASS = 20.0


class FeatureClassifier(ClassifierMixin, BaseEstimator):
    """Semi-supervised classification of feature vectors, with scikit-learn's interface.

    Args:
        neighbors: of each example in the graph, at least 1.
        power: of the cosines that weigh its edges, above 0.
        alpha: share of a class that comes from the neighbors in label spreading, in (0, 1).
        rounds: of self-training; each trusts more of the pool, at least 1.
        share: part of each class in the pool that the last round of self-training trusts, in (0, 1].
        class_balance: how often each class is expected in the pool: "uniform"; "labels", as among the labels; an array
            [C]; None, no expectation; "auto": uniform, unless the labels or the pool clearly say otherwise (see
            `hf_ssl.features.balance`); or "pool", the same for labels that were picked, whose counts say nothing.
        regularization: of the linear models of self-training, scikit-learn's `C`, above 0.

    Attributes:
        classes_: [C], sorted.
        coef_, intercept_: [C, D] and [C] of the linear model, on normalized features.
        mean_: [D], what `normalize` subtracts.
        head_coef_, head_intercept_: [C, D] and [C] of the linear model on features as they are; see `to_head`.
        class_shares_: [C], the expected shares.
        transduction_: classes [N] of the examples that were fitted, labeled ones included.
        label_distributions_: their probabilities [N, C], before the last fit.
        n_features_in_: D.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> centers = rng.normal(size=(3, 8))
        >>> truth = rng.integers(0, 3, 300)
        >>> features = centers[truth] + 0.3 * rng.normal(size=(300, 8))
        >>> labels = np.where(np.arange(300) < 12, truth, -1)
        >>> classifier = FeatureClassifier().fit(features, labels)
        >>> bool((classifier.transduction_ == truth).mean() > 0.95)
        True

    Note:
        Label spreading is Zhou et al. 2003; self-training with class-balanced confidence and a growing share is
        CReST's and curriculum labeling's idea (arXiv 2102.09559, 2001.06001); balancing by rows and columns is that
        of Sinkhorn and Knopp (1967).
    """

    def __init__(
        self,
        *,
        neighbors: int = 15,
        power: float = 3.0,
        alpha: float = 0.95,
        rounds: int = 8,
        share: float = 0.8,
        class_balance: ClassBalance = "auto",
        regularization: float = 1.0,
    ):
        self.neighbors = neighbors
        self.power = power
        self.alpha = alpha
        self.rounds = rounds
        self.share = share
        self.class_balance = class_balance
        self.regularization = regularization

    def fit(self, X: Any, y: Any) -> "FeatureClassifier":
        """Learn from labeled and unlabeled examples together.

        Args:
            X: features [N, D].
            y: classes [N], integers, with -1 for unlabeled examples.

        Raises:
            ValueError: if shapes, labels or settings do not fit.
        """
        X, y = self._checked(X, y)
        self.classes_ = np.unique(y[y != -1])
        labels = np.where(y == -1, -1, np.searchsorted(self.classes_, np.where(y == -1, self.classes_[0], y)))
        if len(self.classes_) == 1:
            raise ValueError(
                f"y must hold at least two classes, got one class, {self.classes_[0]}; label examples of another class"
            )
        self.mean_ = pool_mean(X)
        features = normalize(X, self.mean_)
        agreed, self.class_shares_ = self._agree(features, labels)
        targets, rows, weights = _lesson(labels, agreed)
        probe = fit_probe(features[rows], targets, weights, regularization=FREE)
        self.coef_, self.intercept_ = probe.weight.T.copy(), probe.bias.copy()
        self.head_coef_, self.head_intercept_ = fit_raw(X, targets, weights, rows)
        self.label_distributions_ = agreed
        self.transduction_ = self.classes_[np.where(labels >= 0, labels, agreed.argmax(axis=1))]
        return self

    def _agree(self, features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities [N, C] that the teachers agree on, and the class shares [C]."""
        known, count = labels >= 0, len(self.classes_)
        shares, strength = expected_shares(self.class_balance, features, labels, count)
        if known.all():
            return one_hot(labels, count), shares

        def balance(probabilities: np.ndarray) -> np.ndarray:
            return balanced(probabilities, shares, strength)

        def taught_by(start: np.ndarray) -> np.ndarray:
            settings = {"share": self.share, "regularization": self.regularization, "label_weight": _LABEL_WEIGHT}
            return self_train(features, labels, start, balance, rounds=self.rounds, **settings)[1]

        alone = fit_probe(features[known], one_hot(labels[known], count), regularization=FREE)
        graph = Graph.build(features, neighbors=self.neighbors, power=self.power)
        spread = graph.propagate(labels, num_classes=count, alpha=self.alpha, class_balance=None)
        spread = balance(spread)
        hard = np.where(known, labels, spread.argmax(axis=1))
        teachers = [
            spread,
            fit_probe(features, one_hot(hard, count), regularization=self.regularization).probabilities(features),
            taught_by(alone.probabilities(features)),
            taught_by(spread),
        ]
        opinions = [balance(each) for each in teachers]
        agreed = balance(np.mean(opinions, axis=0))
        if stable_clusters(features, count, balance):
            clusters = mixture(features, agreed, balance, labels)
            if cut_alike(graph.weights, clusters.argmax(axis=1), [each.argmax(axis=1) for each in opinions]):
                agreed = balance((agreed + clusters) / 2)
        return agreed, shares

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits [N, C] of features [N, D]; with two classes [N], of the second one."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, C], in the order of `classes_`."""
        logits = self._logits(X)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Classes [N] of features [N, D]."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32)
        return normalize(X, self.mean_) @ self.coef_.T + self.intercept_

    def to_head(self, model: nn.Module) -> None:
        """Write the classifier into the model's classification head, so that the model predicts by itself.

        A head reads features as they are. It gets a linear model of those, fitted to the same classes of the pool as
        the classifier, which is a linear model of normalized features.

        Args:
            model: a classifier whose head reads the features that were fitted. Classes that are integers are rows of
                the head, and others are found in `model.config.id2label`.

        Raises:
            ValueError: if the head is of another shape, has no bias, is under an adapter, or lacks a class.
        """
        check_is_fitted(self)
        head = find_head(model)
        width, size = feature_size(head), linear_of(head).out_features
        if width != self.n_features_in_:
            raise ValueError(
                f"the head must read {self.n_features_in_} features, got one that reads {width}; encode with this "
                "model"
            )
        rows = self._rows_of(model, size)
        weight, bias = torch.as_tensor(self.head_coef_), torch.as_tensor(self.head_intercept_)
        # A class that nobody labeled is never predicted.
        all_weights = weight.new_zeros(size, width)
        all_biases = bias.new_full((size,), float(bias.min()) - _UNLABELED_CLASS)
        all_weights[rows], all_biases[rows] = weight, bias
        write_head(head, all_weights, all_biases)

    def _rows_of(self, model: nn.Module, size: int) -> list[int]:
        """The head's row of each class."""
        if self.classes_.dtype.kind in "iu":
            rows = self.classes_.tolist()
        else:
            names = getattr(getattr(model, "config", None), "id2label", None) or {}
            index_of = {str(name): int(index) for index, name in names.items()}
            rows = [index_of.get(str(name), -1) for name in self.classes_]
        wrong = [name for name, row in zip(self.classes_, rows, strict=True) if not 0 <= row < size]
        if wrong:
            raise ValueError(
                f"every class must be one of the head's {size}, got {wrong[0]}; load the model with num_labels and "
                "id2label of these classes"
            )
        return rows

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if not (y != -1).any():
            raise ValueError("y must hold labels, got -1 for all examples; label at least one example of each class")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}; 8 is usual")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}; 0.8 is usual")
        return X, y


def _lesson(labels: np.ndarray, agreed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the last fit learns: targets [M, C], rows [M] and weights [M] of the labels and of the agreed classes."""
    known, count = np.flatnonzero(labels >= 0), agreed.shape[1]
    if len(known) == len(labels):
        return one_hot(labels, count), known, np.ones(len(known))
    rows = np.concatenate([known, np.arange(len(labels))])
    targets = one_hot(np.concatenate([labels[known], agreed.argmax(axis=1)]), count)
    return targets, rows, shared_weights(len(known), len(labels), _LABEL_WEIGHT)
