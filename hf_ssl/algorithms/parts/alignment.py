"""Distribution alignment: predictions on the pool are rescaled towards a wanted class distribution.

    aligned = normalise(q * alignment_target / alignment_model)

`alignment_model` is the running class distribution of the predictions, `alignment_target` the wanted one. The two modules
differ in how they remember: a moving average (ReMixMatch, AdaMatch, SoftMatch) or the last K batches (CoMatch, SimMatch).
"""

import torch
from torch import nn

from ...distributed import gather

EPSILON = 1e-6


def rescale(probs: torch.Tensor, model: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Distributions [N, C] times target / model [C], normalised."""
    scaled = probs * ((target + EPSILON) / (model + EPSILON)).to(probs.dtype)
    return scaled / scaled.sum(dim=-1, keepdim=True)


class MovingAverageAlignment(nn.Module):
    """Alignment with a moving average of the predictions (ReMixMatch, arXiv 1911.09785, section 3.1).

    Args:
        num_classes: C.
        target: the wanted distribution [C]; None means the moving average of the model's predictions on the labeled batch
            (AdaMatch), which starts uniform.
        momentum: weight of the past, in [0, 1). The first batch sets the average of the predictions.
    """

    def __init__(self, num_classes: int, target: torch.Tensor | None = None, momentum: float = 0.999):
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.momentum = momentum
        self.learns_target = target is None
        uniform = torch.full((num_classes,), 1.0 / num_classes)
        self.register_buffer("alignment_model", uniform.clone())
        self.register_buffer("alignment_target", uniform if target is None else target.detach().clone().float())
        self.register_buffer("alignment_started", torch.zeros(()))

    def forward(self, probs: torch.Tensor, labeled_probs: torch.Tensor) -> torch.Tensor:
        """Update with distributions [N, C] on the pool and [B, C] on the labeled batch; returns the aligned ones [N, C]."""
        # A factor instead of a branch: whether the average has started is known on the device only.
        self.alignment_model.lerp_(_mean(probs, self.alignment_model), 1 - self.momentum * self.alignment_started)
        self.alignment_started.fill_(1.0)
        if self.learns_target:
            self.alignment_target.lerp_(_mean(labeled_probs, self.alignment_target), 1 - self.momentum)
        return rescale(probs, self.alignment_model, self.alignment_target)


class QueueAlignment(nn.Module):
    """Alignment towards uniform with the mean prediction of each of the last batches (CoMatch, arXiv 2011.11183).

    Args:
        num_classes: C.
        queue_size: number of batches to remember, at least 1.
    """

    def __init__(self, num_classes: int, queue_size: int):
        super().__init__()
        if queue_size < 1:
            raise ValueError(f"alignment_queue_size must be at least 1, got {queue_size}")
        self.register_buffer("alignment_model", torch.zeros(queue_size, num_classes))
        self.register_buffer("alignment_target", torch.full((queue_size, num_classes), 1.0 / num_classes))
        self.register_buffer("alignment_position", torch.zeros(1, dtype=torch.int64))

    def forward(self, probs: torch.Tensor) -> torch.Tensor:
        """Update with distributions [N, C] and return the aligned ones."""
        self.alignment_model.index_copy_(0, self.alignment_position, _mean(probs, self.alignment_model).unsqueeze(0))
        self.alignment_position.add_(1).remainder_(len(self.alignment_model))
        # Rows that are still empty shrink the mean by a factor, which normalising removes again.
        return rescale(probs, self.alignment_model.mean(dim=0), self.alignment_target.mean(dim=0))


def _mean(probs: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return gather(probs).mean(dim=0).to(like.dtype)
