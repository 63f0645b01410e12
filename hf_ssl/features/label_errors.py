"""Which of a few labels look wrong: each is judged by all the others, before any training.

    features [N, D] -- Graph --> how much each label reaches each labeled example
                                   |
            its own label left out +--> class probabilities [L, C] -- fit --> temperature T, share e of wrong labels
                                   ^                                                |
                                   |                       Bayes: P(wrong | label, probabilities) [L]
                                   +-- labels count as far as they are right -------+ --> LabelError

Confident learning (Northcutt et al. 2021, arXiv 1911.00068) accuses a label if another class is likelier than usual.
That suits thousands of labels; of 40 right ones it accused every third photograph's and every tenth text's, because a
classifier of 40 labels is wrong that often. Here a label is taken for wrong only if that is likelier than that the
others misjudge it: a right label is drawn from the probabilities at a temperature, a wrong one from all other classes
alike, and both the temperature and the share of wrong labels are those that make the given labels likeliest.
`examples/benchmarks/label_errors.py` measures both.
"""

from dataclasses import dataclass

import numpy as np

from ..graph.spreading import Graph
from .balance import shrunken_shares

# The probability of being wrong from which a label is accused.
SURE = 0.6
# Rows of the pool that take part at most.
_POOL = 5_000
# Labels are left out one by one up to this many, and above that in groups of one class, of which every class keeps
# several.
_GROUPS, _LEAST_GROUPS = 256, 5
# How often labels are judged again, each time with doubtful ones counting less.
_ROUNDS = 3
# Temperatures and shares of wrong labels that are tried. Before any label is seen, the logarithm of the temperature is
# normal with deviation `_SPREAD` (the graph's own probabilities fit), and the share follows Beta(2, 20).
_TEMPERATURES = np.exp(np.linspace(-2, 3, 31))
_SHARES = np.array([0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3])
_SPREAD, _PRIOR_WRONG, _PRIOR_RIGHT = 0.5, 1, 19
# Columns that are spread over the graph at once.
_COLUMNS = 64
_TINY = 1e-12


@dataclass(frozen=True)
class LabelError:
    """A label that looks wrong.

    Args:
        row: position of the example.
        given: its class.
        suggested: the class that the other labels make likeliest.
        probability: that the given label is wrong, in (0, 1).
    """

    row: int
    given: int
    suggested: int
    probability: float


def find_label_errors(features: np.ndarray, labels: np.ndarray, num_classes: int) -> list[LabelError]:
    """The labels that look wrong, the most suspicious first.

    The only label of a class cannot be judged, since nothing else says what the class looks like; with one label per
    class nothing is found. Nor are mistakes that agree with each other: if two of twenty dogs are labeled "wolf", the
    two classes seem to overlap.

    Args:
        features: [N, D], real numbers, of labeled examples and pool together, as `FeatureBank.encode` makes them. Of
            the pool 5,000 rows take part, drawn at random, the same ones each time.
        labels: classes [N], 0..C-1, and -1 for unlabeled.
        num_classes: C.

    Returns:
        those that are wrong with a probability of at least 0.6; often none.

    Raises:
        ValueError: if a label is not one of the classes, or shapes do not fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = np.repeat([0, 1], 100)
        >>> features = np.eye(8)[truth] + 0.1 * rng.normal(size=(200, 8))
        >>> labels = np.where(np.arange(200) % 10 == 0, truth, -1)
        >>> labels[30] = 1
        >>> [(error.row, error.given, error.suggested) for error in find_label_errors(features, labels, 2)]
        [(30, 1, 0)]
    """
    labels = np.asarray(labels)
    if len(labels) != len(features):
        raise ValueError(f"labels must be one per row of features, got {len(labels)} for {len(features)} rows")
    if len(labels) and labels.max() >= num_classes:
        raise ValueError(f"labels must be below num_classes, {num_classes}, got {labels.max()}; count the classes")
    known = np.flatnonzero(labels >= 0)
    given = labels[known]
    counts = np.bincount(given, minlength=num_classes)
    judged = counts[given] > 1
    if (counts > 0).sum() < 2 or not judged.any():
        return []
    wrong, probabilities = _judge(np.asarray(features), labels, judged, num_classes)
    probabilities[np.arange(len(known)), given] = -1
    suggested = probabilities.argmax(axis=1)
    accused = np.flatnonzero(judged & (wrong >= SURE))
    return [
        LabelError(int(known[place]), int(given[place]), int(suggested[place]), float(wrong[place]))
        for place in accused[np.argsort(-wrong[accused], kind="stable")]
    ]


