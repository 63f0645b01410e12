"""Labels spread over the graph of nearest neighbors.

    features [N, D] -- nearest_neighbors --> k per row -- affinity --> P [N, N], sparse -- propagate --> classes [N, C]

Examples that look alike to the encoder usually share their class. From each labeled example its class flows to its
neighbors, from these to theirs, and so on; an unlabeled example takes the mixture of what arrives. It needs no
training, and one setting of it serves any number of labels.

A graph is made once (`Graph.build`), which takes most of the time; new labels are spread over it in a moment.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from .neighbors import nearest_neighbors
from .normalization import normalize

# Classes that are spread at once: memory is [N, 16] beside the result.
_CLASSES = 16
# The share of the difference to the exact solution that is left if `steps` is None.
_TOLERANCE = 1e-7

ClassBalance = Literal["uniform", "labels"] | np.ndarray | None


def affinity(features: np.ndarray, k: int = 15, power: float = 3.0, *, exact: bool | None = None) -> Any:
    """The graph's weights: max(cosine, 0)^power between rows and their k nearest neighbors, symmetric, normalized.

    An edge that both ends chose counts twice (W + W^T), and then P = D^-1/2 W D^-1/2 with the sums D of W's rows.

    Args:
        features: [N, D], real numbers, compared as they are; see `hf_ssl.features.normalize`.
        k: neighbors per row, at least 1.
        power: above 0. Large powers leave only the nearest of the neighbors.
        exact: how neighbors are found; see `nearest_neighbors`.

    Returns:
        `scipy.sparse.csr_matrix` [N, N], float32, with at most 2 k N entries. A row without a similar neighbor is
        empty.

    Raises:
        ValueError: if `power` is not above 0, or as `nearest_neighbors`.

    Example:
        >>> affinity(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), k=1).toarray().round(3).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if not power > 0:
        raise ValueError(f"power must be above 0, got {power}; 3 is usual")
    indices, cosines = nearest_neighbors(features, k, exact=exact)
    return normalize_graph(symmetric_weights(indices, cosines, power))


def symmetric_weights(indices: np.ndarray, cosines: np.ndarray, power: float = 3.0) -> Any:
    """W + W^T, `csr_matrix` [N, N], of the weights max(cosine, 0)^power of neighbors [N, K]."""
    size, k = indices.shape
    weights = np.maximum(cosines, 0.0) ** np.float32(power)
    starts = np.arange(0, size * k + 1, k)
    matrix = sparse.csr_matrix((weights.ravel(), indices.ravel(), starts), shape=(size, size))
    matrix.eliminate_zeros()
    return matrix + matrix.T


