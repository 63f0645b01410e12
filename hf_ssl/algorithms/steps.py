"""Running statistics of whole optimizer steps, regardless of how many forward passes a step takes."""

from collections.abc import Mapping

import torch
from torch import nn


class StepStatistics(nn.Module):
    """A module whose buffers follow the batches, and count the passes of a step (gradient accumulation) as one batch.

    After the k-th pass of a step the buffers are what one pass over the examples of passes 1 to k would have left. So
    after the last one they do not depend on how the batch was divided, and that holds for any statistic: a mean, a
    variance, a quantile, an average that the first batch initializes, a queue.

    To that end a further pass begins where the step began, and counts the examples of the earlier passes again:
    `SSLAlgorithm` calls `begin_pass` on each of its parts, which sets the buffers back, and a part that updates calls
    `joined`, which puts what the earlier passes gave before what is new. Without `begin_pass` every call is a step.

    Note:
        The buffers of the step's start are kept by reference, which costs nothing even if every step is one pass. A
        subclass therefore replaces its buffers and does not write into them; for a large one that it has to write into
        it extends `begin_pass` (see `FeatureQueue`). What is kept belongs to the step in progress, and is not part of
        the saved state: checkpoints are written between steps.

    Example:
        >>> class Mean(StepStatistics):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.register_buffer("average", torch.tensor(0.0))
        ...
        ...     def forward(self, values):
        ...         (values,) = self.joined(values)
        ...         self.average = self.average.lerp(values.mean(), 0.5)
        >>> divided, whole = Mean(), Mean()
        >>> for further, values in ((False, torch.tensor([1.0, 2.0])), (True, torch.tensor([6.0]))):
        ...     divided.begin_pass(further)
        ...     divided(values)
        >>> whole(torch.tensor([1.0, 2.0, 6.0]))
        >>> divided.average, whole.average
        (tensor(1.5000), tensor(1.5000))
    """

    _further: bool = False
    _at_start: Mapping[str, torch.Tensor | None] = {}
    _joined: tuple[torch.Tensor, ...] = ()

    def begin_pass(self, further: bool) -> None:
        """Begin a forward pass: the first one of a step or, if `further`, another one of the step in progress."""
        if further:
            self._buffers.update(self._at_start)
        else:
            self._at_start, self._joined = dict(self._buffers), ()
        self._further = further

    def joined(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors, each [N, ...], behind those of the step's earlier passes; at most one call in a pass.

        Args:
            tensors: what this pass adds to the statistics, over all processes, without gradient.
        """
        if self._further and self._joined:
            tensors = tuple(torch.cat(pair) for pair in zip(self._joined, tensors, strict=True))
        self._joined = tensors
        return tensors
