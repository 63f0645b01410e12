"""The embedding of CoMatch and SimMatch: a small head on the features, scaled to unit length."""

from torch import nn

from ... import losses
from ..base import check


def projection_head(feature_size: int, projection_size: int) -> nn.Sequential:
    """Linear, ReLU, Linear: features [N, D] -> [N, projection_size]."""
    check(projection_size >= 1, "projection_size", projection_size, "at least 1")
    return nn.Sequential(nn.Linear(feature_size, feature_size), nn.ReLU(), nn.Linear(feature_size, projection_size))


def embed(head: nn.Module, features):
    """Embeddings of unit length."""
    return losses.unit_length(head(features))
