"""DASO: pseudo-labels are blended with how near the features are to the mean of each class."""

from typing import Any

import torch

from ... import losses
from ...batches.batch import SSLBatch
from ...distributed import gather
from ...model.forward import ModelForward
from ..correction import Correction
from ..problem import Progress, check
from ..steps import StepStatistics


class DASO(Correction):
    """Distribution-aware semantics-oriented pseudo-labels. The classifier prefers the large classes; similarity to the
    mean features of the classes does not. The more a class is predicted, the more of its pseudo-labels comes from
    similarity.

        s = softmax(cos(z_weak, prototypes) / prototype_temperature)
        p' = (1 - v_c) p + v_c s,   p = softmax(f(weak(u))),  c = argmax p
        v = m^(1 / distribution_temperature) / its maximum,   m = shares of the classes among the last pseudo-labels
        loss = the algorithm's with p' for p
               + weight * mean H(softmax(cos(z_strong, prototypes) / prototype_temperature), s)

    with features z. A prototype is the mean of the last `queue_size` features of its class that the teacher gave to
    labeled examples (the model, if there is no teacher), those of this batch included; a class that was not seen is
    similar to nothing. m (buffer `label_distribution`, counts) is of the last complete period, or of the first so far.

    Shapes: features `[mu*B, D]`, `prototypes` [C, D], queues [C, queue_size, D]: at 1,000 classes and D = 768 they
    take 0.8 GB.

    Can be put around every algorithm that trains a strong view on pseudo-labels of a weak one.

    Args:
        pretrain_steps: steps before the blending and the second term begin, at least 0; None (default) for 2 percent
            of the run, as 5,120 of 262,144.
        distribution_update_period: steps over which pseudo-labels are counted, at least 1; default 100.
        prototype_temperature: above 0; default 0.05.
        distribution_temperature: above 0; default 1.5. The authors take 0.3 if labels and pool differ in their class
            sizes.
        queue_size: features per class, at least 1; default 256.
        distribution_aware: False takes v = interpolation for all classes.
        interpolation: in [0, 1]; default 0.5.
        weight: factor of the second term, at least 0; default 1.

    Note:
        A step costs one more call of the teacher, on the labeled batch. USB blends with the similarities of the
        previous batch, which are those of other examples.

    Paper: Oh, Kim and Kweon, "DASO: Distribution-Aware Semantics-Oriented Pseudo-label for Imbalanced Semi-Supervised
    Learning", CVPR 2022, arXiv 2106.05682.
    """

    needs = frozenset({"pseudo_labels", "pseudo_labels_alone"})
    uses_teacher = True
    title = "DASO"
    summary = "pseudo-labels blended with the similarity to the mean features of the classes"
    year = 2022
    arxiv = "2106.05682"
    citation = """@inproceedings{oh2022daso,
  title = {{DASO}: Distribution-Aware Semantics-Oriented Pseudo-label for Imbalanced Semi-Supervised Learning},
  author = {Oh, Youngtaek and Kim, Dong-Jin and Kweon, In So},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {9786--9796},
  year = {2022}
}"""

    # The authors' share of the run.
    PRETRAIN_SHARE = 5_120 / 262_144

    prototypes: torch.Tensor
    label_distribution: torch.Tensor
    label_counts: torch.Tensor

    def __init__(
        self,
        *,
        pretrain_steps: int | None = None,
        distribution_update_period: int = 100,
        prototype_temperature: float = 0.05,
        distribution_temperature: float = 1.5,
        queue_size: int = 256,
        distribution_aware: bool = True,
        interpolation: float = 0.5,
        weight: float = 1.0,
        **task: Any,
    ):
        super().__init__(**task)
        check(pretrain_steps is None or pretrain_steps >= 0, "pretrain_steps", pretrain_steps, "at least 0, or None")
        period = distribution_update_period
        check(period >= 1, "distribution_update_period", period, "at least 1")
        check(prototype_temperature > 0, "prototype_temperature", prototype_temperature, "above 0")
        check(distribution_temperature > 0, "distribution_temperature", distribution_temperature, "above 0")
        check(queue_size >= 1, "queue_size", queue_size, "at least 1")
        check(0 <= interpolation <= 1, "interpolation", interpolation, "in [0, 1]")
        check(weight >= 0, "weight", weight, "at least 0")
        self.pretrain_steps, self.distribution_update_period = pretrain_steps, period
        self.prototype_temperature = prototype_temperature
        self.distribution_temperature = distribution_temperature
        self.queue_size = queue_size
        self.distribution_aware, self.interpolation = distribution_aware, interpolation
        self.weight = weight
        classes, width = self.problem.num_classes, self.problem.feature_size
        self.queues = ClassQueues(classes, queue_size, width)
        self.register_buffer("prototypes", torch.zeros(classes, width))
        self.register_buffer("label_distribution", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("label_counts", torch.zeros(classes, dtype=torch.int64))

    def observe(self, model: ModelForward, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """Remember the labeled features."""
        features = out["labeled"].features
        if model.teacher_model is not None:
            features = model.teacher(labeled=batch.labeled)["labeled"].features
        self.prototypes = self.queues.push(*self.queues.joined(*gather(features, batch.labels)))

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Of the blended distributions, which are counted by their classes; s is left as "semantic"."""
        # Earlier passes of the step are blended again, with the prototypes that the step leaves.
        probs, features = self.joined(losses.probabilities(logits), out["weak"].features.detach())
        if begun := self.begun(progress):
            semantic = losses.probabilities(self.similarity(features)).to(probs.dtype)
            out["semantic"] = semantic[-len(logits) :]
            probs = probs.lerp(semantic, self.shares(probs).unsqueeze(-1))
        self.count(gather(probs.argmax(dim=-1)), progress)
        return probs[-len(logits) :].clamp_min(torch.finfo(probs.dtype).tiny).log() if begun else logits

    def count(self, labels: torch.Tensor, progress: Progress) -> None:
        """Add the pseudo-labels [N] of a step; the last one of a period begins the next."""
        self.label_counts = self.label_counts.index_add(0, labels, torch.ones_like(labels))
        if (progress.step + 1) % self.distribution_update_period == 0:
            self.label_distribution, self.label_counts = self.label_counts, torch.zeros_like(self.label_counts)

    def additions(self, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> dict[str, Any]:
        """The strong view is to be as similar to each class as the weak one."""
        term = out["strong"].features.new_zeros(())
        if self.begun(progress):
            term = losses.cross_entropy(self.similarity(out["strong"].features), out["semantic"])
        return {"assignment": (self.weight, term)}

    def begun(self, progress: Progress) -> bool:
        """Whether prototypes take part."""
        return progress.step >= self._start(progress)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """Where the blending begins."""
        return {"pseudo-labels are blended": start} if (start := self._start(progress)) else {}

    def _start(self, progress: Progress) -> int:
        given = self.pretrain_steps
        return round(self.PRETRAIN_SHARE * progress.max_steps) if given is None else given

    def similarity(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [N, C] of features [N, D]: their cosines with the prototypes, divided by the temperature."""
        prototypes = losses.unit_length(self.prototypes).to(losses.float_logits(features).dtype)
        return losses.unit_length(features) @ prototypes.T / self.prototype_temperature

    def shares(self, probs: torch.Tensor) -> torch.Tensor:
        """v [N]: the share of similarity in the pseudo-labels of distributions [N, C]; 0 before any was counted."""
        if not self.distribution_aware:
            return torch.full_like(probs[:, 0], self.interpolation)
        known = (self.label_distribution.sum() > 0).to(self.label_distribution.dtype)
        counts = self.label_distribution + (1 - known) * self.label_counts
        shares = (counts.to(probs.dtype) / counts.amax().clamp_min(1)) ** (1 / self.distribution_temperature)
        return shares[probs.argmax(dim=-1)]


class ClassQueues(StepStatistics):
    """The last features of each class; the oldest are overwritten first.

    Args:
        num_classes: C.
        size: of each queue.
        width: D.

    Buffers: `queue_features` [C, size, D], zeros if not written; `queue_sums` [C, D], their sums; `queue_written` [C],
    the number written so far.

    Example:
        >>> queues = ClassQueues(num_classes=2, size=2, width=1)
        >>> queues.push(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 0, 0]))
        tensor([[3.],
                [0.]])
    """

    queue_features: torch.Tensor
    queue_sums: torch.Tensor
    queue_written: torch.Tensor
    # The slots that the step in progress has overwritten, and what was in them.
    _overwritten: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, num_classes: int, size: int, width: int):
        super().__init__()
        self.register_buffer("queue_features", torch.zeros(num_classes, size, width))
        self.register_buffer("queue_sums", torch.zeros(num_classes, width))
        self.register_buffer("queue_written", torch.zeros(num_classes, dtype=torch.int64))

    def begin_pass(self, further: bool) -> None:
        """As in `StepStatistics`; a further pass also gets back what the earlier ones have overwritten."""
        if further and self._overwritten is not None:
            self._write(*self._overwritten)
        self._overwritten = None
        super().begin_pass(further)

    @torch.no_grad()
    def push(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Write the features [N, D] of a step, of classes [N]; the means [C, D] of the queues, 0 for an empty one.

        The sums follow what is written and overwritten, so that the cost does not depend on the size of the queues.
        """
        classes, size, _ = self.queue_features.shape
        counts = torch.zeros_like(self.queue_written).index_add_(0, labels, torch.ones_like(labels))
        ranks = _ranks_within(labels)
        slots = labels * size + (self.queue_written[labels] + ranks) % size
        if len(labels) > size:
            # Of more examples than there are slots the last ones stay.
            stays = ranks >= counts[labels] - size
            slots, features, labels = slots[stays], features[stays], labels[stays]
        before = self.queue_features.flatten(0, 1)[slots]
        self._overwritten = slots, before
        self._write(slots, features)
        # A product, since adding into places in any order is not the same in every run on a GPU.
        change = losses.one_hot(labels, classes).to(before).T @ (features.to(before) - before)
        self.queue_sums = self.queue_sums + change
        self.queue_written = self.queue_written + counts
        return self.queue_sums / self.queue_written.clamp(1, size).unsqueeze(-1)

    def _write(self, slots: torch.Tensor, features: torch.Tensor) -> None:
        self.queue_features.flatten(0, 1).index_copy_(0, slots, features.to(self.queue_features.dtype))


def _ranks_within(labels: torch.Tensor) -> torch.Tensor:
    """For each entry of `labels` [N] the number of entries before it with the same value."""
    ordered, order = torch.sort(labels, stable=True)
    ranks = torch.arange(len(labels), device=labels.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(ranks).index_copy_(0, order, ranks)
