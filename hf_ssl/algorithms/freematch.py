"""FreeMatch: the threshold sets itself, and predictions are kept diverse."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..distributed import total
from .parts.thresholds import SelfAdaptiveThreshold
from .problem import Progress, check
from .weak_strong import Outputs, WeakStrongAlgorithm


class FreeMatch(WeakStrongAlgorithm):
    """FixMatch with a threshold that follows the model's confidence, for all classes together and for each. A fairness
    term keeps the strong views' mean prediction as diverse as the running one.

        mask = [max q >= global_threshold * p_c / max_k p_k],  c = argmax q
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(q)))
               + fairness_weight * fairness
        fairness = sum_c a_c log b_c,  a = normalize(p / label_histogram),  b = normalize(mean_s / histogram_s)

    where mean_s and histogram_s are taken over the strong predictions with mask 1.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, p and label_histogram `[C]`.

    Args:
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        momentum: of the running statistics, in [0, 1); default 0.999.
        fairness_weight: factor of the fairness term, at least 0; default 0.001, as in USB.
        use_quantile: let the threshold follow the 0.8 quantile of the confidences instead of their mean.
        clip_threshold: keep the global threshold at 0.95 or below.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Wang et al., "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023,
    arXiv 2205.07246.
    """

    title = "FreeMatch"
    summary = "thresholds that adapt themselves, with a fairness term"
    year = 2023
    arxiv = "2205.07246"
    citation = """@inproceedings{wang2023freematch,
  title = {{FreeMatch}: Self-adaptive Thresholding for Semi-supervised Learning},
  author = {Wang, Yidong and Chen, Hao and Heng, Qiang and Hou, Wenxin and Fan, Yue and Wu, Zhen and
            Wang, Jindong and Savvides, Marios and Shinozaki, Takahiro and Raj, Bhiksha and Schiele, Bernt and
            Xie, Xing},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}"""

    threshold: SelfAdaptiveThreshold

    def __init__(
        self,
        *,
        hard_labels: bool = True,
        temperature: float = 0.5,
        momentum: float = 0.999,
        fairness_weight: float = 0.001,
        use_quantile: bool = False,
        clip_threshold: bool = False,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        self.threshold = SelfAdaptiveThreshold(self.problem.num_classes, momentum, use_quantile, clip_threshold)
        check(fairness_weight >= 0, "fairness_weight", fairness_weight, "at least 0")
        self.fairness_weight = fairness_weight

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The fairness term."""
        strong = losses.probabilities(out["strong"].logits)
        rule = self.threshold
        fairness = fairness_loss(strong, mask, rule.class_probability, rule.label_histogram)
        return {"extra": {"fairness": (self.fairness_weight, fairness)}}


def fairness_loss(
    strong: torch.Tensor, mask: torch.Tensor, class_probability: torch.Tensor, label_histogram: torch.Tensor
) -> torch.Tensor:
    """FreeMatch's fairness term (eq. 11), a scalar; 0 if no weight is above 0.

    Args:
        strong: predictions [N, C] on the strong views, with gradient.
        mask: weights [N].
        class_probability: running mean prediction [C].
        label_histogram: running frequencies [C] of the predicted classes.

    Note:
        The means are taken over the examples of all processes, since the term is not a mean of per-example losses.

    Example:
        A prediction that falls on one class, while all four classes are wanted, has a high loss:

        >>> wanted, collapsed, diverse = torch.full((4,), 0.25), torch.eye(4)[[0, 0, 0, 0]], torch.eye(4)
        >>> [round(fairness_loss(strong, torch.ones(4), wanted, wanted).item(), 1) for strong in (collapsed, diverse)]
        [-20.7, -1.4]
    """
    weight = mask.unsqueeze(-1)
    labels = losses.one_hot(strong.argmax(dim=-1), strong.shape[-1])
    sums = total(
        torch.stack([weight.expand_as(strong).sum(dim=0), (weight * strong).sum(dim=0), (weight * labels).sum(dim=0)])
    )
    count = sums[0, 0]
    mean, histogram = sums[1:] / count.clamp_min(1)
    wanted = _normalized_ratio(class_probability, label_histogram).detach()
    present = _normalized_ratio(mean, histogram)
    return (wanted * torch.log(present + 1e-12)).sum().masked_fill(count == 0, 0.0)


def _normalized_ratio(values: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
    """values / divisor, normalized to the sum 1; entries with divisor 0 are 0."""
    # Not by `torch.where`, which copies a plain number to the device and waits for it.
    absent = ~(divisor > 0)
    ratio = (values / divisor.masked_fill(absent, 1.0)).masked_fill(absent, 0.0)
    return ratio / ratio.sum().clamp_min(torch.finfo(ratio.dtype).tiny)
