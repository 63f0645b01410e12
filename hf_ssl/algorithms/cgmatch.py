"""CGMatch: how steady the predictions on an example were tells the ambiguous ones from the hard ones."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch, required
from ..distributed import gather
from ..model.forward import ModelForward
from .parts.alignment import MovingAverageAlignment
from .parts.history import LabelHistory
from .problem import Progress, check
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm

# Published: 2,048 of 2^20 steps would be 0.2 %; the share of USB's runs of 204,800 steps is taken.
_WARMUP_SHARE = 0.01


class CGMatch(WeakStrongAlgorithm):
    """Divides the pool into easy, ambiguous and hard examples, by the confidence now and by how often the same class
    was predicted in the past. Easy ones are trained as in FixMatch; ambiguous ones with a loss that a wrong label
    harms less, whose weight grows; hard ones not at all.

        q = align(softmax(f(weak(u)))),  y = argmax q,  gap = times the example was predicted as its most frequent
        class - times as its second, over its last queue_size predictions
        easy = [max q >= confidence_mean],  ambiguous = (1 - easy) * [gap >= count_gap_mean]
        loss = CE(f(x), y) + unsupervised_weight * mean(easy * CE(f(strong(u)), y))
               + ambiguous_weight * progress^2 * mean(ambiguous * (GCE(f(weak(u)), y) + GCE(f(strong(u)), y)))
        GCE(p, y) = (1 - p_y^gce_q) / gce_q,  progress = (step - warmup_steps) / (max_steps - warmup_steps)

    with running means of the confidence and of the gap over the batches. In the warm-up only labels are trained on.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, masks `[mu*B]`, state `[num_unlabeled, queue_size]`. Needs
    `SSLBatch.unlabeled_index`. The ambiguous term's gradient flows through the weak view as well.

    Args:
        hard_labels: train the easy ones towards argmax q; otherwise towards q.
        momentum: of the running means and of the alignment, in [0, 1); default 0.999.
        queue_size: predictions that are remembered of each example, at least 1; default 1000.
        warmup_steps: steps on the labels alone, at least 0; default None, one hundredth of the run.
        ambiguous_weight: factor of the ambiguous term, at least 0; default 1.
        gce_q: exponent of the generalized cross-entropy, in (0, 1]; default 0.7.
        alignment_target: "uniform" (default), or "model" for the mean prediction on the labeled examples.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The gap's running mean is its mean over the pool in the first step after the warm-up, and follows the batches
        from the second one on. Predictions that an example does not have yet count for no class, where the authors'
        code takes them for class 0.

    Paper: Cheng et al., "CGMatch: A Different Perspective of Semi-supervised Learning", CVPR 2025, arXiv 2503.02231.
    """

    remembers_pool = True
    title = "CGMatch"
    summary = "easy, ambiguous and hard examples, told apart by confidence and by how steady predictions were"
    year = 2025
    arxiv = "2503.02231"
    citation = """@inproceedings{cheng2025cgmatch,
  title = {{CGMatch}: A Different Perspective of Semi-supervised Learning},
  author = {Cheng, Bo and Lu, Jueqing and Tian, Yuan and Zhao, Haifeng and Chang, Yi and Du, Lan},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2025}
}"""

    threshold: "ConfidenceAndGap"

    def __init__(
        self,
        *,
        hard_labels: bool = True,
        momentum: float = 0.999,
        queue_size: int = 1000,
        warmup_steps: int | None = None,
        ambiguous_weight: float = 1.0,
        gce_q: float = 0.7,
        alignment_target: str = "uniform",
        **task: Any,
    ):
        super().__init__(hard_labels, 1.0, **task)
        classes = self.problem.num_classes
        check(warmup_steps is None or warmup_steps >= 0, "warmup_steps", warmup_steps, "at least 0, or None")
        check(ambiguous_weight >= 0, "ambiguous_weight", ambiguous_weight, "at least 0")
        check(0 < gce_q <= 1, "gce_q", gce_q, "in (0, 1]")
        known = alignment_target in ("uniform", "model")
        check(known, "alignment_target", repr(alignment_target), "uniform or model")
        self.warmup_steps, self.ambiguous_weight, self.gce_q = warmup_steps, ambiguous_weight, gce_q
        self.alignment_target = alignment_target
        uniform = torch.full((classes,), 1.0 / classes)
        target = uniform if alignment_target == "uniform" else None
        self.alignment = MovingAverageAlignment(classes, target, momentum)
        self.threshold = ConfidenceAndGap(classes, self.problem.num_unlabeled or 0, queue_size, momentum)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """The weak view has a gradient as well, which the ambiguous term needs; its prediction stays a constant."""
        return model(labeled=batch.labeled, weak=batch.unlabeled["weak"], strong=batch.unlabeled["strong"])

    def begins_at(self, progress: Progress) -> int:
        """The step at which the warm-up ends."""
        return round(_WARMUP_SHARE * progress.max_steps) if self.warmup_steps is None else self.warmup_steps

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on the pool is trained on."""
        return {"pool counts": self.begins_at(progress)} if self.begins_at(progress) else {}

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned, from the end of the warm-up on."""
        if progress.step < self.begins_at(progress):
            return probs
        return self.alignment(probs, labeled_probs)

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """1 for easy examples; 0 for all of them in the warm-up."""
        probs, step, begin = guesses.probs, guesses.progress.step, self.begins_at(guesses.progress)
        if step < begin:
            return torch.zeros_like(probs[:, 0])
        counted = self.alignment.all_aligned()
        return self.threshold(probs, counted, index=guesses.batch.unlabeled_index, first=step == begin)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """From the aligned distributions."""
        return probs.argmax(dim=-1) if self.hard_labels else probs

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The term of the ambiguous examples."""
        begin = self.begins_at(progress)
        done = max(progress.step - begin, 0) / max(progress.max_steps - begin, 1)
        ambiguous = self.threshold.ambiguous(probs, batch.unlabeled_index) * (progress.step >= begin)
        labels = probs.argmax(dim=-1)
        weak, strong = (
            losses.generalized_cross_entropy(out[view].logits, labels, ambiguous, self.gce_q)
            for view in ("weak", "strong")
        )
        extra = {"ambiguous": (self.ambiguous_weight * progress.unsupervised_ramp * done**2, weak + strong)}
        return {"extra": extra, "metrics": {"ambiguous_ratio": ambiguous.mean()}}


