"""Seven numbers that say how good a classifier is without a label (V-PET, arXiv 2503.09707).

    features ── scaled to length 1 ──┬── singular values ───────────────────────────── rankme
                                     └── k-means with C clusters ──┬── how apart ───── chi
    logits ──┬── classes ──────────────────────── the same as these ┴── as classes? ── ami, ari, v_measure, fmi
             └── probabilities ── sure, and of all classes ─────────────────────────── bnm

More is better in all of them. They do not see the labels that a model was trained with: one that has learned these by
heart and nothing else has clusters and classes that do not fit each other.
"""

import numpy as np
from sklearn import metrics
from sklearn.cluster import KMeans

# In the order of the tables.
METRICS = ("rankme", "ami", "ari", "v_measure", "fmi", "chi", "bnm")
_AGREEMENTS = {
    "ami": metrics.adjusted_mutual_info_score,
    "ari": metrics.adjusted_rand_score,
    "v_measure": metrics.v_measure_score,
    "fmi": metrics.fowlkes_mallows_score,
}
# Added to each share of the singular values (RankMe, arXiv 2210.02885, eq. 3).
_EPSILON = 1e-7


def unit_length(features: np.ndarray) -> np.ndarray:
    """Rows divided by their Euclidean lengths, float64 [N, D]; rows of zeros stay.

    Example:
        >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    features = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths == 0, 1.0, lengths)


def rankme(features: np.ndarray) -> float:
    """How many directions features use: exp of the entropy of their singular values (RankMe, arXiv 2210.02885).

    Args:
        features: [N, D], of length 1.

    Returns:
        from 1, if all rows are one vector, to min(N, D).

    Example:
        >>> round(rankme(np.eye(4)), 4), round(rankme(np.ones((4, 4))), 4)
        (4.0, 1.0)
    """
    values = np.linalg.svd(np.asarray(features, dtype=np.float64), compute_uv=False)
    shares = values / max(values.sum(), np.finfo(np.float64).tiny) + _EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def bnm(logits: np.ndarray) -> float:
    """Nuclear norm of the probabilities over the number of examples (batch nuclear-norm, arXiv 2003.12237).

    It is large if a classifier is sure of what it says, and says every class.

    Args:
        logits: [N, C].

    Example:
        >>> sure, alike = np.array([[50.0, 0.0], [0.0, 50.0]]), np.array([[50.0, 0.0], [50.0, 0.0]])
        >>> round(bnm(sure), 4), round(bnm(alike), 4), round(bnm(np.zeros((2, 2))), 4)
        (1.0, 0.7071, 0.5)
    """
    logits = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return float(np.linalg.svd(probabilities, compute_uv=False).sum() / len(logits))


def clustered(features: np.ndarray, num_classes: int, seed: int = 0) -> np.ndarray:
    """The cluster [N] of each row by k-means.

    Args:
        features: [N, D], of length 1.
        num_classes: how many clusters, C.
        seed: of the ten starts, of which the best is taken.
    """
    return KMeans(num_classes, n_init=10, random_state=seed).fit(features).labels_


def label_free_scores(
    features: np.ndarray, logits: np.ndarray, *, clusters: np.ndarray | None = None, seed: int = 0
) -> dict[str, float]:
    """The seven numbers of one model, by the names in `METRICS`.

    Args:
        features: [N, D], what the model's classification head reads of N examples without a label.
        logits: [N, C], what it answers.
        clusters: of the features [N], from a k-means of your own; by default `clustered` finds C of them.
        seed: of k-means.

    Raises:
        ValueError: if the shapes do not fit together, a number is not finite, or there are not more examples than
            classes.

    Note:
        A model whose features are one point has no clusters: its `chi` is 0, the least.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = np.arange(60) % 3
        >>> features = np.eye(3)[truth] + 0.1 * rng.normal(size=(60, 3))
        >>> good, bad = (label_free_scores(features, 9 * np.eye(3)[classes]) for classes in (truth, truth[::-1] // 2))
        >>> good["ari"], good["ami"] > bad["ami"], good["bnm"] > bad["bnm"]
        (1.0, True, True)
    """
    features, logits = np.asarray(features), np.asarray(logits)
    if features.ndim != 2 or logits.ndim != 2 or len(features) != len(logits):
        raise ValueError(
            f"features and logits must be matrices [N, D] and [N, C], got {features.shape} and {logits.shape}; give "
            "those of the same examples"
        )
    if not (np.isfinite(features).all() and np.isfinite(logits).all()):
        raise ValueError("features and logits must be finite, got others; leave examples out that cannot be read")
    if len(features) <= logits.shape[1]:
        raise ValueError(
            f"there must be more examples than the {logits.shape[1]} classes, got {len(features)}; give more"
        )
    features = unit_length(features)
    if clusters is None:
        clusters = clustered(features, logits.shape[1], seed)
    classes = logits.argmax(axis=1)
    agreements = {name: float(measure(classes, clusters)) for name, measure in _AGREEMENTS.items()}
    apart = metrics.calinski_harabasz_score(features, clusters) if len(np.unique(clusters)) > 1 else 0.0
    return {"rankme": rankme(features), **agreements, "chi": float(apart), "bnm": bnm(logits)}
