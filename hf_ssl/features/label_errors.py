"""Which of a few labels look wrong: each is judged by the others, before any training.

labeled features -- probes, each label held out in turn --> probabilities -- given label likely? --> LabelError
"""

from dataclasses import dataclass

import numpy as np

from .normalization import normalize, pool_mean
from .probe import FREE, fit_probe, one_hot

# Parts that are held out in turn, and how often the labels are divided into parts anew.
_FOLDS, _REPEATS = 5, 4
# The share of wrong labels that is expected, and the probability from which a label is accused.
_WRONG, _SURE = 0.05, 0.5


@dataclass(frozen=True)
class LabelError:
    """A label that looks wrong.

    Args:
        row: position of the example.
        given: its class.
        suggested: the class that the other labels make most likely.
        probability: that the given label is wrong, in (0, 1).
    """

    row: int
    given: int
    suggested: int
    probability: float


def find_label_errors(features: np.ndarray, labels: np.ndarray, num_classes: int) -> list[LabelError]:
    """The labels that look wrong, the most suspicious first.

    Args:
        features: [N, D], real numbers, of labeled examples and pool.
        labels: classes [N], -1 for unlabeled.
        num_classes: C.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = np.repeat([0, 1], 20)
        >>> features = np.eye(8)[truth] + 0.1 * rng.normal(size=(40, 8))
        >>> labels = np.where(np.arange(40) == 3, 1, truth)
        >>> [(error.row, error.given, error.suggested) for error in find_label_errors(features, labels, 2)]
        [(3, 1, 0)]
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    known = np.flatnonzero(labels >= 0)
    if (counts > 0).sum() < 2:
        return []
    given = labels[known]
    probabilities = _held_out(normalize(features, pool_mean(features))[known], given, num_classes)
    own = probabilities[np.arange(len(known)), given]
    wrong = _WRONG / (num_classes - 1) * (1 - own)
    wrong = wrong / (wrong + (1 - _WRONG) * own)
    # The only label of its class cannot be judged: without it the class is unknown.
    accused = np.flatnonzero((wrong >= _SURE) & (counts[given] > 1))
    suggested = probabilities.argmax(axis=1)
    return [
        LabelError(int(known[place]), int(given[place]), int(suggested[place]), float(wrong[place]))
        for place in accused[np.argsort(-wrong[accused], kind="stable")]
    ]


def _held_out(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Probabilities [L, C] of labeled examples by probes that have not seen their labels."""
    random = np.random.default_rng(0)
    result = np.zeros((len(labels), num_classes))
    for _ in range(_REPEATS):
        part = np.empty(len(labels), dtype=int)
        start = 0
        for number in np.unique(labels):
            members = random.permutation(np.flatnonzero(labels == number))
            part[members] = (start + np.arange(len(members))) % _FOLDS
            start += len(members)
        for number in np.unique(part):
            out = part == number
            probe = fit_probe(features[~out], one_hot(labels[~out], num_classes), regularization=FREE)
            result[out] += probe.probabilities(features[out])
    return result / result.sum(axis=1, keepdims=True)
