"""MultiMatch: three heads on one encoder, each of which is taught by the other two."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch, required
from ..distributed import gather
from ..model.forward import ModelForward
from .base import AlgorithmOutput, SSLAlgorithm
from .correction import Correction
from .parts.margins import MarginMemory
from .parts.thresholds import SelfAdaptiveThreshold
from .problem import Progress, check

HEADS = 3


class MultiMatch(SSLAlgorithm):
    """Three linear heads on the same features. What head h learns from the pool, the other two, a and b, decide: each
    proposes its class if it has been sure of it for a while, that is, if the running average of its margin is among
    the usual ones of examples on which both agree.

        z_h = heads[h](features),  margin_h[c] = z_h[c] - max_{j != c} z_h[j] on the weak view
        average_margin_h = f * margin_h + (1 - f) * average_margin_h,  f = smoothness / (1 + epoch)
        threshold_h[c] = percentile of the average margins at c of heads a and b, over the pool examples on which both
        last predicted c, but at least 0; found anew after each epoch
        a passes if average_margin_a[y_a] >= threshold_h[y_a],  y_a = argmax z_a(weak(u)); likewise b
        w_h = 1 if both pass and agree; disagreement_weight if one passes, whose class it is; else 0
        loss = sum_h CE(z_h(x), y)
               + unsupervised_weight * mean_h mean(w_h * max(mask_a, mask_b) * CE(z_h(strong(u)), y_h))

    with FreeMatch's mask of each head (`SelfAdaptiveThreshold`). Nothing counts in the first epoch
    (`Progress.steps_per_epoch`, a share of the run).

    **Which head is saved**: none of the three, but their mean. Predictions are the mean of the three heads, and the
    mean of linear layers is one: its weights are the means of theirs. The model's own head takes no part in training,
    and is replaced by it for evaluation and saving (`answer`): `from_pretrained` and `pipeline` then need nothing of
    ours.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, logits `[N, 3, C]`, state `[3, num_unlabeled, C]` and `[3, C]`. Needs
    `SSLBatch.unlabeled_index`.

    Args:
        num_heads: 3; each is taught by the two others.
        no_low: let the thresholds of margins be below 0 as well; default False.
        disagreement_weight: weight of an example of which only one head is sure, at least 0; default 3.
        percentile: of the average margins, in [0, 1]; default 0.05.
        smoothness: in [0, 1]; default 0.997.
        momentum: of FreeMatch's running statistics, in [0, 1); default 0.999.
        base_threshold: "freematch" (default), or "none" for the margins alone.
        published: as USB's code is, which departs from the formula in two places: the loop over classes that finds the
            thresholds ends at the first class without an example, so that later ones keep their old ones; and the
            statistics of FreeMatch's masks are updated twice in a step. Default False.

    Note:
        USB's own setting for when thresholds are found ends in an error; here it is after each epoch. The paper was
        not compared, only its code. The state takes 12 bytes for each example and class: 60 MB for 50,000 examples of
        100 classes.

    Paper: Sirbu et al., "MultiMatch: Multihead Consistency Regularization Matching for Semi-Supervised Text
    Classification", EMNLP 2025, arXiv 2506.07801.
    """

    remembers_pool = True
    presumes = "its heads vote on one class, the largest of C probabilities"
    title = "MultiMatch"
    summary = "three heads that teach each other what they have been sure of for a while"
    year = 2025
    arxiv = "2506.07801"
    citation = """@inproceedings{sirbu2025multimatch,
  title = {{MultiMatch}: Multihead Consistency Regularization Matching for Semi-Supervised Text Classification},
  author = {Sirbu, Iustin and Popovici, Robert-Adrian and Caragea, Cornelia and Trausan-Matu, Stefan and
            Rebedea, Traian},
  booktitle = {Proceedings of the Conference on Empirical Methods in Natural Language Processing},
  year = {2025}
}"""

    def __init__(
        self,
        *,
        num_heads: int = HEADS,
        no_low: bool = False,
        disagreement_weight: float = 3.0,
        percentile: float = 0.05,
        smoothness: float = 0.997,
        momentum: float = 0.999,
        base_threshold: str = "freematch",
        published: bool = False,
        **task: Any,
    ):
        super().__init__(**task)
        problem = self.problem
        check(num_heads == HEADS, "num_heads", num_heads, "3: each head is taught by the two others")
        check(disagreement_weight >= 0, "disagreement_weight", disagreement_weight, "at least 0")
        check(base_threshold in ("freematch", "none"), "base_threshold", repr(base_threshold), "freematch or none")
        self.num_heads, self.disagreement_weight = num_heads, disagreement_weight
        self.base_threshold, self.published = base_threshold, published
        self.heads = nn.ModuleList(nn.Linear(problem.feature_size, problem.num_classes) for _ in range(HEADS))
        self.margins = MarginMemory(
            problem.num_unlabeled or 0, problem.num_classes, percentile, smoothness, no_low, skips=published
        )
        for head in range(HEADS):
            self.add_module(f"freematch_{head}", SelfAdaptiveThreshold(problem.num_classes, momentum))
        self.mean_head = MeanHead(self.heads, problem=problem, class_counts=self.correction.labeled_counts)

    @property
    def answer(self) -> Correction:
        """The mean of the heads."""
        return self.mean_head

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on heads teach each other."""
        return {"heads teach each other": progress.steps_per_epoch}

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [N, 3, C] of features [N, D]."""
        given = features.to(cast(nn.Linear, self.heads[0]).weight.dtype)
        return losses.float_logits(torch.stack([head(given) for head in self.heads], dim=1))

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        views = batch.unlabeled
        out = model(labeled=batch.labeled, strong=views["strong"], no_grad={"weak": views["weak"]})
        labeled, strong = (self.logits(out[name].features) for name in ("labeled", "strong"))
        weak = self.logits(out["weak"].features).detach()
        first, *others = (self.labeled_loss(labeled[:, head], batch.labels) for head in range(HEADS))
        # The model's own head has a gradient, of zeros: in several processes every weight must have one.
        supervised = sum(others, start=first) + 0 * out["labeled"].logits.sum()
        index = required(batch.unlabeled_index, "unlabeled_index")
        seen, all_weak = self.margins.joined(*gather(index, weak))
        self.margins.update(seen, all_weak, progress.epoch)
        terms, masks = [], []
        for head, base in enumerate(self.base_masks(weak, all_weak)):
            labels, both, one = self.margins.taught(head, index, weak)
            mask = base * (both + self.disagreement_weight * one) * (progress.epoch > 0)
            terms.append(losses.cross_entropy(strong[:, head], labels, mask))
            masks.append(mask)
        if (progress.step + 1) % max(progress.steps_per_epoch, 1) == 0:
            self.margins.find_thresholds()
        return self.total(
            supervised,
            torch.stack(terms).mean(),
            mask=torch.stack(masks).mean(dim=0),
            pseudo_labels=weak.mean(dim=1).argmax(dim=-1),
        )

    def base_masks(self, weak: torch.Tensor, all_weak: torch.Tensor) -> list[torch.Tensor]:
        """FreeMatch's mask [N] for what each head is taught: the larger one of the two others.

        Args:
            weak: logits [N, 3, C] of this pass.
            all_weak: those of the whole step so far, of all processes and passes.
        """
        if self.base_threshold == "none":
            return [torch.ones_like(weak[:, 0, 0])] * HEADS
        rules = [cast(SelfAdaptiveThreshold, getattr(self, f"freematch_{head}")) for head in range(HEADS)]
        probs, counted = losses.probabilities(weak), losses.probabilities(all_weak)
        if not self.published:
            for head, rule in enumerate(rules):
                rule.update(counted[:, head])
        found = []
        for head in range(HEADS):
            pair = []
            for other in others_of(head):
                if self.published:
                    rules[other].update(counted[:, other])
                pair.append(rules[other].weights(probs[:, other]))
            found.append(torch.maximum(*pair))
        return found


def others_of(head: int) -> list[int]:
    """The two heads that teach a head.

    Example:
        >>> [others_of(head) for head in range(3)]
        [[1, 2], [0, 2], [0, 1]]
    """
    return [other for other in range(HEADS) if other != head]


class MeanHead(Correction):
    """What MultiMatch answers with instead of the model's own head: the mean of its heads. It corrects nothing else.

    Args:
        own: the heads of the algorithm.
        task: as in `Correction`.
    """

    answers = True
    title = "MultiMatch"

    def __init__(self, own: nn.ModuleList, **task: Any):
        super().__init__(**task)
        # In a tuple, so that they are not registered twice.
        self._own = tuple(cast(nn.Linear, head) for head in own)

    def heads(self) -> Mapping[str, nn.Module]:
        """The heads that the answer follows from."""
        return {str(place): head for place, head in enumerate(self._own)}

    def corrected_head(
        self, model: ModelForward | None, content_free: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight [C, D] and bias [C] of the mean head, without gradient."""
        biases = [bias for head in self._own if (bias := cast(torch.Tensor | None, head.bias)) is not None]
        weight = torch.stack([head.weight.detach() for head in self._own]).mean(dim=0)
        return weight, torch.stack(biases).detach().mean(dim=0) if biases else None

    @torch.no_grad()
    def begin_with(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """All heads begin around a classifier: it is their mean, and how they differ stays."""
        mean, own_bias = self.corrected_head(None)
        for head in self._own:
            head.weight.add_(weight - mean)
            if bias is not None and own_bias is not None:
                head.bias.add_(bias - own_bias)
