"""Fine-tuning on what the features' classifier says of the pool: targets from outside, so that nothing runs away."""

from typing import Any

import numpy as np
import torch

from .. import losses
from ..algorithms import AlgorithmOutput, Progress, SSLAlgorithm
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward


class FixedTargets(SSLAlgorithm):
    """What learns targets of the pool that others have made, and that stay as they are.

    Args:
        targets: probabilities [num_unlabeled, C] of the pool, in its order.

    Raises:
        ValueError: if they have another shape.
    """

    remembers_pool = True
    targets: torch.Tensor

    def __init__(self, *, targets: np.ndarray, **task: Any):
        super().__init__(**task)
        expected = self.num_unlabeled, self.num_classes
        if np.shape(targets) != expected:
            raise ValueError(f"targets must have shape {expected}, got {np.shape(targets)}; give one row per example")
        self.register_buffer("targets", torch.as_tensor(targets, dtype=torch.float32))


class FeatureDistillation(FixedTargets):
    """Learns a classifier of frozen features into the layers of the model, which then corrects it.

        a_t  = own_share * t / T
        aim  = (1 - a_t) q_u + a_t softmax(f(weak(u)))
        loss = CE(f(weak(x)), y) + unsupervised_weight * mean( CE(f(strong(u)), aim) )

    with the fixed probabilities q_u of a `FeatureClassifier`, which has seen labels and pool. At first it is one round
    of Noisy Student (arXiv 1911.04252): soft targets of another model, and a noised student. As the share a_t of the
    model's own predictions grows, it is bootstrapping (arXiv 1412.6596): where the model, seeing all of the pool, is
    sure of something else, it may overrule what it was told.

    Shapes: labeled `[B]`, unlabeled `weak` (without gradient, and only if own_share is above 0) and `strong` `[mu*B]`.

    Args:
        targets: probabilities q [num_unlabeled, C] of the pool, in its order.
        own_share: of the model's own predictions in the aims of the last step, in [0, 1].
    """

    views = {"weak": "weak", "strong": "strong"}
    title = "distillation of a classifier of frozen features"
    summary = "learns the features' classifier into the upper layers"
    year = 2020
    arxiv = "1911.04252"

    def __init__(self, *, own_share: float = 0.5, **task: Any):
        super().__init__(**task)
        if not 0 <= own_share <= 1:
            raise ValueError(f"own_share must be in [0, 1], got {own_share}; 0.5 is usual")
        self.own_share = own_share
        if own_share == 0:
            self.views = {"strong": "strong"}

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        own = self.own_share * progress.step / progress.max_steps
        weak = {name: view for name, view in batch.unlabeled.items() if name == "weak" and own > 0}
        out = model(labeled=batch.labeled, strong=batch.unlabeled["strong"], no_grad=weak)
        aims = self.targets[batch.unlabeled_index]
        if weak:
            aims = (1 - own) * aims + own * losses.probabilities(out["weak"].logits)
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        unsupervised = losses.cross_entropy(out["strong"].logits, aims)
        return self.total(supervised, unsupervised, mask=aims.new_ones(len(aims)), pseudo_labels=aims)
