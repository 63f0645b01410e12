"""DebiasPL: what the model predicts on average is taken out of its pseudo-labels, and put into their loss."""

from typing import Any

import torch

from ... import losses
from ...batches.batch import SSLBatch
from ...distributed import gather
from ..correction import Correction
from ..problem import Progress, check


class DebiasPL(Correction):
    """Asks for each prediction how far it exceeds what the model predicts anyhow. The running mean prediction q is
    subtracted before pseudo-labels are made, and the loss of the strong view has it added, which leaves a margin to
    the classes that are predicted too rarely.

        pseudo-labels and mask from softmax(f(weak(u)) - tau * log q_old)
        q_new = momentum * q_old + (1 - momentum) * mean of softmax(f(weak(u)))
        unsupervised = mean(mask * CE(f(strong(u)) + tau * log q_new, target))

    The mean is taken over the whole batch, confident or not, and per class. It does not use the labeled counts: what
    is corrected is the bias of the model, also under a pool whose classes have other sizes.

    Shapes: logits `[mu*B, C]`, q (buffer `running_mean`) [C], uniform at first.

    Can be put around every algorithm that trains a strong view on pseudo-labels of a weak one. An algorithm with its
    own distribution alignment (AdaMatch, SoftMatch, CoMatch, SimMatch) aligns what is left.

    Args:
        tau: strength, at least 0; default 1, as in the authors' code (USB: 0.4).
        momentum: weight of the past in q, in [0, 1); default 0.999. With it q leaves its uniform start over thousands
            of steps; take 0.99 for a shorter run.

    Note:
        The authors' further term of contrastive clusters (CLD) is left out, as in USB. USB averages over the classes
        as well, so that its q stays uniform and its DebiasPL is the plain algorithm.

    Paper: Wang et al., "Debiased Learning from Naturally Imbalanced Pseudo-Labels", CVPR 2022, arXiv 2201.01490
    (eq. 2 and 3).

    Example:
        >>> from hf_ssl.algorithms.problem import ProblemSpec
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> problem = ProblemSpec(num_classes=2, feature_size=8, **sizes)
        >>> correction = DebiasPL(problem=problem, class_counts=torch.tensor([5, 1]), momentum=0.5)
        >>> correction.observe_predictions(torch.tensor([[0.9, 0.1]]))
        >>> correction.running_mean
        tensor([0.7000, 0.3000])
    """

    needs = frozenset({"pseudo_labels", "pseudo_labels_alone"})
    title = "DebiasPL"
    summary = "pseudo-labels without, and their loss with, what the model predicts on average"
    year = 2022
    arxiv = "2201.01490"
    citation = """@inproceedings{wang2022debiased,
  title = {Debiased Learning from Naturally Imbalanced Pseudo-Labels},
  author = {Wang, Xudong and Wu, Zhirong and Lian, Long and Yu, Stella X.},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {14647--14657},
  year = {2022}
}"""

    running_mean: torch.Tensor

    def __init__(self, *, tau: float = 1.0, momentum: float = 0.999, **task: Any):
        super().__init__(**task)
        check(tau >= 0, "tau", tau, "at least 0")
        check(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
        self.tau, self.momentum = tau, momentum
        classes = self.problem.num_classes
        self.register_buffer("running_mean", torch.full((classes,), 1.0 / classes))

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Without the mean prediction so far, into which this batch then enters."""
        shifted = losses.float_logits(logits) - self.shift()
        self.observe_predictions(losses.probabilities(logits))
        return shifted

    def unsupervised(self, out: dict[str, Any], targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """With the mean prediction, that of this batch included."""
        return losses.cross_entropy(losses.float_logits(out["strong"].logits) + self.shift(), targets, mask)

    def shift(self) -> torch.Tensor:
        """tau * log q [C]."""
        return self.tau * self.running_mean.clamp_min(torch.finfo(self.running_mean.dtype).tiny).log()

    def observe_predictions(self, probs: torch.Tensor) -> None:
        """Move q towards the mean of distributions [N, C], those of all processes and passes of the step."""
        (probs,) = self.joined(gather(probs))
        self.running_mean = self.running_mean.lerp(probs.mean(dim=0).to(self.running_mean.dtype), 1 - self.momentum)
