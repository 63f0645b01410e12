"""Can probabilities be trusted? How far they are from how often the answers are right, and one number that mends most.

    probabilities, labels ──┬── calibration_metrics   ECE, Brier score, NLL
                            ├── reliability           accuracy beside confidence, bin by bin
                            └── selective             accuracy of the most confident answers
    logits, labels ──────────── fit_temperature       logits / temperature give the most likely probabilities
    logits, probabilities ───── carry_temperature     the same for a model without labels to spare

`RunningCalibration` computes the first three from batches, without keeping all probabilities.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

BINS = 15
# Shares of the answers, the most confident ones, whose accuracy is told.
SHARES = (0.5, 0.8, 0.9, 1.0)
# Temperatures that `fit_temperature` may answer.
LOWEST, HIGHEST = 1e-3, 1e3
_TINY = np.finfo(np.float64).tiny


class Bin(NamedTuple):
    """The answers whose confidence is above `low` and at most `high`.

    Args:
        low, high: in [0, 1].
        count: number of answers.
        confidence: their mean confidence in [0, 1]; None without answers.
        accuracy: the share of them that is right, in [0, 1]; None without answers.
    """

    low: float
    high: float
    count: int  # type: ignore[assignment]  # tuples have a method of this name
    confidence: float | None
    accuracy: float | None


class Selected(NamedTuple):
    """The most confident answers.

    Args:
        share: of all answers, in (0, 1]; it is larger than was asked for if answers are equally confident.
        threshold: the lowest confidence among them.
        accuracy: the share of them that is right, in [0, 1].
    """

    share: float
    threshold: float
    accuracy: float


class RunningCalibration:
    """Calibration of answers that come in batches: two numbers are kept of each answer.

    Example:
        >>> running = RunningCalibration()
        >>> running.add([[0.9, 0.1]], [0])
        >>> running.add([[0.7, 0.3]], [1])
        >>> {name: round(value, 3) for name, value in running.metrics().items()}
        {'ece': 0.4, 'brier': 0.5, 'nll': 0.655}
        >>> running.selective([0.5])
        [Selected(share=0.5, threshold=0.9, accuracy=1.0)]
    """

    def __init__(self) -> None:
        self._confidences: list[np.ndarray] = []
        self._hits: list[np.ndarray] = []
        self._squares = self._nll = 0.0

    def add(self, probabilities: ArrayLike, labels: ArrayLike) -> None:
        """Take in a batch.

        Args:
            probabilities: [N, C], in [0, 1] with rows that sum to 1.
            labels: true classes [N] in 0..C-1.

        Raises:
            ValueError: if shapes or values do not fit.
        """
        rows, classes = _checked(probabilities, labels, "probabilities")
        if len(rows) and (rows.min() < 0 or abs(rows.sum(axis=1) - 1).max() > 1e-3):
            raise ValueError(
                "probabilities must be at least 0 with rows that sum to 1, got "
                f"{rows.min():.3g} and sums up to {rows.sum(axis=1).max():.6g}; take the softmax of logits first"
            )
        right = rows[np.arange(len(rows)), classes]
        self._confidences.append(rows.max(axis=1, initial=0))
        self._hits.append(rows.argmax(axis=1) == classes)
        self._squares += float((np.square(rows).sum(axis=1) - 2 * right + 1).sum())
        self._nll -= float(np.log(np.maximum(right, _TINY)).sum())

    @property
    def count(self) -> int:
        """Number of answers so far."""
        return sum(map(len, self._hits))

    def metrics(self, bins: int = BINS) -> dict[str, float]:
        """`calibration_metrics` of all answers so far."""
        total = self._total()
        found = self.reliability(bins)
        gaps = [
            count * abs(sure - right) for _, _, count, sure, right in found if sure is not None and right is not None
        ]
        return {"ece": sum(gaps) / total, "brier": self._squares / total, "nll": self._nll / total}

    def reliability(self, bins: int = BINS) -> list[Bin]:
        """The `Bin`s of all answers so far; see `reliability`."""
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}; {BINS} are usual")
        self._total()
        confidence, hits = np.concatenate(self._confidences), np.concatenate(self._hits)
        edges = np.linspace(0, 1, bins + 1)
        # Bins are closed above, as in the paper; nothing is outside, though a sum of floats may be above 1.
        place = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)
        counts = np.bincount(place, minlength=bins)
        sums = [np.bincount(place, weights=part, minlength=bins) for part in (confidence, hits)]
        means = [(total / np.maximum(counts, 1)).tolist() for total in sums]
        return [
            Bin(low, high, count, *((sure, right) if count else (None, None)))
            for low, high, count, sure, right in zip(
                edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), *means, strict=True
            )
        ]

    def selective(self, shares: Sequence[float] = SHARES) -> list[Selected]:
        """How often the most confident answers are right; see `selective`."""
        if wrong := [share for share in shares if not 0 < share <= 1]:
            raise ValueError(f"shares must be in (0, 1], got {wrong[0]}; 1 takes all answers")
        total = self._total()
        confidence, hits = np.concatenate(self._confidences), np.concatenate(self._hits)
        order = np.argsort(-confidence, kind="stable")
        confidence, right = confidence[order], np.cumsum(hits[order])
        found = []
        for share in shares:
            threshold = confidence[int(np.ceil(share * total)) - 1]
            # All that a threshold lets pass, equally confident ones included.
            taken = int(np.searchsorted(-confidence, -threshold, side="right"))
            found.append(Selected(taken / total, float(threshold), float(right[taken - 1] / taken)))
        return found

    def _total(self) -> int:
        if not self.count:
            raise ValueError("calibration must be measured on at least one answer, got none; add some first")
        return self.count


def calibration_metrics(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> dict[str, float]:
    """How far probabilities are from the truth; 0 is perfect for all three.

    `ece`, the expected calibration error in [0, 1]: the mean distance between confidence, which is the highest
    probability, and accuracy over bins of equal width (Guo et al. 2017, arXiv 1706.04599). `brier`, in [0, 2]: the
    mean over examples of the summed squared distances to the true class (Brier 1950). `nll`, at least 0: the mean
    negative logarithm of the true class's probability, in nats.

    Args:
        probabilities: [N, C], rows sum to 1.
        labels: true classes [N] in 0..C-1; not every class need occur.
        bins: of the ECE, at least 1.

    Raises:
        ValueError: if shapes or values do not fit, or there is no example.

    Example:
        >>> found = calibration_metrics([[0.8, 0.2]] * 4, [0, 0, 0, 1])
        >>> {name: round(value, 3) for name, value in found.items()}  # 80 % sure, 75 % right
        {'ece': 0.05, 'brier': 0.38, 'nll': 0.57}
    """
    running = RunningCalibration()
    running.add(probabilities, labels)
    return running.metrics(bins)


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Confidence beside accuracy, in bins of equal width from 0 to 1: what a reliability picture shows.

    Args:
        probabilities: [N, C], rows sum to 1.
        labels: true classes [N] in 0..C-1.
        bins: at least 1.

    Returns:
        all bins, in ascending order, also those without an answer.

    Raises:
        ValueError: as `calibration_metrics`.

    Example:
        >>> reliability([[0.9, 0.1], [0.7, 0.3]], [0, 1], bins=2)[1]
        Bin(low=0.5, high=1.0, count=2, confidence=0.8, accuracy=0.5)
    """
    running = RunningCalibration()
    running.add(probabilities, labels)
    return running.reliability(bins)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T by which softmax(logits / T) makes the labels most likely (arXiv 1706.04599).

    The labels must be of examples that the model was not trained on. Every class keeps its rank. The likelihood is
    concave in 1/T. Where it has no maximum the labels alone would make the model as sure as can be: every label
    is its example's highest logit, as happens with a few. Each label then counts as the runner-up with a probability
    of 1 / (N + 2), which is Laplace's rule for an event that did not happen in N trials.

    Args:
        logits: [N, C], C at least 2; log-probabilities will do. Negative infinity is a class that is ruled out.
        labels: true classes [N] in 0..C-1.

    Returns:
        T in [0.001, 1000]: above 1 if the model is too sure of itself. 1000 says that the logits tell nothing.

    Raises:
        ValueError: if shapes or values do not fit, or there is no example.

    Example:
        >>> logits = np.array([[2.0, 0.0]] * 4)
        >>> temperature = fit_temperature(logits, [0, 0, 0, 1])
        >>> round(float(1 / (1 + np.exp(-2 / temperature))), 3)  # as sure as it is right
        0.75
    """
    scores, classes = _checked(logits, labels, "logits")
    if not len(scores):
        raise ValueError("logits must be of at least one example, got none; hold out some labels")
    if scores.shape[1] < 2:
        raise ValueError(f"logits must be [N, C] with at least 2 classes, got {scores.shape}; one class needs none")
    scores = _relative(scores)
    rows = np.arange(len(scores))
    wanted = scores[rows, classes]
    if not wanted.any():
        runner_up = np.partition(scores, -2, axis=1)[:, -2]
        wanted = wanted + (runner_up - wanted) / (len(scores) + 2)
    return _most_likely(scores, wanted)


def carry_temperature(logits: ArrayLike, probabilities: ArrayLike) -> float:
    """The temperature by which a model is as sure as another one, whose probabilities can be trusted.

    For a model that was trained on all labels there are: none of them can say how sure it may be, but a calibrated
    model of the same task can, on unlabeled examples. Where the first is the better one, it is less sure than it could
    be.

    Args:
        logits: [N, C] of the model.
        probabilities: [N, C] of the calibrated one for the same examples; their cross-entropy with softmax(logits / T)
            is minimal.

    Returns:
        T as `fit_temperature` answers it.

    Raises:
        ValueError: if shapes or values do not fit, or there is no example.

    Example:
        >>> round(carry_temperature([[2.0, 0.0], [0.0, 6.0]], [[0.8, 0.2], [0.1, 0.9]]), 2)
        2.3
    """
    wanted = np.asarray(probabilities, dtype=np.float64)
    scores, _ = _checked(logits, wanted.argmax(axis=-1), "logits")
    if wanted.shape != scores.shape or not len(scores):
        raise ValueError(
            f"logits and probabilities must be of the same examples [N, C], got {scores.shape} and {wanted.shape}; "
            "give those of the same rows"
        )
    scores = _relative(scores)
    return _most_likely(scores, (wanted * scores).sum(axis=1))


def _relative(scores: np.ndarray) -> np.ndarray:
    """Differences to the highest logit, which say the same; that of a class that is ruled out is finite."""
    return np.maximum(scores - scores.max(axis=1, keepdims=True), -1e6)


def _most_likely(scores: np.ndarray, wanted: np.ndarray) -> float:
    """The temperature with the least mean cross-entropy, if `wanted` [N] are the targets' expected logits."""

    def loss(temperature: float) -> float:
        return float((logsumexp(scores / temperature, axis=1) - wanted / temperature).mean())

    # Over the logarithm, in which the loss has one valley, too: temperatures differ by factors.
    bounds = np.log(LOWEST), np.log(HIGHEST)
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return min((float(np.exp(found.x)), LOWEST, HIGHEST), key=loss)


def _checked(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays whose shapes and values fit together."""
    rows, classes = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if rows.ndim != 2 or not rows.shape[1] or classes.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} must be [N, C] and labels [N], got {rows.shape} and {classes.shape}; give one label per row"
        )
    if classes.dtype.kind not in "iu" and len(classes):
        raise ValueError(f"labels must be integers, got {classes.dtype}; give positions of classes")
    if len(classes) and not 0 <= classes.min() <= classes.max() < rows.shape[1]:
        raise ValueError(
            f"labels must be in 0..{rows.shape[1] - 1}, got {classes.min()}..{classes.max()}; leave unlabeled rows out"
        )
    # Negative infinity is the logit of a class that cannot be; the maximum is NaN if one value is.
    if bad := int((~np.isfinite(rows.max(axis=1))).sum()):
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in {bad:,} of {len(rows):,} rows; leave these out"
        )
    return rows, classes.astype(np.int64)
