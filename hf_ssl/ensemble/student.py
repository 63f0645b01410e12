"""The student of an ensemble: a new model that learns nothing but the soft labels of the pool."""

from typing import Any

import numpy as np
import torch

from .. import losses
from ..algorithms import AlgorithmOutput, Progress, SSLAlgorithm
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward


class EnsembleDistillation(SSLAlgorithm):
    """V-PET's last step (arXiv 2503.09707): self-training on the labels that an ensemble has voted.

        loss = unsupervised_weight * ( KL(q_u || f(weak(u))) + KL(q_u || f(strong(u))) )

    with the fixed soft labels q_u of the members. There is no loss of labeled examples and no threshold: what the
    labels say is in the votes, and a vote that is not sure asks the student not to be sure.

    Shapes: unlabeled `weak` and `strong` `[mu*B]`, both with gradient; labeled examples are not looked at.

    Args:
        targets: soft labels q [num_unlabeled, C] of the pool, in its order.
    """

    views = {"weak": "weak", "strong": "strong"}
    remembers_pool = True
    title = "self-training on the votes of an ensemble"
    summary = "learns the soft labels that an ensemble gives to the pool"
    year = 2025
    arxiv = "2503.09707"
    citation = """@inproceedings{zhang2025revisiting,
  title = {Revisiting Semi-Supervised Learning in the Era of Foundation Models},
  author = {Zhang, Ping and Mai, Zheda and Nguyen, Quang-Huy and Chao, Wei-Lun},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2025}
}"""

    targets: torch.Tensor

    def __init__(self, *, targets: np.ndarray, **task: Any):
        super().__init__(**task)
        expected = self.num_unlabeled, self.num_classes
        if np.shape(targets) != expected:
            raise ValueError(f"targets must have shape {expected}, got {np.shape(targets)}; give one row per example")
        self.register_buffer("targets", torch.as_tensor(targets, dtype=torch.float32))

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(weak=batch.unlabeled["weak"], strong=batch.unlabeled["strong"])
        soft = self.targets[batch.unlabeled_index]
        weak, strong = (losses.kl_divergence(soft, out[view].logits) for view in ("weak", "strong"))
        supervised = torch.zeros_like(weak)
        mask = soft.new_ones(len(soft))
        return self.total(supervised, weak + strong, mask=mask, pseudo_labels=soft)
