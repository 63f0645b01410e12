"""AdaMatch: distribution alignment with the labeled batch, and a threshold relative to its confidence."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from .parts.alignment import MovingAverageAlignment
from .parts.thresholds import RelativeThreshold
from .problem import Progress
from .weak_strong import Outputs, WeakStrongAlgorithm


class AdaMatch(WeakStrongAlgorithm):
    """FixMatch whose predictions on the pool are aligned with those on the labeled data, and whose threshold is
    relative to the confidence on the labeled batch.

        q = align(softmax(f(weak(u)))),  mask = [max q >= threshold * mean_b max softmax(f(x_b))]
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), argmax q))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, running distributions `[C]`.

    Args:
        threshold: relative to the mean confidence on the labeled batch, in (0, 1]; default 0.95.
        hard_labels: train towards argmax q; otherwise towards q sharpened with the temperature.
        temperature: of soft targets, above 0; default 0.5.
        momentum: of the running class distributions, in [0, 1); default 0.999.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The paper's interpolation of logits, which is for domain adaptation, is left out, as in USB.

    Paper: Berthelot et al., "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation",
    ICLR 2022, arXiv 2106.04732.
    """

    title = "AdaMatch"
    summary = "distribution alignment and a threshold relative to the labeled batch"
    year = 2022
    arxiv = "2106.04732"
    citation = """@inproceedings{berthelot2022adamatch,
  title = {{AdaMatch}: A Unified Approach to Semi-Supervised Learning and Domain Adaptation},
  author = {Berthelot, David and Roelofs, Rebecca and Sohn, Kihyuk and Carlini, Nicholas and Kurakin, Alex},
  booktitle = {International Conference on Learning Representations},
  year = {2022}
}"""

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        hard_labels: bool = True,
        temperature: float = 0.5,
        momentum: float = 0.999,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        self.threshold = RelativeThreshold(threshold)
        self.alignment = MovingAverageAlignment(self.problem.num_classes, momentum=momentum)

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned with the predictions on the labeled batches."""
        return self.alignment(probs, labeled_probs)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """From the aligned distributions, unlike FixMatch."""
        return probs.argmax(dim=-1) if self.hard_labels else losses.sharpen(probs, self.target_temperature)
