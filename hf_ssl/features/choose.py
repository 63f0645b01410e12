"""Which of two models to keep, when there are too few labels to tell.

Is the classifier with the pool better than the one without? (`compare`)

A few labels say little: a difference measured on 40 examples that are held out in turn has a standard error of five
points or more. What is known before any label is seen weighs more then: on all data that were looked at, the pool
brought a frozen encoder `PRIOR` points. Both are joined as normal distributions, each by its precision, so that the
labels overrule the expectation as they grow.

Did fine-tuning improve on the classifier that it started from, or run away from it? (`Agreement`) It has seen all
labels, so none can be held out. But where it is right more often, it must mostly agree with what it started from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .reading import head_for

# Mean and standard deviation, in 0..1, of what the pool brings to a classifier of frozen features.
PRIOR = (0.05, 0.05)
# Parts that are held out in turn, and rows of the pool that take part: more change no estimate.
_FOLDS, _POOL = 5, 5_000

# By how much the agreement may be below the accuracy that the labels make likely.
_SLACK = 0.1

Fit = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """An accuracy in 0..1 with its standard error.

    Args:
        value: the estimate; None if nothing could be held out.
        error: its standard error.
        examples: labeled examples that were held out in turn.
    """

    value: float | None
    error: float = 0.0
    examples: int = 0

    def __str__(self) -> str:
        return "-" if self.value is None else f"{100 * self.value:.0f} ± {100 * self.error:.0f} %"


@dataclass(frozen=True)
class HeldOut:
    """What models said of labeled examples that they were not fitted to.

    Args:
        labels: true classes, int64 [M].
        logits: float64 [2, M, C], of the heads that the first and the second way become.
    """

    labels: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two ways to learn, compared on the same labeled examples.

    Args:
        first, second: their estimates.
        difference: second minus first as measured, None if nothing could be held out.
        error: standard error of the difference.
        expected: the difference after the prior was taken in.
        expected_error: its standard deviation.
        held_out: what they were measured on; None if nothing could be held out, or no heads were asked for.
    """

    first: Estimate
    second: Estimate
    difference: float | None
    error: float
    expected: float
    expected_error: float
    held_out: HeldOut | None = None

    @property
    def second_is_better(self) -> bool:
        """Whether the second way is more probably better than worse."""
        return self.expected > 0


def compare(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    first: Fit,
    second: Fit,
    head_features: np.ndarray | None = None,
) -> Comparison:
    """Hold labeled examples out in turn, and compare two ways to predict them.

    Args:
        features: [N, D].
        labels: classes [N], -1 for unlabeled.
        num_classes: C.
        first, second: from features, labels with further -1, and C to probabilities [N, C].
        head_features: what the model's head reads, [N, H]; with them the answer holds the logits of the heads that the
            two ways become, which are what a calibration needs.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.integers(0, 2, 60)
        >>> features = truth[:, None] + rng.normal(size=(60, 1))
        >>> def right(features, labels, count): return np.eye(2)[truth]
        >>> def wrong(features, labels, count): return np.eye(2)[1 - truth]
        >>> found = compare(features, truth, 2, right, wrong)
        >>> found.first.value, found.second.value, found.second_is_better
        (1.0, 0.0, False)
    """
    rng = np.random.default_rng(0)
    known = np.flatnonzero(labels >= 0)
    pool = np.flatnonzero(labels < 0)
    if len(pool) > _POOL:
        pool = np.sort(rng.choice(pool, _POOL, replace=False))
    rows = np.concatenate([known, pool])
    features, labels = features[rows], labels[rows]
    inputs = None if head_features is None else head_features[rows]
    part = _parts(labels[: len(known)], rng)
    hits, logits = np.zeros((2, len(known))), np.zeros((2, len(known), num_classes))
    for number in range(part.max() + 1):
        out = np.flatnonzero(part == number)
        fewer = labels.copy()
        fewer[out] = -1
        for way, fit in enumerate((first, second)):
            probabilities = fit(features, fewer, num_classes)
            hits[way, out] = probabilities[out].argmax(axis=1) == labels[out]
            if inputs is not None:
                logits[way, out] = head_for(inputs, probabilities).logits(inputs[out])
    tried = part >= 0
    if not tried.any():
        mean, deviation = PRIOR
        return Comparison(Estimate(None), Estimate(None), None, 0.0, mean, deviation)
    hits = hits[:, tried]
    gain = hits[1] - hits[0]
    # One success and one failure are added, so that a few examples that all agree do not look certain.
    error = float(np.sqrt((np.square(gain - gain.mean()).sum() + 2 * (1 - abs(gain.mean())) ** 2) / len(gain) ** 2))
    expected, expected_error = _with_prior(float(gain.mean()), max(error, 1e-6))
    held_out = None if inputs is None else HeldOut(labels[: len(known)][tried], logits[:, tried])
    estimates = _estimate(hits[0]), _estimate(hits[1])
    return Comparison(*estimates, float(gain.mean()), error, expected, expected_error, held_out)


def _parts(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part [L] in which each labeled example is held out; -1 if it is the only one of its class."""
    part = np.full(len(labels), -1)
    start = 0
    for number in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == number))
        if len(members) > 1:
            part[members] = (start + np.arange(len(members))) % _FOLDS
            start += len(members)
    return part


def _estimate(hits: np.ndarray) -> Estimate:
    """The share of hits; its error is that of Agresti and Coull 1998, which is right for few examples, too."""
    count = len(hits)
    share = (hits.sum() + 2) / (count + 4)
    return Estimate(float(hits.mean()), float(np.sqrt(share * (1 - share) / (count + 4))), count)


def _with_prior(difference: float, error: float) -> tuple[float, float]:
    """Mean and standard deviation of the difference, given what was measured and what was expected."""
    mean, deviation = PRIOR
    weights = 1 / deviation**2, 1 / error**2
    total = sum(weights)
    return (mean * weights[0] + difference * weights[1]) / total, float(np.sqrt(1 / total))


@dataclass(frozen=True)
class Agreement:
    """How far a fine-tuned model agrees with the classifier that it started from, on the pool.

    Args:
        share: of the pool on which both answer alike, in [0, 1].
        lowest: the share below which it has run away: two models that are right for p of the pool agree on at least
            2p - 1 of it, and on about p if the better one corrects mistakes of the other.

    Example:
        >>> Agreement.of(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]), accuracy=0.8).holds
        True
        >>> Agreement.of(np.array([0, 1, 2, 3]), np.array([0, 0, 0, 0]), accuracy=0.8).holds
        False
    """

    share: float
    lowest: float

    @property
    def holds(self) -> bool:
        """Whether the fine-tuned model is to be kept."""
        return self.share >= self.lowest

    @classmethod
    def of(cls, start: np.ndarray, tuned: np.ndarray, accuracy: float | None) -> "Agreement":
        """Compare classes [M] with classes [M].

        Args:
            start, tuned: of the same examples.
            accuracy: of the first, as far as it is known, in [0, 1].
        """
        lowest = 0.5 if accuracy is None else accuracy - _SLACK
        return cls(float((start == tuned).mean()), min(max(lowest, 0.3), 0.8))
