"""Label propagation: the pool is labeled from time to time over the graph of what the network makes of it."""

import math
from typing import Any

import torch

from ..batches.batch import SSLBatch, required
from ..distributed import gather
from ..graph.spreading import Graph
from ..model.forward import ModelForward
from .base import AlgorithmOutput
from .parts.memory import last_occurrence
from .problem import Progress, check
from .steps import StepStatistics
from .weak_strong import Guesses, Outputs, WeakStrongAlgorithm

# Without a setting: refreshes in a run.
_REFRESHES = 20


class Propagation(WeakStrongAlgorithm, StepStatistics):
    """Every refresh_steps steps, labels are spread over the graph of nearest neighbors among the features of labeled
    examples and pool; between that the pool keeps the labels that it got, and the network learns them.

        z = (1 - alpha) (I - alpha P)^-1 Y, rows scaled to a sum of 1,  P: weights max(cosine, 0)^3 of k neighbors
        q = z_u,  w = (1 - H(q) / log C) / its largest value,  v_c = N / (C * examples labeled c, or with argmax z = c)
        loss = mean(v_y * CE(f(x), y)) + unsupervised_weight * mean(w * v_q * CE(f(strong(u)), argmax q))

    with the features (the input of the classification head) of each example when it was last seen: those of labeled
    examples x and weak views of u, so that no further pass over the pool is needed. Until the first refresh labels are
    trained on alone; an example that was not seen before a refresh has no label until the next one, so that a run must
    be longer than one pass over the pool.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask w * v_q `[mu*B]`; features `[num_labeled + num_unlabeled, D]` and
    `pool_probabilities` `[num_unlabeled, C]` are buffers. Needs `SSLBatch.labeled_index` and `unlabeled_index`.

    Args:
        refresh_steps: steps from one graph to the next, at least 1; default None, a twentieth of the run.
        neighbors: k, of each example, at least 1; default 50.
        alpha: share of a label that comes from the neighbors, in (0, 1); default 0.99.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The paper trains on one kind of view, and makes its graph after each epoch, from features of that time; the
        division by the largest w is that of the authors' code. Here the features are centered first
        (`hf_ssl.graph.normalization`), and 40 terms of the inverse's series stand for it (`Graph.propagate`). Each
        process makes the whole graph, on its CPU; see `hf_ssl.graph.neighbors` for what large pools take.

    Paper: Iscen et al., "Label Propagation for Deep Semi-supervised Learning", CVPR 2019, arXiv 1904.04717.
    """

    remembers_pool = True
    title = "Label Propagation"
    summary = "labels spread over the graph of neighbors among the network's own features"
    year = 2019
    arxiv = "1904.04717"
    citation = """@inproceedings{iscen2019label,
  title = {Label Propagation for Deep Semi-supervised Learning},
  author = {Iscen, Ahmet and Tolias, Giorgos and Avrithis, Yannis and Chum, Ond{\\v{r}}ej},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {5070--5079},
  year = {2019}
}"""

    seen_features: torch.Tensor
    seen: torch.Tensor
    labeled_classes: torch.Tensor
    pool_probabilities: torch.Tensor
    class_weights: torch.Tensor
    most_certain: torch.Tensor

    def __init__(self, *, refresh_steps: int | None = None, neighbors: int = 50, alpha: float = 0.99, **task: Any):
        super().__init__(True, 1.0, **task)
        check(refresh_steps is None or refresh_steps >= 1, "refresh_steps", refresh_steps, "at least 1, or None")
        check(neighbors >= 1, "neighbors", neighbors, "at least 1")
        check(0 < alpha < 1, "alpha", alpha, "in (0, 1)")
        self.refresh_steps, self.neighbors, self.alpha = refresh_steps, neighbors, alpha
        labeled, pool, classes = self.num_labeled, self.num_unlabeled or 0, self.num_classes
        self.register_buffer("seen_features", torch.zeros(labeled + pool, self.feature_size))
        self.register_buffer("seen", torch.zeros(labeled + pool, dtype=torch.bool))
        self.register_buffer("labeled_classes", torch.full((labeled,), -1))
        self.register_buffer("pool_probabilities", torch.full((pool, classes), 1 / classes))
        self.register_buffer("class_weights", torch.ones(classes))
        self.register_buffer("most_certain", torch.ones(()))

    def begin_pass(self, further: bool) -> None:
        """Without setting back: what the passes of a step remember one after the other is what one pass would."""
        self._further = further

    def begins_at(self, progress: Progress) -> int:
        """The step of the first refresh, and the steps from one to the next."""
        return max(progress.max_steps // _REFRESHES, 1) if self.refresh_steps is None else self.refresh_steps

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on the pool is trained on: an example has no label before it was seen and is drawn again."""
        first_pass = (self.num_unlabeled or 0) // max(self.problem.unlabeled_batch_size, 1)
        return {**super().milestones(progress), "pool has labels": max(self.begins_at(progress), first_pass)}

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        """A refresh first, if it is due, from what earlier steps saw."""
        due = not self._further and progress.step > 0 and progress.step % self.begins_at(progress) == 0
        if due and self.seen.any():
            self.refresh()
        return super().forward(model, batch, progress)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """What is seen is remembered, for later steps."""
        out: Outputs = super().run(model, batch)
        self.remember(
            *gather(
                required(batch.labeled_index, "labeled_index"),
                batch.labels,
                out["labeled"].features,
                required(batch.unlabeled_index, "unlabeled_index"),
                out["weak"].features,
            )
        )
        return out

    @torch.no_grad()
    def remember(
        self,
        labeled: torch.Tensor,
        classes: torch.Tensor,
        labeled_features: torch.Tensor,
        pool: torch.Tensor,
        pool_features: torch.Tensor,
    ) -> None:
        """Write features [N, D] of labeled examples [N], with their classes [N], and [M, D] of the pool's [M]."""
        places = torch.cat([labeled, pool + self.num_labeled])
        features = torch.cat([labeled_features, pool_features])[last_occurrence(places)]
        self.seen_features.index_copy_(0, places, features.to(self.seen_features.dtype))
        self.seen.index_fill_(0, places, True)
        self.labeled_classes.index_copy_(0, labeled, classes)

    @torch.no_grad()
    def refresh(self) -> None:
        """Spread the labels over the graph of all that was seen, and weigh the classes by how many have each."""
        rows = self.seen.nonzero().squeeze(1)
        pool = rows[rows >= self.num_labeled] - self.num_labeled
        known = self.labeled_classes[rows[rows < self.num_labeled]]
        labels = torch.cat([known, torch.full_like(pool, -1)])
        graph = Graph.build(self.seen_features[rows].cpu().numpy(), neighbors=self.neighbors)
        spread = graph.propagate(
            labels.cpu().numpy(), num_classes=self.num_classes, alpha=self.alpha, class_balance=None
        )
        every = torch.from_numpy(spread).to(self.pool_probabilities)
        self.most_certain.copy_(certainty(every).max())
        found = every[len(known) :]
        self.pool_probabilities.fill_(1 / self.num_classes).index_copy_(0, pool, found)
        sizes = torch.bincount(torch.cat([known, found.argmax(dim=-1)]), minlength=self.num_classes)
        self.class_weights.copy_(len(rows) / (self.num_classes * sizes.clamp_min(1)))

    def supervised(self, out: Outputs, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Weighted by class."""
        return self.labeled_loss(out["labeled"].logits, batch.labels, self.class_weights[batch.labels])

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """The rows that the graph gave to these examples."""
        return self.pool_probabilities[batch.unlabeled_index].to(probs)

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """How certain the rows are, times the weight of their class."""
        probs = guesses.probs
        certain = certainty(probs) / self.most_certain.clamp_min(torch.finfo(self.most_certain.dtype).tiny)
        return (certain * self.class_weights[probs.argmax(dim=-1)]).to(probs)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """The classes of the graph."""
        return probs.argmax(dim=-1)


def certainty(probs: torch.Tensor) -> torch.Tensor:
    """1 - H / log C of distributions [N, C]: [N], from 0 (uniform) to 1 (a class alone).

    Example:
        >>> certainty(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([0., 1.])
    """
    entropy = torch.special.entr(probs).sum(dim=-1)
    return (1 - entropy / math.log(max(probs.shape[-1], 2))).clamp_min(0)
