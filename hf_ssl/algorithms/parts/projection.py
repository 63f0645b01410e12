"""The embedding of CoMatch and SimMatch: a small head on the features, scaled to unit length."""

import torch
from torch import nn

from ... import losses
from ..problem import check


def projection_head(feature_size: int, projection_size: int) -> nn.Sequential:
    """Linear, ReLU, Linear: features [N, feature_size] -> [N, projection_size].

    Raises:
        ValueError: if `projection_size` is below 1.
    """
    check(projection_size >= 1, "projection_size", projection_size, "at least 1")
    return nn.Sequential(nn.Linear(feature_size, feature_size), nn.ReLU(), nn.Linear(feature_size, projection_size))


def embed(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Embeddings [N, P] of unit length, from features [N, D].

    Example:
        >>> embed(projection_head(8, 3), torch.randn(5, 8)).norm(dim=-1).detach()
        tensor([1.0000, 1.0000, 1.0000, 1.0000, 1.0000])
    """
    return losses.unit_length(head(features))
