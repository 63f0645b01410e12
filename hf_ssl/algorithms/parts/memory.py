"""Memories of past batches: a queue of embeddings, and which of several writes to one slot counts."""

import torch
from torch import nn


def last_occurrence(index: torch.Tensor, selected: torch.Tensor | None = None) -> torch.Tensor:
    """For each entry of `index` [N] the position of the last selected entry with the same value, or -1 without one.

    Args:
        index: int64 [N], at least 0.
        selected: bool [N]; None selects all.

    Note:
        An example can be in a batch twice. Writing the last one's value for all of them makes a scattered write
        independent of the order in which a device happens to do it.

    Example:
        >>> last_occurrence(torch.tensor([7, 3, 7]))
        tensor([2, 1, 2])
        >>> last_occurrence(torch.tensor([7, 3, 7]), torch.tensor([True, False, False]))
        tensor([ 0, -1,  0])
    """
    # Entries that are not selected are sorted to the front, under a value that no index has. (`torch.where` would copy
    # a plain number to the device, and wait for it.)
    keys = index if selected is None else index.masked_fill(~selected, -1)
    keys, order = torch.sort(keys, stable=True)
    place = (torch.searchsorted(keys, index, right=True) - 1).clamp_min(0)
    return order[place].masked_fill(keys[place] != index, -1)


class FeatureQueue(nn.Module):
    """The embeddings and class distributions of the last examples; the oldest are overwritten first.

    Args:
        size: number of examples, over all processes.
        width: P, of an embedding.
        num_classes: C.

    Buffers: `queue_features` [size, P]; `queue_probabilities` [size, C]; `queue_position`, the next slot to write.

    Example:
        >>> queue = FeatureQueue(size=2, width=2, num_classes=2)
        >>> queue.push(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> queue.vote(torch.tensor([[1.0, 0.0]]), temperature=0.1)
        tensor([[9.9995e-01, 4.5398e-05]])
    """

    queue_features: torch.Tensor
    queue_probabilities: torch.Tensor
    queue_position: torch.Tensor

    def __init__(self, size: int, width: int, num_classes: int):
        super().__init__()
        self.register_buffer("queue_features", torch.zeros(size, width))
        self.register_buffer("queue_probabilities", torch.zeros(size, num_classes))
        self.register_buffer("queue_position", torch.zeros((), dtype=torch.int64))

    def push(self, features: torch.Tensor, probs: torch.Tensor) -> None:
        """Write the examples of one step, [N, P] and [N, C], over the oldest ones."""
        size, count = len(self.queue_features), len(features)
        slots = (self.queue_position + torch.arange(count, device=features.device)) % size
        self.queue_features.index_copy_(0, slots, features.to(self.queue_features.dtype))
        self.queue_probabilities.index_copy_(0, slots, probs.to(self.queue_probabilities.dtype))
        self.queue_position.add_(count).remainder_(size)

    def vote(self, features: torch.Tensor, temperature: float) -> torch.Tensor:
        """Class distributions [N, C] of embeddings [N, P]: those of the remembered ones, weighted by similarity."""
        weights = torch.softmax(features @ self.queue_features.to(features.dtype).T / temperature, dim=-1)
        return weights @ self.queue_probabilities.to(weights.dtype)
