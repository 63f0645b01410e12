"""ABC: a second head on the same features, for which every class counts the same."""

from collections.abc import Mapping
from typing import Any

import torch

from ... import losses
from ...batches.batch import SSLBatch
from ..problem import Progress, check
from .balanced_head import BalancedHeadCorrection


class ABC(BalancedHeadCorrection):
    """A balanced head g learns beside the model's own, on the same features h; it is what is evaluated and saved.

    The algorithm trains the features with all examples, as it does without ABC. The head sees the examples of class c
    with the weight r_c of its labeled size, so that all classes weigh the same in its loss; for pseudo-labels that
    weight sets in over the run, because at first the frequent classes have the ones that are right.

        q = softmax(g(h(weak(u)))) without gradient,  y^ = argmax q
        r_c = min_j n_j / n_c,     k_c = 1 - (epoch / epochs) (1 - r_c)
        loss += weight * [ mean_B(r_y CE(g(h(x)), y))
                           + mean_U(1[max q >= threshold] k_y^ CE(g(h(strong(u))), target)) ]

    target is q, or y^ with `hard_labels`. Its gradient reaches features and balanced head. The authors draw masks with
    the probabilities r and k; here they are weights, which is the expectation of that loss without its noise.

    Shapes: features `[N, D]`, q and logits of the head `[mu*B, C]`, weights `[B]` and `[mu*B]`. A class without a
    labeled example counts as one with a single one. Epochs are shares of the run (`Progress.epoch`).

    It can be put around every algorithm that trains a strong view towards pseudo-labels of a weak one: it reads the
    features of both, and nothing that the algorithm makes of them. Others (Pi-Model, MixMatch) have no such pair.

    Args:
        weight: of the balanced head's loss, at least 0; default 1.
        threshold: confidence of the balanced head from which an unlabeled example counts for it, in [0, 1]; default
            0.95.
        hard_labels: train towards the class instead of the distribution q (USB's form).

    Paper: Lee et al., "ABC: Auxiliary Balanced Classifier for Class-imbalanced Semi-supervised Learning", NeurIPS
    2021, arXiv 2110.10368.
    """

    needs = frozenset({"labeled", "pseudo_labels"})
    title = "ABC"
    summary = "a second head learns from all classes alike, and is the one that answers"
    year = 2021
    arxiv = "2110.10368"
    citation = """@inproceedings{lee2021abc,
  title = {{ABC}: Auxiliary Balanced Classifier for Class-imbalanced Semi-supervised Learning},
  author = {Lee, Hyuck and Shin, Seungjae and Kim, Heeyoung},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021}
}"""

    balance: torch.Tensor

    def __init__(self, *, weight: float = 1.0, threshold: float = 0.95, hard_labels: bool = False, **task: Any):
        super().__init__(**task)
        check(weight >= 0, "weight", weight, "at least 0")
        check(0 <= threshold <= 1, "threshold", threshold, "in [0, 1]")
        self.weight, self.threshold, self.hard_labels = weight, threshold, hard_labels
        counts = self.labeled_counts.clamp_min(1)
        self.register_buffer("balance", counts.min() / counts, persistent=False)

    def additions(
        self, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> Mapping[str, tuple[float, torch.Tensor]]:
        """The term "balanced"."""
        head = self.balanced_head
        supervised = losses.cross_entropy(
            head(out["labeled"].features), batch.labels, self.balance[batch.labels].to(out["labeled"].logits)
        )
        with torch.no_grad():
            probs = losses.probabilities(head(out["weak"].features))
            confidence, classes = probs.max(dim=-1)
            epochs = max(progress.max_steps // max(progress.steps_per_epoch, 1), 1)
            balance = 1 - min(progress.epoch / epochs, 1.0) * (1 - self.balance[classes])
            mask = (confidence >= self.threshold) * balance.to(probs)
        targets = classes if self.hard_labels else probs
        unsupervised = losses.cross_entropy(head(out["strong"].features), targets, mask)
        return {"balanced": (self.weight, supervised + unsupervised)}
