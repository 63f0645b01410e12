"""Examples that are nearly the same: a photograph made brighter, a text with a word changed, a recording made quieter.

How alike two different examples are depends on the encoder and on the data: scanned digits resemble each other more
than photographs do. So two examples count as nearly the same if they are much nearer to each other than examples of
this dataset usually are to their neighbors (`least_similarity`).
"""

import numpy as np

from ..graph.neighbors import nearest_neighbors
from ..graph.normalization import normalize, pool_mean

# The least cosine of a pair on any data; and how much nearer than usual it must be.
_LEAST, _NEARER = 0.9, 8.0
# What is usual: the cosine with the neighbor of this rank, which is no copy unless there are ten of everything, in the
# middle of this many examples.
_RANK, _SAMPLE = 10, 500
# Rows that are compared with all others at once.
_BLOCK = 1_024


def near_duplicates(
    features: np.ndarray, other: np.ndarray | None = None, similarity: float | None = None
) -> list[tuple[int, int, float]]:
    """Each row with its most similar other row, if the two are nearly the same; the most similar pair first.

    Of three copies two pairs are found, so that N rows make at most N pairs. Rows that are not finite have none.

    Args:
        features: [N, D], real numbers, as `FeatureBank.encode` makes them.
        other: [M, D], to find the most similar row in; the other rows of `features` if None. Both are compared after
            the mean of all is subtracted (`hf_ssl.features.normalize`): rows that are all alike are not found.
        similarity: the least cosine of a pair, in (0, 1]; `least_similarity` of all rows if None.

    Returns:
        (row in `features`, row in `other`, cosine) per pair; without `other` each pair once, the smaller row first.
        All pairs are compared; without `other` and above 100,000 rows as `nearest_neighbors` does it.

    Raises:
        ValueError: if `similarity` is not in (0, 1], or the shapes do not fit.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 32))
        >>> features[70] = features[20] + 0.01
        >>> [(row, same, round(cosine, 2)) for row, same, cosine in near_duplicates(features)]
        [(20, 70, 1.0)]
    """
    if similarity is not None and not 0 < similarity <= 1:
        raise ValueError(f"similarity must be in (0, 1], got {similarity}; leave it out to find it from the data")
    features = np.asarray(features)
    every = features if other is None else np.concatenate([np.asarray(other), features])
    if len(features) == 0 or len(every) < 2 or not np.isfinite(every).all(axis=1).any():
        return []
    every = np.nan_to_num(normalize(every, pool_mean(every)))
    least = _usual(every) if similarity is None else similarity
    if other is None:
        nearest, cosines = (found[:, 0] for found in nearest_neighbors(every, 1))
        rows = np.arange(len(every))
        pairs = {(min(pair), max(pair)): cosine for *pair, cosine in zip(rows, nearest, cosines, strict=True)}
    else:
        nearest, cosines = _nearest_in(every[len(other) :], every[: len(other)])
        pairs = {(row, place): cosine for row, (place, cosine) in enumerate(zip(nearest, cosines, strict=True))}
    found = [(int(row), int(place), float(cosine)) for (row, place), cosine in pairs.items() if cosine >= least]
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def least_similarity(features: np.ndarray) -> float:
    """The cosine from which on two rows are nearly the same, in [0.9, 1].

    It leaves a pair an eighth of the distance, 1 - cosine, that examples usually have from their tenth neighbor: the
    median of 500 rows drawn at random.

    Args:
        features: [N, D], of a pool; with ten rows or fewer it is 0.9.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> photographs = rng.normal(size=(500, 32))
        >>> digits = np.eye(32)[rng.integers(0, 10, 500)] + 0.01 * rng.normal(size=(500, 32))
        >>> least_similarity(photographs) < 0.95, least_similarity(digits) > 0.99
        (True, True)
    """
    features = np.asarray(features)
    if len(features) < 2 or not np.isfinite(features).all(axis=1).any():
        return _LEAST
    return _usual(np.nan_to_num(normalize(features, pool_mean(features))))


def _usual(normalized: np.ndarray) -> float:
    """`least_similarity` of features that are normalized already."""
    if len(normalized) <= _RANK:
        return _LEAST
    drawn = np.sort(np.random.default_rng(0).permutation(len(normalized))[:_SAMPLE])
    # The nearest of all rows is the row itself.
    kth = [np.partition(normalized[row] @ normalized.T, -_RANK - 1)[-_RANK - 1] for row in drawn]
    return max(_LEAST, 1 - (1 - float(np.median(kth))) / _NEARER)


def _nearest_in(rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar of `others` for each row: positions [N] and cosines [N]."""
    if len(others) == 0:
        return np.zeros(len(rows), dtype=int), np.full(len(rows), -1.0)
    nearest, cosines = np.zeros(len(rows), dtype=int), np.full(len(rows), -1.0, dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        for begin in range(0, len(others), _BLOCK):
            tile = rows[block] @ others[begin : begin + _BLOCK].T
            best = tile.argmax(axis=1)
            values = tile[np.arange(len(tile)), best]
            better = values > cosines[block]
            nearest[block][better], cosines[block][better] = best[better] + begin, values[better]
    return nearest, np.clip(cosines, -1, 1)