class ConfidenceAndGap(LabelHistory):
    """mask_i = [max_c q_ic >= confidence_mean], and which of the others are ambiguous (CGMatch, arXiv 2503.02231).

    Args:
        num_classes: C; the mean confidence starts at 1 / C.
        num_unlabeled: size of the pool.
        queue_size: predictions that are remembered of each example.
        momentum: weight of the past, in [0, 1).

    Buffers: `confidence_mean`, `count_gap_mean`, scalars; those of `LabelHistory`.

    Example:
        >>> rule = ConfidenceAndGap(num_classes=2, num_unlabeled=2, queue_size=4, momentum=0.5)
        >>> probs, index = torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1])
        >>> rule(probs, probs, index=index, first=True), rule.ambiguous(probs, index)
        (tensor([1., 0.]), tensor([0., 1.]))
    """

    confidence_mean: torch.Tensor
    count_gap_mean: torch.Tensor

    def __init__(self, num_classes: int, num_unlabeled: int, queue_size: int, momentum: float):
        super().__init__(num_unlabeled, queue_size, num_classes)
        self.momentum = momentum
        self.register_buffer("confidence_mean", torch.tensor(1.0 / num_classes))
        self.register_buffer("count_gap_mean", torch.zeros(()))

    def forward(
        self, probs: torch.Tensor, counted: torch.Tensor, *, index: torch.Tensor | None, first: bool
    ) -> torch.Tensor:
        """Update; the weights [N], each 0 or 1, of distributions [N, C] of the examples at `index` [N].

        Args:
            probs: distributions of this pass.
            counted: distributions of the whole step so far, of all processes and passes.
            index: positions in the pool of those of this pass.
            first: begin the mean gap anew, with that of the whole pool.
        """
        (seen,) = self.joined(gather(required(index, "unlabeled_index")))
        level, labels = counted.max(dim=-1)
        self.push(seen, labels)
        kind, rate = self.count_gap_mean.dtype, 1 - self.momentum
        if first:
            self.count_gap_mean = self.mean_gap().to(kind)
        else:
            self.count_gap_mean = self.count_gap_mean.lerp(self.gaps(seen).to(kind).mean(), rate)
        self.confidence_mean = self.confidence_mean.lerp(level.mean().to(kind), rate)
        return (probs.amax(dim=-1) >= self.confidence_mean).to(probs.dtype)

    def ambiguous(self, probs: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
        """1 for those of the examples [N] that are not easy and were predicted steadily: weights [N]."""
        steady = self.gaps(required(index, "unlabeled_index")) >= self.count_gap_mean
        return ((probs.amax(dim=-1) < self.confidence_mean) & steady).to(probs.dtype)
