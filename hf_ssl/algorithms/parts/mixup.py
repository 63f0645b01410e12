"""Mixup: convex combinations of examples and of their targets (Zhang et al., arXiv 1710.09412; MixMatch's variant)."""

from collections.abc import Mapping

import torch


class Mixup:
    """One draw of mixup for a joint batch of N examples: lambda * x + (1 - lambda) * x[permutation].

    Args:
        alpha: lambda is drawn from Beta(alpha, alpha), then max(lambda, 1 - lambda), so that the first example dominates.
        size: N.
        device: where the examples are.
        mix_lambda, mix_permutation: given to fix the draw.
    """

    def __init__(self, alpha: float, size: int, device, mix_lambda=None, mix_permutation=None):
        if mix_lambda is None:
            # On the host: a zero-dimensional CPU tensor enters an operation as a number, without a copy to the device.
            drawn = torch.distributions.Beta(alpha, alpha, validate_args=False).sample()
            mix_lambda = torch.maximum(drawn, 1 - drawn)
        self.weight = mix_lambda
        self.permutation = torch.randperm(size, device=device) if mix_permutation is None else mix_permutation

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Mix a floating-point tensor [N, ...] of inputs, features or targets."""
        return self.weight * values + (1 - self.weight) * values[self.permutation]

    def inputs(self, joined: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Mix model keywords.

        Raises:
            TypeError: if one is not of floating point: token ids cannot be mixed, their features can.
        """
        for key, values in joined.items():
            if not values.is_floating_point():
                raise TypeError(
                    f"mixup cannot mix {key} of {values.dtype}; pass modality='text' or 'audio' to mix features"
                )
        return {key: self(values) for key, values in joined.items()}
