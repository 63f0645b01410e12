"""What an algorithm knows before the first step, and how far training is.

ProblemSpec  what is to be learned: sizes, classes, modality       known before the first step
Progress     how far training is
check        a setting's range
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from ..modality import MODALITIES
from ..problem_types import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL


def check(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a ValueError that names a setting, what it must be and what it is, unless `condition` holds.

    No setting may be infinite, so a condition need not say so.

    Example:
        >>> check(False, "temperature", -1.0, "above 0")
        Traceback (most recent call last):
        ValueError: temperature must be above 0, got -1.0
    """
    if isinstance(value, float) and math.isinf(value):
        allowed = "finite"
    elif condition:
        return
    raise ValueError(f"{name} must be {allowed}, got {value}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProblemSpec:
    """What an algorithm has to know of the data and the batches before the first step.

    These are the keywords that all algorithms share. `get_algorithm` and the constructors take them beside the
    settings of the algorithm, and an algorithm keeps them as `problem`.

    Args:
        num_classes: C, at least 2; of several labels or of numbers, how many there are, at least 1.
        num_labeled: size of the labeled set.
        num_unlabeled: size of the unlabeled pool, at least 1 if the algorithm reads it; None for a stream.
        feature_size: D, width of the features that the classification head reads.
        labeled_batch_size: B of a whole step, over all processes and accumulated passes.
        unlabeled_batch_size: mu*B of a whole step.
        class_distribution: frequencies [C] of the classes among the labeled examples; None means uniform. Of several
            labels, the share of the labeled examples that has each of them; None means a half.
        unsupervised_weight: factor of the unsupervised term in the loss, at least 0.
        modality: "image", "text" or "audio". It decides whether there are rotated views, and whether mixup mixes
            inputs (images) or features.
        problem_type: one of `hf_ssl.problem_types.PROBLEM_TYPES`.
        target_mean, target_scale: mean and standard deviation [C] of the labeled numbers, for regression; None means
            0 and 1.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> ProblemSpec(num_classes=4, feature_size=8, **sizes).frequencies()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    num_classes: int
    num_labeled: int
    num_unlabeled: int | None
    feature_size: int
    labeled_batch_size: int
    unlabeled_batch_size: int
    class_distribution: torch.Tensor | None = None
    unsupervised_weight: float = 1.0
    modality: str = "image"
    problem_type: str = SINGLE_LABEL
    target_mean: torch.Tensor | None = None
    target_scale: torch.Tensor | None = None

    def __post_init__(self) -> None:
        kind = self.problem_type
        check(kind in PROBLEM_TYPES, "problem_type", repr(kind), f"one of {', '.join(PROBLEM_TYPES)}")
        fewest = 2 if kind == SINGLE_LABEL else 1
        check(self.num_classes >= fewest, "num_classes", self.num_classes, f"at least {fewest}")
        for name in ("target_mean", "target_scale"):
            given = getattr(self, name)
            fits = given is None or (kind == REGRESSION and list(given.shape) == [self.num_classes])
            check(fits, name, given, f"numbers [{self.num_classes}] of a regression, or None")
        for name in ("num_labeled", "feature_size", "labeled_batch_size"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("num_unlabeled", "unlabeled_batch_size"):
            check((getattr(self, name) or 0) >= 0, name, getattr(self, name), "at least 0")
        check(self.unsupervised_weight >= 0, "unsupervised_weight", self.unsupervised_weight, "at least 0")
        if self.class_distribution is not None:
            self._check_frequencies()
        check(self.modality in MODALITIES, "modality", repr(self.modality), f"one of {', '.join(MODALITIES)}")

    def _check_frequencies(self) -> None:
        name, given, size = "class_distribution", self.frequencies(), self.num_classes
        shape = list(given.shape)
        check(shape == [size], name, f"a tensor {shape}", f"frequencies [{size}]")
        rounded = [round(value, 4) for value in given.tolist()]
        if self.problem_type == MULTI_LABEL:
            check(bool(((given >= 0) & (given <= 1)).all()), name, rounded, "in [0, 1]")
            return
        fits = bool((given >= 0).all()) and abs(float(given.sum()) - 1) < 1e-3
        check(fits, name, rounded, "at least 0 with sum 1")

    def frequencies(self) -> torch.Tensor:
        """`class_distribution` as float32 [C]; if it is not given, uniform, and a half of each of several labels."""
        if self.class_distribution is None:
            share = 0.5 if self.problem_type == MULTI_LABEL else 1.0 / self.num_classes
            return torch.full((self.num_classes,), share)
        return torch.as_tensor(self.class_distribution, dtype=torch.float32)


# Logits [N, C], targets (classes [N], or distributions, labels or numbers [N, C]) and weights [N] or None -> a scalar.
Criterion = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
PROBLEM_KEYWORDS = tuple(each.name for each in fields(ProblemSpec))


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Args:
        step: optimizer steps done so far, 0 in the first step. Calls with the same number one after the other are
            passes of the same step (gradient accumulation): statistics count their examples as one batch.
        max_steps: optimizer steps of the whole training.
        steps_per_epoch: optimizer steps in the unit in which published schedules count: memories begin to vote after
            one of them, and Dash lowers its limit every ten. It is a share of the run (see `in_run`) and not a pass
            over the pool, so that a short run over a large pool gets the whole algorithm as well.
        unsupervised_ramp: in [0, 1], a further factor of `unsupervised_weight`, which the trainer raises over
            `unsupervised_warmup_steps`. It applies to every algorithm, beside the warm-up that some papers prescribe.

    Example:
        >>> progress = Progress(step=30, max_steps=100, steps_per_epoch=8)
        >>> progress.epoch, progress.warmup(0.5)
        (3, 0.6)
    """

    step: int
    max_steps: int
    steps_per_epoch: int
    unsupervised_ramp: float = 1.0

    @classmethod
    def in_run(cls, step: int, max_steps: int, modality: str = "image", unsupervised_ramp: float = 1.0) -> "Progress":
        """Progress in a run whose epochs are those of USB: 200 in any run on images, 100 on texts and recordings.

        An epoch has at least one step, so shorter runs have fewer of them.

        Example:
            >>> Progress.in_run(30, 1_000), Progress.in_run(30, 60, "text").epoch
            (Progress(step=30, max_steps=1000, steps_per_epoch=5, unsupervised_ramp=1.0), 30)
        """
        unit = max(max_steps // MODALITIES[modality].epochs_of_run, 1)
        return cls(step, max_steps, unit, unsupervised_ramp)

    @property
    def epoch(self) -> int:
        """Completed units of `steps_per_epoch` steps."""
        return self.step // max(self.steps_per_epoch, 1)

    @property
    def begins_epoch(self) -> bool:
        """Whether this is the first step of an epoch, and a step before it was of another."""
        return self.step > 0 and self.step % max(self.steps_per_epoch, 1) == 0

    def warmup(self, fraction: float) -> float:
        """A weight that rises linearly from 0 to 1 over the first `fraction` of training."""
        return 1.0 if fraction <= 0 else min(self.step / (fraction * self.max_steps), 1.0)
