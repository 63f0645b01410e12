"""Pseudo-Label: confident predictions become labels of the very same view."""

from typing import Any

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .parts.thresholds import FixedThreshold
from .problem import Progress, check


class PseudoLabel(SSLAlgorithm):
    """Trains on the model's own confident predictions as if they were labels; there is one view, with gradient. The
    weight of the unlabeled term rises at the beginning, while predictions are poor.

        q = softmax(f(weak(u))),  mask = [max q >= threshold]
        loss = CE(f(x), y) + unsupervised_weight * warmup * mean(mask * CE(f(weak(u)), argmax q))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95. It is USB's; the paper
            has none.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Paper: Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
    ICML 2013 Workshop on Challenges in Representation Learning.
    """

    views = {"weak": "weak"}
    presumes = "its threshold looks at the largest of C probabilities that add up to 1"
    title = "Pseudo-Label"
    summary = "trains on its own confident predictions"
    year = 2013
    citation = """@inproceedings{lee2013pseudo,
  title = {Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks},
  author = {Lee, Dong-Hyun},
  booktitle = {ICML Workshop on Challenges in Representation Learning},
  year = {2013}
}"""

    def __init__(self, *, threshold: float = 0.95, warmup_fraction: float = 0.4, **task: Any):
        super().__init__(**task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.threshold = FixedThreshold(threshold)
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(labeled=batch.labeled, frozen={"weak": batch.unlabeled["weak"]})
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        logits = out["weak"].logits
        mask = self.threshold(losses.probabilities(logits.detach()))
        targets = logits.detach().argmax(dim=-1)
        unsupervised = losses.cross_entropy(logits, targets, mask)
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, mask=mask, pseudo_labels=targets)
