"""The contract of corrections for long tails with the algorithms: what they may change in a step.

A correction is put around an algorithm by `get_algorithm(..., imbalance="abc")`; `imbalance/` has one file for each.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from ..model.padding import View
from .problem import ProblemSpec, Progress, check
from .rounds import InRounds
from .steps import StepStatistics

if TYPE_CHECKING:
    from .base import SSLAlgorithm

# Weight [C, D] and bias [C] of a linear layer.
Head = tuple[torch.Tensor, torch.Tensor | None]
_TASK = ("problem", "class_counts")


class Correction(StepStatistics):
    """What is done about classes of different sizes, in a step of any algorithm; this base class changes nothing.

    A step that labels a weak view and trains a strong one (`WeakStrongAlgorithm`) asks in this order, and a subclass
    replaces what it corrects:

        observe             what the model said; further calls of the model, running statistics
        labeled_logits      the logits of the labeled loss                       (in every algorithm)
        labeled_weights     the weights of its examples                          (in every algorithm)
        weak_logits         what pseudo-labels are made from
        mask                which pseudo-labels count
        targets             the pseudo-labels
        unsupervised        their loss
        additions           further loss terms

    After training, and in every evaluation before, it may give the answer that the model itself is not:

        corrected_head      the classifier that is evaluated and saved in place of the model's

    Settings are typed keyword arguments of the constructor, as of an algorithm. Buffers are running statistics, and
    belong to the state of the algorithm, which also lends their names (`algorithm.running_mean`).

    Class attributes:
        needs: what an algorithm must offer (`SSLAlgorithm.offers`): "labeled", a loss on labels; "pseudo_labels", a
            step as above; "pseudo_labels_alone", one without pseudo-labels of labeled examples.
        views: views that it needs beside those of the algorithm, as in `SSLAlgorithm.views`.
        uses_teacher, remembers_pool: as in `SSLAlgorithm`.
        sharpens: whether soft pseudo-labels are made with the temperature of the algorithm.
        answers: whether `corrected_head` gives another classifier than the model's.
        reads_content_free: whether it needs `SSLBatch.content_free`, an input that says nothing.
        balances_labeled: whether labeled examples are drawn with equal chances for each class, instead of for each
            example.
        title, summary, year, arxiv, citation: for `hf-ssl algorithms` and the model card.

    Args:
        problem: sizes, classes and modality.
        class_counts: number of labeled examples [C] of each class, in any order of sizes; kept as `labeled_counts`.

    Raises:
        ValueError: if the counts are not C numbers of at least 0, or all of them are 0.

    Example:
        Labeled examples count by the inverse size of their class:

        >>> class InverseFrequency(Correction):
        ...     def labeled_weights(self, targets):
        ...         inverse = self.labeled_counts.clamp_min(1).reciprocal()
        ...         return (inverse / inverse.mean())[targets]
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> problem = ProblemSpec(num_classes=2, feature_size=8, **sizes)
        >>> correction = InverseFrequency(problem=problem, class_counts=torch.tensor([4, 2]))
        >>> correction.labeled_weights(torch.tensor([0, 1]))
        tensor([0.6667, 1.3333])
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labeled"})
    views: ClassVar[Mapping[str, str]] = {}
    uses_teacher: ClassVar[bool] = False
    remembers_pool: ClassVar[bool] = False
    sharpens: ClassVar[bool] = True
    answers: ClassVar[bool] = False
    reads_content_free: ClassVar[bool] = False
    balances_labeled: ClassVar[bool] = False
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    arxiv: ClassVar[str | None] = None
    citation: ClassVar[str] = ""

    labeled_counts: torch.Tensor

    def __init__(self, *, problem: ProblemSpec, class_counts: torch.Tensor):
        super().__init__()
        counts = torch.as_tensor(class_counts, dtype=torch.float32).reshape(-1)
        fits = len(counts) == problem.num_classes and bool((counts >= 0).all()) and bool(counts.sum() > 0)
        wanted = f"{problem.num_classes} numbers of labeled examples, at least 0 and not all 0"
        check(fits, "class_counts", counts[:20].tolist(), wanted)
        self.problem = problem
        # They follow from the labeled set at every start, so they are not part of the saved state.
        self.register_buffer("labeled_counts", counts, persistent=False)

    @classmethod
    def refusal(cls, algorithm: "SSLAlgorithm") -> str | None:
        """Why this correction cannot be put around that algorithm, in words; None if it can."""
        if issubclass(cls, InRounds) and isinstance(algorithm, InRounds):
            return "both train in rounds"
        missing = cls.needs - algorithm.offers
        return f"it needs {_MEANINGS[min(missing)]}" if missing else None

    def join(self, algorithm: "SSLAlgorithm") -> None:
        """Take from the algorithm what depends on its settings; it keeps the correction, not the other way around."""

    def heads(self) -> Mapping[str, nn.Module]:
        """Trainable heads by the names under which the algorithm keeps them (`algorithm.balanced_head`)."""
        return {}

    def observe(self, model: ModelForward, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """See the outputs of the step's views by name, before anything is made of them; `out` may be added to."""

    def labeled_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [N, C] of the labeled loss, from those of the model."""
        return logits

    def labeled_weights(self, targets: torch.Tensor) -> torch.Tensor | None:
        """Weights [N] of labeled examples with these classes [N], or distributions [N, C]; None for 1 each."""
        return None

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Logits `[mu*B, C]` whose softmax is what pseudo-labels are made from, from the model's on the weak view.

        A correction of probabilities p returns log p. Neither has a gradient.
        """
        return logits

    def mask(self, mask: torch.Tensor, probs: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Weights `[mu*B]` of the pseudo-labels, from the algorithm's and its refined distributions `[mu*B, C]`."""
        return mask

    def targets(self, targets: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Pseudo-labels, classes `[mu*B]` or distributions `[mu*B, C]`, from the algorithm's."""
        return targets

    def unsupervised(self, out: dict[str, Any], targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The scalar loss of the strong view on the pseudo-labels with these weights."""
        return losses.cross_entropy(out["strong"].logits, targets, mask)

    def additions(
        self, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> Mapping[str, tuple[float, torch.Tensor]]:
        """Further loss terms by name, each as (weight, scalar)."""
        return {}

    def corrected_head(self, model: ModelForward, content_free: View | None = None) -> Head | None:
        """Weight [C, D] and bias [C] of the classifier that is evaluated and saved; None for the model's own.

        Args:
            model: as in training, with the weights that are about to be evaluated.
            content_free: model keywords of one row, if it `reads_content_free`.
        """
        return None

    def begin_with(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Begin with the model's classifier, weight [C, D] and bias [C], which may have been fitted to the labels."""

    def milestones(self, progress: Progress) -> dict[str, int]:
        """As in `SSLAlgorithm`."""
        return {}

    @classmethod
    def settings(cls) -> dict[str, inspect.Parameter]:
        """The settings that the class and its bases have, by name."""
        found: dict[str, inspect.Parameter] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Correction) and "__init__" in vars(base):
                parameters = inspect.signature(base.__init__).parameters.values()
                found.update({each.name: each for each in parameters if each.kind == each.KEYWORD_ONLY})
        return {name: parameter for name, parameter in found.items() if name not in _TASK}

    def current_settings(self) -> dict[str, bool | int | float | str]:
        """The values of `settings()` that are in force."""
        values = {name: getattr(self, name, None) for name in self.settings()}
        return {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}


# What `Correction.needs` may hold, in words.
_MEANINGS = {
    "labeled": "a loss on labeled examples",
    "pseudo_labels": "pseudo-labels of a weak view that train a strong one, as FixMatch and its descendants make them",
    "pseudo_labels_alone": "pseudo-labels of the pool alone, and those of labeled examples would stay as they are",
}
