"""Mixup: convex combinations of examples and of their targets (Zhang et al., arXiv 1710.09412; MixMatch's variant)."""

from collections.abc import Mapping

import torch


class Mixup:
    """One draw of mixup for a joint batch of N examples: lambda * x + (1 - lambda) * x[permutation].

    Args:
        alpha: lambda is drawn from Beta(alpha, alpha), then max(lambda, 1 - lambda) is taken, so that the first
            example dominates.
        size: N.
        device: where the examples are.
        mix_lambda: a scalar tensor instead of the drawn lambda.
        mix_permutation: int64 [N] instead of the drawn permutation.

    Example:
        >>> mixup = Mixup(0.5, 2, "cpu", mix_lambda=torch.tensor(0.75), mix_permutation=torch.tensor([1, 0]))
        >>> mixup(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([[0.7500, 0.2500],
                [0.2500, 0.7500]])
    """

    def __init__(
        self,
        alpha: float,
        size: int,
        device: torch.device | str,
        mix_lambda: torch.Tensor | None = None,
        mix_permutation: torch.Tensor | None = None,
    ):
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
        """Mix model keywords, each a tensor [N, ...].

        Raises:
            TypeError: if one is not a floating-point tensor: token ids cannot be mixed, their features can.
        """
        for key, values in joined.items():
            if not values.is_floating_point():
                raise TypeError(
                    f"mixup cannot mix {key} of {values.dtype}; pass modality='text' or 'audio' to mix features"
                )
        return {key: self(values) for key, values in joined.items()}
