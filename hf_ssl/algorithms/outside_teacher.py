"""What a larger model said of the pool, as a further term in the loss of any algorithm."""

from collections.abc import Sequence

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch, required
from ..model.forward import ModelForward, ViewOutput
from ..model.padding import View
from ..setting_ranges import TEACHER_SCHEDULES
from .problem import ProblemSpec, Progress, check

# Of the views that a step differentiates, the first one of these is learned from; the authors take the weak one.
_ORDER = ("weak", "strong", "medium", "strong_2")


class OutsideTeacher(nn.Module):
    """An auxiliary head g on the features h of the model, which learns the opinions of a larger model.

        loss = (loss of the algorithm) + weight * alpha * mean_U CE(g(h(u)), q)

    q is the opinion on an example of the pool: a distribution, or one class. Where there is none, q is zero and the
    example adds nothing; the mean is over all mu*B examples all the same, so that it does not depend on how a step is
    divided. The gradient reaches head and features, never the model's own head: mistakes of the teacher are not
    answers of the student. The head is a part of the algorithm, so that it is trained and resumed with it, and it is
    in no saved model.

    Shapes: features `[mu*B, D]`, opinions `[mu*B, C]`.

    A step costs no further call of the model if the algorithm differentiates a view of the pool, which is then the
    one that is learned from. If it does not (labels alone, or mixtures of inputs), the weak view goes through the
    model once more.

    Args:
        problem: sizes and classes.
        weight: lambda of the term, at least 0.
        schedule: alpha at step t of T: "falling" 1 - t/T, "constant" 1, "rising" t/T.

    Raises:
        ValueError: for settings outside their range.

    Note:
        It is the second stage of ZeroMatch. There alpha rises, because a first stage has trained the model on the
        opinions alone; here there is one stage, in which the teacher knows most at the start. The authors also take
        opinions on labeled examples, and hard ones.

    Paper: Chung and Chen, "Enhancing Semi-supervised Learning with Zero-shot Pseudolabels", TMLR 2026,
    arXiv 2502.12584.

    Example:
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> teacher = OutsideTeacher(ProblemSpec(num_classes=3, feature_size=5, **sizes), weight=0.5)
        >>> teacher.weight_at(Progress(step=0, max_steps=10, steps_per_epoch=1))
        0.5
        >>> teacher.weight_at(Progress(step=8, max_steps=10, steps_per_epoch=1))
        0.1
    """

    def __init__(self, problem: ProblemSpec, weight: float = 1.0, schedule: str = "falling"):
        super().__init__()
        check(weight >= 0, "teacher_weight", weight, "at least 0")
        check(schedule in TEACHER_SCHEDULES, "teacher_schedule", schedule, f"one of {', '.join(TEACHER_SCHEDULES)}")
        self.teacher_weight, self.schedule = weight, schedule
        self.head = nn.Linear(problem.feature_size, problem.num_classes)

    def weight_at(self, progress: Progress) -> float:
        """The factor of the term in a step."""
        share = min(progress.step / max(progress.max_steps, 1), 1.0)
        alpha = {"falling": 1 - share, "constant": 1.0, "rising": share}[self.schedule]
        return round(self.teacher_weight * alpha, 12)

    def forward(
        self, model: ModelForward, heard: Sequence[tuple[View, ViewOutput]], batch: SSLBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The term, and the share of the examples on which there is an opinion: two scalars.

        Args:
            model: as the algorithm is given it.
            heard: the views with gradient that the step has computed (`ModelForward.heard`).
            batch: with `opinions`.

        Raises:
            ValueError: if the batch has no opinions.
        """
        opinions = required(batch.opinions, "opinions")
        features = self._features(model, heard, batch)
        logits = self.head(features.to(self.head.weight.dtype))
        has_one = opinions.sum(dim=-1) > 0
        return losses.cross_entropy(logits, opinions.to(losses.float_logits(logits))), has_one.float().mean()

    @staticmethod
    def _features(model: ModelForward, heard: Sequence[tuple[View, ViewOutput]], batch: SSLBatch) -> torch.Tensor:
        for name in _ORDER:
            for view, output in heard:
                if view is batch.unlabeled.get(name) and output.logits.requires_grad:
                    return output.features
        # As targets are: batch normalization's running averages are left as they are.
        view = batch.unlabeled.get("weak", next(iter(batch.unlabeled.values())))
        return model(frozen={"weak": view})["weak"].features
