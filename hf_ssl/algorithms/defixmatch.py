"""DeFixMatch: FixMatch without the bias of counting the labeled examples' own pseudo-labels."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch, required
from ..model.forward import ModelForward
from .fixmatch import FixMatch
from .parts.thresholds import make_targets
from .problem import Progress
from .weak_strong import Outputs


class DeFixMatch(FixMatch):
    """FixMatch minus its own unsupervised term on the labeled examples, which makes the whole an unbiased estimate of
    the supervised risk. The labeled loss takes weak and strong views.

        H(z) = [max softmax(f(weak(z))) >= threshold] * CE(f(strong(z)), target)
        loss = (CE(f(weak(x)), y) + CE(f(strong(x)), y)) / 2 + unsupervised_weight * (mean_u H(u) - mean_x H(x))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]` for the unlabeled, labeled_mask `[B]` for the labeled
    examples. Needs a strong view of the labeled examples.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The paper and USB's recipes set `unsupervised_weight` to 0.5.

    Paper: Schmutz, Humbert and Mattei, "Don't fear the unlabelled: safe semi-supervised learning via simple
    debiasing", ICLR 2023, arXiv 2203.07512.
    """

    # The term on labeled examples is to be that on the pool, which a change of the pool's pseudo-labels would miss.
    offers = frozenset({"labeled", "pseudo_labels"})
    views = {"weak": "weak", "strong": "strong", "labeled_strong": "strong"}
    title = "DeFixMatch"
    summary = "FixMatch, debiased with the labeled examples"
    year = 2023
    arxiv = "2203.07512"
    citation = """@inproceedings{schmutz2023dont,
  title = {Don't fear the unlabelled: safe semi-supervised learning via debiasing},
  author = {Schmutz, Hugo and Humbert, Olivier and Mattei, Pierre-Alexandre},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}"""

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With the strong view of the labeled examples."""
        return model(
            labeled=batch.labeled,
            labeled_strong=required(batch.labeled_strong, "labeled_strong"),
            strong=batch.unlabeled["strong"],
            no_grad={"weak": batch.unlabeled["weak"]},
        )

    def supervised(self, out: Outputs, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """The mean over both views of the labeled examples."""
        strong = self.labeled_loss(out["labeled_strong"].logits, batch.labels)
        return (super().supervised(out, batch, progress) + strong) / 2

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The unsupervised term on the labeled examples, which is subtracted with the weight of that on the pool."""
        weak = out["labeled"].logits.detach()
        labeled_mask = self.threshold(losses.probabilities(weak))
        targets = make_targets(weak, self.hard_labels, self.temperature)
        debias = losses.cross_entropy(out["labeled_strong"].logits, targets, labeled_mask)
        weight = -self.unsupervised_weight * progress.unsupervised_ramp
        return {"extra": {"debias": (weight, debias)}, "labeled_mask": labeled_mask}