def normalize_graph(weights: Any) -> Any:
    """D^-1/2 W D^-1/2, `csr_matrix` [N, N], of symmetric weights W without negative ones; empty rows stay empty."""
    degree = np.asarray(weights.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(1.0, np.sqrt(degree), where=degree > 0, out=np.zeros_like(degree)).astype(np.float32)
    result = weights.tocsr().astype(np.float32)
    result.data *= np.repeat(scale, np.diff(result.indptr)) * scale[result.indices]
    return result


def propagate(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    neighbors: int = 15,
    power: float = 3.0,
    alpha: float = 0.95,
    steps: int | None = 40,
    class_balance: ClassBalance = "uniform",
) -> np.ndarray:
    """Class probabilities of all rows, from the labels of a few: label spreading over the graph of nearest neighbors.

    Features are normalized first (`hf_ssl.features.normalize`), so give them as the encoder made them. To spread other
    labels over the same features, build the `Graph` once.

    Args:
        features: [N, D], real numbers; a row that is not finite is connected to nothing.
        labels: integers [N]: the class, 0..C-1, or -1 for unlabeled.
        num_classes: C, at least 1.
        neighbors: per row, at least 1.
        power: of the cosines, above 0; see `affinity`.
        alpha, steps, class_balance: see `Graph.propagate`.

    Returns:
        float32 [N, C]; every row sums to 1.

    Raises:
        ValueError: if labels do not fit to features and classes, if there is no label at all, or for a setting
            outside of its range.

    Example:
        >>> features = np.array([[2.0, 0.1], [2.0, 0.3], [0.1, 2.0], [0.4, 2.0]])
        >>> propagate(features, np.array([0, -1, 1, -1]), num_classes=2, neighbors=1).round(2).tolist()
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]

    Note:
        Accuracy on the unlabeled rows in percent, mean and standard deviation of 5 draws of the labels, measured on
        4,000 texts of AG News (all-MiniLM-L6-v2, mean of 64 tokens) and 5,000 images of CIFAR-10 (MobileNetV1 0.25,
        128 pixels):

        | | AG News, 4 labels | 40 | 200 | CIFAR-10, 10 labels | 40 | 250 |
        | --- | --- | --- | --- | --- | --- | --- |
        | the defaults | 71.6 ± 7.2 | 84.4 ± 1.6 | 87.5 ± 0.7 | 43.7 ± 9.7 | 58.8 ± 2.2 | 66.5 ± 0.9 |
        | class_balance=None | 67.8 ± 7.4 | 83.0 ± 2.9 | 87.4 ± 0.7 | 40.9 ± 9.1 | 56.0 ± 3.1 | 65.0 ± 1.2 |
        | max(W, W^T) | 71.6 ± 6.8 | 84.3 ± 1.5 | 87.5 ± 0.5 | 43.4 ± 9.5 | 58.5 ± 2.5 | 66.5 ± 0.8 |
        | mean not subtracted | 70.9 ± 7.3 | 83.5 ± 2.2 | 87.5 ± 0.7 | 42.9 ± 9.7 | 58.4 ± 2.1 | 66.3 ± 0.5 |
        | steps=None | 71.6 ± 7.2 | 84.4 ± 1.6 | 87.5 ± 0.7 | 43.7 ± 9.7 | 58.8 ± 2.2 | 66.6 ± 0.9 |
        | alpha=0.9 | 70.1 ± 7.0 | 83.2 ± 1.7 | 86.9 ± 0.8 | 43.5 ± 9.3 | 58.3 ± 2.3 | 66.5 ± 0.8 |

        40 steps are as good as the exact solution. Conjugate gradients would need fewer, but their error is relative
        to the largest entries, and rows far from any label, whose entries are small, are scaled up to a sum of 1. The
        steps here add and multiply numbers that are not negative, so small entries are as exact as large ones.

        Label spreading is Zhou et al. 2003, "Learning with Local and Global Consistency"; cosines to the power of 3
        on few neighbors are Iscen et al. 2019, "Label Propagation for Deep Semi-supervised Learning" (arXiv
        1904.04717).
    """
    check_labels(labels, len(features), num_classes)
    graph = Graph.build(features, neighbors=neighbors, power=power)
    return graph.propagate(labels, num_classes=num_classes, alpha=alpha, steps=steps, class_balance=class_balance)


@dataclass(frozen=True)
class Graph:
    """A graph over a pool of examples, made once and used for any labels.

    Args:
        weights: P, `scipy.sparse.csr_matrix` [N, N], symmetric, not negative, its eigenvalues in [-1, 1]; as
            `affinity` and `normalize_graph` make it.

    Example:
        >>> graph = Graph.build(np.array([[2.0, 0.1], [2.0, 0.3], [0.1, 2.0], [0.4, 2.0]]), neighbors=1)
        >>> graph.propagate(np.array([0, -1, 1, -1]), num_classes=2).argmax(axis=1).tolist()
        [0, 0, 1, 1]
        >>> graph.propagate(np.array([-1, 1, -1, 0]), num_classes=2).argmax(axis=1).tolist()
        [1, 1, 0, 0]
    """

    weights: Any

    @classmethod
    def build(
        cls, features: np.ndarray, *, neighbors: int = 15, power: float = 3.0, exact: bool | None = None
    ) -> "Graph":
        """The graph of features [N, D], normalized first (`hf_ssl.features.normalize`); arguments as of `affinity`."""
        return cls(affinity(normalize(features), neighbors, power, exact=exact))

    def __len__(self) -> int:
        return self.weights.shape[0]

    def propagate(
        self,
        labels: np.ndarray,
        *,
        num_classes: int,
        alpha: float = 0.95,
        steps: int | None = 40,
        class_balance: ClassBalance = "uniform",
    ) -> np.ndarray:
        """Class probabilities [N, C] of all rows, float32, from the labels of a few.

        F = alpha P F + (1 - alpha) Y, `steps` times from F = Y, the labels as rows of zeros and a one.

        Args:
            labels: integers [N]: the class, 0..C-1, or -1 for unlabeled.
            num_classes: C, at least 1.
            alpha: share that comes from the neighbors, in (0, 1); the rest from a row's own label.
            steps: at least 1; None takes as many as the exact solution needs, 315 if alpha is 0.95.
            class_balance: share of each class among all rows that the result is brought towards: "uniform", "labels"
                (that of the labels), an array [C], or None for no change. Classes without a label have no part in it.

        Rows that no label reaches get these shares (the same for all classes with None).

        Raises:
            ValueError: as `hf_ssl.features.propagate`.
        """
        check_labels(labels, len(self), num_classes)
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha}; 0.95 is usual")
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}; 40 is usual, None finds the exact solution")
        if steps is None:
            # Each step leaves alpha of the difference to the exact solution.
            steps = math.ceil(math.log(_TOLERANCE) / math.log(alpha))
        labels = np.asarray(labels)
        shares = class_shares(class_balance, labels, num_classes)
        result = np.empty((len(labels), num_classes), dtype=np.float32)
        for start in range(0, num_classes, _CLASSES):
            classes = np.arange(start, min(start + _CLASSES, num_classes))
            result[:, classes] = self.spread((labels[:, None] == classes).astype(np.float32), alpha, steps)
        if class_balance is not None:
            _scale_columns(result, shares)
        _scale_rows(result, shares)
        return result

    def spread(self, targets: np.ndarray, alpha: float = 0.95, steps: int = 40) -> np.ndarray:
        """What reaches all rows from targets, float32 [N, K], each column by itself; settings as of `propagate`."""
        current = targets
        for _ in range(steps):
            current = self.weights @ current
            current *= np.float32(alpha)
            current += np.float32(1 - alpha) * targets
        return current


