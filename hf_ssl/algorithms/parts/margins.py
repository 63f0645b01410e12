"""For how long several heads have been sure of their predictions on each example of the pool (MultiMatch)."""

import torch

from ..problem import check
from ..steps import StepStatistics
from .memory import last_occurrence


class MarginMemory(StepStatistics):
    """Running averages of three heads' margins, and the thresholds from which two of them teach the third.

    Args:
        num_unlabeled: size of the pool.
        num_classes: C.
        percentile: in [0, 1], of the average margins of examples on which two heads agree.
        smoothness: in [0, 1]; weight of a new margin in the first epoch, afterwards divided by 1 + epoch.
        no_low: whether thresholds may be below 0.
        skips: leave the thresholds of all classes behind the first one without an example as they are.

    Buffers: `average_margin` [3, pool, C]; `last_labels` [3, pool], -1 for examples not seen yet; `margin_thresholds`
    [3, C].
    """

    average_margin: torch.Tensor
    last_labels: torch.Tensor
    margin_thresholds: torch.Tensor
    # The examples that the step in progress has written, and what they had before.
    _before: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def __init__(
        self,
        num_unlabeled: int,
        num_classes: int,
        percentile: float,
        smoothness: float,
        no_low: bool,
        skips: bool = False,
    ):
        super().__init__()
        check(0 <= percentile <= 1, "percentile", percentile, "in [0, 1]")
        check(0 <= smoothness <= 1, "smoothness", smoothness, "in [0, 1]")
        self.percentile, self.smoothness, self.no_low, self.skips = percentile, smoothness, no_low, skips
        self.register_buffer("average_margin", torch.zeros(3, num_unlabeled, num_classes))
        self.register_buffer("last_labels", torch.full((3, num_unlabeled), -1, dtype=torch.int64))
        self.register_buffer("margin_thresholds", torch.zeros(3, num_classes))

    def begin_pass(self, further: bool) -> None:
        """As in `StepStatistics`; a further pass also gets back what the earlier ones have overwritten."""
        if further and self._before is not None:
            index, margins, labels = self._before
            self.average_margin[:, index], self.last_labels[:, index] = margins, labels
        self._before = None
        super().begin_pass(further)

    @torch.no_grad()
    def update(self, index: torch.Tensor, logits: torch.Tensor, epoch: int) -> None:
        """Move the averages of the examples [N] towards the margins of logits [N, 3, C], over processes and passes."""
        old = self.average_margin[:, index]
        self._before = index, old, self.last_labels[:, index]
        # Of an example that is here twice every entry writes the same.
        last = last_occurrence(index)
        margins = pseudo_margins(logits).transpose(0, 1).to(old.dtype)
        self.average_margin[:, index] = old.lerp(margins, self.smoothness / (1 + epoch))[:, last]
        self.last_labels[:, index] = logits.argmax(dim=-1).T[:, last]

    def taught(
        self, head: int, index: torch.Tensor, logits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the two other heads teach a head of the examples at `index` [N], from weak logits [N, 3, C].

        Returns:
            labels [N]; weights [N], 1 if both are sure of it; weights [N], 1 if only one head is sure.
        """
        labels, sure = [], []
        for other in (other for other in range(3) if other != head):
            label = logits[:, other].argmax(dim=-1)
            labels.append(label)
            sure.append(self.average_margin[other, index, label] >= self.margin_thresholds[head, label])
        agreed = labels[0] == labels[1]
        both, one = sure[0] & sure[1] & agreed, sure[0] ^ sure[1]
        return torch.where(sure[0], labels[0], labels[1]), both.to(logits.dtype), one.to(logits.dtype)

    @torch.no_grad()
    def find_thresholds(self) -> None:
        """The thresholds for each head from the averages and last predictions of the two others, over the pool."""
        found = []
        for head in range(3):
            pair = [other for other in range(3) if other != head]
            labels, second = self.last_labels[pair]
            seen = labels.clamp_min(0)
            # Examples without a common prediction are in a group of their own, behind the classes.
            groups = seen.masked_fill((labels != second) | (labels < 0), self.margin_thresholds.shape[1])
            values = self.average_margin[pair].gather(2, seen.expand(2, -1).unsqueeze(-1)).flatten()
            old = self.margin_thresholds[head]
            new, present = grouped_quantile(values, groups.repeat(2), len(old), self.percentile)
            if not self.no_low:
                new = new.clamp_min(0)
            known = present.cumprod(0).bool() if self.skips else torch.ones_like(present).bool()
            found.append(torch.where(known, new, old))
        self.margin_thresholds = torch.stack(found)


def pseudo_margins(logits: torch.Tensor) -> torch.Tensor:
    """By how much each class leads over the best of the others: [..., C] -> [..., C].

    Example:
        >>> pseudo_margins(torch.tensor([3.0, 1.0, 2.0]))
        tensor([ 1., -2., -1.])
    """
    first, second = logits.topk(2, dim=-1).values.unsqueeze(-2).unbind(-1)
    leads = logits == first
    return logits - torch.where(leads, second, first)


def grouped_quantile(
    values: torch.Tensor, groups: torch.Tensor, count: int, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A quantile of the values of each group, linear between neighbors; without a shape that depends on values.

    Args:
        values: [M].
        groups: the group [M] of each, 0 to `count`; the last one is left out.
        count: number of groups, G.
        share: in [0, 1].

    Returns:
        quantiles [G], 0 for a group without a value, and int64 [G], 1 for groups with one.

    Example:
        >>> grouped_quantile(torch.tensor([3.0, 9.0, 1.0, 5.0]), torch.tensor([0, 2, 0, 2]), count=2, share=0.25)
        (tensor([1.5000, 0.0000]), tensor([1, 0]))
    """
    by_value = values.argsort(stable=True)
    by_group = groups[by_value].argsort(stable=True)
    # One more value, so that there is one if there are none.
    ordered = torch.cat([values[by_value][by_group], values.new_zeros(1)])
    sizes = groups.new_zeros(count + 1).index_add_(0, groups, torch.ones_like(groups))
    begin, sizes = (sizes.cumsum(0) - sizes)[:count], sizes[:count]
    place = share * (sizes - 1).clamp_min(0).to(values.dtype)
    low = place.floor()
    quantile = ordered[begin + low.long()].lerp(ordered[begin + place.ceil().long()], place - low)
    return quantile.masked_fill(sizes == 0, 0.0), (sizes > 0).long()
