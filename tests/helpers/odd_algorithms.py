"""Algorithms that behave badly on purpose."""

import torch

from hf_ssl import AlgorithmOutput, SSLAlgorithm, losses


class Spoiled(SSLAlgorithm):
    """Supervised, with a second term that is `value` in step `at`."""

    views = {"weak": "weak"}

    def __init__(self, *, at: int = 3, value: float = float("nan"), **task):
        super().__init__(**task)
        self.at, self.value = at, value

    def forward(self, model, batch, progress):
        supervised = losses.cross_entropy(model(labeled=batch.labeled)["labeled"].logits, batch.labels)
        extra = torch.tensor(self.value if progress.step + 1 == self.at else 0.5)
        return AlgorithmOutput(supervised + extra, {"supervised": supervised.detach(), "extra": extra})
