"""OpenMatch: FixMatch on the examples that one-vs-all classifiers take for one of the known classes."""

from typing import Any

import torch
from torch import nn

from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .parts.one_vs_all import known_probabilities, one_vs_all_distance, one_vs_all_entropy, one_vs_all_loss
from .parts.thresholds import FixedThreshold
from .problem import Progress, check
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm


class OpenMatch(WeakStrongAlgorithm):
    """FixMatch for a pool that also has classes nobody labeled: one-vs-all classifiers find the examples that are of
    none of the known ones, and only the others get pseudo-labels.

        q = softmax(f(weak(u))),  r_c(v) = how likely the view v is of class c by its own classifier
        mask = [max q >= threshold and r_{argmax q} > 0.5], and 0 before `start_fraction` of the run
        one_vs_all = mean(-log r_y - log(1 - max_{c != y} r_c)) of the labeled examples
        certainty = mean over both weak views of the entropy of (r_c, 1 - r_c), mean over c
        agreement = mean(sum_c |(r_c, 1 - r_c)(weak(u)) - (r_c, 1 - r_c)(weak_2(u))|^2)
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), argmax q))
               + one_vs_all + entropy_weight * certainty + consistency_weight * agreement

    r comes from `multi_binary_head`, linear on the features. Agreement of two weak views is the paper's "soft
    consistency": it moves no example across a decision, and makes what is far from the labels smooth. The model that
    is saved is f, which tells the known classes apart.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, q and r `[mu*B, C]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0, as in the authors' code.
        start_fraction: share of the run before the first pseudo-label counts, in [0, 1); default 0.02 (10 of the
            authors' 512 epochs).
        entropy_weight: factor of the certainty term, at least 0; default 0.1.
        consistency_weight: factor of the agreement term, at least 0; default 0.5 (the authors take 1 for CIFAR-100).
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        Simplified: the authors choose the examples that get pseudo-labels once per epoch, on plain views, and draw
        FixMatch's batches from these alone; here each step judges its own weak views, and the mean is over all of
        them. Labeled examples have one view instead of two, and the last two terms see the pool without them.

    Paper: Saito et al., "OpenMatch: Open-set Consistency Regularization for Semi-supervised Learning with Outliers",
    NeurIPS 2021, arXiv 2105.14148.
    """

    views = {"weak": "weak", "weak_2": "weak", "strong": "strong"}
    title = "OpenMatch"
    summary = "for pools with classes nobody labeled: FixMatch on what one-vs-all heads take for known"
    year = 2021
    arxiv = "2105.14148"
    citation = """@inproceedings{saito2021openmatch,
  title = {{OpenMatch}: Open-set Consistency Regularization for Semi-supervised Learning with Outliers},
  author = {Saito, Kuniaki and Kim, Donghyun and Saenko, Kate},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021}
}"""

    threshold: FixedThreshold

    def __init__(
        self,
        *,
        threshold: float = 0.0,
        start_fraction: float = 0.02,
        entropy_weight: float = 0.1,
        consistency_weight: float = 0.5,
        **task: Any,
    ):
        super().__init__(True, 1.0, **task)
        check(0 <= start_fraction < 1, "start_fraction", start_fraction, "in [0, 1)")
        check(entropy_weight >= 0, "entropy_weight", entropy_weight, "at least 0")
        check(consistency_weight >= 0, "consistency_weight", consistency_weight, "at least 0")
        self.start_fraction = start_fraction
        self.entropy_weight, self.consistency_weight = entropy_weight, consistency_weight
        self.threshold = FixedThreshold(threshold)
        self.multi_binary_head = nn.Linear(self.problem.feature_size, 2 * self.problem.num_classes, bias=False)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With both weak views, whose features have a gradient; the prediction on the first stays a constant."""
        weak, second, strong = (batch.unlabeled[name] for name in ("weak", "weak_2", "strong"))
        out: Outputs = model(labeled=batch.labeled, weak=weak, weak_2=second, strong=strong)
        out["known"], out["known_2"] = (self.known(out[view].features) for view in ("weak", "weak_2"))
        return out

    def known(self, features: torch.Tensor) -> torch.Tensor:
        """r [N, C] of features [N, D]."""
        return known_probabilities(self.multi_binary_head(features.to(self.multi_binary_head.weight.dtype)))

    def begins_at(self, progress: Progress) -> int:
        """The step of the first pseudo-label that counts."""
        return round(self.start_fraction * progress.max_steps)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on pseudo-labels count."""
        begins = self.begins_at(progress)
        return super().milestones(progress) | ({"pseudo-labels count": begins} if begins else {})

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """1 for confident examples whose class's own classifier agrees."""
        probs, out, progress = guesses.probs, guesses.out, guesses.progress
        known = out["known"].detach().gather(-1, probs.argmax(dim=-1, keepdim=True)).squeeze(-1)
        out["inlier"] = known > 0.5
        begun = float(progress.step >= self.begins_at(progress))
        return self.threshold(probs) * out["inlier"] * begun

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The terms of the one-vs-all classifiers, and the share of examples that are taken for known."""
        labeled = one_vs_all_loss(self.known(out["labeled"].features), batch.labels)
        certainty = (one_vs_all_entropy(out["known"]) + one_vs_all_entropy(out["known_2"])) / 2
        agreement = one_vs_all_distance(out["known"], out["known_2"])
        extra = {
            "one_vs_all": (1.0, labeled),
            "certainty": (self.entropy_weight, certainty),
            "agreement": (self.consistency_weight, agreement),
        }
        return {"extra": extra, "metrics": {"inlier_ratio": out["inlier"].float().mean()}}
