"""Logit adjustment: the labeled loss expects what the class sizes predict."""

from typing import Any

import torch

from ... import losses
from ..correction import Correction
from ..problem import check


class LogitAdjustment(Correction):
    """Adds the logarithm of the labeled class frequencies to the logits of the labeled loss, so that the logits
    themselves need not carry it and predict as if all classes were equally frequent.

        loss = CE(f(x) + tau * log pi, y) + the unsupervised terms of the algorithm,   pi_c = n_c / N

    Pseudo-labels are made from the logits f without the addition. It can be put around every algorithm.

    Shapes: labeled logits `[B, C]`, pi `[C]`. A class without a labeled example counts as one with half of one.

    Args:
        tau: strength of the adjustment, at least 0; default 1.

    Paper: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314 (eq. 10).
    """

    title = "Logit adjustment"
    summary = "the labeled loss adds the logarithm of the class frequencies to the logits"
    year = 2021
    arxiv = "2007.07314"
    citation = """@inproceedings{menon2021longtail,
  title = {Long-tail learning via logit adjustment},
  author = {Menon, Aditya Krishna and Jayasumana, Sadeep and Rawat, Ankit Singh and Jain, Himanshu and
            Veit, Andreas and Kumar, Sanjiv},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}"""

    adjustment: torch.Tensor

    def __init__(self, *, tau: float = 1.0, **task: Any):
        super().__init__(**task)
        check(tau >= 0, "tau", tau, "at least 0")
        self.tau = tau
        counts = self.labeled_counts.clamp_min(0.5)
        self.register_buffer("adjustment", tau * (counts / counts.sum()).log(), persistent=False)

    def labeled_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """With the addition."""
        return losses.float_logits(logits) + self.adjustment
