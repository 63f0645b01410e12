"""FixMatch for several labels per example: certain predictions on a weak view are the labels of the strong view."""

from typing import Any

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..fixmatch import FixMatch
from ..problem import Progress
from .base import MultiLabelAlgorithm
from .thresholds import LabelThresholds


class MultiLabelFixMatch(MultiLabelAlgorithm):
    """Labels the weak view of an unlabeled example with the model's own predictions, and trains the strong view
    towards them. Each label is judged by itself: it is present, absent, or left open.

        q = sigmoid(f(weak(u))),  mask = [q >= threshold or q <= negative_threshold]
        loss = BCE(f(x), y) + unsupervised_weight * mean(mask * BCE(f(strong(u)), [q >= threshold]))

    Shapes: labeled `[B]`, y `[B, C]`, unlabeled `[mu*B]`, q and mask `[mu*B, C]`.

    Args:
        threshold: probability from which a label is present, in [0, 1]; default 0.95.
        negative_threshold: probability up to which it is absent, from 0 to threshold; default 0.05.
        gamma_positive: of an asymmetric loss, at least 0; default 0, see `MultiLabelAlgorithm`.
        gamma_negative: the same of negatives, at least 0; default 0, and 4 as published.
        clip: probability up to which negatives count nothing, in [0, 1); default 0, and 0.05 as published.

    Note:
        The paper has one class per example. Of many labels most are absent, and rare ones are never certain to be
        present: two thresholds for all of them then teach mostly what is absent. `cap` has two for each label.

    Paper: Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
    NeurIPS 2020, arXiv 2001.07685.
    """

    title, summary, year, arxiv = FixMatch.title, FixMatch.summary, FixMatch.year, FixMatch.arxiv
    citation = FixMatch.citation

    def __init__(self, *, threshold: float = 0.95, negative_threshold: float = 0.05, **task: Any):
        super().__init__(**task)
        self.thresholds = LabelThresholds(threshold, negative_threshold)

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
        out = model(labeled=batch.labeled, strong=strong, no_grad={"weak": weak})
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets, mask = self.thresholds(losses.label_probabilities(out["weak"].logits))
        unsupervised = self.problem_loss(out["strong"].logits, targets, mask)
        return self.total(supervised, unsupervised, mask=mask, pseudo_labels=targets)
