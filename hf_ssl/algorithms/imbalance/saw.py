"""SAW: losses are weighted by the effective sizes of the classes, those of the pool as it is predicted."""

from typing import Any

import torch

from ... import losses
from ...batches.batch import SSLBatch
from ..correction import Correction
from ..problem import Progress
from .pool_predictions import PoolPredictions


class SAW(Correction):
    """Weighs each labeled example by its class, and each pseudo-label by its own, so that rare classes count more. The
    sizes of the classes are known among the labeled examples, and in the pool they are those of its predictions.

        beta = 1 - 1 / mean(m),  w_c = 1 / (1 - beta^m_c),  scaled to the mean 1         for counts m [C], each >= 1
        loss = mean(w_y * CE(f(x), y)) + unsupervised_weight * mean(mask * w'_target * CE(f(strong(u)), target)) + ...

    with w of the labeled counts and w' of the predicted counts of the pool. w' is 1 in the first epoch
    (`Progress.steps_per_epoch`, a share of the run) and is computed again at the beginning of each other.

    Shapes: counts and weights [C] (`labeled_class_weights`, `unlabeled_class_weights`), pool table [num_unlabeled].
    Needs `SSLBatch.unlabeled_index`.

    Can be put around every algorithm that trains a strong view on pseudo-labels of a weak one; for targets that are
    distributions the weight is the expected one.

    Note:
        The source predicts the whole pool with the teacher at the end of each epoch. A pass over the pool is as
        expensive as many steps, so here each example counts by the last prediction on it in training, and not before
        it was seen: a table of the pool that a step of N examples changes in N places.

    Paper: Lai et al., "Smoothed Adaptive Weighting for Imbalanced Semi-Supervised Learning: Improve Reliability
    Against Unknown Distribution Data", ICML 2022 (PMLR 162).

    Example:
        >>> effective_weights(torch.tensor([8.0, 5.0, 2.0, 1.0]))
        tensor([0.5104, 0.6023, 1.0499, 1.8374])
    """

    needs = frozenset({"pseudo_labels", "pseudo_labels_alone"})
    remembers_pool = True
    title = "SAW"
    summary = "losses weighted by the effective number of labeled and of predicted examples of each class"
    year = 2022
    citation = """@inproceedings{lai2022smoothed,
  title = {Smoothed Adaptive Weighting for Imbalanced Semi-Supervised Learning: Improve Reliability Against Unknown
           Distribution Data},
  author = {Lai, Zhengfeng and Wang, Chao and Gunawan, Henrry and Cheung, Sen-Ching S. and Chuah, Chen-Nee},
  booktitle = {International Conference on Machine Learning},
  pages = {11828--11843},
  year = {2022}
}"""

    labeled_class_weights: torch.Tensor
    unlabeled_class_weights: torch.Tensor

    def __init__(self, **task: Any):
        super().__init__(**task)
        # They follow from the labeled set at every start, so they are not part of the saved state.
        self.register_buffer("labeled_class_weights", effective_weights(self.labeled_counts), persistent=False)
        self.register_buffer("unlabeled_class_weights", torch.ones(self.problem.num_classes))
        self.pool = PoolPredictions(self.problem.num_unlabeled or 0, self.problem.num_classes)

    def observe(self, model: Any, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """In the first pass of an epoch, weigh the classes of the pool again."""
        if progress.begins_epoch and not self._further:
            self.weigh_pool()

    def labeled_weights(self, targets: torch.Tensor) -> torch.Tensor | None:
        """By the labeled counts."""
        return of_classes(self.labeled_class_weights, targets)

    def targets(self, targets: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Unchanged; the pool's are remembered."""
        labels = targets.argmax(dim=-1) if targets.is_floating_point() else targets
        self.pool.record(batch.unlabeled_index, labels)
        return targets

    def unsupervised(self, out: dict[str, Any], targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """With the weights of the predicted classes."""
        weights = mask * of_classes(self.unlabeled_class_weights, targets).to(mask.dtype)
        return losses.cross_entropy(out["strong"].logits, targets, weights)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """The end of the first epoch."""
        return {"predicted class sizes of the pool weigh": progress.steps_per_epoch}

    def see_pool(self, probs: torch.Tensor) -> None:
        """Take distributions [num_unlabeled, C] of the whole pool, in its order, instead of those of the batches."""
        self.pool.see(probs)
        self.weigh_pool()

    def weigh_pool(self) -> None:
        """Weigh the classes by their predicted counts."""
        # Written in place, so that the further passes of the step keep it.
        self.unlabeled_class_weights.copy_(effective_weights(self.pool.counts()))


def effective_weights(counts: torch.Tensor) -> torch.Tensor:
    """Weights [C] with the mean 1, inverse to the effective number of examples (Cui et al., arXiv 1901.05555).

    Args:
        counts: [C], of which those below 1 count as 1.
    """
    counts = losses.float_logits(counts).clamp_min(1)
    # 1 - beta^m; its complement would round away what tells the classes of a large pool apart.
    effective = -torch.expm1(counts * torch.log1p(-1 / counts.mean()))
    return effective.reciprocal() / effective.reciprocal().mean()


def of_classes(weights: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The weights [C] of classes [N], or the expected ones under distributions [N, C]: [N].

    Example:
        >>> of_classes(torch.tensor([1.0, 3.0]), torch.tensor([1, 0]))
        tensor([3., 1.])
        >>> of_classes(torch.tensor([1.0, 3.0]), torch.tensor([[0.5, 0.5]]))
        tensor([2.])
    """
    return targets @ weights.to(targets.dtype) if targets.is_floating_point() else weights[targets]
