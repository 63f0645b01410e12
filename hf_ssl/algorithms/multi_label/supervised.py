"""Training on the labeled examples alone, for several labels per example: the baseline."""

from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..problem import Progress
from .base import MultiLabelAlgorithm


class MultiLabelSupervised(MultiLabelAlgorithm):
    """Binary cross-entropy on the labeled examples; the unlabeled pool only sets the length of an epoch.

        loss = BCE(f(weak(x)), y)

    Shapes: labeled `[B]`, y `[B, C]`.

    Args:
        gamma_positive: of an asymmetric loss, at least 0; default 0, see `MultiLabelAlgorithm`.
        gamma_negative: the same of negatives, at least 0; default 0, and 4 as published.
        clip: probability up to which negatives count nothing, in [0, 1); default 0, and 0.05 as published.
    """

    views = {}
    title = "Supervised"
    summary = "labeled examples only, the baseline"

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        loss = self.labeled_loss(model(labeled=batch.labeled)["labeled"].logits, batch.labels)
        return AlgorithmOutput(loss, {"supervised": loss.detach()})
