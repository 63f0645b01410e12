"""Which examples to label next, chosen on the features of a frozen encoder.

    typical   the densest example of each of the largest clusters that hold no label     for the first labels
    cover     examples whose neighborhoods together hold as much of the pool as can be    for the first labels
    margin    examples between two classes, of different kinds                            once each class has a few
    random    any examples: a sample of the pool                                          to compare with, or to test

Only margin needs labels; typical and cover use those that there are. The answer does not depend on the order of the
rows: they are sorted before anything random happens.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from ..graph.neighbors import nearest_neighbors
from ..graph.normalization import normalize
from .classifier import FeatureClassifier

# The column of a file of picked examples that holds their order. Labels of a file with the first are no sample of the
# pool, those of a file with the second are: how often a class has a label then tells how frequent it is.
PICK_ORDER, DRAW_ORDER = "pick_order", "draw_order"
WAYS = ("typical", "cover", "margin", "random")
# Of a larger pool this many rows, drawn at random, take part: all pairs of them are compared.
MOST_ROWS = 20_000
# TypiClust: most clusters, neighbors whose distance tells how typical a row is, and the number of clusters above which
# they are found in parts of the rows.
_CLUSTERS, _NEIGHBORS, _EXACT_CLUSTERS = 500, 20, 50
# ProbCover: share of the balls that must not reach into another cluster, and rows whose balls are looked at.
_PURITY, _LOOKED_AT = 0.95, 5_000
# Rows that are compared with all others at once (a tile of 20 MB), and those that are counted again for a pick.
_TILE, _COUNTED = 256, 32
# Margin: the picks are spread over this many times as many of the most uncertain rows.
_UNCERTAIN = 5


def pick(
    features: np.ndarray,
    n: int,
    labels: np.ndarray | None = None,
    by: str = "typical",
    *,
    num_classes: int | None = None,
    probabilities: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The rows that are worth a label, in the order in which they should be labeled.

    Args:
        features: [N, D], of the pool and of the labeled examples. Rows that are not finite are never picked.
        n: how many, at least 1. There may be fewer: of equal rows one is picked at most, and none that equals a
            labeled row.
        labels: classes, int [N], -1 for unlabeled; None if nothing is labeled.
        by: "typical" is TypiClust (arXiv 2202.02794): with L labels, the rows are divided into L + n clusters (at most
            500); of those with the fewest labels the largest comes first, and its densest row is picked, by the mean
            distance to its 20 nearest neighbors in the cluster. "cover" is ProbCover (arXiv 2205.11320): each pick is
            the row with the most uncovered rows around it, and covers them. The radius is the largest with which 95 %
            of the balls stay in one of `num_classes` clusters; once everything is covered it is halved. "margin":
            rows whose two most probable classes are closest; they are taken from different parts of the 5 n most
            uncertain rows. "random": any rows, all equally likely.
        num_classes: for "cover"; the number of classes among the labels, or else n, if None.
        probabilities: for "margin", [N, C], of a trained model; those that a `FeatureClassifier` of the labels gives
            if None.
        seed: of random picks, of the starts of clusters, and of the 20,000 rows that take part if there are more.

    Returns:
        Positions, int64 [at most n].

    Raises:
        ValueError: in one line, if shapes or settings do not fit, or "margin" has no labels of two classes.

    Example:
        >>> near = np.array([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [1.0, 0.0, 0.1], [1.0, 0.1, 0.1]])
        >>> features = np.concatenate([near, near[:3, ::-1]])  # four rows around one place, three around another
        >>> pick(features, 2, by="cover", num_classes=2).tolist()
        [0, 4]
    """
    features = np.asarray(features, dtype=np.float32)
    labels = _checked(features, n, labels, by, probabilities)
    places, classes = _distinct(features, labels, max(MOST_ROWS, 10 * n), seed)
    free = classes < 0
    n = min(n, int(free.sum()))
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    if by == "random":
        return places[np.random.default_rng(seed).choice(np.flatnonzero(free), n, replace=False)]
    if by == "margin":
        given = None if probabilities is None else np.asarray(probabilities, dtype=np.float64)[places]
        return places[_by_margin(features[places], classes, n, given, seed)]
    rows = normalize(features[places])
    if by == "typical":
        return places[_typical(rows, free, n, seed)]
    known = len(np.unique(classes[~free]))
    return places[_cover(rows, free, n, num_classes or (known if known > 1 else n), seed)]


