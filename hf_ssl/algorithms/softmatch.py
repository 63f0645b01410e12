"""SoftMatch: every pseudo-label counts, with a weight that follows its confidence."""

from typing import Any

import torch

from ..batches.batch import SSLBatch
from .parts.alignment import MovingAverageAlignment
from .parts.thresholds import GaussianWeight
from .problem import Progress
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm


class SoftMatch(WeakStrongAlgorithm):
    """FixMatch with a truncated Gaussian of the confidence instead of a threshold, so that many pseudo-labels take
    part without giving the doubtful ones much weight. Alignment evens out the classes among the confidences, not among
    the targets.

        q = align(softmax(f(weak(u)))),  mask = exp(-min(max q - mean, 0)^2 / (2 variance / n_sigma^2))
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(softmax(f(weak(u))))))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]` in (0, 1].

    Args:
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        uniform_alignment: align with the uniform distribution (default True); otherwise with the predictions on the
            labeled batches.
        momentum: of all running statistics, in [0, 1); default 0.999.
        n_sigma: narrowness of the Gaussian, above 0; default 2.
        per_class: a separate Gaussian for each predicted class; default False.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The Gaussian is fitted to the aligned confidences, as in the reference implementation.

    Paper: Chen et al., "SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning",
    ICLR 2023, arXiv 2301.10921.
    """

    title = "SoftMatch"
    summary = "weights by a Gaussian of the confidence instead of a threshold"
    year = 2023
    arxiv = "2301.10921"
    citation = """@inproceedings{chen2023softmatch,
  title = {{SoftMatch}: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning},
  author = {Chen, Hao and Tao, Ran and Fan, Yue and Wang, Yidong and Wang, Jindong and Schiele, Bernt and Xie, Xing and
            Raj, Bhiksha and Savvides, Marios},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}"""

    def __init__(
        self,
        *,
        hard_labels: bool = True,
        temperature: float = 0.5,
        uniform_alignment: bool = True,
        momentum: float = 0.999,
        n_sigma: float = 2,
        per_class: bool = False,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        num_classes = self.problem.num_classes
        self.threshold = GaussianWeight(num_classes, n_sigma, momentum, per_class)
        self.uniform_alignment = uniform_alignment
        target = torch.full((num_classes,), 1.0 / num_classes) if uniform_alignment else None
        self.alignment = MovingAverageAlignment(num_classes, target, momentum)

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned, for the weights only: the targets stay those of the model."""
        return self.alignment(probs, labeled_probs)

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """By a Gaussian that is fitted to the aligned predictions of the whole step."""
        return self.threshold(guesses.probs, counted=self.alignment.all_aligned())
