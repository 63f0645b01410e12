"""ReFixMatch: FixMatch that also learns from the predictions it is not confident of."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from .fixmatch import FixMatch
from .problem import Progress
from .weak_strong import Outputs


class ReFixMatch(FixMatch):
    """FixMatch that uses the predictions below the threshold too: not as pseudo-labels, but through a divergence
    between the softened predictions on both views. So every unlabeled example takes part in every step.

        q = softmax(f(weak(u))),  mask = [max q >= threshold]
        loss = CE(f(x), y) + unsupervised_weight * (mean(mask * CE(f(strong(u)), target(q)))
               + mean((1 - mask) * KL(softmax(q / T) || softmax(f(strong(u)) / T))))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        hard_labels: train towards argmax q; otherwise towards softmax(logits / temperature).
        temperature: T, also of soft targets, above 0; default 0.5.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        As in the reference implementation, the target is a softmax of probabilities, which makes it nearly flat.

    Paper: Nguyen and Yang, "Boosting Semi-Supervised Learning by bridging high and low-confidence predictions",
    ICCV 2023 Workshops, arXiv 2308.07509.
    """

    title = "ReFixMatch"
    summary = "FixMatch that also uses low-confidence predictions, as soft targets"
    year = 2023
    arxiv = "2308.07509"
    citation = """@inproceedings{nguyen2023boosting,
  title = {Boosting Semi-Supervised Learning by Bridging high and low-Confidence Predictions},
  author = {Nguyen, Khanh-Binh and Yang, Joon-Sung},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV) Workshops},
  pages = {1028--1038},
  year = {2023}
}"""

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The term of the predictions below the threshold, with the weight of that of the others."""
        softened = losses.probabilities(probs, self.temperature)
        strong = losses.float_logits(out["strong"].logits) / self.temperature
        weight = self.unsupervised_weight * progress.unsupervised_ramp
        return {"extra": {"low_confidence": (weight, losses.kl_divergence(softened, strong, 1 - mask))}}
