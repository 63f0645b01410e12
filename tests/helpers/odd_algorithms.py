"""Algorithms that behave badly on purpose."""

import torch

from hf_ssl import AlgorithmOutput, SSLAlgorithm, losses


class LateHead(SSLAlgorithm):
    """Supervised, with a second head that learns from step `at` on."""

    views = {"weak": "weak"}

    def __init__(self, *, at: int = 3, **task):
        super().__init__(**task)
        self.at = at
        self.head = torch.nn.Linear(self.problem.feature_size, self.problem.num_classes)

    def forward(self, model, batch, progress):
        out = model(labeled=batch.labeled)["labeled"]
        supervised = losses.cross_entropy(out.logits, batch.labels)
        if progress.step < self.at:
            return AlgorithmOutput(supervised, {"supervised": supervised.detach()})
        late = losses.cross_entropy(self.head(out.features), batch.labels)
        return AlgorithmOutput(supervised + late, {"supervised": supervised.detach(), "late": late.detach()})


class Spoiled(SSLAlgorithm):
    """Supervised, with a second term that is `value` in step `at`; with `alone` there is none in other steps."""

    views = {"weak": "weak"}

    def __init__(self, *, at: int = 3, value: float = float("nan"), alone: bool = False, **task):
        super().__init__(**task)
        self.at, self.value, self.alone = at, value, alone

    def forward(self, model, batch, progress):
        supervised = losses.cross_entropy(model(labeled=batch.labeled)["labeled"].logits, batch.labels)
        if self.alone and progress.step + 1 != self.at:
            return AlgorithmOutput(supervised, {"supervised": supervised.detach()})
        extra = torch.tensor(self.value if progress.step + 1 == self.at else 0.5)
        return AlgorithmOutput(supervised + extra, {"supervised": supervised.detach(), "extra": extra})
