"""CoSSL: a second head, trained on class-balanced features of the teacher mixed with the pool, gives the labels."""

from collections.abc import Mapping
from typing import Any

import torch

from ... import losses
from ...batches.batch import SSLBatch, required
from ...model.forward import ModelForward
from ..problem import Progress, check
from .balanced_head import BalancedHeadCorrection


class CoSSL(BalancedHeadCorrection):
    """Learns features as the algorithm does, and a balanced head apart from them, which gives the pseudo-labels.

    With the features h~ of the teacher, the moving average of the model, and a second head g:

        q = softmax(g(h~(weak(u))))                                     pseudo-labels, without gradient
        unsupervised = mean over two strong views of mean(mask CE(f(strong_k(u)), targets(q)))
        loss += mean CE(g(l h~(x') + (1 - l) h~(u')), y'),              l ~ U(max_lambda, 1)

    (x', y') are labeled examples of which every class is as likely as another. Their features are mixed with those of
    random examples of the pool, and keep their label, with probability 1 - n_y' / max_c n_c, else l = 1 ("tail-class
    feature enhancement"). The head's own loss reaches neither the features nor the model's head, and the other terms
    do not reach the head. It is the head that answers, on the features of the model that is evaluated: take
    `ema_role="both"`, since it has learned those of the moving average.

    Shapes: features `[N, D]`, q and logits `[mu*B, C]`, l `[B]`, n `[C]`.

    It can be put around every algorithm that trains a strong view towards pseudo-labels of a weak one; mask and
    targets are what the algorithm makes of q. Others make no pseudo-labels that the head could give.

    Args:
        max_lambda: least share of the labeled example in a mixture, in [0, 1]; default 0.6, as in all scripts of the
            authors.
        warmup_fraction: part of training in which pseudo-labels are still those of the model, while the head learns,
            in [0, 1]; default 0.

    Note:
        The labeled examples x' are a further view, "balanced_labeled" (`SSLBatch.balanced_labeled` and
        `balanced_labels`): beside each labeled example of a batch a strong view is made of another one, drawn class
        first. Sampling a second labeled batch would be the same draw; this needs no change of the order in which
        examples are visited, so it is exactly resumed, and the algorithm's own labeled batch is what it was. Of the
        pool the weak views of the batch serve, whose features are needed anyway.

        In USB's code the probability to mix is looked up with the argmax of a label, which is 0 for every label: it
        never mixes if class 0 is the largest. And it takes pseudo-labels from the model's head.

    Paper: Fan et al., "CoSSL: Co-Learning of Representation and Classifier for Imbalanced Semi-Supervised Learning",
    CVPR 2022, arXiv 2112.04564.
    """

    needs = frozenset({"labeled", "pseudo_labels"})
    views = {"strong_2": "strong", "balanced_labeled": "strong"}
    uses_teacher = True
    title = "CoSSL"
    summary = "a balanced head on the teacher's features, trained on mixtures, gives the pseudo-labels and answers"
    year = 2022
    arxiv = "2112.04564"
    citation = """@inproceedings{fan2022cossl,
  title = {{CoSSL}: Co-Learning of Representation and Classifier for Imbalanced Semi-Supervised Learning},
  author = {Fan, Yue and Dai, Dengxin and Kukleva, Anna and Schiele, Bernt},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2022}
}"""

    mix_probability: torch.Tensor

    def __init__(self, *, max_lambda: float = 0.6, warmup_fraction: float = 0.0, **task: Any):
        super().__init__(**task)
        check(0 <= max_lambda <= 1, "max_lambda", max_lambda, "in [0, 1]")
        check(0 <= warmup_fraction <= 1, "warmup_fraction", warmup_fraction, "in [0, 1]")
        self.max_lambda, self.warmup_fraction = max_lambda, warmup_fraction
        mixed = 1 - self.labeled_counts / self.labeled_counts.max()
        self.register_buffer("mix_probability", mixed, persistent=False)

    def observe(self, model: ModelForward, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """Adds the second strong view, and the teacher's features of weak views and of class-balanced labels."""
        if "strong_2" not in out:
            out |= model(frozen={"strong_2": batch.unlabeled["strong_2"]})
        views: dict[str, Any] = {
            "weak": batch.unlabeled["weak"],
            "balanced_labeled": required(batch.balanced_labeled, "balanced_labeled"),
        }
        if batch.balanced_unlabeled is not None:
            views["balanced_unlabeled"] = batch.balanced_unlabeled
        seen = model.teacher(**views)
        out["teacher"] = {name: output.features for name, output in seen.items()}

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Those of the balanced head on the teacher's features."""
        if progress.step < self.warmup_fraction * progress.max_steps:
            return logits
        return losses.float_logits(self.balanced_head(out["teacher"]["weak"])).detach()

    def unsupervised(self, out: dict[str, Any], targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean over both strong views."""
        terms = [losses.cross_entropy(out[name].logits, targets, mask) for name in ("strong", "strong_2")]
        return torch.stack(terms).mean()

    def additions(
        self, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> Mapping[str, tuple[float, torch.Tensor]]:
        """The term "balanced", the head's own loss."""
        labels = required(batch.balanced_labels, "balanced_labels")
        labeled, pool = out["teacher"]["balanced_labeled"], out["teacher"].get("balanced_unlabeled")
        if pool is None:
            weak = out["teacher"]["weak"]
            pool = weak[torch.randint(len(weak), (len(labeled),), device=weak.device)]
        chosen, share = batch.mix_choice, batch.mix_lambda
        if chosen is None:
            chosen = torch.rand(len(labels), device=labels.device) < self.mix_probability[labels]
        if share is None:
            share = self.max_lambda + (1 - self.max_lambda) * torch.rand(len(labels), device=labels.device)
        share = torch.where(chosen, share.to(labeled), torch.ones_like(share, dtype=labeled.dtype))[:, None]
        mixed = share * labeled + (1 - share) * pool
        return {"balanced": (1.0, losses.cross_entropy(self.balanced_head(mixed), labels))}
