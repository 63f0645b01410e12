"""CAP: thresholds for each label at which the pool has it as often as the labeled examples."""

from typing import Any

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..problem import Progress, check
from .base import MultiLabelAlgorithm
from .thresholds import ClassAwareThresholds


class CAP(MultiLabelAlgorithm):
    """Class-Aware Pseudo-labeling: as FixMatch, but with two thresholds for each label, which follow the predictions
    so that the share of the pool that gets the label is its share of the labeled examples. Rare labels are learned
    from the pool as well, although no prediction of them is near 1. The loss is asymmetric by default.

        q = sigmoid(f(weak(u))),  s_c = share of the labeled examples with label c
        present_c = [q_c among the largest s_c of the last predictions],  absent_c = [among the smallest 1 - s_c]
        loss = ASL(f(x), y) + unsupervised_weight * warmup * mean(mask * ASL(f(strong(u)), present))

    Shapes: labeled `[B]`, y `[B, C]`, unlabeled `[mu*B]`, q and mask `[mu*B, C]`.

    Args:
        positive_share: part of the expected positives that count, the surest first, in [0, 1]; default 1.
        negative_share: the same of negatives; default 1. Below 1 the labels between the thresholds are left open.
        queue_size: how many of the last predictions set the thresholds; default 4,096. A label that one example in a
            thousand has is then judged by its four surest predictions.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.3.
        gamma_positive: of the asymmetric loss, at least 0; default 0, see `MultiLabelAlgorithm`.
        gamma_negative: the same of negatives, at least 0; default 4.
        clip: probability up to which negatives count nothing, in [0, 1); default 0.05. With 0 for all three the loss
            is the binary cross-entropy.

    Note:
        The authors train on labels alone for 12 of 40 epochs and then set the thresholds before each epoch, from what
        averaged weights predict on the whole pool. Here the weight rises, and the thresholds follow the model's last
        predictions, so that the pool may be a stream. A label that no labeled example has is taken to be absent from
        the whole pool.

    Paper: Xie et al., "Class-Distribution-Aware Pseudo-Labeling for Semi-Supervised Multi-Label Learning",
    NeurIPS 2023, arXiv 2305.02795.
    """

    title = "CAP"
    summary = "labels the pool so that each label is as frequent as among the labeled"
    year = 2023
    arxiv = "2305.02795"
    citation = """@inproceedings{xie2023class,
  title = {Class-Distribution-Aware Pseudo-Labeling for Semi-Supervised Multi-Label Learning},
  author = {Xie, Ming-Kun and Xiao, Jia-Hao and Liu, Hao-Zhe and Niu, Gang and Sugiyama, Masashi and Huang, Sheng-Jun},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023}
}"""

    def __init__(
        self,
        *,
        positive_share: float = 1.0,
        negative_share: float = 1.0,
        queue_size: int = 4096,
        warmup_fraction: float = 0.3,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        clip: float = 0.05,
        **task: Any,
    ):
        super().__init__(gamma_positive=gamma_positive, gamma_negative=gamma_negative, clip=clip, **task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        size = self.problem.unlabeled_batch_size
        self.thresholds = ClassAwareThresholds(
            self.class_distribution, size, queue_size, positive_share, negative_share
        )
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
        out = model(labeled=batch.labeled, strong=strong, no_grad={"weak": weak})
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets, mask = self.thresholds(losses.label_probabilities(out["weak"].logits))
        unsupervised = self.problem_loss(out["strong"].logits, targets, mask)
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, mask=mask, pseudo_labels=targets)
