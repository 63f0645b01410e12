"""The student of an ensemble: a new model that learns nothing but the soft labels of the pool."""

import torch

from .. import losses
from ..algorithms import AlgorithmOutput, Progress
from ..batches.batch import SSLBatch
from ..features.distillation import FixedTargets
from ..model.forward import ModelForward


class EnsembleDistillation(FixedTargets):
    """V-PET's last step (arXiv 2503.09707): self-training on the labels that an ensemble has voted.

        loss = unsupervised_weight * ( KL(q_u || f(weak(u))) + KL(q_u || f(strong(u))) )

    with the fixed soft labels q_u of the members. There is no loss of labeled examples and no threshold: what the
    labels say is in the votes, and a vote that is not sure asks the student not to be sure.

    Shapes: unlabeled `weak` and `strong` `[mu*B]`, both with gradient; labeled examples are not looked at.

    Args:
        targets: soft labels q [num_unlabeled, C] of the pool, in its order.
    """

    views = {"weak": "weak", "strong": "strong"}
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

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(weak=batch.unlabeled["weak"], strong=batch.unlabeled["strong"])
        soft = self.targets[batch.unlabeled_index]
        weak, strong = (losses.kl_divergence(soft, out[view].logits) for view in ("weak", "strong"))
        supervised = torch.zeros_like(weak)
        mask = soft.new_ones(len(soft))
        return self.total(supervised, weak + strong, mask=mask, pseudo_labels=soft)
