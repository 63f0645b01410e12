"""ShrinkMatch: an uncertain prediction becomes certain among fewer classes."""

from typing import Any

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..distributed import gather
from .parts.alignment import MovingAverageAlignment
from .parts.thresholds import FixedThreshold
from .problem import Progress, check
from .steps import StepStatistics
from .weak_strong import Outputs, WeakStrongAlgorithm


class ShrinkMatch(WeakStrongAlgorithm):
    """FixMatch that uses the uncertain examples as well: from the classes of such an example the closest rivals of the
    first one are removed until the first is certain among those that are left, and an auxiliary head learns to tell
    these apart on the strong view.

        q = softmax(f(weak(u))),  certain = [max q >= threshold]
        p_1 >= ... >= p_C are q sorted,  rest_k = p_{k+1} + ... + p_C
        k = the smallest of 2 ... C - 1 with p_1 / (p_1 + rest_k) >= threshold
        shrink = mean((1 - certain) * max q * CE(h(strong(u)) among the classes 1, k+1, ..., C; class 1))
        loss = CE(f(x), y) + unsupervised_weight * (mean(certain * CE(f(strong(u)), target(q)))
               + certain_ratio * shrink)

    with h = `auxiliary_head` (linear) on the features and certain_ratio the running share of certain examples. An
    example for which no k is enough adds 0.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`, auxiliary logits `[mu*B, C]`.

    Args:
        threshold: confidence from which a prediction is certain, in (0, 1]; default 0.95.
        hard_labels: train towards argmax q; otherwise towards q itself. The authors take the class on STL-10 and SVHN
            (default) and q on CIFAR.
        ratio_momentum: of certain_ratio, in [0, 1); default 0.999. The first batch sets it.
        distribution_alignment: divide q by its running mean (momentum 0.999) before it is judged; default False. As
            published, p_1 ... p_C stay those of the unaligned q, and so does class 1.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        With two classes nothing can be removed, and it is FixMatch. The authors' auxiliary head is a small network of
        two layers.

    Paper: Yang et al., "Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning", ICCV 2023,
    arXiv 2308.06777.
    """

    title = "ShrinkMatch"
    summary = "FixMatch that also learns from uncertain predictions, among the classes that make them certain"
    year = 2023
    arxiv = "2308.06777"
    citation = """@inproceedings{yang2023shrinking,
  title = {Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning},
  author = {Yang, Lihe and Zhao, Zhen and Qi, Lei and Qiao, Yu and Shi, Yinghuan and Zhao, Hengshuang},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision},
  year = {2023}
}"""

    threshold: FixedThreshold

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        hard_labels: bool = True,
        ratio_momentum: float = 0.999,
        distribution_alignment: bool = False,
        **task: Any,
    ):
        super().__init__(hard_labels, 1.0, **task)
        problem = self.problem
        self.threshold = FixedThreshold(threshold)
        self.certain = RunningShare(ratio_momentum)
        self.auxiliary_head = nn.Linear(problem.feature_size, problem.num_classes)
        self.distribution_alignment = distribution_alignment
        uniform = torch.full((problem.num_classes,), 1.0 / problem.num_classes)
        self.alignment = MovingAverageAlignment(problem.num_classes, uniform) if distribution_alignment else None

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned, if so set; the unaligned ones stay as "unaligned"."""
        out["unaligned"] = probs
        return probs if self.alignment is None else self.alignment(probs)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """From the distributions that were judged."""
        return probs.argmax(dim=-1) if self.hard_labels else probs

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The term of the uncertain examples, with the weight of that of the others times the share of those."""
        certain = self.threshold(probs)
        # Alignment moves the distributions of the step's earlier passes, too.
        counted = certain if self.alignment is None else self.threshold(self.alignment.all_aligned())
        ratio = self.certain(counted, joined=self.alignment is not None)
        kept, order = shrunken_classes(out["unaligned"], self.threshold.threshold)
        logits = losses.float_logits(self.auxiliary_head(out["strong"].features.to(self.auxiliary_head.weight.dtype)))
        logits = logits.gather(-1, order).masked_fill(~kept, -torch.inf)
        # The class that was predicted is the first one in this order.
        first = torch.zeros_like(order[:, 0])
        reached = (~kept).any(dim=-1)
        shrink = losses.cross_entropy(logits, first, (1 - certain) * reached * probs.amax(dim=-1))
        weight = self.unsupervised_weight * progress.unsupervised_ramp
        extra = {"shrink": (weight * ratio, shrink)}
        return {"extra": extra, "metrics": {"certain_ratio": ratio}}


def shrunken_classes(probs: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The classes in the order of their probability, and which of them make the first one certain.

    Args:
        probs: distributions [N, C].
        threshold: certainty that is wanted.

    Returns:
        bool [N, C], in the order of probability: the first class and those that are left; all of them if no number
        of removed classes is enough. int64 [N, C]: that order.

    Example:
        >>> shrunken_classes(torch.tensor([[0.35, 0.5, 0.1, 0.05]]), threshold=0.75)
        (tensor([[ True, False,  True,  True]]), tensor([[1, 0, 2, 3]]))
    """
    order = probs.argsort(dim=-1, descending=True, stable=True)
    sorted_probs = probs.gather(-1, order)
    place = torch.arange(1, probs.shape[-1] + 1, device=probs.device)
    # The sum behind place k, added up from the smallest.
    rest = sorted_probs.flip(-1).cumsum(-1).flip(-1) - sorted_probs
    top = sorted_probs[:, :1]
    enough = (top / (top + rest) >= threshold) & (place >= 2) & (place < probs.shape[-1])
    # From the smallest k that is enough all larger ones are.
    last = probs.shape[-1] - enough.sum(dim=-1, keepdim=True)
    found = enough.any(dim=-1, keepdim=True)
    removed = (place >= 2) & (place <= last) & found
    return ~removed, order


class RunningShare(StepStatistics):
    """The running mean of weights in [0, 1], which the first batch begins.

    Args:
        ratio_momentum: weight of the past, in [0, 1).

    Buffers: `certain_ratio`, a scalar; `ratio_started`, 0 before the first batch.

    Example:
        >>> share = RunningShare(0.5)
        >>> share(torch.tensor([1.0, 0.0])), share(torch.tensor([1.0, 1.0]))
        (tensor(0.5000), tensor(0.7500))
    """

    certain_ratio: torch.Tensor
    ratio_started: torch.Tensor

    def __init__(self, ratio_momentum: float):
        super().__init__()
        check(0 <= ratio_momentum < 1, "ratio_momentum", ratio_momentum, "in [0, 1)")
        self.ratio_momentum = ratio_momentum
        self.register_buffer("certain_ratio", torch.zeros(()))
        self.register_buffer("ratio_started", torch.zeros(()))

    def forward(self, mask: torch.Tensor, joined: bool = False) -> torch.Tensor:
        """Update with the weights [N] of a batch, or of the whole step if they are `joined` already; the share."""
        if not joined:
            (mask,) = self.joined(gather(mask))
        rate = 1 - self.ratio_momentum * self.ratio_started
        self.certain_ratio = self.certain_ratio.lerp(mask.mean().to(self.certain_ratio.dtype), rate)
        self.ratio_started = torch.ones_like(self.ratio_started)
        return self.certain_ratio
