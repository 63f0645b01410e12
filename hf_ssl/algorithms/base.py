"""What every algorithm shares: its contract with the trainer or with a plain PyTorch loop."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from ..batches.batch import SSLBatch
from ..model.forward import ModelForward

MODALITIES = ("image", "text", "audio")


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    Args:
        step: optimizer steps done so far, 0 in the first step.
        max_steps: optimizer steps of the whole training.
        steps_per_epoch: optimizer steps in one pass over the unlabeled pool.
    """

    step: int
    max_steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Passes over the pool that are complete."""
        return self.step // max(self.steps_per_epoch, 1)

    def warmup(self, fraction: float) -> float:
        """Weight that rises linearly from 0 to 1 over the first `fraction` of training."""
        return 1.0 if fraction <= 0 else min(self.step / (fraction * self.max_steps), 1.0)


@dataclass
class AlgorithmOutput:
    """What an algorithm returns for one batch.

    Args:
        loss: scalar to differentiate.
        terms: the named parts of the loss, before their weights.
        metrics: detached scalars to log, such as `mask_ratio`.
        mask: weight [mu*B] given to each unlabeled example, or None where the algorithm has no such thing.
        pseudo_labels: class [mu*B] (or distribution [mu*B, C]) that each unlabeled example was trained towards, or None.
            The trainer compares it with hidden labels where the pool has them; the algorithm never sees those.
        labeled_mask: weight [B] given to each labeled example by algorithms that pseudo-label those too (DeFixMatch).
    """

    loss: torch.Tensor
    terms: dict[str, torch.Tensor]
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)
    mask: torch.Tensor | None = None
    pseudo_labels: torch.Tensor | None = None
    labeled_mask: torch.Tensor | None = None


class SSLAlgorithm(nn.Module):
    """Base class of all algorithms: a module that turns a batch into a loss.

    Settings are typed keyword arguments of the constructor, running statistics are registered buffers, trainable heads are
    sub-modules; saving, resuming and moving to a device then need no code. A subclass calls `super().__init__(**task)` with
    the keywords it does not know, and writes `forward(forward, batch, progress) -> AlgorithmOutput`.

    Class attributes:
        views: the unlabeled views it wants, name in `SSLBatch.unlabeled` -> kind of view ("weak", "strong", "rotated").
            The name "labeled_strong" asks for a strong view of the labeled examples. An instance may want fewer views
            than its class (no "rotated" for text), so ask the instance once there is one.
        uses_teacher: whether it calls `forward.teacher`, that is, whether it needs a moving average of the weights.
        title, summary, year, arxiv, citation: for `hf-ssl algorithms` and the model card.

    Args:
        num_classes: C.
        num_labeled: size of the labeled set.
        num_unlabeled: size of the unlabeled pool.
        feature_size: D, width of the features that the classification head reads.
        labeled_batch_size: B, over all processes.
        unlabeled_batch_size: mu*B, over all processes.
        class_distribution: frequencies [C] of the classes among the labeled examples; None means uniform.
        unsupervised_weight: factor of the unsupervised term in the loss, at least 0.
        modality: "image", "text" or "audio": decides whether rotated views exist, and whether inputs or features are mixed.
    """

    views: ClassVar[Mapping[str, str]] = {"weak": "weak", "strong": "strong"}
    uses_teacher: ClassVar[bool] = False
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    arxiv: ClassVar[str | None] = None
    citation: ClassVar[str] = ""
    # In [0, 1], times `unsupervised_weight`: the trainer raises it over `unsupervised_warmup_steps`.
    unsupervised_ramp: float = 1.0

    def __init__(
        self,
        *,
        num_classes: int,
        num_labeled: int,
        num_unlabeled: int,
        feature_size: int,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        class_distribution: torch.Tensor | None = None,
        unsupervised_weight: float = 1.0,
        modality: str = "image",
    ):
        super().__init__()
        check(num_classes >= 2, "num_classes", num_classes, "at least 2")
        check(unsupervised_weight >= 0, "unsupervised_weight", unsupervised_weight, "at least 0")
        check(modality in MODALITIES, "modality", repr(modality), f"one of {', '.join(MODALITIES)}")
        self.num_classes = num_classes
        self.num_labeled = num_labeled
        self.num_unlabeled = num_unlabeled
        self.feature_size = feature_size
        self.labeled_batch_size = labeled_batch_size
        self.unlabeled_batch_size = unlabeled_batch_size
        self.unsupervised_weight = unsupervised_weight
        self.modality = modality
        if class_distribution is None:
            class_distribution = torch.full((num_classes,), 1.0 / num_classes)
        class_distribution = torch.as_tensor(class_distribution, dtype=torch.float32)
        # It follows from the labeled set at every start, so it is not part of the saved state.
        self.register_buffer("class_distribution", class_distribution, persistent=False)

    def forward(self, forward: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        """Compute the loss of one batch, and update the statistics."""
        raise TypeError(f"{type(self).__name__} must define forward(forward, batch, progress)")

    def total(
        self,
        supervised: torch.Tensor,
        unsupervised: torch.Tensor,
        *,
        warmup: float = 1.0,
        extra: Mapping[str, tuple[float, torch.Tensor]] | None = None,
        **output,
    ) -> AlgorithmOutput:
        """The usual sum: supervised + unsupervised_weight * warmup * unsupervised + sum of weight * term over `extra`.

        The trainer's own warm-up, `unsupervised_ramp`, is a further factor of the second term.

        Args:
            warmup: in [0, 1], see `Progress.warmup`.
            extra: further terms by name, each as (weight, term).
            output: further fields of `AlgorithmOutput`; `mask_ratio` is taken from `mask`.
        """
        loss = supervised + self.unsupervised_weight * self.unsupervised_ramp * warmup * unsupervised
        terms = {"supervised": supervised, "unsupervised": unsupervised}
        for name, (weight, term) in (extra or {}).items():
            loss = loss + weight * term
            terms[name] = term
        metrics = dict(output.pop("metrics", {}))
        for name, ratio in (("mask", "mask_ratio"), ("labeled_mask", "labeled_mask_ratio")):
            if output.get(name) is not None:
                output[name] = output[name].detach()
                metrics[ratio] = output[name].mean()
        return AlgorithmOutput(loss, {name: term.detach() for name, term in terms.items()}, metrics, **output)

    def __getattr__(self, name: str):
        # A statistic is kept by the part that computes it, and read from the algorithm: flexmatch.class_learning_status.
        try:
            return super().__getattr__(name)
        except AttributeError:
            for part in self.__dict__.get("_modules", {}).values():
                if part is not None and name in part._buffers:
                    return part._buffers[name]
            raise

    @classmethod
    def settings(cls) -> dict[str, inspect.Parameter]:
        """The hyper-parameters that the class and its bases add to the common keywords, by name."""
        found: dict[str, inspect.Parameter] = {}
        for base in reversed(cls.__mro__):
            if not issubclass(base, SSLAlgorithm) or base is SSLAlgorithm or "__init__" not in vars(base):
                continue
            parameters = inspect.signature(base.__init__).parameters.values()
            found.update({p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY})
        common = inspect.signature(SSLAlgorithm.__init__).parameters
        return {name: parameter for name, parameter in found.items() if name not in common}


def check(condition: bool, name: str, value, allowed: str) -> None:
    """Raise a ValueError that names the setting, its value and what is allowed, unless `condition` holds."""
    if not condition:
        raise ValueError(f"{name} must be {allowed}, got {value}")


def settings_of(algorithm) -> dict:
    """The algorithm's own settings with the values in force, wherever in its parts they are kept."""
    values = {}
    for name in type(algorithm).settings():
        found = (getattr(part, name, None) for part in algorithm.modules())
        values[name] = next((value for value in found if isinstance(value, bool | int | float | str)), None)
    return {name: value for name, value in values.items() if value is not None}
