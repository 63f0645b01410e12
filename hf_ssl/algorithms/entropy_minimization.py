"""Entropy minimization: the boundary between classes shall lie where there are few examples."""

from typing import Any

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .problem import Progress, check


class EntropyMinimization(SSLAlgorithm):
    """Trains on the labels, and towards certain predictions on the pool, whatever they are. A model that is certain
    everywhere has its boundaries between clusters, if the classes are clusters; if not, it is certain and wrong. The
    oldest of these methods, and the one that pseudo-labels and sharpening are forms of.

        p = softmax(f(weak(u)))
        loss = CE(f(x), y) + unsupervised_weight * warmup * mean(-sum_c p_c log p_c)

    Shapes: labeled `[B]`, unlabeled `[mu*B]`. Only a weak view; the gradient flows through all of p.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4, as of the
            other methods without a threshold.

    Note:
        There is no reference implementation in USB. Grandvalet and Bengio raise the weight by deterministic annealing,
        for a logistic regression; here it rises linearly.

    Paper: Grandvalet and Bengio, "Semi-supervised Learning by Entropy Minimization", NIPS 2004.
    """

    views = {"weak": "weak"}
    presumes = "it minimizes the entropy of one distribution over C classes"
    title = "Entropy minimization"
    summary = "predictions on the pool are to be certain, whatever they are"
    year = 2004
    citation = """@inproceedings{grandvalet2004semi,
  title = {Semi-supervised Learning by Entropy Minimization},
  author = {Grandvalet, Yves and Bengio, Yoshua},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {17},
  year = {2004}
}"""

    def __init__(self, *, warmup_fraction: float = 0.4, **task: Any):
        super().__init__(**task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(labeled=batch.labeled, weak=batch.unlabeled["weak"])
        logits = out["weak"].logits
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        warmup = progress.warmup(self.warmup_fraction)
        labels = logits.detach().argmax(dim=-1)
        return self.total(supervised, losses.entropy(logits), warmup=warmup, pseudo_labels=labels)
