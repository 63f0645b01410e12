"""How often each class is expected in the pool, and bringing predictions towards that.

Without an expectation, the class whose labels lie in the middle of the pool takes too much of it; with a wrong one, a
rare class is given examples of the common ones. So "auto" starts from equal shares and gives them up only for what the
labels or the pool say clearly:

    counts of the labels, unequal beyond chance  -> the labels' shares          (people who labeled what came)
    equal counts, but halves of the labels agree that the pool is unequal -> the pool's shares, as far as they agree

Labels of examples that were picked (`hf_ssl.features.picking`) are no sample of the pool: "pool" leaves the first out.
"""

from typing import Literal

import numpy as np

from ..graph.spreading import class_shares
from .probe import FREE, fit_probe, one_hot

ClassBalance = Literal["auto", "pool", "uniform", "labels"] | np.ndarray | None

# Halvings of the labels, and what of the agreement of two halves is not taken for a sign: on balanced pools of images,
# recordings and digits it was 0.00 to 0.04 with 4 and 10 labels per class, on pools with a ratio of 20 (images) and 10
# (texts) 0.06 to 0.23.
_HALVINGS, _NO_SIGN = 4, 0.05
# Steps of the estimate of the pool's shares.
_STEPS = 30


def expected_shares(
    class_balance: ClassBalance, features: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, float]:
    """The class shares [C] that `class_balance` means, and how strongly predictions are brought to them, in [0, 1].

    Args:
        class_balance: see `hf_ssl.features.FeatureClassifier`.
        features: [N, D], normalized.
        labels: classes [N], -1 for unlabeled.
        num_classes: C.

    Raises:
        ValueError: for an unknown name or an array of another size.
    """
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    if isinstance(class_balance, str) and class_balance == "auto":
        shares = shrunken_shares(counts)
    elif isinstance(class_balance, str) and class_balance == "pool":
        shares = np.full(num_classes, 1 / num_classes)
    else:
        return class_shares(class_balance, labels, num_classes), 0.0 if class_balance is None else 1.0
    if np.ptp(shares) == 0 and counts.min() >= 2:
        shares = shares_in_pool(features, labels, num_classes)
    return shares, 1.0


def shrunken_shares(counts: np.ndarray) -> np.ndarray:
    """The class shares [C] that label counts [C] make likely: between uniform and the counts' own shares.

    Counts that differ no more than chance makes them differ give uniform shares, clearly unequal ones nearly their
    own: the weight of the uniform shares is (1 - sum p^2) / ((n - 1) sum (1/C - p)^2), at most 1, for shares p of n
    labels. It is the James-Stein estimate of Hausser and Strimmer 2009 (arXiv 0811.3579).

    Example:
        >>> shrunken_shares(np.array([5, 4, 6])).round(2).tolist()
        [0.33, 0.33, 0.33]
        >>> shrunken_shares(np.array([60, 6, 3])).round(2).tolist()
        [0.87, 0.09, 0.05]
    """
    total, classes = int(counts.sum()), len(counts)
    shares = counts / total
    distance = np.square(1 / classes - shares).sum()
    if total < 2 or distance == 0:
        return np.full(classes, 1 / classes)
    weight = min((1 - np.square(shares).sum()) / ((total - 1) * distance), 1.0)
    return weight / classes + (1 - weight) * shares


def shares_in_pool(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The class shares [C] that the pool shows: between uniform and an estimate, as far as halves of the labels agree.

    Two probes, each on half of the labels, predict the pool. Where both find a class rare, it is; what only one of
    them finds is noise. With the products S of their deviations from 1/C and the noise N, half of their squared
    differences (both times C and summed over the classes), the estimate has the weight (S - 0.05) / (S + N).

    Args:
        features: [N, D], normalized.
        labels: classes [N], -1 for unlabeled, at least two labels per class.
        num_classes: C.

    Note:
        The estimate is the maximum of the likelihood over the shares, by expectation maximization on the probabilities
        of a probe that was fitted with equal weight per class: Saerens, Latinne and Decaestecker 2002.
    """
    known = np.flatnonzero(labels >= 0)
    # As many of each class: one with more labels is predicted more often, and by both halves alike.
    fewest = int(np.bincount(labels[known], minlength=num_classes).min())
    signal = noise = 0.0
    random = np.random.default_rng(0)
    draws = []
    for _ in range(_HALVINGS):
        drawn = [random.permutation(known[labels[known] == number])[:fewest] for number in range(num_classes)]
        halves = [[members[: fewest // 2] for members in drawn], [members[fewest // 2 :] for members in drawn]]
        predicted = (_predict(features, labels, np.concatenate(half), num_classes).argmax(axis=1) for half in halves)
        first, second = (np.bincount(classes, minlength=num_classes) / len(features) for classes in predicted)
        signal += num_classes * ((first - 1 / num_classes) * (second - 1 / num_classes)).sum() / _HALVINGS
        noise += num_classes * np.square(first - second).sum() / 2 / _HALVINGS
        draws.append(np.concatenate(drawn))
    weight = max(signal - _NO_SIGN, 0.0) / (signal + noise) if signal > 0 else 0.0
    if weight == 0:
        return np.full(num_classes, 1 / num_classes)
    estimates = [likely_shares(_predict(features, labels, rows, num_classes)) for rows in draws]
    return (1 - weight) / num_classes + weight * np.mean(estimates, axis=0)


def _predict(features: np.ndarray, labels: np.ndarray, rows: np.ndarray, num_classes: int) -> np.ndarray:
    """Probabilities [N, C] of a probe on the labels of `rows`, each class with the same weight."""
    given = labels[rows]
    weights = 1 / np.bincount(given, minlength=num_classes)[given]
    targets = one_hot(given, num_classes)
    probe = fit_probe(features[rows], targets, weights / weights.mean(), regularization=FREE)
    return probe.probabilities(features)


def likely_shares(probabilities: np.ndarray) -> np.ndarray:
    """The class shares [C] under which probabilities [N, C] of a classifier without a preference are most likely.

    Example:
        >>> likely_shares(np.array([[0.8, 0.2]] * 9 + [[0.2, 0.8]])).round(2).tolist()
        [1.0, 0.0]
    """
    shares = np.full(probabilities.shape[1], 1 / probabilities.shape[1])
    for _ in range(_STEPS):
        posterior = probabilities * shares
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = posterior.mean(axis=0)
    return shares


def balanced(probabilities: np.ndarray, shares: np.ndarray, strength: float = 1.0, steps: int = 10) -> np.ndarray:
    """Probabilities [N, C] whose mean over the rows comes near the class shares [C], by turns of columns and rows.

    Args:
        probabilities: rows that sum to 1.
        shares: of the classes, summing to 1.
        strength: 1 aims at the shares, 0 leaves the mean as it is, and values between aim between (at the normalized
            geometric mean of the two).
        steps: turns (Sinkhorn and Knopp 1967).

    Example:
        >>> balanced(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.5, 0.5])).argmax(axis=1).tolist()
        [0, 1]
    """
    result = np.maximum(np.asarray(probabilities, dtype=np.float64), 1e-12)
    mean = result.mean(axis=0)
    target = mean ** (1 - strength) * np.maximum(shares, 1e-12) ** strength
    target /= target.sum()
    for _ in range(steps):
        result *= target * len(result) / np.maximum(result.sum(axis=0), 1e-12)
        result /= result.sum(axis=1, keepdims=True)
    return result
