"""Which pseudo-labels count, and how much: thresholds and weights as small modules.

All are called alike, `rule(probs, labeled_probs=..., index=..., progress=..., supervised=...) -> weights [N]`, and
take from the keywords what they need:

    FixedThreshold         FixMatch    a constant
    RelativeThreshold      AdaMatch    relative to the confidence on the labeled batch
    FlexibleThreshold      FlexMatch   lower for classes with few confident examples so far
    SelfAdaptiveThreshold  FreeMatch   the average confidence, modulated by class
    ClassWeightThreshold   AllMatch    the average confidence, lower for classes with small weights in the head
    LossThreshold          Dash        a limit on the loss, which falls during training
    GaussianWeight         SoftMatch   no threshold: less weight the further below the average confidence

`probs` are distributions [N, C] on the unlabeled batch, `labeled_probs` [B, C] those on the labeled batch, `index` [N]
the positions of the unlabeled examples in the pool, `supervised` the labeled loss, a scalar. Statistics are those of
whole optimizer steps: of the batches of all processes and passes.
"""

from typing import Any

import torch
from torch import nn

from ...batches.batch import required
from ...distributed import gather
from ...losses import one_hot, probabilities, sharpen
from ..problem import Progress, check
from ..steps import StepStatistics
from .memory import last_occurrence


def make_targets(logits: torch.Tensor, hard_labels: bool, temperature: float) -> torch.Tensor:
    """Pseudo-labels of logits [N, C]: classes [N] if hard, otherwise softmax(logits / temperature) [N, C].

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> make_targets(logits, True, 1.0), make_targets(logits, False, 1.0)
        (tensor([0]), tensor([[0.8808, 0.1192]]))
    """
    return logits.argmax(dim=-1) if hard_labels else probabilities(logits, temperature)


class FixedThreshold(nn.Module):
    """mask_i = [max_c q_ic >= threshold] (FixMatch, arXiv 2001.07685).

    Args:
        threshold: in [0, 1]; with 0 every pseudo-label counts.

    Example:
        >>> FixedThreshold(0.8)(torch.tensor([[0.9, 0.1], [0.4, 0.6]]))
        tensor([1., 0.])
    """

    def __init__(self, threshold: float):
        super().__init__()
        check(0 <= threshold <= 1, "threshold", threshold, "in [0, 1]")
        self.threshold = threshold

    def forward(self, probs: torch.Tensor, **_: Any) -> torch.Tensor:
        """Distributions [N, C] -> weights [N], each 0 or 1."""
        return (probs.amax(dim=-1) >= self.threshold).to(probs.dtype)


class RelativeThreshold(StepStatistics):
    """mask_i = [max_c q_ic >= threshold * mean_b max_c p_bc], p on the labeled batch (AdaMatch, arXiv 2106.04732).

    Args:
        threshold: in (0, 1].

    Example:
        >>> RelativeThreshold(0.9)(torch.tensor([[0.6, 0.4], [0.5, 0.5]]), labeled_probs=torch.tensor([[0.6, 0.4]]))
        tensor([1., 0.])
    """

    def __init__(self, threshold: float):
        super().__init__()
        check(0 < threshold <= 1, "threshold", threshold, "in (0, 1]")
        self.threshold = threshold

    def forward(self, probs: torch.Tensor, *, labeled_probs: torch.Tensor, **_: Any) -> torch.Tensor:
        """Distributions [N, C] and those on the labeled batch [B, C] -> weights [N], each 0 or 1."""
        (confidence,) = self.joined(gather(labeled_probs.amax(dim=-1)))
        return (probs.amax(dim=-1) >= self.threshold * confidence.mean()).to(probs.dtype)


