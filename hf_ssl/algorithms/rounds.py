"""The contract of training in rounds: train, pick examples of the pool, train again with them as labeled ones."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Picks:
    """Examples of the pool that join the labeled set, each at most once.

    Args:
        index: positions [K] in the pool, int64.
        labels: the classes [K] that they are given, int64.

    Example:
        >>> picks = Picks(np.array([4, 1]), np.array([0, 2]))
        >>> len(picks), picks.counts(num_classes=3).tolist()
        (2, [1, 0, 1])
    """

    index: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def counts(self, num_classes: int) -> np.ndarray:
        """How many [C] there are of each class."""
        return np.bincount(self.labels, minlength=num_classes)


class InRounds:
    """A part of an algorithm, or an algorithm, that picks examples of the pool between rounds of training.

        round 1: labels ── train ──> predictions of the pool ── pick ──> round 2: labels + picks ── train ──> ...

    `SSLTrainer.train()` trains all rounds. Each has the given labels and what was picked at the end of the round
    before it, or the algorithm itself keeps what was picked; the pool stays as it is. A correction for long tails
    mixes this class in, and so may an algorithm.

    Attributes:
        rounds: how many there are, at least 1.
        restarts: whether every round trains the model of the start from scratch, with its own schedules; else
            training goes on.
        labels_pool: whether picks stay in the pool, as labels that `begin_round` is told, and do not join the
            labeled set.
    """

    rounds: int = 1
    restarts: bool = False
    labels_pool: bool = False

    def begin_round(self, number: int, picks: Picks) -> None:
        """Called before each round, counted from 0, with what was picked for it, and when one is resumed."""

    def pick(self, classes: np.ndarray, confidence: np.ndarray, number: int, labeled: np.ndarray) -> Picks:
        """What joins the given labels in the next round. It depends on nothing but its arguments.

        Args:
            classes: predicted classes [M] of the pool.
            confidence: the probabilities [M] of these.
            number: rounds done, from 1 to `rounds` - 1.
            labeled: class counts [C] of the labeled set of the last round, with what was picked for it.
        """
        raise TypeError(f"{type(self).__name__} must define pick(self, classes, confidence, number, labeled)")


def confident_classes(logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The predicted classes [M] of logits [M, C], and their probabilities [M] in float64.

    Example:
        >>> confident_classes(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
        (array([0, 1]), array([0.88079708, 0.98201379]))
    """
    confidence, classes = torch.softmax(logits.double(), dim=-1).max(dim=-1)
    return classes.cpu().numpy(), confidence.cpu().numpy()


def most_confident(classes: np.ndarray, confidence: np.ndarray, wanted: np.ndarray, order: np.ndarray) -> Picks:
    """The most confident examples of each predicted class: class after class, and the most confident first.

    Args:
        classes, confidence: as in `InRounds.pick`.
        wanted: how many [C] of each class, as far as that many were predicted.
        order: the classes [C], as they are to follow each other.

    Example:
        >>> classes, confidence = np.array([0, 1, 0, 0]), np.array([0.5, 0.7, 0.9, 0.6])
        >>> most_confident(classes, confidence, wanted=np.array([2, 3]), order=np.array([1, 0]))
        Picks(index=array([1, 2, 3]), labels=array([1, 0, 0]))
    """
    # Of equally confident examples the first ones come first.
    ranked = np.argsort(-confidence, kind="stable")
    found = [ranked[classes[ranked] == label][: wanted[label]] for label in order]
    index = np.concatenate(found).astype(np.int64)
    return Picks(index, classes[index].astype(np.int64))
