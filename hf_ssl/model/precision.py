"""The types of numbers that weights are trained in."""

from typing import Any

import torch
from torch import nn

_HALF = (torch.bfloat16, torch.float16)


def trained_in_half_precision(model: nn.Module) -> list[torch.dtype]:
    """The types of half precision among the trainable weights.

    Example:
        >>> trained_in_half_precision(nn.Linear(2, 2).bfloat16())
        [torch.bfloat16]
    """
    found = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    return [dtype for dtype in _HALF if dtype in found]


def to_full_precision(model: Any) -> None:
    """Convert weights and buffers of half precision to float32; quantized models are left as they are.

    Example:
        >>> model = nn.Linear(2, 2).half()
        >>> to_full_precision(model)
        >>> model.weight.dtype
        torch.float32
    """
    if trained_in_half_precision(model) and getattr(model, "quantization_method", None) is None:
        model.float()
