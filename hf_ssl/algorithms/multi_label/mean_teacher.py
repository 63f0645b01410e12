"""Mean Teacher for several labels per example: the averaged weights of the model teach the model."""

from typing import Any

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..mean_teacher import MeanTeacher
from ..problem import Progress, check
from .base import MultiLabelAlgorithm


class MultiLabelMeanTeacher(MultiLabelAlgorithm):
    """Draws two weak views of each unlabeled example. On the second one the student learns the probabilities that a
    teacher, the exponential moving average of the model's weights, predicts on the first.

        q = sigmoid(teacher(u_1))
        loss = BCE(f(x), y) + unsupervised_weight * warmup * |sigmoid(f(u_2)) - q|^2 / C

    Shapes: labeled `[B]`, y `[B, C]`, unlabeled `[mu*B]`, q `[mu*B, C]`. Needs a teacher.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.
        gamma_positive: of an asymmetric loss, at least 0; default 0, see `MultiLabelAlgorithm`.
        gamma_negative: the same of negatives, at least 0; default 0, and 4 as published.
        clip: probability up to which negatives count nothing, in [0, 1); default 0, and 0.05 as published.

    Note:
        USB's recipes for one class per example set `unsupervised_weight` to 50.

    Paper: Tarvainen and Valpola, "Mean teachers are better role models: Weight-averaged consistency targets improve
    semi-supervised deep learning results", NeurIPS 2017, arXiv 1703.01780.
    """

    views = MeanTeacher.views
    uses_teacher = True
    title, summary, year, arxiv = MeanTeacher.title, MeanTeacher.summary, MeanTeacher.year, MeanTeacher.arxiv
    citation = MeanTeacher.citation

    def __init__(self, *, warmup_fraction: float = 0.4, **task: Any):
        super().__init__(**task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(labeled=batch.labeled, frozen={"strong": batch.unlabeled["strong"]})
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets = losses.label_probabilities(model.teacher(weak=batch.unlabeled["weak"])["weak"].logits)
        unsupervised = losses.binary_squared_error(out["strong"].logits, targets)
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, pseudo_labels=targets)
