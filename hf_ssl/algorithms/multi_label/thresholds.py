"""Which labels of an example the pool teaches, and which it teaches to be absent: thresholds for C labels.

    LabelThresholds       FixMatch, Pseudo-Label   two constants for all labels
    ClassAwareThresholds  CAP                      two for each label, so that it is as frequent as among the labeled

Both turn probabilities [N, C] into pseudo-labels [N, C], 0 or 1, and their weights [N, C], 0 or 1.
"""

import torch
from torch import nn

from ...distributed import gather
from ..problem import check
from ..steps import StepStatistics


class LabelThresholds(nn.Module):
    """A label is present from one probability on, absent up to another one, and left open between them.

    Args:
        threshold: from which it is present, in [0, 1].
        negative_threshold: up to which it is absent, from 0 to `threshold`.

    Example:
        >>> LabelThresholds(0.9, 0.1)(torch.tensor([[0.95, 0.5, 0.05]]))
        (tensor([[1., 0., 0.]]), tensor([[1., 0., 1.]]))
    """

    def __init__(self, threshold: float, negative_threshold: float):
        super().__init__()
        check(0 <= threshold <= 1, "threshold", threshold, "in [0, 1]")
        allowed = f"in [0, {threshold}], and so not above threshold"
        check(0 <= negative_threshold <= threshold, "negative_threshold", negative_threshold, allowed)
        self.threshold, self.negative_threshold = threshold, negative_threshold

    def forward(self, probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pseudo-labels [N, C] and their weights [N, C], from probabilities [N, C]."""
        present = probs >= self.threshold
        return present.to(probs.dtype), (present | (probs <= self.negative_threshold)).to(probs.dtype)


class ClassAwareThresholds(StepStatistics):
    """Two thresholds for each label, at which the pool has it as often, and lacks it as often, as the labeled set.

        present_ic = [q_ic >= the k-th largest of the last n predictions of c],  k = positive_share * s_c * n
        absent_ic  = [q_ic <= the k-th smallest of them],                   k = negative_share * (1 - s_c) * n

    where s_c is the share of the labeled examples that have label c. A rare label so gets a low threshold, and a
    frequent one a high one, whatever the model's probabilities are worth as such.

    Args:
        shares: s [C], in [0, 1].
        batch_size: unlabeled examples of a whole step.
        queue_size: how many of the last predictions are kept, at least `batch_size`; whole steps of them are.
        positive_share, negative_share: in [0, 1]; with 1 and 1 no label is left open.

    Buffers: `recent_probabilities` [queue, C], the newest first, and -1 where there is none yet; `recent_count`;
    `positive_threshold` and `negative_threshold` [C], 2 and -1 for a label that is never present, or never absent.

    Note:
        A step is judged by the thresholds that it finds, so that the first one has none, and so that they do not
        depend on how a batch is divided. A step costs a sort of [queue, C].

    Example:
        Of the predictions in the first step, a third is to have the label:

        >>> rule = ClassAwareThresholds(torch.tensor([0.34]), batch_size=3, queue_size=3, positive_share=1.0)
        >>> probs = torch.tensor([[0.2], [0.3], [0.1]])
        >>> rule(probs)[1].tolist(), rule.positive_threshold, rule.negative_threshold
        ([[0.0], [0.0], [0.0]], tensor([0.3000]), tensor([0.2000]))
        >>> [part.flatten().tolist() for part in rule(probs)]
        [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """

    shares: torch.Tensor
    recent_probabilities: torch.Tensor
    recent_count: torch.Tensor
    positive_threshold: torch.Tensor
    negative_threshold: torch.Tensor

    def __init__(
        self,
        shares: torch.Tensor,
        batch_size: int,
        queue_size: int = 4096,
        positive_share: float = 1.0,
        negative_share: float = 1.0,
    ):
        super().__init__()
        check(queue_size >= batch_size, "queue_size", queue_size, f"at least {batch_size}, the unlabeled batch")
        for name, value in (("positive_share", positive_share), ("negative_share", negative_share)):
            check(0 <= value <= 1, name, value, "in [0, 1]")
        self.positive_share, self.negative_share, self.queue_size = positive_share, negative_share, queue_size
        size = queue_size // max(batch_size, 1) * batch_size
        # They follow from the labeled set at every start, so they are not part of the saved state.
        self.register_buffer("shares", shares.clone(), persistent=False)
        self.register_buffer("recent_probabilities", torch.full((size, len(shares)), -1.0))
        self.register_buffer("recent_count", torch.tensor(0))
        self.register_buffer("positive_threshold", torch.full((len(shares),), 2.0))
        self.register_buffer("negative_threshold", torch.full((len(shares),), -1.0))

    def forward(self, probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pseudo-labels [N, C] and their weights [N, C], from probabilities [N, C], which then count themselves."""
        present = probs >= self.positive_threshold
        known = present | (probs <= self.negative_threshold)
        self.update(*self.joined(gather(probs)))
        return present.to(probs.dtype), known.to(probs.dtype)

    @torch.no_grad()
    def update(self, probs: torch.Tensor) -> None:
        """Put the probabilities [M, C] of a step before the others, and find the thresholds."""
        size = len(self.recent_probabilities)
        self.recent_probabilities = torch.cat([probs.to(self.recent_probabilities), self.recent_probabilities])[:size]
        self.recent_count = (self.recent_count + len(probs)).clamp_max(size)
        # Of each label, the largest first; where there is none yet, at the end.
        ordered = self.recent_probabilities.sort(dim=0, descending=True).values
        count, shares = self.recent_count, self.shares
        positives = (self.positive_share * shares * count).round().long()
        negatives = (self.negative_share * (1 - shares) * count).round().long()
        # Both numbers may have been rounded up.
        negatives = torch.minimum(negatives, count - positives)
        self.positive_threshold = _at(ordered, positives - 1).masked_fill(positives == 0, 2.0)
        self.negative_threshold = _at(ordered, count - negatives).masked_fill(negatives == 0, -1.0)


def _at(ordered: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The value [C] at a place of each column of [M, C]."""
    return ordered.gather(0, places.clamp(0, len(ordered) - 1)[None])[0]
