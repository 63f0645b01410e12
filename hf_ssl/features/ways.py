"""Ways to predict numbers from features: straight or curved, on features as they are or smoothed over the graph.

                         linear in them           a Gaussian kernel
    as they are          what labels alone give   curves
    smoothed over the    what neighbors share     both
    graph of the pool

A feature that is smoothed over the graph keeps what neighbors have in common and loses what sets them apart, which a
few labels cannot tell from chance. It helps if what is to be predicted is about the same for neighbors, and harms
otherwise; curves likewise. Which of the four to believe is told by left-out labels (`hf_ssl.features.ridge`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..graph.spreading import Graph
from .ridge import Ridge, fit_ridge, mixture_of, project

# Share of a smoothed feature that comes from the neighbors.
_SMOOTHING = 0.8
# The labeled examples, at most, with which all others are compared by the Gaussian kernel.
_LANDMARKS = 1_000
# The weights of the four ways if there is no pool.
_LABELS_ALONE = np.array([1.0, 0.0, 0.0, 0.0])


def smoothed(graph: Graph, features: np.ndarray, alpha: float = _SMOOTHING) -> np.ndarray:
    """Features [N, D], float32, each row mixed with its neighbors, theirs, and so on, weights summing to 1.

    The columns are spread like labels, and divided by what a column of ones becomes.

    Note:
        Linear models of features smoothed over a graph are "Simplifying Graph Convolutional Networks" (arXiv
        1902.07153), here with the restart of label spreading.
    """
    ones = graph.spread(np.ones((len(features), 1), dtype=np.float32), alpha)
    return graph.spread(np.asarray(features, dtype=np.float32), alpha) / np.maximum(ones, 1e-12)


class GaussianFeatures:
    """Features whose linear models are those of a Gaussian kernel: exp(-|x - x'|^2 / (2 s^2)).

    s^2 is the variance of all features together, so that examples that have nothing in common have about exp(-1).
    With more than 1,000 labeled examples, 1,000 of them stand for all (Williams and Seeger 2001).

    Args:
        features: of the pool, [N, D], which give s.
        known: positions of the labeled examples.

    Example:
        >>> found = GaussianFeatures(np.array([[0.0], [2.0]]), np.array([0, 1]))
        >>> made = found(np.array([[0.0], [2.0]]))
        >>> np.allclose(made @ made.T, [[1, np.exp(-2)], [np.exp(-2), 1]])  # s = 1, and the distance is 2
        True
    """

    def __init__(self, features: np.ndarray, known: np.ndarray):
        if len(known) > _LANDMARKS:
            known = np.sort(np.random.default_rng(0).permutation(known)[:_LANDMARKS])
        self.landmarks = features[known].astype(np.float64)
        self.spread = max(2 * float(features.var(axis=0, dtype=np.float64).sum()), 1e-300)
        values, vectors = np.linalg.eigh(self._kernel(self.landmarks))
        used = values > 1e-9 * values[-1]
        self.root = vectors[:, used] / np.sqrt(values[used])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 [N, M] of features [N, D], M at most the number of landmarks."""
        return self._kernel(features.astype(np.float64)) @ self.root

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        squares = np.square(rows).sum(axis=1)[:, None] + np.square(self.landmarks).sum(axis=1)
        return np.exp(-np.maximum(squares - 2 * rows @ self.landmarks.T, 0) / self.spread)


@dataclass(frozen=True)
class Mixture(Ridge):
    """The linear model that four ways agree on; `held_out` is what they say together of the labeled examples.

    Args:
        ways: [4], the weights of linear and Gaussian as they are, linear and Gaussian when smoothed; sum 1.
    """

    ways: np.ndarray


def fit_ways(features: np.ndarray, targets: np.ndarray, expected: int, *, neighbors: int, power: float) -> Mixture:
    """Learn the numbers of some examples in four ways with the help of all, or of all examples by ridge regression.

    Args:
        features: [N, D].
        targets: [N, K], with rows of NaN for examples whose numbers are not known.
        expected: the way that is believed without labels, 0 to 3; see `Mixture.ways`.
        neighbors, power: of the graph, see `Graph.build`.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> found = fit_ways(features, 2 * features[:, :1] + 1, 0, neighbors=5, power=3.0)
        >>> found.weight.round(2).ravel().tolist(), found.ways.tolist()
        ([2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    """
    known = np.flatnonzero(np.isfinite(targets[:, 0]))
    if len(known) == len(features):
        alone = fit_ridge(features, targets)
        return Mixture(alone.weight, alone.bias, alone.held_out, _LABELS_ALONE)
    graph = Graph.build(features, neighbors=neighbors, power=power)
    return mixed(features, known, targets[known], graph, expected)


def mixed(features: np.ndarray, known: np.ndarray, targets: np.ndarray, graph: Graph, expected: int) -> Mixture:
    """The four ways, mixed by what they say of left-out labels.

    Each way is linear in features of its own. Over the whole pool, these are made from the given ones as well as a
    linear map can; with the result a way is tried on left-out examples, since new examples have no neighbors in the
    graph.

    Args:
        features: [N, D].
        known: positions [L] of the labeled examples.
        targets: their numbers [L, K].
        graph: of the N examples.
        expected: as in `fit_ways`.
    """
    smooth = smoothed(graph, features)
    ways = [
        fit_ridge(features[known], targets),
        _seen_through(features, features, GaussianFeatures(features, known), known, targets),
        _seen_through(features, smooth, np.asarray, known, targets),
        _seen_through(features, smooth, GaussianFeatures(smooth, known), known, targets),
    ]
    shares = mixture_of([way.held_out for way in ways], targets, expected)
    weight = np.tensordot(shares, np.stack([way.weight for way in ways]), axes=1)
    bias = np.tensordot(shares, np.stack([way.bias for way in ways]), axes=1)
    return Mixture(weight, bias, np.tensordot(shares, np.stack([way.held_out for way in ways]), axes=1), shares)


def _seen_through(
    features: np.ndarray,
    view: np.ndarray,
    make: Callable[[np.ndarray], np.ndarray],
    known: np.ndarray,
    targets: np.ndarray,
) -> Ridge:
    """A ridge on what is made of a view, as a linear model of the features."""
    weight, bias = project(features, view, make)
    ridge = fit_ridge(make(view[known]), targets, seen_as=features[known] @ weight + bias)
    return Ridge(weight @ ridge.weight, bias @ ridge.weight + ridge.bias, ridge.held_out)
