"""IOMatch: examples of the known classes and of others are used together, through one more class for all others."""

from typing import Any

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .parts.alignment import QueueAlignment
from .parts.one_vs_all import known_probabilities, one_vs_all_loss
from .parts.projection import projection_head
from .parts.thresholds import FixedThreshold
from .problem import Progress, check
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm


class IOMatch(WeakStrongAlgorithm):
    """FixMatch for a pool that also has classes nobody labeled: one-vs-all classifiers say how likely an example is of
    another class, and with the prediction they make a target over the C classes and "none of them", which a further
    head learns on the strong view.

        q = align(softmax(f(weak(u)))),  r_c = how likely u is of class c by its own classifier
        outlier = sum_c q_c (1 - r_c)
        mask = [max q >= threshold and outlier < 0.5]
        open target t = (q_1 r_1, ..., q_C r_C, outlier),  open mask = [max t >= open_threshold]
        open = mean(open mask * CE(open_head(strong(u)), t)) from the second epoch on (`Progress.steps_per_epoch`)
        multi_binary = mean(-log r_y - log(1 - max_{c != y} r_c)) of the labeled examples
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), q))
               + open_weight * open + multi_binary_weight * multi_binary

    Both heads, `multi_binary_head` (2C outputs) and `open_head` (C + 1), read `projection`, a small network on the
    features. The model that is saved is f, which tells the known classes apart.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, q and r `[mu*B, C]`, t `[mu*B, C + 1]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        open_threshold: the same for the open target, in [0, 1]; default 0.5.
        multi_binary_weight: factor of the term of the one-vs-all classifiers, at least 0; default 1.
        open_weight: factor of the open term, at least 0; default 1.
        distribution_alignment: align q with a queue of mean predictions; default True.
        alignment_queue_size: batches in that queue, at least 1; default 128.
        projection_size: outputs of `projection`, at least 1; default 128.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Li et al., "IOMatch: Simplifying Open-Set Semi-Supervised Learning with Joint Inliers and Outliers
    Utilization", ICCV 2023, arXiv 2308.13168.
    """

    title = "IOMatch"
    summary = "for pools with classes nobody labeled: one-vs-all heads, and a class for all others"
    year = 2023
    arxiv = "2308.13168"
    citation = """@inproceedings{li2023iomatch,
  title = {{IOMatch}: Simplifying Open-Set Semi-Supervised Learning with Joint Inliers and Outliers Utilization},
  author = {Li, Zekun and Qi, Lei and Shi, Yinghuan and Gao, Yang},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision},
  pages = {15870--15879},
  year = {2023}
}"""

    threshold: FixedThreshold

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        open_threshold: float = 0.5,
        multi_binary_weight: float = 1.0,
        open_weight: float = 1.0,
        distribution_alignment: bool = True,
        alignment_queue_size: int = 128,
        projection_size: int = 128,
        **task: Any,
    ):
        super().__init__(False, 1.0, **task)
        check(0 <= open_threshold <= 1, "open_threshold", open_threshold, "in [0, 1]")
        check(multi_binary_weight >= 0, "multi_binary_weight", multi_binary_weight, "at least 0")
        check(open_weight >= 0, "open_weight", open_weight, "at least 0")
        self.open_threshold = open_threshold
        self.multi_binary_weight, self.open_weight = multi_binary_weight, open_weight
        self.threshold = FixedThreshold(threshold)
        classes = self.problem.num_classes
        self.distribution_alignment = distribution_alignment
        self.alignment = QueueAlignment(classes, alignment_queue_size) if distribution_alignment else None
        self.projection = projection_head(self.problem.feature_size, projection_size)
        self.multi_binary_head = nn.Linear(projection_size, 2 * classes, bias=False)
        self.open_head = nn.Linear(projection_size, classes + 1)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With "known": how likely the weak views are of each class by its own classifier `[mu*B, C]`."""
        out: Outputs = super().run(model, batch)
        with torch.no_grad():
            out["known"] = self.known(out["weak"].features)
        return out

    def known(self, features: torch.Tensor) -> torch.Tensor:
        """r [N, C] of features [N, D]."""
        return known_probabilities(self.multi_binary_head(self._project(features)))

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        return self.projection(features.to(self.open_head.weight.dtype))

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned; with them "outlier", how likely each example `[mu*B]` is of none of the classes."""
        aligned = probs if self.alignment is None else self.alignment(probs)
        out["outlier"] = (aligned * (1 - out["known"])).sum(dim=-1)
        return aligned

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """1 for confident examples that are rather of a known class than of none."""
        return self.threshold(guesses.probs) * (guesses.out["outlier"] < 0.5)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """The aligned distributions themselves."""
        return probs

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The terms of the two heads, and the shares of examples that are taken for known and that are selected."""
        target = torch.cat([probs * out["known"], out["outlier"].unsqueeze(-1)], dim=-1)
        selected = (target.amax(dim=-1) >= self.open_threshold).to(probs.dtype)
        logits = self.open_head(self._project(out["strong"].features))
        # In the first epoch the term is 0 and is still there, so that its head has a gradient.
        opened = losses.cross_entropy(logits, target, selected) * float(progress.epoch > 0)
        multi_binary = one_vs_all_loss(self.known(out["labeled"].features), batch.labels)
        metrics = {"inlier_ratio": (out["outlier"] < 0.5).float().mean(), "open_ratio": selected.mean()}
        extra = {"open": (self.open_weight, opened), "multi_binary": (self.multi_binary_weight, multi_binary)}
        return {"extra": extra, "metrics": metrics}

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on the open target is learned."""
        return {"open target": progress.steps_per_epoch}
