"""Who is mixed with whom, if that depends on which predictions are confident (RegMixMatch)."""

from dataclasses import dataclass

import torch


@dataclass
class Partners:
    """For each row of [labeled, strong], N = B + mu*B of them:

    Args:
        partner: int64 [N], the row that it is mixed with.
        among: bool [N], whether it is one of those that are mixed with each other.
        alone: bool [N], whether there is no partner for it.
    """

    partner: torch.Tensor
    among: torch.Tensor
    alone: torch.Tensor


def choose_partners(
    labels: torch.Tensor,
    predicted: torch.Tensor,
    confident: torch.Tensor,
    with_labeled: bool,
    permutation: torch.Tensor | None = None,
    class_partner: torch.Tensor | None = None,
) -> Partners:
    """Mix confident examples with each other, and each other one with a known or confident example of its class.

    Everything has a shape that does not depend on how many are confident.

    Args:
        labels: classes [B] of the labeled rows.
        predicted: classes `[mu*B]` of the strong rows.
        confident: bool `[mu*B]`.
        with_labeled: whether the labeled rows are among those that are mixed with each other.
        permutation: int64 [n], instead of a drawn one, of the n rows that are mixed with each other, in their order.
        class_partner: int64 `[mu*B - n]`, instead of drawn ones, of the rows that are not confident, in their order: a
            place in [labeled, confident strong], or -1 for none.

    Example:
        >>> chosen = choose_partners(
        ...     torch.tensor([0]), torch.tensor([1, 0, 1]), torch.tensor([True, False, True]), False,
        ...     torch.tensor([1, 0]), torch.tensor([0]),
        ... )
        >>> chosen.partner, chosen.among, chosen.alone
        (tensor([0, 3, 0, 1]), tensor([False,  True, False,  True]), tensor([ True, False, False, False]))
    """
    device, labeled = labels.device, len(labels)
    known = torch.cat([torch.ones_like(labels).bool(), confident])
    among = known if with_labeled else torch.cat([torch.zeros_like(labels).bool(), confident])
    order = (~among).long().argsort(stable=True)
    if permutation is None:
        # Those that are mixed come first, in random order.
        drawn = (torch.rand(len(among), device=device) + (~among).float() * 2).argsort()
    else:
        drawn = torch.cat([order[permutation], order[len(permutation) :]])
    partner = torch.empty_like(order).index_copy_(0, order, drawn)
    if class_partner is None:
        same = (predicted.unsqueeze(1) == torch.cat([labels, predicted])) & known
        keys = torch.rand(same.shape, device=device).masked_fill(~same, -1.0)
        best, own = keys.max(dim=1)
        none = best < 0
    else:
        by_confidence = (~confident).long().argsort(stable=True)
        rows = torch.cat([torch.arange(labeled, device=device), by_confidence + labeled])
        given = torch.cat([class_partner.new_full((len(confident) - len(class_partner),), -1), class_partner])
        given = torch.empty_like(given).index_copy_(0, by_confidence, given)
        own, none = rows[given.clamp_min(0)], given < 0
    own = torch.cat([torch.arange(labeled, device=device), own])
    alone = torch.cat([torch.ones_like(labels).bool(), none]) & ~among
    return Partners(torch.where(among, partner, own), among, alone)