class FlexibleThreshold(StepStatistics):
    """A threshold for each class, which rises with how well the class is learned (FlexMatch, arXiv 2110.08263).

        status_c = (examples whose last confident label was c) / (the largest such count)
        mask_i = [max_c q_ic >= threshold * status_c / (2 - status_c)],  c = argmax q_i

    Args:
        threshold: in (0, 1].
        num_classes: C.
        num_unlabeled: size of the pool.
        warmup: count the examples that were never confident as one more class, which delays the rise.

    Buffers: `selected_labels` [pool], the last confident label or -1; `class_counts` [C]; `class_learning_status` [C].

    Note:
        The counts are kept by subtracting an example's former label and adding its new one, so a step costs O(N log N)
        for a batch of N, regardless of the size of the pool. They are the same for a batch at once and in parts, so
        the passes of a step write into them one after the other; only the status is that of the step's start again.

    Example:
        >>> rule = FlexibleThreshold(0.8, num_classes=2, num_unlabeled=4)
        >>> rule(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), index=torch.tensor([3, 0]))
        tensor([1., 1.])
        >>> rule.selected_labels, rule.class_learning_status
        (tensor([-1, -1, -1,  0]), tensor([0.3333, 0.0000]))
    """

    selected_labels: torch.Tensor
    class_counts: torch.Tensor
    class_learning_status: torch.Tensor

    def __init__(self, threshold: float, num_classes: int, num_unlabeled: int, warmup: bool = True):
        super().__init__()
        check(0 < threshold <= 1, "threshold", threshold, "in (0, 1]")
        self.threshold = threshold
        self.threshold_warmup = warmup
        self.register_buffer("selected_labels", torch.full((num_unlabeled,), -1, dtype=torch.int64))
        self.register_buffer("class_counts", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("class_learning_status", torch.zeros(num_classes))

    def forward(self, probs: torch.Tensor, *, index: torch.Tensor | None, **_: Any) -> torch.Tensor:
        """Distributions [N, C] of the examples at `index` [N] -> weights [N], each 0 or 1; then update the status."""
        confidence, labels = probs.max(dim=-1)
        status = self.class_learning_status[labels]
        mask = (confidence >= self.threshold * status / (2 - status)).to(probs.dtype)
        self.update(*gather(required(index, "unlabeled_index"), labels, confidence >= self.threshold))
        return mask

    @torch.no_grad()
    def update(self, index: torch.Tensor, labels: torch.Tensor, confident: torch.Tensor) -> None:
        """Record labels [N] of the examples [N] that are confident [N], and the learning status that follows."""
        former = self.selected_labels[index]
        last = last_occurrence(index, confident)
        recorded = torch.where(last >= 0, labels[last.clamp_min(0)], former)
        self.selected_labels[index] = recorded
        # Of several entries for one example only the recorded one changes the counts.
        counted = (last == torch.arange(len(index), device=index.device)).to(self.class_counts.dtype)
        self.class_counts.index_add_(0, former.clamp_min(0), -counted * (former >= 0))
        self.class_counts.index_add_(0, recorded.clamp_min(0), counted)
        pool, largest = len(self.selected_labels), self.class_counts.amax()
        largest_or_unused = torch.maximum(largest, pool - self.class_counts.sum())
        divisor = (largest_or_unused if self.threshold_warmup else largest).clamp_min(1)
        # A pool that is all of one kind (at the start: unused) says nothing about the classes.
        informative = largest_or_unused < pool
        status = torch.where(
            informative, (self.class_counts / divisor).to(self.class_learning_status), self.class_learning_status
        )
        self.class_learning_status = status


class SelfAdaptiveThreshold(StepStatistics):
    """A global threshold that follows the confidence, modulated by class (FreeMatch, arXiv 2205.07246).

        mask_i = [max_c q_ic >= global_threshold * p_c / max_k p_k],  c = argmax q_i,  p = class_probability

    Args:
        num_classes: C; the threshold starts at 1 / C.
        momentum: weight of the past, in [0, 1).
        use_quantile: follow the 0.8 quantile of the batch's confidences instead of their mean.
        clip_threshold: keep the global threshold at 0.95 or below.

    Buffers: `global_threshold`, a scalar; `class_probability` [C], the mean prediction; `label_histogram` [C], the
    frequencies of argmax q.

    Example:
        >>> rule = SelfAdaptiveThreshold(num_classes=2, momentum=0.5)
        >>> rule(torch.tensor([[0.9, 0.1], [0.6, 0.4]]))
        tensor([1., 0.])
        >>> rule.global_threshold, rule.class_probability
        (tensor(0.6250), tensor([0.6250, 0.3750]))
    """

    global_threshold: torch.Tensor
    class_probability: torch.Tensor
    label_histogram: torch.Tensor

    def __init__(
        self, num_classes: int, momentum: float = 0.999, use_quantile: bool = False, clip_threshold: bool = False
    ):
        super().__init__()
        check(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
        self.momentum = momentum
        self.use_quantile = use_quantile
        self.clip_threshold = clip_threshold
        self.register_buffer("global_threshold", torch.tensor(1.0 / num_classes))
        self.register_buffer("class_probability", torch.full((num_classes,), 1.0 / num_classes))
        self.register_buffer("label_histogram", torch.full((num_classes,), 1.0 / num_classes))

    def forward(self, probs: torch.Tensor, **_: Any) -> torch.Tensor:
        """Update with distributions [N, C]; their weights [N], each 0 or 1."""
        self.update(*self.joined(gather(probs)))
        return self.weights(probs)

    def weights(self, probs: torch.Tensor) -> torch.Tensor:
        """The weights [N], each 0 or 1, of distributions [N, C] by the statistics as they are."""
        confidence, labels = probs.max(dim=-1)
        relative = self.class_probability / self.class_probability.amax()
        return (confidence >= self.global_threshold * relative[labels]).to(probs.dtype)

    @torch.no_grad()
    def update(self, probs: torch.Tensor) -> None:
        """Move the statistics towards those of distributions [N, C]."""
        probs = probs.to(self.global_threshold.dtype)
        confidence, labels = probs.max(dim=-1)
        level = torch.quantile(confidence, 0.8) if self.use_quantile else confidence.mean()
        threshold = self.global_threshold.lerp(level, 1 - self.momentum)
        self.global_threshold = threshold.clamp(0.0, 0.95) if self.clip_threshold else threshold
        self.class_probability = self.class_probability.lerp(probs.mean(dim=0), 1 - self.momentum)
        frequencies = one_hot(labels, probs.shape[-1]).to(probs).mean(dim=0)
        self.label_histogram = self.label_histogram.lerp(frequencies, 1 - self.momentum)


class ClassWeightThreshold(StepStatistics):
    """The average confidence, lower for classes whose weights in the head are small (AllMatch, arXiv 2406.15763).

        mask_i = [max_c q_ic >= global_threshold * |W_c| / max_k |W_k|],  c = argmax q_i

    The rows W_c of the head grow with what a class has been trained on, so that they tell how well it is learned.

    Args:
        num_classes: C; the global threshold starts at 1 / C.
        momentum: weight of the past, in [0, 1).

    Buffers: `global_threshold`, a scalar.

    Example:
        >>> rule = ClassWeightThreshold(num_classes=2, momentum=0.5)
        >>> rule(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), weight_norms=torch.tensor([2.0, 1.0]))
        tensor([1., 1.])
        >>> rule.global_threshold
        tensor(0.6250)
    """

    global_threshold: torch.Tensor

    def __init__(self, num_classes: int, momentum: float = 0.999):
        super().__init__()
        check(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
        self.momentum = momentum
        self.register_buffer("global_threshold", torch.tensor(1.0 / num_classes))

    def forward(self, probs: torch.Tensor, *, weight_norms: torch.Tensor, **_: Any) -> torch.Tensor:
        """Update with distributions [N, C]; their weights [N], each 0 or 1, by the lengths [C] of the head's rows."""
        confidence, labels = probs.max(dim=-1)
        (everywhere,) = self.joined(gather(confidence))
        level = everywhere.mean().to(self.global_threshold.dtype)
        self.global_threshold = self.global_threshold.lerp(level, 1 - self.momentum)
        relative = weight_norms / weight_norms.amax().clamp_min(torch.finfo(weight_norms.dtype).tiny)
        return (confidence >= self.global_threshold * relative[labels]).to(probs.dtype)


class LossThreshold(StepStatistics):
    """mask_i = [CE(q_i, target_i) <= loss_threshold], and the threshold falls in stages (Dash, arXiv 2109.00650).

        target = softmax(logits / temperature), or the class once the threshold has reached its minimum
        loss_threshold = max(c * gamma^(-floor(epoch / 10)) * initial, minimum)

    An epoch is a share of the run, `Progress.steps_per_epoch`, and not a pass over the pool.

    Args:
        temperature: of the targets, above 0.
        initial: the loss to start from, above 0; None measures it as the mean supervised loss over the last pass over
            the labeled set in a supervised warm-up, during which no pseudo-label counts. Each training measures
            it again.
        gamma: divisor of the threshold at each stage, above 1.
        c: factor of the threshold, above 0.
        minimum: the threshold never falls below it, at least 0.
        warmup_fraction: length of the warm-up as a fraction of training, in [0, 1); unused with `initial`.
        steps_per_pass: steps in one pass over the labeled set.

    Buffers: `loss_threshold` and `initial_loss`, scalars.

    Example:
        >>> rule = LossThreshold(temperature=1.0, initial=0.5, gamma=1.27, c=1.0, minimum=0.05)
        >>> progress = Progress(step=0, max_steps=100, steps_per_epoch=10)
        >>> rule(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), progress=progress, supervised=torch.tensor(1.0))
        tensor([1., 0.])
    """

    EPOCHS_PER_STAGE = 10

    initial_loss: torch.Tensor
    loss_threshold: torch.Tensor

    def __init__(
        self,
        temperature: float,
        initial: float | None,
        gamma: float,
        c: float,
        minimum: float,
        warmup_fraction: float = 0.01,
        steps_per_pass: int = 1,
    ):
        super().__init__()
        positive = initial is None or initial > 0
        check(positive, "initial_loss_threshold", initial, "above 0, or None to measure it")
        check(gamma > 1, "gamma", gamma, "above 1")
        check(c > 0, "c", c, "above 0")
        check(minimum >= 0, "min_loss_threshold", minimum, "at least 0")
        check(0 <= warmup_fraction < 1, "warmup_fraction", warmup_fraction, "in [0, 1)")
        self.temperature = temperature
        self.measures = initial is None
        self.gamma, self.c, self.minimum = gamma, c, minimum
        self.warmup_fraction, self.steps_per_pass = warmup_fraction, steps_per_pass
        self.register_buffer("initial_loss", torch.tensor(0.0 if initial is None else float(initial)))
        self.register_buffer("loss_threshold", torch.tensor(0.0))

    def forward(
        self,
        probs: torch.Tensor,
        *,
        progress: Progress,
        supervised: torch.Tensor,
        labeled_probs: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Distributions [N, C] -> weights [N], each 0 or 1; all 0 while the threshold is being measured.

        A pass counts in the measured loss by its labeled examples, of which `labeled_probs` tells the number.
        """
        warmup = self.warmup_steps(progress.max_steps)
        if progress.step < warmup:
            measured = min(self.steps_per_pass, warmup)
            if (place := progress.step - (warmup - measured)) >= 0:
                count = 1 if labeled_probs is None else len(labeled_probs)
                self.measure(supervised.repeat(count), place, measured)
            return torch.zeros_like(probs[:, 0])
        factor = self.c * self.gamma ** -(progress.epoch // self.EPOCHS_PER_STAGE)
        self.loss_threshold = (factor * self.initial_loss).clamp_min(self.minimum)
        loss = -(self.targets(probs) * torch.log(probs.clamp_min(torch.finfo(probs.dtype).tiny))).sum(dim=-1)
        return (loss <= self.loss_threshold).to(probs.dtype)

    def warmup_steps(self, max_steps: int) -> int:
        """Steps of the supervised warm-up: at least one if there is something to measure, and else none."""
        return max(round(self.warmup_fraction * max_steps), 1) if self.measures else 0

    def measure(self, losses: torch.Tensor, place: int, steps: int) -> None:
        """Add the losses [B] of step `place` of `steps` to their mean, which the first of them begins from 0."""
        (losses,) = self.joined(gather(losses))
        part = (losses.mean() / steps).to(self.initial_loss.dtype)
        self.initial_loss = self.initial_loss + part if place > 0 else part

    def targets(self, probs: torch.Tensor) -> torch.Tensor:
        """The target distributions [N, C] at the present threshold."""
        hard = one_hot(probs.argmax(dim=-1), probs.shape[-1]).to(probs.dtype)
        # p^(1/T), normalized, is softmax(logits / T).
        return torch.where(self.loss_threshold <= self.minimum, hard, sharpen(probs, self.temperature))


class GaussianWeight(StepStatistics):
    """A weight that falls off like a Gaussian below the average confidence m (SoftMatch, arXiv 2301.10921).

        weight_i = exp(-min(max_c q_ic - m, 0)^2 / (2 v / n_sigma^2))

    Args:
        num_classes: C; the mean m starts at 1 / C, the variance v at 1.
        n_sigma: above 0; larger means narrower.
        momentum: weight of the past, in [0, 1).
        per_class: a mean and variance for each predicted class. A class with fewer than two examples in a batch keeps
            its statistics.

    Buffers: `confidence_mean` and `confidence_variance`, scalars or [C].

    Example:
        >>> rule = GaussianWeight(num_classes=2, momentum=0.0)
        >>> rule(torch.tensor([[0.9, 0.1], [0.6, 0.4]]))
        tensor([1.0000, 0.3679])
    """

    confidence_mean: torch.Tensor
    confidence_variance: torch.Tensor

    def __init__(self, num_classes: int, n_sigma: float = 2, momentum: float = 0.999, per_class: bool = False):
        super().__init__()
        check(n_sigma > 0, "n_sigma", n_sigma, "above 0")
        check(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
        self.n_sigma, self.momentum, self.per_class = n_sigma, momentum, per_class
        shape = (num_classes,) if per_class else ()
        self.register_buffer("confidence_mean", torch.full(shape, 1.0 / num_classes))
        self.register_buffer("confidence_variance", torch.ones(shape))

    def forward(self, probs: torch.Tensor, *, counted: torch.Tensor | None = None, **_: Any) -> torch.Tensor:
        """Update with distributions [N, C]; their weights [N] in (0, 1].

        The Gaussian is fitted to those of all processes and passes of the step. `counted` replaces them if they have
        changed since their pass: alignment moves the earlier ones, too.
        """
        self.update(*(self.joined(gather(probs)) if counted is None else (counted,)))
        confidence, labels = probs.max(dim=-1)
        mean, variance = self.confidence_mean, self.confidence_variance
        if self.per_class:
            mean, variance = mean[labels], variance[labels]
        return torch.exp(-(confidence - mean).clamp_max(0).square() / (2 * variance / self.n_sigma**2))

    @torch.no_grad()
    def update(self, probs: torch.Tensor) -> None:
        """Move the statistics towards those of distributions [N, C]."""
        confidence, labels = probs.to(self.confidence_mean.dtype).max(dim=-1)
        groups = (
            one_hot(labels, probs.shape[-1]).to(confidence)
            if self.per_class
            else torch.ones_like(confidence).unsqueeze(-1)
        )
        count = groups.sum(dim=0)
        mean = (groups * confidence.unsqueeze(-1)).sum(dim=0) / count.clamp_min(1)
        deviation = groups * (confidence.unsqueeze(-1) - mean).square()
        variance = deviation.sum(dim=0) / (count - 1).clamp_min(1)
        rate = (1 - self.momentum) * (count > 1).to(mean)
        shape = self.confidence_mean.shape
        self.confidence_mean = self.confidence_mean.lerp(mean.reshape(shape), rate.reshape(shape))
        self.confidence_variance = self.confidence_variance.lerp(variance.reshape(shape), rate.reshape(shape))
