"""Distribution alignment: predictions on the pool are rescaled towards a wanted class distribution.

    aligned = normalize(q * alignment_target / alignment_model)

`alignment_model` is the running class distribution of the predictions, `alignment_target` the wanted one. The two
modules differ in how they remember: a moving average (ReMixMatch, AdaMatch, SoftMatch) or the last K batches (CoMatch,
SimMatch). A batch is all that an optimizer step takes, over its processes and passes.
"""

import torch

from ...distributed import gather
from ..problem import check
from ..steps import StepStatistics

EPSILON = 1e-6


def rescale(probs: torch.Tensor, model: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Distributions [N, C] times target / model, both [C], normalized to sum 1.

    Example:
        >>> rescale(torch.tensor([[0.5, 0.5]]), torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5]))
        tensor([[0.2000, 0.8000]])
    """
    scaled = probs * ((target + EPSILON) / (model + EPSILON)).to(probs.dtype)
    return scaled / scaled.sum(dim=-1, keepdim=True)


class MovingAverageAlignment(StepStatistics):
    """Alignment with a moving average of the predictions (ReMixMatch, arXiv 1911.09785, section 3.1).

    Args:
        num_classes: C.
        target: the wanted distribution [C]; None means the moving average of the model's predictions on the labeled
            batch (AdaMatch), which starts uniform.
        momentum: weight of the past, in [0, 1). The first batch sets the average of the predictions.

    Buffers: `alignment_model` [C]; `alignment_target` [C]; `alignment_started`, 0 before the first batch.

    Example:
        >>> align = MovingAverageAlignment(2, target=torch.tensor([0.5, 0.5]))
        >>> align(torch.tensor([[0.9, 0.1], [0.7, 0.3]]))
        tensor([[0.6923, 0.3077],
                [0.3684, 0.6316]])
    """

    alignment_model: torch.Tensor
    alignment_target: torch.Tensor
    alignment_started: torch.Tensor

    def __init__(self, num_classes: int, target: torch.Tensor | None = None, momentum: float = 0.999):
        super().__init__()
        check(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
        self.momentum = momentum
        self.learns_target = target is None
        uniform = torch.full((num_classes,), 1.0 / num_classes)
        self.register_buffer("alignment_model", uniform.clone())
        self.register_buffer("alignment_target", uniform if target is None else target.detach().clone().float())
        self.register_buffer("alignment_started", torch.zeros(()))

    def forward(self, probs: torch.Tensor, labeled_probs: torch.Tensor | None = None) -> torch.Tensor:
        """Update with distributions [N, C] on the pool and [B, C] on the labeled batch; returns aligned ones [N, C].

        `labeled_probs` is needed only without a given target.
        """
        if not self.learns_target:
            (pool,) = self.joined(gather(probs))
        elif labeled_probs is None:
            raise ValueError("labeled_probs must be distributions [B, C], got None; pass them, or give a target")
        else:
            pool, labeled = self.joined(*gather(probs, labeled_probs))
            self.alignment_target = self.alignment_target.lerp(
                _mean(labeled, self.alignment_target), 1 - self.momentum
            )
        # A factor instead of a branch: whether the average has started is known on the device only.
        rate = 1 - self.momentum * self.alignment_started
        self.alignment_model = self.alignment_model.lerp(_mean(pool, self.alignment_model), rate)
        self.alignment_started = torch.ones_like(self.alignment_started)
        return rescale(probs, self.alignment_model, self.alignment_target)

    def all_aligned(self) -> torch.Tensor:
        """Aligned distributions [N, C] of the whole step so far: of all processes, and of its earlier passes first."""
        return rescale(self._joined[0], self.alignment_model, self.alignment_target)


class QueueAlignment(StepStatistics):
    """Alignment towards uniform with the mean prediction of each of the last batches (CoMatch, arXiv 2011.11183).

    Args:
        num_classes: C.
        queue_size: number of batches to remember, at least 1.

    Buffers: `alignment_model` and `alignment_target` [queue_size, C]; `alignment_position` [1], the next row to write.

    Example:
        >>> align = QueueAlignment(2, queue_size=4)
        >>> align(torch.tensor([[0.9, 0.1], [0.7, 0.3]])).mean(dim=0)
        tensor([0.5304, 0.4696])
    """

    alignment_model: torch.Tensor
    alignment_target: torch.Tensor
    alignment_position: torch.Tensor

    def __init__(self, num_classes: int, queue_size: int):
        super().__init__()
        check(queue_size >= 1, "alignment_queue_size", queue_size, "at least 1")
        self.register_buffer("alignment_model", torch.zeros(queue_size, num_classes))
        self.register_buffer("alignment_target", torch.full((queue_size, num_classes), 1.0 / num_classes))
        self.register_buffer("alignment_position", torch.zeros(1, dtype=torch.int64))

    def forward(self, probs: torch.Tensor) -> torch.Tensor:
        """Update with distributions [N, C] and return the aligned ones."""
        (pool,) = self.joined(gather(probs))
        # A further pass of the step finds the position as it was, and writes the same row again.
        self.alignment_model.index_copy_(0, self.alignment_position, _mean(pool, self.alignment_model).unsqueeze(0))
        self.alignment_position = (self.alignment_position + 1) % len(self.alignment_model)
        return self._rescaled(probs)

    def all_aligned(self) -> torch.Tensor:
        """Aligned distributions [N, C] of the whole step so far: of all processes, and of its earlier passes first."""
        return self._rescaled(self._joined[0])

    def _rescaled(self, probs: torch.Tensor) -> torch.Tensor:
        # Rows that are still empty shrink the mean by a factor, which is removed by normalizing.
        return rescale(probs, self.alignment_model.mean(dim=0), self.alignment_target.mean(dim=0))


def _mean(probs: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Mean [C] of the rows, in the type of `like`."""
    return probs.mean(dim=0).to(like.dtype)
