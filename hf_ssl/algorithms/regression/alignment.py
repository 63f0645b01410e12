"""Regression distribution alignment (RDA): predictions of the pool are distributed like the labels."""

import torch

from ...distributed import gather
from ..steps import StepStatistics


def at_quantiles(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Replace each number by the one that has its rank among `targets`, which are interpolated; each column by itself.

    The smallest becomes the smallest of `targets`, the largest the largest, the median the median.

    Args:
        values: [N, K].
        targets: [L, K].

    Example:
        >>> at_quantiles(torch.tensor([[0.4], [0.1], [0.2]]), torch.tensor([[0.0], [10.0]])).flatten()
        tensor([10.,  0.,  5.])
    """
    order = values.argsort(dim=0, stable=True)
    given = targets.sort(dim=0).values
    place = torch.linspace(0, len(given) - 1, len(values), device=values.device, dtype=values.dtype)
    below = place.floor().long()
    above = (below + 1).clamp_max(len(given) - 1)
    wanted = given[below].lerp(given[above], (place - below).unsqueeze(-1))
    return torch.empty_like(values).scatter_(0, order, wanted)


class QuantileAlignment(StepStatistics):
    """Remembers the last prediction for each example of the pool, and every some steps turns them into targets.

        target_i = the number whose rank among the labels is the rank of prediction i among those of the pool

    (RDA in Huang, Fu and Tsao, NeurIPS 2024, arXiv 2410.22124.) Examples that were not seen before the last refresh
    have no target yet.

    Args:
        num_unlabeled: size of the pool.
        num_labeled: size of the labeled set, whose numbers are collected from the batches.
        count: K, numbers for each example.

    Buffers: `predictions`, `targets` [num_unlabeled, K] with `seen`, `aligned` [num_unlabeled], whether there is one;
    `labels` [num_labeled, K] with `known` [num_labeled].

    Example:
        >>> alignment = QuantileAlignment(num_unlabeled=3, num_labeled=2, count=1)
        >>> predictions, labels = torch.tensor([[0.4], [0.1], [0.2]]), torch.tensor([[0.0], [10.0]])
        >>> for refresh in (False, True):
        ...     given = torch.arange(3), predictions, torch.arange(2), labels
        ...     targets, has_target = alignment(*given, refresh=refresh)
        >>> targets.flatten(), has_target
        (tensor([10.,  0.,  5.]), tensor([1., 1., 1.]))
    """

    predictions: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    seen: torch.Tensor
    aligned: torch.Tensor
    known: torch.Tensor

    def __init__(self, num_unlabeled: int, num_labeled: int, count: int):
        super().__init__()
        for name, size in (("predictions", num_unlabeled), ("targets", num_unlabeled), ("labels", num_labeled)):
            self.register_buffer(name, torch.zeros(size, count))
        for name, size in (("seen", num_unlabeled), ("aligned", num_unlabeled), ("known", num_labeled)):
            self.register_buffer(name, torch.zeros(size))

    def begin_pass(self, further: bool) -> None:
        """As in `StepStatistics`. Nothing is set back: further passes write other examples, or the same values."""
        self._further = further

    @torch.no_grad()
    def forward(
        self,
        index: torch.Tensor,
        predictions: torch.Tensor,
        labeled_index: torch.Tensor,
        labels: torch.Tensor,
        *,
        refresh: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets [N, K] for the examples at `index` [N], and which of them have one, 0 or 1, [N].

        Args:
            index: positions in the pool.
            predictions: for them [N, K].
            labeled_index: positions [B] in the labeled set.
            labels: their numbers [B, K].
            refresh: make new targets first, from what was predicted before this step.
        """
        if refresh and not self._further:
            self._refresh()
        places, values, rows, numbers = gather(index, predictions, labeled_index, labels)
        self.predictions[places], self.seen[places] = values.to(self.predictions.dtype), 1.0
        self.labels[rows], self.known[rows] = numbers.to(self.labels.dtype), 1.0
        return self.targets[index], self.aligned[index]

    def _refresh(self) -> None:
        seen, known = self.seen > 0, self.known > 0
        if not (seen.any() and known.any()):
            return
        self.targets[seen] = at_quantiles(self.predictions[seen], self.labels[known])
        self.aligned = self.seen.clone()
