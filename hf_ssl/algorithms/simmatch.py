"""SimMatch: similarity to the labeled examples is matched across views, like class predictions are."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch, required
from ..distributed import gather
from ..model.forward import ModelForward
from ..model.head import head_weight
from .parts.alignment import QueueAlignment
from .parts.memory import last_occurrence, slot_logits, smoothed, votes_of
from .parts.projection import Projection, embed
from .parts.thresholds import FixedThreshold
from .problem import Progress, check
from .steps import StepStatistics
from .weak_strong import Outputs, WeakStrongAlgorithm


class SimMatch(Projection, WeakStrongAlgorithm, StepStatistics):
    """FixMatch with a memory of one embedding for each labeled example: how similar a strong view is to each of them
    should match how similar the weak view is, and the two kinds of pseudo-label (class, instance) correct each other.

        p = align(softmax(f(weak(u)))),  s = softmax(e_weak . memory / temperature)
        class target     q = smoothing * p + (1 - smoothing) * sum of s over the examples of each class
        instance target  t = normalize(s_i * p_{class of i})
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), q))
               + instance_weight * CE(softmax(e_strong . memory / temperature), t)

    The memory's terms start after the first epoch (`Progress.steps_per_epoch`, a share of the run). Labeled examples
    that have not been seen by then are not in it: they have no vote and no part in s and t.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, embeddings e `[mu*B, P]`, memory_bank `[P, num_labeled]`, memory_labels
    and memory_written (bool) `[num_labeled]`. Needs `SSLBatch.labeled_index`, and a teacher, whose embeddings are
    remembered; without one those of the model are.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        temperature: of similarities, above 0; default 0.1.
        projection_size: P, at least 1; default 128.
        epass: embed with the mean of three projections instead of one (EPASS, arXiv 2310.15764); default False.
        instance_weight: factor of the instance term, at least 0; default 1.
        smoothing: weight of the model's own prediction, in [0, 1]; default 0.9.
        alignment_queue_size: batches over which predictions are averaged for alignment, at least 1; default 32.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Zheng et al., "SimMatch: Semi-supervised Learning with Similarity Matching", CVPR 2022, arXiv 2203.06915.
    """

    uses_teacher = True
    title = "SimMatch"
    summary = "matches class predictions and similarities to labeled examples across views"
    year = 2022
    arxiv = "2203.06915"
    citation = """@inproceedings{zheng2022simmatch,
  title = {{SimMatch}: Semi-supervised Learning with Similarity Matching},
  author = {Zheng, Mingkai and You, Shan and Huang, Lang and Wang, Fei and Qian, Chen and Xu, Chang},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {14471--14481},
  year = {2022}
}"""

    memory_bank: torch.Tensor
    memory_labels: torch.Tensor
    memory_written: torch.Tensor

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        temperature: float = 0.1,
        projection_size: int = 128,
        epass: bool = False,
        instance_weight: float = 1.0,
        smoothing: float = 0.9,
        alignment_queue_size: int = 32,
        **task: Any,
    ):
        super().__init__(False, temperature, **task)
        self.threshold = FixedThreshold(threshold)
        check(instance_weight >= 0, "instance_weight", instance_weight, "at least 0")
        check(0 <= smoothing <= 1, "smoothing", smoothing, "in [0, 1]")
        self.instance_weight = instance_weight
        self.smoothing = smoothing
        problem = self.problem
        self.setup_projection(projection_size, epass)
        self.alignment = QueueAlignment(problem.num_classes, alignment_queue_size)
        # From a separate generator: every process must start from the same memory, regardless of its seed.
        start = torch.randn(projection_size, problem.num_labeled, generator=torch.Generator().manual_seed(0))
        self.register_buffer("memory_bank", F.normalize(start, dim=0))
        self.register_buffer("memory_labels", torch.zeros(problem.num_labeled, dtype=torch.int64))
        self.register_buffer("memory_written", torch.zeros(problem.num_labeled, dtype=torch.bool))
        self.teacher_projection = TeacherProjection(self.projections, (problem.num_classes, problem.feature_size))

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """With "memory", the embeddings to remember, and "similarity", that of the weak views to the memory."""
        out: Outputs = super().run(model, batch)
        with torch.no_grad():
            if model.teacher_model is None:
                out["memory"] = self.embed(out["labeled"].features)
            else:
                teacher = model.teacher(labeled=batch.labeled)["labeled"]
                self.teacher_projection.follow(self.projections, model.head, model.teacher_head)
                out["memory"] = embed([self.teacher_projection], teacher.features)
            out["similarity"] = self.similarity(self.embed(out["weak"].features))
        return out

    def similarity(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits [N, num_labeled] of how near embeddings [N, P] are to each labeled example that is remembered."""
        return slot_logits(embeddings, self.memory_bank, self.memory_written, self.temperature)

    def refine(
        self, probs: torch.Tensor, labeled_probs: torch.Tensor, out: Outputs, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Aligned (kept as "aligned"), and smoothed by the labels of similar labeled examples."""
        aligned = out["aligned"] = self.alignment(probs)
        if progress.epoch == 0:
            return aligned
        votes = votes_of(losses.probabilities(out["similarity"]), self.memory_labels, self.problem.num_classes)
        return smoothed(aligned, votes.to(aligned), self.memory_written, self.smoothing)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """The smoothed distributions themselves."""
        return probs

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The instance term; afterwards the labeled batch is remembered."""
        targets = losses.probabilities(out["similarity"]) * out["aligned"][:, self.memory_labels]
        # The sum can be 0 if no remembered example is of a class that the prediction gives a chance.
        targets = targets / targets.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(targets.dtype).tiny)
        strong = self.similarity(self.embed(out["strong"].features))
        # In the first epoch the term is 0 and is still there, so that its heads have a gradient.
        counts = self.memory_written.any() & (progress.epoch > 0)
        instance = losses.cross_entropy(strong, targets) * counts
        index = required(batch.labeled_index, "labeled_index")
        self.remember(*self.joined(*gather(index, out["memory"], batch.labels)))
        return {"extra": {"instance": (self.instance_weight, instance)}}

    @torch.no_grad()
    def remember(self, index: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Write embeddings [N, P] and labels [N] of the labeled examples [N] to their places."""
        last = last_occurrence(index)
        # The instance term still needs the old memory for its gradient, so the memory is replaced, not written into.
        bank = self.memory_bank.clone()
        bank[:, index] = embeddings[last].T.to(bank.dtype)
        self.memory_bank = bank
        self.memory_labels = self.memory_labels.index_copy(0, index, labels)
        self.memory_written = self.memory_written.index_fill(0, index, True)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on the memory votes."""
        return {**super().milestones(progress), "memory votes": progress.steps_per_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch.

        Raises:
            RuntimeError: also for a state of a version that did not mark which slots are written.
        """
        if "memory_bank" in state_dict and "memory_written" not in state_dict:
            raise RuntimeError(
                "memory_written is missing: this state is of a version whose memory began after a pass over the pool, "
                "and whose empty slots voted; start from scratch, or finish the run with that version"
            )
        return super().load_state_dict(state_dict, strict, assign)


class TeacherProjection(nn.Module):
    """The moving average of the projection heads, which keeps pace with the teacher.

    The teacher is updated by the trainer, at a rate that the algorithm does not know but can measure: it is how far
    the teacher's classification head has moved towards the student's since the last step, as a fraction of the
    distance. The projection's average moves by the same fraction.

    Args:
        heads: the projections.
        classifier_shape: of the classification head's weight.
    """

    classifier_before: torch.Tensor
    started: torch.Tensor

    def __init__(self, heads: Sequence[nn.Module], classifier_shape: tuple[int, int]):
        super().__init__()
        # Buffers, not parameters: no optimizer and no gradient averaging should see them.
        self.names = [
            {name: f"average{place}_{name.replace('.', '_')}" for name, _ in head.named_parameters()}
            for place, head in zip(("", "_second", "_third"), heads, strict=False)
        ]
        for names, head in zip(self.names, heads, strict=True):
            for name, parameter in head.named_parameters():
                self.register_buffer(names[name], parameter.detach().clone())
        self.register_buffer("classifier_before", torch.zeros(classifier_shape))
        self.register_buffer("started", torch.zeros(()))
        # In a tuple, so that the heads do not become sub-modules here too.
        self._heads = tuple(heads)

    @torch.no_grad()
    def follow(self, heads: Sequence[nn.Module], student: nn.Module, teacher: nn.Module) -> None:
        """Move the averages towards `heads` by as much as the teacher's classifier has moved towards the student's."""
        now = head_weight(teacher).to(self.classifier_before)
        moved, way = now - self.classifier_before, head_weight(student).to(now) - self.classifier_before
        tiny = torch.finfo(way.dtype).tiny
        rate = ((moved * way).sum() / way.square().sum().clamp_min(tiny)).clamp(0, 1)
        rate = rate.masked_fill(self.started == 0, 1.0)
        for names, head in zip(self.names, heads, strict=True):
            for name, parameter in head.named_parameters():
                getattr(self, names[name]).lerp_(parameter.to(rate.dtype), rate)
        self.classifier_before.copy_(now)
        self.started.fill_(1.0)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The averaged projections of features [N, D], their sum [N, P]."""
        results = []
        for names, head in zip(self.names, self._heads, strict=True):
            averages = {name: getattr(self, buffer) for name, buffer in names.items()}
            results.append(torch.func.functional_call(head, averages, (features,)))
        return sum(results[1:], start=results[0])