def _judge(
    features: np.ndarray, labels: np.ndarray, judged: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The probability [L] that each label is wrong, and what the others say of its example [L, C].

    Args:
        judged: which labels are not the only ones of their class, [L].
    """
    known, pool = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    if len(pool) > _POOL:
        pool = np.sort(np.random.default_rng(0).choice(pool, _POOL, replace=False))
    graph = Graph.build(features[np.concatenate([known, pool])])
    given = labels[known]
    groups = _groups(given)
    wrong = np.zeros(len(known))
    for _ in range(_ROUNDS + 1):
        probabilities = _held_out(graph, given, groups, 1 - wrong, num_classes)
        wrong[judged], probabilities[judged] = _doubt(probabilities[judged], given[judged])
    return wrong, probabilities


def _groups(given: np.ndarray) -> np.ndarray:
    """The group [L] with which each label is left out: alone, or with others of its class if there are many labels."""
    random, size = np.random.default_rng(0), -(-len(given) // _GROUPS)
    groups, start = np.empty(len(given), dtype=int), 0
    for number in np.unique(given):
        members = random.permutation(np.flatnonzero(given == number))
        parts = max(-(-len(members) // size), min(len(members), _LEAST_GROUPS))
        groups[members] = start + np.arange(len(members)) % parts
        start += parts
    return groups


def _held_out(
    graph: Graph, given: np.ndarray, groups: np.ndarray, weights: np.ndarray, num_classes: int
) -> np.ndarray:
    """Class probabilities [L, C] of the labeled examples, the graph's first rows, from labels of other groups alone.

    It is `Graph.propagate`, whose result is a sum over the labels, without the summands of an example's own group.

    Args:
        given: classes [L].
        groups: [L], each of one class.
        weights: how much each label counts, [L], in [0, 1].
    """
    size, rows = groups.max() + 1, np.arange(len(given))
    reach, mass = np.empty((len(given), size)), np.empty(size)
    for start in range(0, size, _COLUMNS):
        seeds = np.zeros((len(graph), min(_COLUMNS, size - start)), dtype=np.float32)
        inside = (groups >= start) & (groups < start + seeds.shape[1])
        seeds[rows[inside], groups[inside] - start] = weights[inside]
        spread = graph.spread(seeds)
        reach[:, start : start + seeds.shape[1]] = spread[: len(given)]
        mass[start : start + seeds.shape[1]] = spread.sum(axis=0, dtype=np.float64)
    own_reach, own_mass = reach[rows, groups], mass[groups]
    class_of = np.zeros((size, num_classes))
    class_of[groups, given] = 1
    sums, masses = reach @ class_of, np.tile(mass @ class_of, (len(given), 1))
    sums[rows, given] -= own_reach
    masses[rows, given] -= own_mass
    # Differences of sums: what is left of nothing is not exactly nothing.
    shares = np.where(masses > _TINY, np.maximum(sums, 0) / np.maximum(masses, _TINY), 0.0)
    shares *= shrunken_shares(np.bincount(given, minlength=num_classes))
    total = shares.sum(axis=1, keepdims=True)
    return np.where(total > 0, shares / np.maximum(total, _TINY**2), 1 / num_classes)


def _doubt(probabilities: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How probably each label is wrong, [L], and the class probabilities at the fitted temperature, [L, C]."""
    others = probabilities.shape[1] - 1
    logits, rows = np.log(np.maximum(probabilities, _TINY)), np.arange(len(given))
    prior = _PRIOR_WRONG * np.log(_SHARES) + _PRIOR_RIGHT * np.log(1 - _SHARES)
    best = -np.inf
    for temperature in _TEMPERATURES:
        tempered = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        tempered /= tempered.sum(axis=1, keepdims=True)
        own = tempered[rows, given]
        likelihood = np.log(np.outer(1 - _SHARES, own) + np.outer(_SHARES / others, 1 - own)).sum(axis=1) + prior
        likelihood -= np.log(temperature) ** 2 / (2 * _SPREAD**2)
        if likelihood.max() > best:
            best, share = likelihood.max(), _SHARES[likelihood.argmax()]
            false = share / others * (1 - own)
            result = false / (false + (1 - share) * own), tempered
    return result
