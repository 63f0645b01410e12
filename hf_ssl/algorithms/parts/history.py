"""What the last predictions on each example of the pool were."""

import torch

from ..problem import check
from ..steps import StepStatistics
from .memory import last_occurrence

# Counts of classes are made for as many examples at a time as give at most this many numbers (64 MB).
_MOST_COUNTS = 1 << 24


class LabelHistory(StepStatistics):
    """The last predicted classes of each example of the pool, the oldest overwritten first.

    Args:
        num_unlabeled: size of the pool.
        size: predictions that are kept of each example, at least 1.
        num_classes: C.

    Buffers: `label_queue` [pool, size], -1 where nothing was written yet; `label_position` [pool], the next place.

    Note:
        An example that is in a step twice is written once. The queue takes `num_unlabeled * size` numbers of 2 bytes
        (4 from 32,768 classes on): 100 MB for 50,000 examples and 1,000 predictions.

    Example:
        >>> history = LabelHistory(num_unlabeled=3, size=4, num_classes=2)
        >>> for labels in ([1, 0], [1, 0], [0, 0]):
        ...     history.push(torch.tensor([0, 2]), torch.tensor(labels))
        >>> history.label_queue[0], history.gaps(torch.tensor([0, 1, 2]))
        (tensor([ 1,  1,  0, -1], dtype=torch.int16), tensor([1, 0, 3]))
    """

    label_queue: torch.Tensor
    label_position: torch.Tensor
    # The examples that the step in progress has written, and what they had before.
    _before: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def __init__(self, num_unlabeled: int, size: int, num_classes: int):
        super().__init__()
        check(size >= 1, "queue_size", size, "at least 1")
        self.queue_size, self.num_classes = size, num_classes
        kind = torch.int16 if num_classes < 1 << 15 else torch.int32
        self.register_buffer("label_queue", torch.full((num_unlabeled, size), -1, dtype=kind))
        self.register_buffer("label_position", torch.zeros(num_unlabeled, dtype=torch.int32))

    def begin_pass(self, further: bool) -> None:
        """As in `StepStatistics`; a further pass also gets back what the earlier ones have overwritten."""
        if further and self._before is not None:
            index, labels, positions = self._before
            self.label_queue[index], self.label_position[index] = labels, positions
        self._before = None
        super().begin_pass(further)

    @torch.no_grad()
    def push(self, index: torch.Tensor, labels: torch.Tensor) -> None:
        """Write the classes [N] that are predicted for the examples [N] of this step, of all processes and passes."""
        positions = self.label_position[index]
        self._before = index, self.label_queue[index], positions
        # Of an example that is here twice every entry writes the same: the class at its last place.
        self.label_queue[index, positions.long()] = labels[last_occurrence(index)].to(self.label_queue.dtype)
        self.label_position[index] = (positions + 1) % self.queue_size

    def gaps(self, index: torch.Tensor) -> torch.Tensor:
        """How much more often the most frequent class of examples [N] was predicted than the second: int64 [N]."""
        labels = self.label_queue[index].long() + 1
        counts = labels.new_zeros(len(index), self.num_classes + 1)
        counts.scatter_add_(1, labels, torch.ones_like(labels))
        first, second = counts[:, 1:].topk(2, dim=-1).values.unbind(-1)
        return first - second

    def mean_gap(self) -> torch.Tensor:
        """The mean of `gaps` over the whole pool, a scalar in float32."""
        index = torch.arange(len(self.label_queue), device=self.label_queue.device)
        rows = max(_MOST_COUNTS // (self.num_classes + 1), 1)
        total = torch.stack([self.gaps(part).sum() for part in index.split(rows)]).sum()
        return total.float() / max(len(index), 1)
