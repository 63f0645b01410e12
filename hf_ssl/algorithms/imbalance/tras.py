"""TRAS: a second head learns from pseudo-labels that are moved towards the rare classes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ... import losses
from ...batches.batch import SSLBatch
from ...model.forward import ModelForward
from ...model.padding import View
from ..correction import Head
from ..parts.thresholds import FixedThreshold, RelativeThreshold
from ..problem import Progress, check
from .balanced_head import BalancedHeadCorrection

if TYPE_CHECKING:
    from ..base import SSLAlgorithm


class TRAS(BalancedHeadCorrection):
    """Transfer and share: a second head on the same features (`balanced_head`, h) is trained with adjusted logits, and
    on the pool with its own predictions, moved towards the rare classes and more so the rarer their class.

        la_c = log((n_c / N)^tro),  T = A * softmax(-la) + B
        pseudo-labels and mask of the algorithm from softmax(f(weak(u)) - la)
        loss = the algorithm's + CE(h(x) + la, y) + mean(m * H(softmax((h(weak(u)) - T_c * la) / 2), h(strong(u))))

    with c = argmax h(weak(u)) and m = [max softmax(h(weak(u))) >= threshold], without gradient for the weak view. The
    last two terms, together `balanced`, begin with epoch `warmup_epochs`. The features learn from both heads, and the
    second one is the classifier that answers.

    Shapes: features `[mu*B, D]`, la (buffer `logit_adjustment`) and T (buffer `class_temperature`) [C].

    Can be put around algorithms whose threshold stays high: a constant (FixMatch, UDA, CRMatch, ReFixMatch, CoMatch,
    SimMatch), which is also that of the second head, or one relative to the confidence on labels (AdaMatch). The
    pseudo-labels of the model's own head are shifted, and their loss is not. If nearly all of them counted, as in
    FreeMatch or SoftMatch, the head would run away: what was called rare is learned as such and shifted again.

    Args:
        A: largest addition to the temperature, at least 0; default 2.
        B: temperature of the move for a class without addition, at least 0; default 2.
        tro: exponent of the frequencies, at least 0; default 1.
        warmup_epochs: epochs without the second head's terms, at least 0; default 10. An epoch is a share of the run
            (`Progress.steps_per_epoch`): 10 of 200 for images. It is never more than half of a run.

    Note:
        A class without a labeled example counts as one with half of one. The authors use two strong views. USB's
        frequencies are turned around (n_min / n_c), which moves pseudo-labels towards the largest class.

        Pseudo-labels of adjusted logits can run away to the rare classes, and the first head then learns that. In the
        measurements in examples/benchmarks this happened on texts, in each of five draws, and not on photographs.

    Paper: Wei et al., "Transfer and Share: Semi-Supervised Learning from Long-Tailed Data", Machine Learning 2024,
    arXiv 2205.13358.
    """

    needs = frozenset({"pseudo_labels", "pseudo_labels_alone"})
    title = "TRAS"
    summary = "a second head learns from pseudo-labels that are moved towards the rare classes"
    year = 2022
    arxiv = "2205.13358"
    citation = """@article{wei2024transfer,
  title = {Transfer and Share: Semi-Supervised Learning from Long-Tailed Data},
  author = {Wei, Tong and Liu, Qian-Yu and Shi, Jiang-Xin and Tu, Wei-Wei and Guo, Lan-Zhe},
  journal = {Machine Learning},
  year = {2024}
}"""

    logit_adjustment: torch.Tensor
    class_temperature: torch.Tensor
    second_head_learns: torch.Tensor

    def __init__(
        self,
        *,
        A: float = 2.0,
        B: float = 2.0,
        tro: float = 1.0,
        warmup_epochs: int = 10,
        **task: Any,
    ):
        super().__init__(**task)
        for name, value in (("A", A), ("B", B), ("tro", tro), ("warmup_epochs", warmup_epochs)):
            check(value >= 0, name, value, "at least 0")
        self.A, self.B, self.tro, self.warmup_epochs = A, B, tro, warmup_epochs
        # That of the algorithm, once it has been put around one.
        self.limit = 0.95
        counts = self.labeled_counts.clamp_min(0.5)
        adjustment = ((counts / counts.sum()) ** tro + 1e-12).log()
        self.register_buffer("logit_adjustment", adjustment, persistent=False)
        self.register_buffer("class_temperature", A * torch.softmax(-adjustment, dim=0) + B, persistent=False)
        self.register_buffer("second_head_learns", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def begin_with(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """The second head begins where the first one does, without what the class sizes predict."""
        super().begin_with(weight, None if bias is None else bias - self.logit_adjustment)

    def corrected_head(self, model: ModelForward, content_free: View | None = None) -> Head | None:
        """The second head, once it has learned; until then the model's own answers."""
        return super().corrected_head(model, content_free) if self.second_head_learns else None

    def milestones(self, progress: Progress) -> dict[str, int]:
        """Where the second head begins to learn."""
        return {"second head learns and answers": begins} if (begins := self._begins(progress)) else {}

    def _begins(self, progress: Progress) -> int:
        return min(self.warmup_epochs * progress.steps_per_epoch, progress.max_steps // 2)

    @classmethod
    def refusal(cls, algorithm: "SSLAlgorithm") -> str | None:
        """Also for algorithms whose threshold falls, or that have none."""
        if reason := super().refusal(algorithm):
            return reason
        if isinstance(getattr(algorithm, "threshold", None), FixedThreshold | RelativeThreshold):
            return None
        return (
            "it needs a threshold that stays high; from nearly all of its pseudo-labels a model runs away to one class"
        )

    def join(self, algorithm: "SSLAlgorithm") -> None:
        """Take its threshold for the second head."""
        rule = getattr(algorithm, "threshold", None)
        if isinstance(rule, FixedThreshold | RelativeThreshold):
            self.limit = rule.threshold

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Without what the class sizes predict."""
        return losses.float_logits(logits) - self.logit_adjustment

    def additions(
        self, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> Mapping[str, tuple[float, torch.Tensor]]:
        """The loss of the second head."""
        if progress.step < self._begins(progress):
            # Of no examples: 0, and still with a gradient for the head.
            return {"balanced": (1.0, self._logits(out["labeled"].features[:0]).sum())}
        self.second_head_learns = torch.ones_like(self.second_head_learns)
        supervised = losses.cross_entropy(self._logits(out["labeled"].features) + self.logit_adjustment, batch.labels)
        targets, mask = self.transferred(self._logits(out["weak"].features.detach()).detach())
        unsupervised = losses.cross_entropy(self._logits(out["strong"].features), targets, mask)
        return {"balanced": (1.0, supervised + unsupervised)}

    def transferred(self, weak: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets [N, C] and weights [N], each 0 or 1, from the second head's logits [N, C] on the weak view."""
        confidences, labels = losses.probabilities(weak).max(dim=-1)
        moved = weak - self.class_temperature[labels].unsqueeze(-1) * self.logit_adjustment
        return losses.probabilities(moved, 2.0), (confidences >= self.limit).to(moved.dtype)

    def _logits(self, features: torch.Tensor) -> torch.Tensor:
        return losses.float_logits(self.balanced_head(features))
