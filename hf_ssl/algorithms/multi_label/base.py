"""What the algorithms for several labels per example share: their loss."""

from typing import Any

import torch

from ... import losses
from ..base import SSLAlgorithm
from ..problem import check


class MultiLabelAlgorithm(SSLAlgorithm):
    """An algorithm for C labels of which an example may have any number: it computes C probabilities, each by itself.

        p = sigmoid(f(x)) [N, C]
        loss = -(y (1 - p)^gamma_positive log p + (1 - y) q^gamma_negative log(1 - q)),  q = max(p - clip, 0)

    averaged over examples and labels. With the defaults of 0 this is the binary cross-entropy. It is the loss of
    labeled examples and, in algorithms with pseudo-labels, that of the pool.

    Args:
        gamma_positive: how much less a positive counts that is nearly right, at least 0; default 0.
        gamma_negative: the same of negatives, at least 0; default 0. The asymmetric loss of Ridnik et al. (ICCV 2021,
            arXiv 2009.14119) has 4, with a clip of 0.05: examples have few of many labels, and negatives, which are
            most of them, are to outweigh the positives no longer.
        clip: negatives with a probability up to this count nothing, in [0, 1); default 0.
        task: the fields of `ProblemSpec`.
    """

    presumes = "it judges C labels each by itself"

    def __init__(self, *, gamma_positive: float = 0.0, gamma_negative: float = 0.0, clip: float = 0.0, **task: Any):
        super().__init__(**task)
        check(gamma_positive >= 0, "gamma_positive", gamma_positive, "at least 0")
        check(gamma_negative >= 0, "gamma_negative", gamma_negative, "at least 0")
        check(0 <= clip < 1, "clip", clip, "in [0, 1)")
        self.gamma_positive, self.gamma_negative, self.clip = gamma_positive, gamma_negative, clip

    def problem_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scalar loss above of logits [N, C].

        Args:
            logits: [N, C].
            targets: [N, C] in [0, 1].
            weights: of examples [N] or of their labels [N, C]; None weighs all with 1.
        """
        return losses.asymmetric_loss(logits, targets, weights, self.gamma_positive, self.gamma_negative, self.clip)
