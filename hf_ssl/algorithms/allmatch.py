"""AllMatch: thresholds from the head's own weights, and something to learn from every example."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..distributed import together
from ..model.forward import ModelForward
from ..model.head import head_weight
from .parts.thresholds import ClassWeightThreshold
from .problem import Progress, check
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm


class AllMatch(WeakStrongAlgorithm):
    """FixMatch with a threshold that follows the confidence and is lower for classes with small weights in the head.
    Examples below it are learned from as well: the few classes that a prediction leaves open are told from all others.

        q = softmax(f(weak(u))),  mask = [max q >= global_threshold * |W_c| / max_k |W_k|],  c = argmax q
        candidates = the fewest classes whose q add up to candidate_mass at least
        binary = mean(-log sum_{c in candidates} p_c),  p = softmax(f(strong(u)))
        loss = CE(f(x), y) + unsupervised_weight * (mean(mask * CE(f(strong(u)), target(q)))
               + candidate_weight * binary)

    with the running mean `global_threshold` of max q, and the rows W_c of the head's weights.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`, candidates `[mu*B, C]`, W `[C, D]`.

    Args:
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        momentum: of global_threshold, in [0, 1); default 0.999.
        candidate_mass: probability that the candidates hold, in (0, 1]; default 0.95. With 1 all classes are
            candidates, and the term is 0.
        candidate_weight: factor of the term of the candidates, at least 0; default 1.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The paper was in reach as abstract and summaries only. They say that the thresholds are the running confidence,
        scaled by the classifier's weights, and that the top-k classes of the weak view are candidates, whose division
        from the others the strong view is to keep. How k is chosen they do not say: that the candidates hold
        `candidate_mass` is a rule of this package, and so are the division by the largest length and the defaults. So
        these are not the numbers of the paper's method.

    Paper: Wu and Cui, "AllMatch: Exploiting All Unlabeled Data for Semi-Supervised Learning", IJCAI 2024,
    arXiv 2406.15763.
    """

    title = "AllMatch"
    summary = "thresholds by the head's weights, and all examples learn which classes are out of the question"
    year = 2024
    arxiv = "2406.15763"
    citation = """@inproceedings{wu2024allmatch,
  title = {{AllMatch}: Exploiting All Unlabeled Data for Semi-Supervised Learning},
  author = {Wu, Zhiyu and Cui, Jinshi},
  booktitle = {Proceedings of the Thirty-Third International Joint Conference on Artificial Intelligence},
  pages = {5245--5253},
  year = {2024}
}"""

    threshold: ClassWeightThreshold

    def __init__(
        self,
        *,
        hard_labels: bool = True,
        temperature: float = 0.5,
        momentum: float = 0.999,
        candidate_mass: float = 0.95,
        candidate_weight: float = 1.0,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        check(0 < candidate_mass <= 1, "candidate_mass", candidate_mass, "in (0, 1]")
        check(candidate_weight >= 0, "candidate_weight", candidate_weight, "at least 0")
        self.threshold = ClassWeightThreshold(self.problem.num_classes, momentum)
        self.candidate_mass, self.candidate_weight = candidate_mass, candidate_weight

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With the lengths [C] of the rows of the head's weights as "weight_norms"."""
        out: Outputs = super().run(model, batch)
        out["weight_norms"] = together(losses.float_logits(head_weight(model.head)).norm(dim=1))
        return out

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """By the thresholds of the classes."""
        return self.threshold(guesses.probs, weight_norms=guesses.out["weight_norms"])

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The term of the candidates, of all examples."""
        candidates = fewest_classes(probs, self.candidate_mass)
        log_probs = losses.float_logits(out["strong"].logits).log_softmax(dim=-1)
        binary = -log_probs.masked_fill(~candidates, -torch.inf).logsumexp(dim=-1).mean()
        weight = self.candidate_weight * self.unsupervised_weight * progress.unsupervised_ramp
        count = candidates.sum(dim=-1).to(probs.dtype).mean()
        return {"extra": {"binary": (weight, binary)}, "metrics": {"candidates": count}}


def fewest_classes(probs: torch.Tensor, mass: float) -> torch.Tensor:
    """The most probable classes, as few as hold the mass; all of them for a mass of 1.

    Args:
        probs: distributions [N, C].
        mass: in (0, 1].

    Returns:
        bool [N, C].

    Example:
        >>> fewest_classes(torch.tensor([[0.1, 0.6, 0.3], [0.97, 0.02, 0.01]]), mass=0.8)
        tensor([[False,  True,  True],
                [ True, False, False]])
    """
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    # What the more probable classes hold already: the first one is always in.
    before = ordered.cumsum(dim=-1) - ordered
    within = before < (mass if mass < 1 else torch.inf)
    return torch.zeros_like(within).scatter(-1, order, within)