def _checked(
    features: np.ndarray, n: int, labels: np.ndarray | None, by: str, probabilities: np.ndarray | None
) -> np.ndarray:
    """The labels, -1 for all if there are none."""
    if features.ndim != 2:
        raise ValueError(f"features must be a matrix [N, D], got shape {features.shape}; stack one vector per example")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}; 40 is a good start")
    if by not in WAYS:
        raise ValueError(f"by must be one of {', '.join(WAYS)}, got {by!r}")
    labels = np.full(len(features), -1) if labels is None else np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(f"labels must have shape ({len(features)},), got {labels.shape}; give -1 for unlabeled rows")
    if probabilities is not None and (np.ndim(probabilities) != 2 or len(probabilities) != len(features)):
        raise ValueError(f"probabilities must have {len(features)} rows, got shape {np.shape(probabilities)}")
    if by == "margin" and probabilities is None and len(np.unique(labels[labels >= 0])) < 2:
        raise ValueError(
            "by 'margin' needs labels of at least two classes; label a few rows picked by 'typical' first"
        )
    return labels


def _distinct(features: np.ndarray, labels: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places [M] of different finite rows in an order of their own, and their classes [M], -1 if unlabeled.

    The order is that of the rows' bytes: the same, however the rows are given. All labeled rows are kept, and at most
    `most` unlabeled ones.
    """
    finite = np.flatnonzero(np.isfinite(features).all(axis=1))
    rows = np.ascontiguousarray(features[finite]) + np.float32(0)  # -0 becomes 0
    if not len(rows) or not rows.shape[1]:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    # Of several classes of one row the last, in whatever order they come.
    classes = np.full(len(first), -1)
    np.maximum.at(classes, group, labels[finite])
    kept = np.arange(len(first))
    free = kept[classes < 0]
    if len(free) > most:
        drawn = np.random.default_rng(seed).choice(free, most, replace=False)
        kept = np.sort(np.concatenate([kept[classes >= 0], drawn]))
    return finite[first[kept]], classes[kept]


def _clusters(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The cluster [N] of each row, by k-means."""
    count = min(count, len(rows))
    way = KMeans if count <= _EXACT_CLUSTERS else MiniBatchKMeans
    with warnings.catch_warnings():
        # Fewer different rows than clusters, for a computer's precision.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return way(count, n_init=1, random_state=seed).fit_predict(rows)


# ---- TypiClust ----


def _typical(rows: np.ndarray, free: np.ndarray, n: int, seed: int) -> np.ndarray:
    clusters = _clusters(rows, min(int((~free).sum()) + n, _CLUSTERS), seed)
    sizes = np.bincount(clusters)
    taken = np.bincount(clusters[~free], minlength=len(sizes))
    left: dict[int, Iterator[int]] = {}
    picked: list[int] = []
    open_ones = set(np.unique(clusters[free]).tolist())
    while len(picked) < n:
        cluster = min(open_ones, key=lambda each: (taken[each], -sizes[each], each))
        if cluster not in left:
            members = np.flatnonzero(clusters == cluster)
            order = members[np.argsort(-typicality(rows[members]), kind="stable")]
            left[cluster] = iter(order[free[order]].tolist())
        found = next(left[cluster], None)
        if found is None:
            open_ones.remove(cluster)
            continue
        picked.append(found)
        taken[cluster] += 1
    return np.array(picked, dtype=np.int64)


def typicality(rows: np.ndarray) -> np.ndarray:
    """How dense the rows [N, D], of length 1, lie around each: 1 / the mean distance to its 20 nearest; [N].

    Example:
        >>> line = np.array([[np.cos(angle), np.sin(angle)] for angle in (0.0, 0.1, 0.2, 1.0)])
        >>> int(typicality(line).argmax())
        1
    """
    if len(rows) < 2:
        return np.zeros(len(rows))
    _, cosines = nearest_neighbors(rows, _NEIGHBORS)
    distances = np.sqrt(np.maximum(2 - 2 * cosines.astype(np.float64), 0))
    return 1 / (distances.mean(axis=1) + 1e-5)


# ---- ProbCover ----


def _cover(rows: np.ndarray, free: np.ndarray, n: int, num_classes: int, seed: int) -> np.ndarray:
    nearness = pure_nearness(rows, _clusters(rows, num_classes, seed), seed)
    centers = np.flatnonzero(~free)
    picked: list[int] = []
    while len(picked) < n:
        found = greedy_cover(rows, nearness, n - len(picked), centers, free)
        picked += found.tolist()
        centers = np.concatenate([centers, found])
        free = free.copy()
        free[found] = False
        if not len(found) and nearness >= 1 - 1e-6:
            # What is left cannot be told from what is labeled.
            picked += np.flatnonzero(free)[: n - len(picked)].tolist()
        # Half the distance: the square of which is 2 - 2 cosine.
        nearness = 1 - (1 - nearness) / 4
    return np.array(picked, dtype=np.int64)


def pure_nearness(rows: np.ndarray, clusters: np.ndarray, seed: int = 0) -> float:
    """The cosine above which neighbors are in one ball: 95 % of the balls then hold one cluster only.

    Args:
        rows: [N, D], of length 1.
        clusters: int [N].
        seed: of the 5,000 rows whose balls are looked at, if there are more.

    Example:
        >>> angles = np.array([0.0, 0.1, 0.5, 0.6])
        >>> rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> bool(np.isclose(pure_nearness(rows, np.array([0, 0, 1, 1])), np.cos(0.4)))
        True
    """
    looked = np.arange(len(rows))
    if len(rows) > _LOOKED_AT:
        looked = np.sort(np.random.default_rng(seed).choice(len(rows), _LOOKED_AT, replace=False))
    highest = np.empty(len(looked), dtype=np.float32)
    for start in range(0, len(looked), _TILE):
        part = looked[start : start + _TILE]
        cosines = rows[part] @ rows.T
        cosines[clusters[part][:, None] == clusters[None, :]] = -1.0
        highest[start : start + _TILE] = cosines.max(axis=1)
    # The impure balls are those of the rows that come nearest to another cluster.
    return float(np.sort(highest)[::-1][int((1 - _PURITY) * len(looked))])


def greedy_cover(
    rows: np.ndarray, nearness: float, n: int, centers: np.ndarray, candidates: np.ndarray | None = None
) -> np.ndarray:
    """At most n rows, each with the most rows around it that none before it covers; of equal ones the first.

    A count can only fall as more is covered, so that an old one is a bound: few are counted again for each pick.

    Args:
        rows: [N, D], of length 1.
        nearness: a row covers itself and those whose cosine with it is above this.
        n: how many. There are fewer if everything is covered.
        centers: positions of rows that cover already.
        candidates: bool [N], which rows may be picked; all if None.

    Example:
        >>> angles = np.array([0.0, 0.1, 0.2, 1.0, 1.1])
        >>> rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> greedy_cover(rows, np.cos(0.15), 3, centers=np.array([], dtype=int)).tolist()
        [1, 3]
    """
    allowed = np.ones(len(rows), dtype=bool) if candidates is None else candidates
    covered = np.zeros(len(rows), dtype=bool)
    for center in centers:
        covered |= _around(rows, [center], nearness)[0]
    bound = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _TILE):
        part = np.arange(start, min(start + _TILE, len(rows)))
        bound[part] = _around(rows, part, nearness)[:, ~covered].sum(axis=1)
    bound[~allowed] = 0
    picked: list[int] = []
    while len(picked) < n and bound.any():
        sure = -1
        while sure < 0:
            # Stable: of equal bounds the first rows.
            best = np.argsort(-bound, kind="stable")[:_COUNTED]
            exact = _around(rows, best, nearness)[:, ~covered].sum(axis=1)
            bound[best] = exact
            top = int(np.argmax(bound))
            sure = top if top in best else -1
        if bound[sure] == 0:
            break
        picked.append(sure)
        covered |= _around(rows, [sure], nearness)[0]
        bound[sure] = 0
    return np.array(picked, dtype=np.int64)


def _around(rows: np.ndarray, places: np.ndarray | list[int], nearness: float) -> np.ndarray:
    """Which rows [K, N] the balls around K of them hold."""
    near = rows[places] @ rows.T > nearness
    near[np.arange(len(places)), places] = True
    return near


# ---- Margin ----


def _by_margin(
    features: np.ndarray, classes: np.ndarray, n: int, probabilities: np.ndarray | None, seed: int
) -> np.ndarray:
    """The least sure row of each of n clusters of the least sure rows, the least sure first."""
    if probabilities is None:
        probabilities = FeatureClassifier(class_balance="pool").fit(features, classes).label_distributions_
    best = np.sort(probabilities, axis=1)[:, -2:]
    margins = best[:, 1] - best[:, 0] if best.shape[1] == 2 else np.zeros(len(best))
    free = np.flatnonzero(classes < 0)
    unsure = free[np.argsort(margins[free], kind="stable")][: _UNCERTAIN * n]
    clusters = _clusters(normalize(features)[unsure], n, seed)
    _, first = np.unique(clusters, return_index=True)
    firsts = np.sort(first)
    others = np.setdiff1d(np.arange(len(unsure)), firsts)
    return unsure[np.concatenate([firsts, others])[:n]]
