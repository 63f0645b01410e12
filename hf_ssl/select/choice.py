"""From the numbers of several models to one of them, and how well that went where the truth is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from .scores import METRICS


@dataclass(frozen=True)
class Agreement:
    """How well an order without labels agrees with the accuracy on a test set.

    Args:
        spearman: rank correlation in [-1, 1] of the models' order with their accuracies; None if it is not defined,
            as with two models or equal accuracies.
        regret: by how much the best model is better than the chosen one, in [0, 1]: 0 if it was chosen.
        chosen, best, mean: accuracies in [0, 1] of the chosen model, of the best one, and of all on average.
    """

    spearman: float | None
    regret: float
    chosen: float
    best: float
    mean: float


@dataclass(frozen=True)
class Choice:
    """The models in their order without labels.

    Args:
        ranks: [R, M] of R models by M numbers, 1 for the largest.
        penalties: [R], the mean of the squared ranks; the least is chosen.
    """

    ranks: np.ndarray
    penalties: np.ndarray

    @property
    def order(self) -> list[int]:
        """Positions of the models, the best first; of equal ones the first."""
        return [int(index) for index in np.argsort(self.penalties, kind="stable")]

    @property
    def chosen(self) -> int:
        """Position of the model that is chosen."""
        return self.order[0]

    def agreement(self, accuracies: Sequence[float | None]) -> Agreement | None:
        """How the order agrees with accuracies [R] in [0, 1]; None unless all are known.

        Example:
            >>> choice = choose([{"bnm": 0.9}, {"bnm": 0.5}, {"bnm": 0.7}], metrics=["bnm"])
            >>> found = choice.agreement([0.8, 0.6, 0.85])
            >>> round(found.spearman, 2), round(found.regret, 2)
            (0.5, 0.05)
        """
        known = [accuracy for accuracy in accuracies if accuracy is not None]
        if len(known) < len(self.penalties):
            return None
        varied = len(known) > 2 and len(set(known)) > 1 and len(set(self.penalties)) > 1
        spearman = float(spearmanr(-self.penalties, known).statistic) if varied else None
        chosen = known[self.chosen]
        return Agreement(spearman, max(known) - chosen, chosen, max(known), float(np.mean(known)))


def choose(scores: Sequence[Mapping[str, float]], metrics: Sequence[str] = METRICS, *, squared: bool = True) -> Choice:
    """Rank models by each number, and choose the one with the least mean of squared ranks (arXiv 2503.09707).

    Squares make a last place by one number cost more than middle places by all: the choice is of a model that is bad
    by none.

    Args:
        scores: of each of R models, as `label_free_scores` finds them on the same examples.
        metrics: which of them count. Of models that share their features, such as probes of one encoder, `rankme` and
            `chi` are equal, and have no influence.
        squared: whether ranks are squared.

    Raises:
        ValueError: if there are no models, or numbers are missing.

    Example:
        >>> even = {"ami": 0.5, "bnm": 0.5, "chi": 5.0}
        >>> choose([even, {"ami": 0.9, "bnm": 0.9, "chi": 1.0}, {"ami": 0.1, "bnm": 0.1, "chi": 9.0}],
        ...        metrics=["ami", "bnm", "chi"]).penalties.round(2).tolist()
        [4.0, 3.67, 6.33]
    """
    if not scores:
        raise ValueError("scores must be of at least one model, got none")
    missing = [name for name in metrics if any(name not in row for row in scores)]
    if missing:
        raise ValueError(f"every model must have {missing[0]!r} among its scores, got one without; see METRICS")
    table = np.array([[row[name] for name in metrics] for row in scores], dtype=np.float64)
    ranks = rankdata(-table, method="average", axis=0)
    return Choice(ranks, (ranks**2 if squared else ranks).mean(axis=1))
