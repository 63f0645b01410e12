"""UCVME: predictions with their own uncertainty, from two heads that teach each other."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput, SSLAlgorithm
from ..problem import Progress, check

# Beyond these logarithms a variance is numerically zero or infinite, of numbers with a variance of 1.
_LEAST, _MOST = -10.0, 10.0


class UCVME(SSLAlgorithm):
    """Two predictors give a number and the logarithm of its variance each. Labels teach both; of the pool both learn
    the mean of what they said in several passes with dropout, and the less the more uncertain that is.

        m_1, m_2 = numbers of the model's own head and of a second one;  s_1, s_2 = log-variances of two more heads
        supervised = sum_i mean[exp(-s) (m_i - y)^2 + s] / 2 + mean (s_1 - s_2)^2,  s = (s_1 + s_2) / 2
        q, v = means of m_1, m_2 and of s_1, s_2 over num_passes dropout masks, constants
        unsupervised = sum_i mean[exp(-v) (m_i - q)^2 + v] / 2 + sum_i mean (s_i - v)^2
        loss = supervised + unsupervised_weight * unsupervised

    of standardized numbers, see `SSLAlgorithm.standardized`, on weak views.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, m, s, q and v `[N, K]`.

    **What is saved**: the model with its own head m_1, which `pipeline()` reads, and beside it the mean of the two
    log-variance heads, a linear layer on the same features, from which `hf-ssl predict` tells the standard deviation
    of each number (`hf_ssl.model.uncertainty`).

    Args:
        num_passes: dropout masks that are averaged for the targets, at least 1; default 5.
        dropout: share of the features that a mask leaves out, in [0, 1); default 0.05.

    Note:
        The paper trains two whole networks, and passes each example through both of them once more for each mask. Here
        the two predictors share the encoder, and masks are drawn for its features: a step costs one pass of the model
        and not 2 * (1 + num_passes) of them. The authors' code sets `unsupervised_weight` to 10, and the comparison in
        RankUp (arXiv 2410.22124) to 0.05. It has no warm-up; `unsupervised_warmup_steps` gives it one.

    Paper: Dai, Li and Cheng, "Semi-Supervised Deep Regression with Uncertainty Consistency and Variational Model
    Ensembling via Bayesian Neural Networks", AAAI 2023, arXiv 2302.07579.
    """

    views = {"weak": "weak"}
    title = "UCVME"
    summary = "two predictors that know their uncertainty agree on the pool"
    year = 2023
    arxiv = "2302.07579"
    citation = """@inproceedings{dai2023semi,
  title = {Semi-Supervised Deep Regression with Uncertainty Consistency and Variational Model Ensembling via Bayesian
           Neural Networks},
  author = {Dai, Weihang and Li, Xiaomeng and Cheng, Kwang-Ting},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2023}
}"""

    def __init__(self, *, num_passes: int = 5, dropout: float = 0.05, **task: Any):
        super().__init__(**task)
        check(num_passes >= 1, "num_passes", num_passes, "at least 1")
        check(0 <= dropout < 1, "dropout", dropout, "in [0, 1)")
        self.num_passes, self.dropout = num_passes, dropout
        size, count = self.problem.feature_size, self.problem.num_classes
        self.second = nn.Linear(size, count)
        self.variances = nn.Linear(size, 2 * count)
        # Both predictors begin with the variance of the labels, whatever the scale of the features is.
        nn.init.zeros_(self.variances.weight)
        nn.init.zeros_(self.variances.bias)

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = model(labeled=batch.labeled, weak=batch.unlabeled["weak"])
        labeled, weak = out["labeled"], out["weak"]
        supervised = self._supervised(model, labeled.features, batch.labels)
        numbers, logs = self._predict(model, weak.features)
        with torch.no_grad():
            passes = [self._predict(model, weak.features) for _ in range(self.num_passes)]
            target, variance = (torch.stack(each).mean(dim=(0, 1)) for each in zip(*passes, strict=True))
        unsupervised = self._error(numbers, target, variance) + (logs - variance).square().mean(dim=(1, 2)).sum()
        deviation = (variance / 2).exp().mean()
        guesses = target * self.target_scale + self.target_mean
        return self.total(supervised, unsupervised, pseudo_labels=guesses, metrics={"deviation": deviation})

    def _supervised(self, model: ModelForward, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        numbers, logs = self._predict(model, features)
        if self.criterion is not None:
            # A loss of the user knows no variance: it replaces the squared error, and nothing teaches the variances.
            return self.labeled_loss(numbers[0] * self.target_scale + self.target_mean, labels)
        error = self._error(numbers, self.standardized(labels), logs.mean(dim=0))
        return error + (logs[0] - logs[1]).square().mean()

    def _predict(self, model: ModelForward, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardized numbers and log-variances [2, N, K] of features [N, D], under a new mask for each layer."""
        first = self.standardized(model.classify(self._masked(features)))
        second = losses.float_logits(self.second(self._masked(features)))
        logs = losses.float_logits(self.variances(self._masked(features))).clamp(_LEAST, _MOST)
        return torch.stack([first, second]), torch.stack(logs.chunk(2, dim=-1))

    def _masked(self, features: torch.Tensor) -> torch.Tensor:
        return F.dropout(features, self.dropout, training=True) if self.dropout > 0 else features

    @staticmethod
    def _error(numbers: torch.Tensor, targets: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
        """The heteroscedastic loss of both predictors [2, N, K], their sum."""
        return (((-logs).exp() * (numbers - targets).square() + logs) / 2).mean(dim=(1, 2)).sum()

    def log_variance_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """See `SSLAlgorithm.log_variance_layer`: the mean of the two heads."""
        count, double = self.problem.num_classes, (part.detach().double() for part in self.variances.parameters())
        weight, bias = ((part[:count] + part[count:]) / 2 for part in double)
        return weight, bias + 2 * self.target_scale.double().log()
