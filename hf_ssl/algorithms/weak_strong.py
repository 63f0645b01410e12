"""The step that FixMatch and its descendants share: label the weak view, train the strong one."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..distributed import total
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .parts.reward import RewardFilter
from .parts.thresholds import make_targets
from .problem import Progress, check

# The `ViewOutput` of each view by its name, and what one part of the step leaves for a later one.
Outputs = dict[str, Any]


@dataclass(frozen=True)
class Guesses:
    """What pseudo-labels are weighed by.

    Args:
        probs: refined distributions of the weak view `[mu*B, C]`.
        labeled_probs: distributions of the labeled batch [B, C].
        supervised: the loss on the labeled batch, a scalar.
        out: outputs by name; what weighing leaves there is for later parts of the step.
        batch, progress: of the step.
    """

    probs: torch.Tensor
    labeled_probs: torch.Tensor
    supervised: torch.Tensor
    out: Outputs
    batch: SSLBatch
    progress: Progress


class WeakStrongAlgorithm(SSLAlgorithm):
    """One step in six parts, each a method that an algorithm may replace:

        run         the views through the model
        supervised  the loss on the labeled batch
        refine      the prediction on the weak view, before it is judged (distribution alignment, smoothing)
        weigh       which pseudo-labels count, and how much
        targets     the pseudo-labels of the strong view
        additions   further loss terms

    The weights come from `threshold`, a module of `parts/thresholds.py` that the constructor of each algorithm sets.

        q = refine(softmax(f(weak(u)))),  mask = threshold(q)
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), targets)) + additions
               + margin_penalty * mean_selected(mean_c max(max_k z_k - z_c - 10, 0)),  z = f(strong(u))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, q `[mu*B, C]`, mask `[mu*B]`.

    Between these parts it asks its correction for long tails, which changes nothing unless one was put around it.

    Args:
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: above 0.
        margin_penalty: factor of the last term, at least 0; 0 leaves it out. It is for calibration: pseudo-labels
            drive the logits apart without end. Selected are the strong views that count (by their mask) and are
            predicted as their pseudo-label. The authors set 0.1 (Mishra et al., "Do not trust what you trust:
            Miscalibration in Semi-supervised Learning", TMLR 2024, arXiv 2403.15567).
        reward_start: share of the run after which only those pseudo-labels count whose learned reward is at least the
            mean one, in [0, 1); None filters nothing. A term that teaches the reward is added to the loss: see
            `SemiReward`, and `RewardFilter` in `parts/reward.py`.
        task: the fields of `ProblemSpec`.

    Note:
        `hard_labels` and `temperature` are positional here, because they are settings only of those algorithms that
        have them as keywords: `settings()` lists keywords.
    """

    offers = frozenset({"labeled", "pseudo_labels", "pseudo_labels_alone"})
    presumes = "its threshold looks at the largest of C probabilities that add up to 1"
    threshold: nn.Module

    def __init__(
        self,
        hard_labels: bool,
        temperature: float,
        /,
        *,
        margin_penalty: float = 0.0,
        reward_start: float | None = None,
        **task: Any,
    ):
        super().__init__(**task)
        check(temperature > 0, "temperature", temperature, "above 0")
        check(margin_penalty >= 0, "margin_penalty", margin_penalty, "at least 0")
        self.margin_penalty = margin_penalty
        sizes = self.problem.feature_size, self.problem.num_classes
        self.reward = None if reward_start is None else RewardFilter(*sizes, reward_start)
        self.hard_labels = hard_labels
        self.temperature = temperature

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on a learned reward drops pseudo-labels, if one does."""
        begins = 0 if self.reward is None else self.reward.begins_at(progress)
        return {"reward drops pseudo-labels": begins} if begins else {}

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        correction, out = self.correction, self.run(model, batch)
        correction.observe(model, out, batch, progress)
        supervised = self.supervised(out, batch, progress)
        weak = correction.weak_logits(out["weak"].logits.detach(), out, batch, progress)
        labeled_probs = losses.probabilities(out["labeled"].logits.detach())
        probs = self.refine(losses.probabilities(weak), labeled_probs, out, batch, progress)
        mask = self.weigh(Guesses(probs, labeled_probs, supervised.detach(), out, batch, progress))
        mask = correction.mask(mask, probs, batch, progress)
        targets = correction.targets(self.targets(weak, probs), batch, progress)
        rewarder: dict[str, tuple[float, torch.Tensor]] = {}
        if self.reward is not None:
            labeled, pool = out["labeled"].features, out["weak"].features
            keep, term = self.reward(labeled, batch.labels, pool, targets, progress)
            mask, rewarder = mask * keep, {"rewarder": (1.0, term)}
        unsupervised = correction.unsupervised(out, targets, mask)
        additions = self.additions(out, probs, mask, batch, progress)
        extra = {**additions.pop("extra", {}), **correction.additions(out, batch, progress), **rewarder}
        if self.margin_penalty > 0:
            extra["margin"] = (self.margin_penalty, selected_excess(out["strong"].logits, targets, mask))
        return self.total(supervised, unsupervised, extra=extra, mask=mask, pseudo_labels=targets, **additions)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """Outputs by name: "labeled", "weak" and "strong" at least. Later parts may add what they share to it."""
        unlabeled = batch.unlabeled
        return model(labeled=batch.labeled, strong=unlabeled["strong"], no_grad={"weak": unlabeled["weak"]})

    def supervised(self, out: Outputs, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """The scalar loss on the labeled batch."""
        return self.labeled_loss(out["labeled"].logits, batch.labels)

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """The distributions `[mu*B, C]` to judge, from those of the weak view and of the labeled batch `[B, C]`."""
        return probs

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """The weights `[mu*B]` of the pseudo-labels."""
        return self.threshold(
            guesses.probs,
            labeled_probs=guesses.labeled_probs,
            index=guesses.batch.unlabeled_index,
            progress=guesses.progress,
            supervised=guesses.supervised,
        )

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """Pseudo-labels, classes `[mu*B]` or distributions `[mu*B, C]`, from weak logits or refined distributions."""
        return make_targets(weak, self.hard_labels, self.target_temperature)

    @property
    def target_temperature(self) -> float:
        """`temperature`, or 1 for a correction that trains towards soft pseudo-labels as they are."""
        return self.temperature if self.correction.sharpens else 1.0

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """Further keywords for `SSLAlgorithm.total`, such as `extra` terms."""
        return {}


def selected_excess(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean excess of the margins of those predictions that count and equal their pseudo-label, a scalar.

    Args:
        logits: [N, C] of the strong views.
        targets: pseudo-labels, classes [N] or distributions [N, C].
        mask: their weights [N].

    Note:
        The mean is taken over the examples of all processes, since it is not one over the whole batch.

    Example:
        >>> selected_excess(torch.tensor([[12.0, 0.0], [50.0, 0.0]]), torch.tensor([0, 1]), torch.ones(2))
        tensor(1.)
    """
    labels = targets.argmax(dim=-1) if targets.is_floating_point() else targets
    weight = mask * (logits.argmax(dim=-1) == labels)
    excess, count = total(torch.stack([(weight * losses.margin_excess(logits)).sum(), weight.sum()]))
    return excess / count.clamp_min(torch.finfo(count.dtype).tiny)
