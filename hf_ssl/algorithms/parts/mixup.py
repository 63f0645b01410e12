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
            drawn = draw_beta(alpha)
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
        _check_floating(joined)
        return {key: self(values) for key, values in joined.items()}


def blend(values: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """weight_i * values_i + (1 - weight_i) * values_{partner_i}, with a weight for each row.

    Args:
        values: [N, ...] of inputs, features or targets.
        partner: int64 [N].
        weight: [N], in [0, 1].

    Example:
        >>> blend(torch.tensor([[1.0], [0.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0])).flatten()
        tensor([0.7500, 0.0000])
    """
    weight = weight.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return weight * values + (1 - weight) * values[partner]


def blend_inputs(
    joined: Mapping[str, torch.Tensor], partner: torch.Tensor, weight: torch.Tensor
) -> dict[str, torch.Tensor]:
    """`blend` of model keywords, each a tensor [N, ...].

    Raises:
        TypeError: as `Mixup.inputs`.
    """
    _check_floating(joined)
    return {key: blend(values, partner, weight) for key, values in joined.items()}


def _check_floating(joined: Mapping[str, torch.Tensor]) -> None:
    for key, values in joined.items():
        if not values.is_floating_point():
            raise TypeError(
                f"mixup cannot mix {key} of {values.dtype}; pass modality='text' or 'audio' to mix features"
            )


def draw_beta(alpha: float) -> torch.Tensor:
    """A number from Beta(alpha, alpha), a scalar in [0, 1], by torch's generator for the CPU.

    `torch.distributions.Beta` answers 0.5 if both of its gamma variables underflow: for alpha = 0.001 in one of four
    draws, where nearly all should be 0 or 1. Their logarithms do not underflow: G(a) is G(a + 1) * U^(1 / a).

    Example:
        >>> bool(0 <= draw_beta(0.75) <= 1)
        True
    """
    shape = torch.full((2,), alpha + 1.0, dtype=torch.float64)
    gamma = torch.distributions.Gamma(shape, torch.ones_like(shape), validate_args=False).sample()
    first, second = gamma.log() + torch.rand(2, dtype=torch.float64).log() / alpha
    return torch.sigmoid(first - second)
