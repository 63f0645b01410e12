"""What an algorithm gets for one step."""

from dataclasses import dataclass, field

import torch


@dataclass
class SSLBatch:
    """One joint batch. B labeled and mu*B unlabeled examples.

    Args:
        labeled: model keywords of the labeled examples' weak view, each tensor [B, ...].
        labels: their classes, int64 [B].
        unlabeled: view name ("weak", "strong", "strong_2", "rotated") -> model keywords, each tensor [mu*B, ...].
        labeled_index: positions [B] in the labeled set.
        unlabeled_index: positions [mu*B] in the pool.
        labeled_strong: model keywords of a strong view of the labeled examples.
        rotation_labels: quarter turns [mu*B] of the "rotated" view, 0 to 3.
        mix_lambda, mix_permutation, perturbation: normally absent and drawn by the algorithm; given to fix its randomness.
    """

    labeled: dict[str, torch.Tensor]
    labels: torch.Tensor
    unlabeled: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    labeled_index: torch.Tensor | None = None
    unlabeled_index: torch.Tensor | None = None
    labeled_strong: dict[str, torch.Tensor] | None = None
    rotation_labels: torch.Tensor | None = None
    mix_lambda: torch.Tensor | None = None
    mix_permutation: torch.Tensor | None = None
    perturbation: torch.Tensor | None = None
