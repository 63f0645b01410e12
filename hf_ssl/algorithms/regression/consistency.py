"""Two views of an example get the same numbers: the Pi-Model and Mean Teacher for regression."""

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ..base import AlgorithmOutput
from ..mean_teacher import MeanTeacher
from ..pi_model import PiModel
from ..problem import Progress


class NumberPiModel(PiModel):
    """The Pi-Model of numbers: predictions on two weak views of an unlabeled example are pulled together.

        q = f(u_1), a constant
        loss = |f(x) - y|^2 / K + unsupervised_weight * warmup * |f(u_2) - q|^2 / K

    of standardized numbers, see `SSLAlgorithm.standardized`.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, y and q `[N, K]`.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Papers: as the Pi-Model of classes; RankUp (arXiv 2410.22124) compares with this form of it.
    """

    summary = "two views of an example get the same numbers"

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = self.run(model, batch)
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        targets = out["weak"].logits
        unsupervised = losses.number_error(self.standardized(out["strong"].logits), self.standardized(targets))
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, pseudo_labels=targets)


class NumberMeanTeacher(NumberPiModel, MeanTeacher):
    """Mean Teacher of numbers: as `NumberPiModel`, with what the moving average of the weights predicts on the first
    view as the constant.

        q = teacher(u_1)
        loss = |f(x) - y|^2 / K + unsupervised_weight * warmup * |f(u_2) - q|^2 / K

    of standardized numbers, see `SSLAlgorithm.standardized`.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, y and q `[N, K]`. Needs a teacher.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Papers: as Mean Teacher of classes; RankUp (arXiv 2410.22124) compares with this form of it.
    """

    summary = "the averaged weights of the model teach the model numbers"
