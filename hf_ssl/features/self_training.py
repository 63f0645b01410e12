"""Self-training of a linear model: it teaches itself with the predictions that it is surest of."""

from collections.abc import Callable

import numpy as np

from .probe import Probe, fit_probe, one_hot


def self_train(
    features: np.ndarray,
    labels: np.ndarray,
    start: np.ndarray,
    balance: Callable[[np.ndarray], np.ndarray],
    *,
    rounds: int = 8,
    share: float = 0.8,
    regularization: float = 1.0,
    label_weight: float = 0.5,
) -> tuple[Probe, np.ndarray]:
    """Fit a probe to the labels and to ever more of the pool's most confident predictions.

    In round r of R the surest `share * r / R` of each predicted class count, as hard labels; the next round's
    predictions are those of the probe fitted to them.

    Args:
        features: [N, D], normalized.
        labels: classes [N], -1 for unlabeled.
        start: probabilities [N, C] of the first round.
        balance: brings probabilities [N, C] to the expected class shares.
        rounds: R, at least 1.
        share: in (0, 1].
        regularization: see `fit_probe`.
        label_weight: share of the weight that the labeled examples have together, in (0, 1).

    Returns:
        the last probe and its probabilities [N, C].
    """
    known = np.flatnonzero(labels >= 0)
    probabilities, probe = start, None
    for number in range(1, rounds + 1):
        chosen, classes = surest(balance(probabilities), share * number / rounds)
        rows = np.concatenate([known, chosen])
        weights = shared_weights(len(known), len(chosen), label_weight)
        targets = one_hot(np.concatenate([labels[known], classes]), start.shape[1])
        probe = fit_probe(features[rows], targets, weights, regularization=regularization, start=probe)
        probabilities = probe.probabilities(features)
    assert probe is not None, "there is at least one round"
    return probe, probabilities


def surest(probabilities: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M] and classes [M] of the most confident `share` of each predicted class, at least one of each.

    Example:
        >>> surest(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), 0.5)
        (array([0, 2]), array([0, 1]))
    """
    classes, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    chosen = []
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        members = members[np.argsort(-confidence[members], kind="stable")]
        chosen.append(members[: max(int(np.ceil(share * len(members))), 1)])
    rows = np.concatenate(chosen)
    return rows, classes[rows]


def shared_weights(num_labeled: int, num_unlabeled: int, label_weight: float) -> np.ndarray:
    """Weights [L + M] with mean 1 of L labeled examples, `label_weight` of the sum together, and M others."""
    total = num_labeled + num_unlabeled
    labeled = np.full(num_labeled, label_weight * total / num_labeled)
    unlabeled = np.full(num_unlabeled, (1 - label_weight) * total / num_unlabeled)
    return np.concatenate([labeled, unlabeled])
