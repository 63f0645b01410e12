"""What an algorithm gets for one step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch

Field = TypeVar("Field")
# Names of views in `SSLAlgorithm.views` that are of labeled examples; the others are of the pool.
LABELED_VIEWS = ("labeled_strong", "balanced_labeled")


@dataclass
class SSLBatch:
    """One joint batch of B labeled and mu*B unlabeled examples.

    Args:
        labeled: model keywords of the labeled examples' weak view, each tensor [B, ...].
        labels: their classes, int64 [B]; several labels (0 or 1) or numbers, float32 [B, C].
        unlabeled: view name ("weak", "weak_2", "medium", "strong", "strong_2", "rotated") -> model keywords, each
            tensor `[mu*B, ...]`.
        labeled_index: positions [B] in the labeled set.
        unlabeled_index: positions `[mu*B]` in the pool.
        labeled_strong: model keywords of a strong view of the labeled examples.
        content_free: model keywords of one row that says nothing (a gray image, mask tokens, silence), each tensor
            `[1, ...]`, for corrections that read it.
        opinions: what a larger model said of the pool, distributions `[mu*B, C]`; zero where it said nothing.
        rotation_labels: quarter turns `[mu*B]` of the "rotated" view, 0 to 3.
        balanced_labeled, balanced_labels: model keywords of views of B further labeled examples, of which every class
            is as likely as another, and their classes [B].
        mix_lambda: fixed randomness (see Note): the weight of mixup, a scalar or [B].
        mix_permutation: fixed randomness: the partners [N] of mixup, over all N examples that are mixed.
        mix_choice: fixed randomness: whether each example [B] is mixed.
        balanced_unlabeled: fixed randomness: model keywords of the partners [B] in mixtures.
        perturbation: fixed randomness: VAT's random direction, shaped like the values of the weak view.
        class_mix_lambda, class_mix_partner: fixed randomness: as the two above, for RegMixMatch's second kind of
            mixtures; see `choose_partners` in `algorithms/parts/partners.py`.

    Note:
        These numbers are drawn by the algorithms themselves. The fields of fixed randomness are None in training, and
        the algorithm draws; they are given to compute a step twice, or to compare one with known answers.

    Example:
        >>> view = {"pixel_values": torch.zeros(8, 3, 32, 32)}
        >>> batch = SSLBatch(
        ...     labeled={"pixel_values": torch.zeros(2, 3, 32, 32)},
        ...     labels=torch.tensor([0, 4]),
        ...     unlabeled={"weak": view, "strong": view},
        ... )
        >>> batch.unlabeled["strong"]["pixel_values"].shape
        torch.Size([8, 3, 32, 32])
    """

    labeled: dict[str, torch.Tensor]
    labels: torch.Tensor
    unlabeled: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    labeled_index: torch.Tensor | None = None
    unlabeled_index: torch.Tensor | None = None
    labeled_strong: dict[str, torch.Tensor] | None = None
    content_free: Mapping[str, torch.Tensor] | None = None
    opinions: torch.Tensor | None = None
    rotation_labels: torch.Tensor | None = None
    balanced_labeled: dict[str, torch.Tensor] | None = None
    balanced_labels: torch.Tensor | None = None
    # Fixed randomness.
    mix_lambda: torch.Tensor | None = None
    mix_permutation: torch.Tensor | None = None
    mix_choice: torch.Tensor | None = None
    balanced_unlabeled: dict[str, torch.Tensor] | None = None
    perturbation: torch.Tensor | None = None
    class_mix_lambda: torch.Tensor | None = None
    class_mix_partner: torch.Tensor | None = None


def required(value: Field | None, name: str) -> Field:
    """The value of an optional field of `SSLBatch`, for an algorithm that cannot do without it.

    Raises:
        ValueError: if it is None.

    Example:
        >>> required(None, "labeled_index")
        Traceback (most recent call last):
        ValueError: labeled_index must be in the batch, got None; pass it to SSLBatch
    """
    if value is None:
        raise ValueError(f"{name} must be in the batch, got None; pass it to SSLBatch")
    return value
