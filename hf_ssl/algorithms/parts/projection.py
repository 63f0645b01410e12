"""The embedding of CoMatch and SimMatch: small heads on the features, averaged and scaled to unit length."""

from collections.abc import Sequence

import torch
from torch import nn

from ... import losses
from ..base import SSLAlgorithm
from ..problem import check


def projection_head(feature_size: int, projection_size: int) -> nn.Sequential:
    """Linear, ReLU, Linear: features [N, feature_size] -> [N, projection_size].

    Raises:
        ValueError: if `projection_size` is below 1.
    """
    check(projection_size >= 1, "projection_size", projection_size, "at least 1")
    return nn.Sequential(nn.Linear(feature_size, feature_size), nn.ReLU(), nn.Linear(feature_size, projection_size))


def embed(heads: Sequence[nn.Module], features: torch.Tensor) -> torch.Tensor:
    """Embeddings [N, P] of unit length, from features [N, D]: the mean of what the heads make of them.

    Example:
        >>> embed([projection_head(8, 3)], torch.randn(5, 8)).norm(dim=-1).detach()
        tensor([1.0000, 1.0000, 1.0000, 1.0000, 1.0000])
    """
    first, *others = (head(features) for head in heads)
    # Unit length makes a sum of the mean's direction.
    return losses.unit_length(sum(others, start=first))


class Projection(SSLAlgorithm):
    """Gives an algorithm `projection`, and with `epass` also `projection_2` and `projection_3`.

    EPASS (Nguyen and Yang, "Debiasing, calibrating, and improving Semi-supervised Learning performance via simple
    Ensemble Projector", WACV 2024, arXiv 2310.15764) embeds with the mean of three projections, which start apart, so
    that the embedding depends less on the draw of one of them.
    """

    def setup_projection(self, size: int, epass: bool) -> None:
        """Set the heads; `size` is P, at least 1."""
        self.epass = epass
        self.projection = projection_head(self.problem.feature_size, size)
        if epass:
            self.projection_2 = projection_head(self.problem.feature_size, size)
            self.projection_3 = projection_head(self.problem.feature_size, size)

    @property
    def projections(self) -> list[nn.Module]:
        """The heads, one or three."""
        return [self.projection, self.projection_2, self.projection_3] if self.epass else [self.projection]

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, P] of unit length, from features [N, D]."""
        return embed(self.projections, features)