def class_shares(class_balance: ClassBalance, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of each class that `class_balance` of `Graph.propagate` means, float64 [C], summing to 1.

    Raises:
        ValueError: for an unknown name, or an array that is not C numbers from 0 with a sum above 0.

    Example:
        >>> class_shares("labels", np.array([0, 0, 0, 1, -1]), 2).tolist()
        [0.75, 0.25]
    """
    if class_balance is None or (isinstance(class_balance, str) and class_balance == "uniform"):
        return np.full(num_classes, 1 / num_classes)
    if isinstance(class_balance, str):
        if class_balance != "labels":
            raise ValueError(
                f"class_balance must be 'uniform', 'labels', None or one share per class, got {class_balance!r}"
            )
        counts = np.bincount(labels[labels >= 0], minlength=num_classes)
        return counts / counts.sum()
    shares = np.asarray(class_balance, dtype=np.float64)
    if shares.shape != (num_classes,) or not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
        raise ValueError(
            f"class_balance must be {num_classes} shares of at least 0, one per class, got {class_balance!r:.80}"
        )
    return shares / shares.sum()


def check_labels(labels: np.ndarray, size: int, num_classes: int) -> None:
    """Raise a ValueError that shows what is wrong, unless labels are integers [N] in -1..C-1, not all -1."""
    labels = np.asarray(labels)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if labels.shape != (size,):
        raise ValueError(f"labels must be one integer per row of features, got shape {labels.shape} for {size} rows")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {labels.dtype}; number the classes, and use -1 for unlabeled")
    wrong = np.flatnonzero((labels < -1) | (labels >= num_classes))
    if len(wrong):
        raise ValueError(
            f"labels must be in -1..{num_classes - 1}, got {labels[wrong[0]]} in row {wrong[0]}; use -1 for unlabeled"
        )
    if not (labels >= 0).any():
        raise ValueError(f"labels must hold at least one label, got -1 in all {size} rows; label an example per class")


def _scale_columns(result: np.ndarray, shares: np.ndarray) -> None:
    """Bring the sums of the columns into the relation of `shares`, in place; columns of zeros stay zero."""
    sums = result.sum(axis=0, dtype=np.float64)
    result *= np.divide(shares, sums, where=sums > 0, out=np.zeros_like(sums)).astype(np.float32)


def _scale_rows(result: np.ndarray, shares: np.ndarray) -> None:
    """Divide each row by its sum, in place; rows of zeros become `shares`."""
    sums = result.sum(axis=1, dtype=np.float64)
    empty = sums == 0
    result /= np.where(empty, 1.0, sums).astype(np.float32)[:, None]
    result[empty] = shares
