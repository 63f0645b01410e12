"""Noisy Student: a teacher labels the pool once, a noised student learns that and becomes the next teacher."""

from typing import Any

import numpy as np
import torch

from .. import losses
from ..batches.batch import SSLBatch, required
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .problem import Progress, check
from .rounds import InRounds, Picks


class NoisyStudent(InRounds, SSLAlgorithm):
    """Trains in rounds. The first one trains a teacher on the labels; it labels the pool, without noise. Each later
    round trains a student from the model of the start on labels and pool, with noise, and it labels the pool again.

        q = softmax(f_last(u)) once for each u of the pool,  picked = [max q >= threshold]; nothing in the first round
        loss = CE(f(strong(x)), y) + unsupervised_weight * mean over picked(v * CE(f(strong(u)), argmax q))

    with f_last the model of the round before, and v so that every class has the same weight in sum, as if the examples
    of rare classes were repeated. The noise is that of the strong view and the model's own dropout and stochastic
    depth.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]` (1 for examples that were picked). Pseudo-labels and
    weights of the whole pool, `pool_labels` (-1: none) and `pool_weights`, are buffers `[num_unlabeled]`.

    Args:
        rounds: the teacher and its students, at least 1; default 3. Each has the same share of the run's steps, with
            its own schedules.
        threshold: confidence from which an example is picked, in [0, 1]; default 0.3.
        balance: whether classes weigh the same (v), however many examples were predicted as each; default True.

    Note:
        Pseudo-labels are hard ones; the paper found soft ones as good on images like the labeled ones, and better on
        others. Its students may be larger than their teachers, here all have the same size. It uses a larger model and
        a separate pool of 300 million images.

    Paper: Xie et al., "Self-training with Noisy Student improves ImageNet classification", CVPR 2020,
    arXiv 1911.04252.
    """

    views = {"strong": "strong", "labeled_strong": "strong"}
    remembers_pool = True
    restarts = True
    labels_pool = True
    presumes = "its threshold looks at the largest of C probabilities that add up to 1"
    title = "Noisy Student"
    summary = "a teacher labels the pool, a noised student learns it and is the next teacher"
    year = 2020
    arxiv = "1911.04252"
    citation = """@inproceedings{xie2020self,
  title = {Self-training with Noisy Student improves ImageNet classification},
  author = {Xie, Qizhe and Luong, Minh-Thang and Hovy, Eduard and Le, Quoc V.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}"""

    pool_labels: torch.Tensor
    pool_weights: torch.Tensor

    def __init__(self, *, rounds: int = 3, threshold: float = 0.3, balance: bool = True, **task: Any):
        super().__init__(**task)
        check(rounds >= 1, "rounds", rounds, "at least 1")
        check(0 <= threshold <= 1, "threshold", threshold, "in [0, 1]")
        self.rounds, self.threshold, self.balance = rounds, threshold, balance
        size = self.num_unlabeled
        self.register_buffer("pool_labels", torch.full((size,), -1))
        self.register_buffer("pool_weights", torch.zeros(size))
        self.has_picks = False

    def begin_round(self, number: int, picks: Picks) -> None:
        """Label the pool as the last round did."""
        self.has_picks = len(picks) > 0
        index = torch.from_numpy(picks.index)
        labels, weights = torch.full((self.num_unlabeled,), -1), torch.zeros(self.num_unlabeled)
        labels[index] = torch.from_numpy(picks.labels)
        weights[index] = torch.from_numpy(self._weights(picks)).float()
        self.pool_labels.copy_(labels)
        self.pool_weights.copy_(weights)

    def _weights(self, picks: Picks) -> np.ndarray:
        """The weight of each that was picked: in a mean over the pool, the mean over what was picked."""
        if not len(picks):
            return np.zeros(0)
        counts = picks.counts(self.num_classes)
        if not self.balance:
            return np.full(len(picks), self.num_unlabeled / len(picks))
        return self.num_unlabeled / (np.count_nonzero(counts) * counts[picks.labels])

    def pick(self, classes: np.ndarray, confidence: np.ndarray, number: int, labeled: np.ndarray) -> Picks:
        """All examples of the pool whose prediction is confident enough."""
        index = np.flatnonzero(confidence >= self.threshold)
        return Picks(index, classes[index].astype(np.int64))

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        labeled = required(batch.labeled_strong, "labeled_strong")
        if not self.has_picks:
            loss = self.labeled_loss(model(labeled=labeled)["labeled"].logits, batch.labels)
            return AlgorithmOutput(loss, {"supervised": loss.detach()})
        out = model(labeled=labeled, strong=batch.unlabeled["strong"])
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        index = required(batch.unlabeled_index, "unlabeled_index")
        # What was not picked has the label -1 and the weight 0.
        labels, weights = self.pool_labels[index].clamp_min(0), self.pool_weights[index]
        unsupervised = losses.cross_entropy(out["strong"].logits, labels, weights)
        mask = (weights > 0).to(weights.dtype)
        return self.total(supervised, unsupervised, mask=mask, pseudo_labels=labels)
