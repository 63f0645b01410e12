"""Adsh: a threshold for each class, at which it takes the same share of its predictions as the largest class does."""

import math
from typing import TYPE_CHECKING, Any

import torch

from ...batches.batch import SSLBatch
from ..correction import Correction
from ..parts.thresholds import FixedThreshold
from ..problem import Progress, check
from .pool_predictions import PoolPredictions

if TYPE_CHECKING:
    from ..base import SSLAlgorithm


class Adsh(Correction):
    """Replaces the threshold by one for each class. Among the predictions of the largest class, `tau_1` admits a
    share; every other class gets the threshold that admits this share of its own predictions, which is lower if the
    model is less sure of it.

        share = (m - 1) / a,   a examples are predicted as the largest class, m of them with confidence >= tau_1
        threshold_c = the confidence at rank floor(share * b_c) among the b_c examples predicted as c, highest first
        mask = [max q >= threshold_c],  c = argmax q

    The thresholds start at exp(-tau_1) and are computed again at the beginning of each epoch
    (`Progress.steps_per_epoch`, a share of the run); a class that is never predicted keeps its own. A rank below 1,
    as with a single confident example, means the lowest confidence, and so does m = 0: until the model is sure of the
    largest class, everything is admitted. The largest class is the one with most labels (the reference takes class 0).

    Shapes: q `[mu*B, C]`, `thresholds` [C], pool table [num_unlabeled]. Needs `SSLBatch.unlabeled_index`.

    Can be put around algorithms whose threshold is one constant (FixMatch, UDA, CRMatch, ReFixMatch, CoMatch,
    SimMatch), which it replaces. Those that judge otherwise (FlexMatch, FreeMatch, AdaMatch, Dash, SoftMatch) have a
    rule of their own in its place.

    Args:
        tau_1: threshold of the largest class, in (0, 1]; default 0.95.

    Note:
        The source predicts the whole pool with the teacher at the end of each epoch. A pass over the pool is as
        expensive as many steps, so here each example counts by the last prediction on it in training, and not before
        it was seen. Sorting the table takes some tenths of a second per million examples and epoch. The m - 1 is that
        of the reference implementation, which counts from 0.

    Paper: Guo and Li, "Class-Imbalanced Semi-Supervised Learning with Adaptive Thresholding", ICML 2022 (PMLR 162).

    Example:
        >>> from hf_ssl.algorithms.problem import ProblemSpec
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 5, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> problem = ProblemSpec(num_classes=2, feature_size=8, **sizes)
        >>> adsh = Adsh(problem=problem, class_counts=torch.tensor([5, 1]), tau_1=0.9)
        >>> first = torch.tensor([0.99, 0.95, 0.8, 0.4, 0.3])
        >>> adsh.see_pool(torch.stack([first, 1 - first], dim=-1))
        >>> adsh.thresholds
        tensor([0.9900, 0.6000])
    """

    needs = frozenset({"pseudo_labels", "pseudo_labels_alone"})
    remembers_pool = True
    title = "Adsh"
    summary = "a threshold for each class, which admits as large a share of it as of the largest class"
    year = 2022
    citation = """@inproceedings{guo2022class,
  title = {Class-Imbalanced Semi-Supervised Learning with Adaptive Thresholding},
  author = {Guo, Lan-Zhe and Li, Yu-Feng},
  booktitle = {International Conference on Machine Learning},
  pages = {8082--8094},
  year = {2022}
}"""

    thresholds: torch.Tensor

    def __init__(self, *, tau_1: float = 0.95, **task: Any):
        super().__init__(**task)
        check(0 < tau_1 <= 1, "tau_1", tau_1, "in (0, 1]")
        self.tau_1 = tau_1
        classes = self.problem.num_classes
        self.largest = int(self.labeled_counts.argmax())
        self.register_buffer("thresholds", torch.full((classes,), math.exp(-tau_1)))
        self.pool = PoolPredictions(self.problem.num_unlabeled or 0, classes)

    @classmethod
    def refusal(cls, algorithm: "SSLAlgorithm") -> str | None:
        """Also for algorithms without a constant threshold."""
        if reason := super().refusal(algorithm):
            return reason
        if isinstance(getattr(algorithm, "threshold", None), FixedThreshold):
            return None
        return "it replaces a constant threshold, and this algorithm judges pseudo-labels by a rule of its own"

    def observe(self, model: Any, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """In the first pass of an epoch, set the thresholds again."""
        if progress.begins_epoch and not self._further:
            self.set_thresholds()

    def mask(self, mask: torch.Tensor, probs: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """By the threshold of the predicted class, instead of the algorithm's."""
        confidences, labels = probs.max(dim=-1)
        self.pool.record(batch.unlabeled_index, labels, confidences)
        return (confidences >= self.thresholds[labels]).to(mask.dtype)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """The end of the first epoch."""
        return {"thresholds follow the pool": progress.steps_per_epoch}

    def see_pool(self, probs: torch.Tensor) -> None:
        """Take distributions [num_unlabeled, C] of the whole pool, in its order, instead of those of the batches."""
        self.pool.see(probs)
        self.set_thresholds()

    @torch.no_grad()
    def set_thresholds(self) -> None:
        """From the table of the pool."""
        counts, ranked = self.pool.counts(), self.pool.ranked()
        starts = counts.cumsum(dim=0) - counts
        sure = (self.pool.pool_labels == self.largest) & (self.pool.pool_confidences >= self.tau_1)
        above, predicted = sure.sum(), counts[self.largest]
        # In whole numbers: a share such as 1/49 times 49 would fall below 1.
        ranks = torch.where(above > 0, counts * (above - 1) // predicted.clamp_min(1), counts)
        places = starts + torch.where(ranks >= 1, ranks, counts) - 1
        found = ranked[places.clamp(0, max(len(ranked) - 1, 0))].to(self.thresholds.dtype)
        # Written in place, so that the further passes of the step keep them.
        self.thresholds.copy_(torch.where(counts > 0, found, self.thresholds))
