"""Which classes the pseudo-labels are of, compared with the labels: collapse, and drift.

A model that teaches itself can come to say one class of everything: each wrong pseudo-label makes the next one more
likely, and the loss falls all the while. The mask ratio does not show it; the shares of the classes do. They are
compared with those of the labels in each tenth of the run (20 steps at least) but the first, in which the first
pseudo-labels that pass a threshold are those of easy classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..algorithms import Progress

# Part of a run that is looked at together, of at least so many steps and so many pseudo-labels per class.
_WINDOW, _STEPS, _PER_CLASS = 0.1, 20, 10
# A class collapses the others if it leaves them less than this part of their share of the labels.
_LEFT_TO_OTHERS = 0.2
# Part of the pseudo-labels that are of other classes than the labels let expect, beyond what the draw of few labels
# explains. In the second half of the run only: until then classes may be late.
_DRIFT, _LATE = 0.3, 0.5
# Mean absolute deviation of a normal variable, in standard deviations: sqrt(2 / pi).
_MEAN_DEVIATION = 0.798


@dataclass(frozen=True)
class Alert:
    """What was seen.

    Args:
        title: in a few words.
        text: in one line, with what to do.
    """

    title: str
    text: str


class ClassWatch:
    """Finds pseudo-labels that collapse into one class, or drift away from the classes of the labels.

    With shares p_c among the labels and q_c among the pseudo-labels of a tenth of the run:

        collapse    1 - q_c < 0.2 (1 - p_c)  for a class c: it leaves the others less than a fifth of their share
        drift       sum_c |q_c - p_c| / 2 > 0.3 + e, in the second half of the run

    where e = 0.4 sum_c sqrt(p_c (1 - p_c) / n) is the distance that the draw of n labels is expected to make. One
    alert per training is enough. A pool whose classes are distributed differently from the labels looks the same from
    here, and the alerts say so.

    Args:
        shares: of the classes among the labels, [C], which add up to 1.
        num_labeled: n.
        names: of the classes, [C].
        expects_shares: whether the pool may be expected to have the labels' shares; drift is looked for only then.

    Attributes:
        counts: weights [C] of the pseudo-labels in the last log line.

    Example:
        >>> watch = ClassWatch([0.5, 0.5], 20, ["cat", "dog"])
        >>> for step in range(50, 500, 50):
        ...     for alert in watch.see([97.0, 3.0], Progress(step, max_steps=500, steps_per_epoch=10)):
        ...         print(step, alert.title)
        100 one class takes all
    """

    def __init__(self, shares: Sequence[float], num_labeled: int, names: Sequence[str], expects_shares: bool = True):
        self.shares, self.num_labeled, self.names = np.asarray(shares, dtype=float), num_labeled, names
        self.expects_shares = expects_shares
        self.counts = np.zeros(len(self.shares))
        self.start(0)

    def start(self, step: int) -> None:
        """Forget what was seen; `step` optimizer steps are done."""
        self._sums, self._since = np.zeros_like(self.counts), step
        self._told = False

    def see(self, counts: Sequence[float], progress: Progress) -> list[Alert]:
        """What is new with a log line.

        Args:
            counts: weights [C] of the pseudo-labels since the last log line.
            progress: where training is.
        """
        self.counts = np.asarray(counts, dtype=float)
        window = max(round(_WINDOW * progress.max_steps), _STEPS)
        self._sums = self._sums + self.counts
        if self._told or len(self.shares) < 2 or progress.step - self._since < window:
            return []
        sums, steps = self._sums, progress.step - self._since
        is_first = self._since < window
        if not is_first and sums.sum() < _PER_CLASS * len(sums):
            return []
        self._sums, self._since = np.zeros_like(sums), progress.step
        found = None if is_first else self._collapse(sums, steps) or self._drift(sums, steps, progress)
        self._told = found is not None
        return [found] if found is not None else []

    def _collapse(self, sums: np.ndarray, steps: int) -> Alert | None:
        found = sums / sums.sum()
        top = int(found.argmax())
        if 1 - found[top] >= _LEFT_TO_OTHERS * (1 - self.shares[top]):
            return None
        return Alert(
            "one class takes all",
            f"{found[top]:.0%} of the pseudo-labels of the last {steps:,} steps are of class {self.names[top]!r}, "
            f"which has {self.shares[top]:.0%} of the labels: unless the pool is like that, the model is collapsing "
            "into this class; lower learning_rate, set unsupervised_warmup_steps, or use an algorithm that aligns the "
            "classes (adamatch, freematch)",
        )

    def _drift(self, sums: np.ndarray, steps: int, progress: Progress) -> Alert | None:
        found = sums / sums.sum()
        # A class without labels is not expected of the pool; `prepare` warns of it.
        by_chance = _MEAN_DEVIATION / 2 * np.sqrt(self.shares * (1 - self.shares) / max(self.num_labeled, 1)).sum()
        distance = np.abs(found - self.shares).sum() / 2
        if not self.expects_shares or progress.step < _LATE * progress.max_steps or distance <= _DRIFT + by_chance:
            return None
        less, more = int((found - self.shares).argmin()), int((found - self.shares).argmax())
        return Alert(
            "pseudo-labels drift from the labels",
            f"the pseudo-labels of the last {steps:,} steps are far from the labels in their classes "
            f"({distance:.0%} would have to change): {self.names[more]!r} has {found[more]:.0%} instead of "
            f"{self.shares[more]:.0%}, {self.names[less]!r} has {found[less]:.0%} instead of {self.shares[less]:.0%}; "
            "unless the pool is like that, lower learning_rate, label more examples of the classes that are missing, "
            "or use an algorithm that aligns the classes (adamatch, freematch)",
        )
