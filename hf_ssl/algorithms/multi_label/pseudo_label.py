"""Pseudo-Label for several labels per example: predictions near 1 or 0 become labels of the very same view."""

from typing import Any

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..problem import Progress, check
from ..pseudo_label import PseudoLabel
from .base import MultiLabelAlgorithm
from .thresholds import LabelThresholds


class MultiLabelPseudoLabel(MultiLabelAlgorithm):
    """Trains on the model's own certain predictions as if they were labels. Each label is judged by itself: it is
    present, absent, or left open. There is one view, with gradient, and the weight of the pool rises at the beginning.

        q = sigmoid(f(weak(u))),  mask = [q >= threshold or q <= negative_threshold]
        loss = BCE(f(x), y) + unsupervised_weight * warmup * mean(mask * BCE(f(weak(u)), [q >= threshold]))

    Shapes: labeled `[B]`, y `[B, C]`, unlabeled `[mu*B]`, q and mask `[mu*B, C]`.

    Args:
        threshold: probability from which a label is present, in [0, 1]; default 0.95.
        negative_threshold: probability up to which it is absent, from 0 to threshold; default 0.05.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.
        gamma_positive: of an asymmetric loss, at least 0; default 0, see `MultiLabelAlgorithm`.
        gamma_negative: the same of negatives, at least 0; default 0, and 4 as published.
        clip: probability up to which negatives count nothing, in [0, 1); default 0, and 0.05 as published.

    Note:
        The paper has one class per example, and no threshold. Two for each label are how papers on several labels
        write it as a baseline (Xie et al., NeurIPS 2023, arXiv 2305.02795).

    Paper: Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
    ICML 2013 Workshop on Challenges in Representation Learning.
    """

    views = {"weak": "weak"}
    title, summary, year, citation = PseudoLabel.title, PseudoLabel.summary, PseudoLabel.year, PseudoLabel.citation

    def __init__(
        self, *, threshold: float = 0.95, negative_threshold: float = 0.05, warmup_fraction: float = 0.4, **task: Any
    ):
        super().__init__(**task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.thresholds = LabelThresholds(threshold, negative_threshold)
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(labeled=batch.labeled, frozen={"weak": batch.unlabeled["weak"]})
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets, mask = self.thresholds(losses.label_probabilities(out["weak"].logits.detach()))
        unsupervised = self.problem_loss(out["weak"].logits, targets, mask)
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, mask=mask, pseudo_labels=targets)
