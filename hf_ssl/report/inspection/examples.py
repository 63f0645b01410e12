"""The numbers of single examples, and which of them a page of limited size shows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...features.foreignness import Foreignness


def disagreement(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """How far methods are apart, in 0..1 [N]: the Jensen-Shannon divergence, divided by its largest value.

    Args:
        probabilities: of M methods, each [N, C]. The largest value is log M, or log C if that is less.

    Example:
        >>> disagreement([np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])]).tolist()
        [1.0, 0.0]
    """
    stacked = np.stack(probabilities).astype(np.float64)
    largest = np.log(min(len(stacked), stacked.shape[2]))
    if largest == 0:
        return np.zeros(stacked.shape[1])
    found = _entropy(stacked.mean(axis=0)) - _entropy(stacked).mean(axis=0)
    return np.clip(found / largest, 0.0, 1.0)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1)


def distance(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How far probabilities [N, C] have moved, in 0..1 [N]: the total variation distance.

    Example:
        >>> distance(np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])).round(2).tolist()
        [0.7]
    """
    return np.abs(np.asarray(first, dtype=np.float64) - last).sum(axis=1) / 2


def foreign_ranks(features: np.ndarray, labels: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """How foreign examples are to the labels, as a rank in 0..1 [N]: the share of the pool that is nearer to them.

    Args:
        features: [N, D] of all examples.
        labels: classes [N] of the labeled examples, -1 for all others. Labeled examples get 0.
        pool: which examples are of the pool, bool [N].

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
        >>> foreign_ranks(features, np.array([0, -1, -1, -1]), np.array([False, True, True, True])).round(2).tolist()
        [0.0, 0.0, 0.33, 0.67]
    """
    if not (labels >= 0).any() or not pool.any():
        return np.zeros(len(features))
    scores = Foreignness.fit(features, labels).scores(features)
    rank = np.searchsorted(np.sort(scores[pool]), scores, side="left") / pool.sum()
    return np.where(labels >= 0, 0.0, rank)


def places_of(shown: Mapping[str, int], most: int) -> dict[str, int]:
    """How many examples of each part are shown: of labels and test set up to a quarter each, of the pool the rest.

    Args:
        shown: part -> how many there are.
        most: of all together.

    Example:
        >>> places_of({"labeled": 40, "pool": 50_000, "test": 10_000}, 10_000)
        {'labeled': 40, 'pool': 7460, 'test': 2500}
        >>> places_of({"labeled": 40, "pool": 60}, 1_000)
        {'labeled': 40, 'pool': 60}
    """
    found = {part: min(size, most // 4) for part, size in shown.items() if part != "pool"}
    if "pool" in shown:
        found["pool"] = min(shown["pool"], most - sum(found.values()))
    return {part: found[part] for part in shown}


def first_shown(orders: Sequence[np.ndarray], size: int, seed: int = 0) -> Iterator[int]:
    """Every one of `size` examples once: the first of each order, the second of each, ..., then the rest at random.

    Args:
        orders: positions, the most interesting first.

    Example:
        >>> list(first_shown([np.array([4, 1]), np.array([2, 4])], 5))[:3]
        [4, 2, 1]
    """
    seen = np.zeros(size, dtype=bool)
    for turn in range(max(map(len, orders), default=0)):
        for order in orders:
            if turn < len(order) and not seen[order[turn]]:
                seen[order[turn]] = True
                yield int(order[turn])
    yield from map(int, np.random.default_rng(seed).permutation(np.flatnonzero(~seen)))
