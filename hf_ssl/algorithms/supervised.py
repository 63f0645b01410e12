"""Training on the labeled examples alone: the baseline."""

from .. import losses
from .base import AlgorithmOutput, SSLAlgorithm


class Supervised(SSLAlgorithm):
    """Cross-entropy on the labeled examples; the unlabeled pool only sets the length of an epoch.

    It is the baseline that a semi-supervised algorithm must beat: the same model, steps and weak views.

        loss = CE(f(weak(x)), y)
    """

    views = {}
    title = "Supervised"
    summary = "labeled examples only, the baseline"

    def forward(self, forward, batch, progress):
        logits = forward(labeled=batch.labeled)["labeled"].logits
        loss = losses.cross_entropy(logits, batch.labels)
        return AlgorithmOutput(loss, {"supervised": loss.detach()})
