"""CoMatch: class predictions and embeddings correct each other."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..distributed import gather
from ..model.forward import ModelForward
from .parts.alignment import QueueAlignment
from .parts.memory import FeatureQueue, smoothed
from .parts.projection import Projection
from .parts.thresholds import FixedThreshold
from .problem import Progress, check
from .weak_strong import Outputs, WeakStrongAlgorithm


class CoMatch(Projection, WeakStrongAlgorithm):
    """FixMatch with a second, low-dimensional embedding: the neighbors in a memory of embeddings smooth the
    pseudo-labels, and the pseudo-labels make a graph of which examples should be neighbors.

        q = smoothing * align(softmax(f(weak(u)))) + (1 - smoothing) * vote of the memory
        W_ij = q_i . q_j if at least graph_threshold, W_ii = 1, rows normalized
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), q)) + contrastive_weight * CE(S, W)

    where S is the softmax similarity, with `temperature`, of the embeddings of two strong views.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, embeddings `[mu*B, P]`, memory `[queue_batches * (mu + 1) * B, P]`.
    Needs two strong views.

    The memory votes from the second epoch on (`Progress.steps_per_epoch`, a share of the run), but not before
    `queue_batches` steps have been remembered; slots that are still empty have no vote.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        hard_labels: without effect, since q itself is always the target; accepted because published recipes set it.
        temperature: of similarities, above 0; default 0.2.
        graph_threshold: similarity of pseudo-labels from which two examples are linked, in [0, 1]; default 0.8.
        contrastive_weight: factor of the contrastive term, at least 0; default 1.
        projection_size: P, at least 1; default 64.
        epass: embed with the mean of three projections instead of one (EPASS, arXiv 2310.15764); default False.
        queue_batches: steps that the memory holds, at least 1; default 32 (USB: 128 for text and audio).
        smoothing: weight of the model's own prediction, in [0, 1]; default 0.9.
        alignment_queue_size: batches over which predictions are averaged for alignment, at least 1; default 32.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        With several processes each builds the graph of its own part of the batch, so two processes with half a batch
        each do not give exactly the result of one with the whole batch; nor do two accumulated passes. Memory and
        alignment are those of the joint batch.

    Paper: Li, Xiong and Hoi, "CoMatch: Semi-supervised Learning with Contrastive Graph Regularization", ICCV 2021,
    arXiv 2011.11183.
    """

    views = {"weak": "weak", "strong": "strong", "strong_2": "strong"}
    title = "CoMatch"
    summary = "pseudo-labels smoothed by neighbors, embeddings trained on a graph of pseudo-labels"
    year = 2021
    arxiv = "2011.11183"
    citation = """@inproceedings{li2021comatch,
  title = {{CoMatch}: Semi-supervised Learning with Contrastive Graph Regularization},
  author = {Li, Junnan and Xiong, Caiming and Hoi, Steven C. H.},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision},
  pages = {9475--9484},
  year = {2021}
}"""

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        hard_labels: bool = False,
        temperature: float = 0.2,
        graph_threshold: float = 0.8,
        contrastive_weight: float = 1.0,
        projection_size: int = 64,
        epass: bool = False,
        queue_batches: int = 32,
        smoothing: float = 0.9,
        alignment_queue_size: int = 32,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        self.threshold = FixedThreshold(threshold)
        check(0 <= graph_threshold <= 1, "graph_threshold", graph_threshold, "in [0, 1]")
        check(contrastive_weight >= 0, "contrastive_weight", contrastive_weight, "at least 0")
        check(queue_batches >= 1, "queue_batches", queue_batches, "at least 1")
        check(0 <= smoothing <= 1, "smoothing", smoothing, "in [0, 1]")
        self.graph_threshold = graph_threshold
        self.contrastive_weight = contrastive_weight
        self.queue_batches = queue_batches
        self.smoothing = smoothing
        problem = self.problem
        self.setup_projection(projection_size, epass)
        self.alignment = QueueAlignment(problem.num_classes, alignment_queue_size)
        size = queue_batches * (problem.labeled_batch_size + problem.unlabeled_batch_size)
        self.memory = FeatureQueue(size, projection_size, problem.num_classes)

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With the second strong view."""
        views = batch.unlabeled
        strong, strong_2 = views["strong"], views["strong_2"]
        return model(labeled=batch.labeled, strong=strong, strong_2=strong_2, no_grad={"weak": views["weak"]})

    @torch.no_grad()
    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned and smoothed by the memory, into which the batch is written afterwards."""
        aligned = self.alignment(probs)
        weak, labeled = (self.embed(out[name].features) for name in ("weak", "labeled"))
        refined = aligned
        if progress.step >= self.milestones(progress)["memory votes"]:
            votes = self.memory.vote(weak, self.temperature)
            refined = smoothed(aligned, votes, self.memory.written, self.smoothing)
        weak, labeled, labels = self.memory.joined(*gather(weak, labeled, batch.labels))
        known = losses.one_hot(labels, self.problem.num_classes).to(aligned)
        self.memory.push(torch.cat([weak, labeled]), torch.cat([self.alignment.all_aligned(), known]))
        return refined

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on the memory votes: after the first epoch, and once it is full."""
        first_vote = max(progress.steps_per_epoch, self.queue_batches + 1)
        return {**super().milestones(progress), "memory votes": first_vote}

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """The smoothed distributions themselves."""
        return probs

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The contrastive term: similar embeddings for examples with similar pseudo-labels."""
        graph = (probs @ probs.T).fill_diagonal_(1.0)
        graph = graph * (graph >= self.graph_threshold)
        graph = graph / graph.sum(dim=-1, keepdim=True)
        first, second = (self.embed(out[name].features) for name in ("strong", "strong_2"))
        contrastive = losses.graph_contrast(first, second, graph, self.temperature)
        return {"extra": {"contrastive": (self.contrastive_weight, contrastive)}}
