"""SimiS: while training, confident predictions join the labels of every class but the largest."""

from typing import Any

import numpy as np

from ..base import SSLAlgorithm
from ..correction import Correction
from ..problem import check
from ..rounds import InRounds, Picks, most_confident


class SimiS(InRounds, Correction):
    """Adds the most confident predictions of the pool to the labeled set, more for smaller classes and later on.

    After round e of R class c gets, from the examples that the model predicts as c,

        (max_k pi_k - pi_c) N / C * (1 - (e / R - 1)^2)

    of the most confident ones as further labels, with pi the labeled frequencies and N the number of given labels.
    Training goes on, with the labeled examples drawn from given and added ones alike; they are picked again after each
    round, from the whole pool, which stays as it is.

    At most N / C labels join a class, so it does little for small labeled sets.

    Shapes: pi `[C]`, predictions of the pool `[M]`.

    It changes the labeled set alone, so it can be put around every algorithm, self-training with `supervised`
    included, but not around SimMatch, which keeps a memory of each labeled example; a stream has no end at which its
    predictions could be ranked.

    Args:
        rounds: R, at least 1; default 10. The paper picks after each of its epochs. Every time the pool is predicted
            once, a forward pass over it, so that is a question of cost: R - 1 such passes in a run.
        extended_distribution: take pi from the labeled set of the last round, with what was added to it. So does the
            published code, which flattens the counts less and less.

    Note:
        With R rounds the added labels change R - 1 times at equal distances in the run, and not with each pass over
        the pool: a short run over a large pool gets the whole method, too. The step at which they change leaves a
        checkpoint, from which training goes on in the same process or in another one.

    Paper: Chen et al., "An Embarrassingly Simple Baseline for Imbalanced Semi-Supervised Learning", 2022,
    arXiv 2211.11086.
    """

    remembers_pool = True
    title = "SimiS"
    summary = "confident predictions join the labels of all classes but the largest"
    year = 2022
    arxiv = "2211.11086"
    citation = """@article{chen2022simis,
  title = {An Embarrassingly Simple Baseline for Imbalanced Semi-Supervised Learning},
  author = {Chen, Hao and Fan, Yue and Wang, Yidong and Wang, Jindong and Schiele, Bernt and Xie, Xing and
            Savvides, Marios and Raj, Bhiksha},
  journal = {arXiv preprint arXiv:2211.11086},
  year = {2022}
}"""

    def __init__(self, *, rounds: int = 10, extended_distribution: bool = False, **task: Any):
        super().__init__(**task)
        check(rounds >= 1, "rounds", rounds, "at least 1")
        self.rounds, self.extended_distribution = rounds, extended_distribution

    @classmethod
    def refusal(cls, algorithm: SSLAlgorithm) -> str | None:
        """As in `Correction`."""
        if hasattr(algorithm, "memory_bank"):
            return "its memory has a slot for each given label, and none for those that are added"
        return super().refusal(algorithm)

    def pick(self, classes: np.ndarray, confidence: np.ndarray, number: int, labeled: np.ndarray) -> Picks:
        """As `simis_picks`."""
        given = self.labeled_counts.cpu().numpy()
        counts = labeled if self.extended_distribution else given
        progress = number / self.rounds
        return simis_picks(classes, confidence, counts / counts.sum(), int(given.sum()), progress)


def simis_picks(
    classes: np.ndarray, confidence: np.ndarray, distribution: np.ndarray, num_labeled: int, progress: float
) -> Picks:
    """What joins the labels, class after class and the most confident first.

    Args:
        classes, confidence: predicted classes [M] of the pool and their probabilities [M].
        distribution: pi [C].
        num_labeled: N.
        progress: share of the rounds that are done, in [0, 1].

    Example:
        >>> classes, confidence = np.array([0, 1, 1, 1]), np.array([0.9, 0.6, 0.8, 0.7])
        >>> simis_picks(classes, confidence, np.array([0.75, 0.25]), num_labeled=8, progress=1.0)
        Picks(index=array([2, 3]), labels=array([1, 1]))
    """
    growth = 1 - (progress - 1) ** 2
    wanted = (distribution.max() - distribution) * (num_labeled / len(distribution)) * growth
    return most_confident(classes, confidence, wanted.astype(np.int64), np.arange(len(distribution)))
