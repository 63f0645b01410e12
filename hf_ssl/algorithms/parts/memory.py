"""Memories of past batches: a queue of embeddings, and which of several writes to one slot counts."""

import torch

from ...losses import one_hot
from ..steps import StepStatistics


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


# Added to the logit of a slot that was never written. Every floating-point type has this number. Minus infinity would
# turn a target of 0 into a cross-entropy of 0 * inf, and a memory without any entry into NaN.
_UNWRITTEN = -3e4


def slot_logits(
    embeddings: torch.Tensor, slots: torch.Tensor, written: torch.Tensor, temperature: float
) -> torch.Tensor:
    """embeddings @ slots / temperature, with which a softmax gives slots that were never written no weight: [N, size].

    Args:
        embeddings: [N, P], of unit length.
        slots: [P, size], of unit length.
        written: bool [size].
        temperature: above 0.

    Example:
        >>> logits = slot_logits(torch.eye(2), torch.ones(2, 3), torch.tensor([True, False, True]), temperature=1.0)
        >>> torch.softmax(logits, dim=-1)[0]
        tensor([0.5000, 0.0000, 0.5000])
    """
    # One operation for large memories: the product is not copied to change it.
    absent = (~written).to(embeddings.dtype) * _UNWRITTEN
    return torch.addmm(absent, embeddings, slots.to(embeddings.dtype), alpha=1 / temperature)


def smoothed(probs: torch.Tensor, votes: torch.Tensor, written: torch.Tensor, smoothing: float) -> torch.Tensor:
    """smoothing * probs + (1 - smoothing) * votes, both [N, C]; `probs` alone while no slot is written.

    Example:
        >>> probs, votes = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.0, 1.0]])
        >>> [smoothed(probs, votes, torch.tensor([any_written]), 0.5) for any_written in (True, False)]
        [tensor([[0.4000, 0.6000]]), tensor([[0.8000, 0.2000]])]
    """
    return smoothing * probs + (1 - smoothing) * torch.where(written.any(), votes, probs)


# Up to so many numbers (128 MB) the classes of a memory are a matrix.
_LARGEST_MATRIX = 1 << 25


def votes_of(weights: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Sums [N, C] of the weights [N, size] of the slots of each class.

    Args:
        weights: of the slots.
        labels: classes of the slots [size].
        num_classes: C.

    Note:
        For 100,000 classes and as many slots the matrix of [size, C] would have 40 GB. It is used while it is small,
        since adding into places in any order is not the same in every run on a GPU.

    Example:
        >>> votes_of(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([2, 0, 2]), num_classes=3)
        tensor([[0.2500, 0.0000, 0.7500]])
    """
    if len(labels) * num_classes <= _LARGEST_MATRIX:
        return weights @ one_hot(labels, num_classes).to(weights)
    return weights.new_zeros(len(weights), num_classes).index_add_(1, labels, weights)


class FeatureQueue(StepStatistics):
    """The embeddings and class distributions of the last examples; the oldest are overwritten first.

    Args:
        size: number of examples, over all processes.
        width: P, of an embedding.
        num_classes: C.

    Buffers: `queue_features` [size, P]; `queue_probabilities` [size, C], zeros in slots that were never written;
    `queue_position`, the next slot to write.

    Example:
        >>> queue = FeatureQueue(size=2, width=2, num_classes=2)
        >>> queue.push(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> queue.vote(torch.tensor([[1.0, 0.0]]), temperature=0.1)
        tensor([[9.9995e-01, 4.5398e-05]])
    """

    queue_features: torch.Tensor
    queue_probabilities: torch.Tensor
    queue_position: torch.Tensor
    # The slots that the step in progress has overwritten, and what was in them.
    _overwritten: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def __init__(self, size: int, width: int, num_classes: int):
        super().__init__()
        self.register_buffer("queue_features", torch.zeros(size, width))
        self.register_buffer("queue_probabilities", torch.zeros(size, num_classes))
        self.register_buffer("queue_position", torch.zeros((), dtype=torch.int64))

    def begin_pass(self, further: bool) -> None:
        """As in `StepStatistics`; a further pass also gets back what the earlier ones have overwritten."""
        if further and self._overwritten is not None:
            self._write(*self._overwritten)
        self._overwritten = None
        super().begin_pass(further)

    def push(self, features: torch.Tensor, probs: torch.Tensor) -> None:
        """Write the examples of one step, [N, P] and [N, C], over the oldest ones."""
        size, count = len(self.queue_features), len(features)
        # Of more examples than there are slots the last ones stay.
        places = torch.arange(max(count - size, 0), count, device=features.device)
        slots = (self.queue_position + places) % size
        self._overwritten = slots, self.queue_features[slots], self.queue_probabilities[slots]
        self._write(slots, features[-size:], probs[-size:])
        self.queue_position = (self.queue_position + count) % size

    def _write(self, slots: torch.Tensor, features: torch.Tensor, probs: torch.Tensor) -> None:
        self.queue_features.index_copy_(0, slots, features.to(self.queue_features.dtype))
        self.queue_probabilities.index_copy_(0, slots, probs.to(self.queue_probabilities.dtype))

    @property
    def written(self) -> torch.Tensor:
        """Which slots [size] hold an example: those with probabilities."""
        return self.queue_probabilities.sum(dim=-1) > 0

    def vote(self, features: torch.Tensor, temperature: float) -> torch.Tensor:
        """Class distributions [N, C] of embeddings [N, P]: those of the remembered ones, weighted by similarity."""
        weights = torch.softmax(slot_logits(features, self.queue_features.T, self.written, temperature), dim=-1)
        return weights @ self.queue_probabilities.to(weights.dtype)
