"""Pi-Model: two views of an example should be predicted alike."""

from typing import Any

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward, ViewOutput
from .base import AlgorithmOutput, SSLAlgorithm
from .problem import Progress, check


class PiModel(SSLAlgorithm):
    """Draws two weak views of each unlabeled example and pulls the prediction on the second towards that on the first.
    The weight of this term rises at the beginning, while predictions are poor.

        q = softmax(f(u_1)), a constant
        loss = CE(f(x), y) + unsupervised_weight * warmup * |softmax(f(u_2)) - q|^2 / C

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, q `[mu*B, C]`.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Note:
        USB's recipes set `unsupervised_weight` to 10.

    Papers: Rasmus et al., "Semi-Supervised Learning with Ladder Networks", NeurIPS 2015, arXiv 1507.02672; the name is
    from Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017, arXiv 1610.02242.
    """

    views = {"weak": "weak", "strong": "weak"}
    presumes = "mean_teacher does the same with steadier targets"
    title = "Pi-Model"
    summary = "two views of an example are predicted alike"
    year = 2015
    arxiv = "1507.02672"
    citation = """@inproceedings{rasmus2015semi,
  title = {Semi-Supervised Learning with Ladder Networks},
  author = {Rasmus, Antti and Valpola, Harri and Honkala, Mikko and Berglund, Mathias and Raiko, Tapani},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2015}
}"""

    def __init__(self, *, warmup_fraction: float = 0.4, **task: Any):
        super().__init__(**task)
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.warmup_fraction = warmup_fraction

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = self.run(model, batch)
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets = losses.probabilities(out["weak"].logits)
        unsupervised = losses.squared_error(out["strong"].logits, targets)
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, pseudo_labels=targets)

    def run(self, model: ModelForward, batch: SSLBatch) -> dict[str, ViewOutput]:
        """Outputs "labeled" and "strong" with gradient and "weak", the target, without."""
        weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
        return model(labeled=batch.labeled, frozen={"strong": strong}, no_grad={"weak": weak})
