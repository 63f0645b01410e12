"""Training on the labeled examples alone: the baseline."""

from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .problem import Progress


class Supervised(SSLAlgorithm):
    """Cross-entropy on the labeled examples; the unlabeled pool only sets the length of an epoch.

    It is the baseline that a semi-supervised algorithm must beat: the same model, steps and weak views.

        loss = CE(f(weak(x)), y)

    Shapes: labeled `[B]`. It has no settings.
    """

    views = {}
    title = "Supervised"
    summary = "labeled examples only, the baseline"

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        logits = model(labeled=batch.labeled)["labeled"].logits
        loss = self.labeled_loss(logits, batch.labels)
        return AlgorithmOutput(loss, {"supervised": loss.detach()})
