"""What the model said last of each example of the pool, for corrections that look at the pool as a whole."""

import torch

from ...batches.batch import required
from ...distributed import gather
from ..parts.memory import last_occurrence
from ..steps import StepStatistics


class PoolPredictions(StepStatistics):
    """A table of the pool with the last pseudo-label of each example, which a step changes only in its own places.

    Args:
        size: of the pool.
        num_classes: C.

    Buffers: `pool_labels` [size], int32, C for an example that was not seen yet; `pool_confidences` [size], float32.

    Note:
        The passes of a step write one after the other, which leaves the same as one pass over all their examples. So a
        step of N examples costs O(N log N), regardless of the size of the pool; 8 bytes are kept for each example.

    Example:
        >>> table = PoolPredictions(size=4, num_classes=2)
        >>> table.record(torch.tensor([3, 0]), labels=torch.tensor([0, 1]), confidences=torch.tensor([0.9, 0.6]))
        >>> table.pool_labels, table.counts()
        (tensor([1, 2, 2, 0], dtype=torch.int32), tensor([1, 1]))
    """

    pool_labels: torch.Tensor
    pool_confidences: torch.Tensor

    def __init__(self, size: int, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("pool_labels", torch.full((size,), num_classes, dtype=torch.int32))
        self.register_buffer("pool_confidences", torch.zeros(size))

    @torch.no_grad()
    def record(
        self, index: torch.Tensor | None, labels: torch.Tensor, confidences: torch.Tensor | None = None
    ) -> None:
        """Remember pseudo-labels [N], and confidences [N] if given, of the examples at `index` [N] of all processes.

        Raises:
            ValueError: if there is no index.
        """
        given = labels if confidences is None else confidences
        index, labels, given = gather(required(index, "unlabeled_index"), labels, given)
        last = last_occurrence(index)
        self.pool_labels[index] = labels[last].to(self.pool_labels.dtype)
        if confidences is not None:
            self.pool_confidences[index] = given[last].to(self.pool_confidences.dtype)

    @torch.no_grad()
    def see(self, probs: torch.Tensor) -> None:
        """Remember distributions [size, C] of the whole pool, in its order."""
        confidences, labels = probs.max(dim=-1)
        self.pool_labels.copy_(labels)
        self.pool_confidences.copy_(confidences)

    def counts(self) -> torch.Tensor:
        """Number [C] of examples with each pseudo-label."""
        labels = self.pool_labels.long()
        counts = labels.new_zeros(self.num_classes + 1).index_add_(0, labels, torch.ones_like(labels))
        return counts[: self.num_classes]

    def ranked(self) -> torch.Tensor:
        """The confidences [size], by pseudo-label and then from the highest to the lowest.

        Those of class c begin at the sum of the `counts` of the classes before it; what was not seen is at the end.
        """
        # One sort of whole numbers: the bits of numbers of at least 0 are in their order.
        bits = self.pool_confidences.float().view(torch.int32).long()
        keys = torch.sort((self.pool_labels.long() << 32) - bits).values
        return (-keys & 0xFFFFFFFF).int().view(torch.float32)
