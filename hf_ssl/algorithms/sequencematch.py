"""SequenceMatch: FlexMatch with a view between weak and strong, through which predictions are handed on."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .flexmatch import FlexMatch
from .problem import Progress
from .weak_strong import Outputs


class SequenceMatch(FlexMatch):
    """FlexMatch with a third, medium view: predictions are to agree from weak to medium, from medium to strong, and
    from weak to strong, so that no step between two views is large.

        q_v = softmax(f(v(u))) for the weak, medium and strong view v,  mask = FlexMatch's of q_weak
        D(a, b) = mean(mask * KL(softmax(q_a / T) || q_b)),  softmax(q_a / T) without gradient
        loss = CE(f(x), y) + unsupervised_weight * (mean(mask * CE(f(strong(u)), target(q_weak)))
               + D(weak, medium) + D(medium, strong) + D(weak, strong))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`, state `[num_unlabeled]` and `[C]`. Needs a medium view
    (see `hf_ssl.views`: about half of what the strong one changes) and `SSLBatch.unlabeled_index`.

    Args:
        threshold: of a class that is learned fully, in (0, 1]; default 0.95.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: T, also of soft targets, above 0; default 0.5.
        threshold_warmup: hold the thresholds down while most of the pool was never predicted with confidence; default
            True.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        As in USB's code, which it follows, the targets of D are a softmax of probabilities, which makes them nearly
        flat, and all three have the mask of the confident examples. By its abstract the paper has a second constraint
        for the others; its text could not be compared.

    Paper: Nguyen, "SequenceMatch: Revisiting the design of weak-strong augmentations for Semi-supervised learning",
    WACV 2024, arXiv 2310.15787.
    """

    views = {"weak": "weak", "medium": "medium", "strong": "strong"}
    title = "SequenceMatch"
    summary = "FlexMatch with a medium view between weak and strong, and agreement of all pairs"
    year = 2024
    arxiv = "2310.15787"
    citation = """@inproceedings{nguyen2024sequencematch,
  title = {{SequenceMatch}: Revisiting the design of weak-strong augmentations for Semi-supervised learning},
  author = {Nguyen, Khanh-Binh},
  booktitle = {Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision},
  year = {2024}
}"""

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With the medium view."""
        views = batch.unlabeled
        return model(
            labeled=batch.labeled, medium=views["medium"], strong=views["strong"], no_grad={"weak": views["weak"]}
        )

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The three divergences, with the weight of the pseudo-labels."""
        weak, medium = (
            losses.probabilities(given, self.temperature)
            for given in (probs, losses.probabilities(out["medium"].logits.detach()))
        )
        pairs = ((weak, "medium"), (medium, "strong"), (weak, "strong"))
        first, *others = (losses.kl_divergence(target, out[view].logits, mask) for target, view in pairs)
        weight = self.unsupervised_weight * progress.unsupervised_ramp
        return {"extra": {"divergences": (weight, sum(others, start=first))}}
