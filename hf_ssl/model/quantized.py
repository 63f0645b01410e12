"""Models with quantized weights (QLoRA, arXiv 2305.14314): what a checkpoint can hold of them, and what must stay.

Quantized weights are integers with scales that modules such as bitsandbytes' write into a state and cannot read back
from it. They are frozen, so a checkpoint needs none of them, as long as the base model is the same when a run resumes.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .adapters import base_weights, is_adapted
from .wrapping import unwrap

# Values of each weight that are compared.
_SAMPLE = 64


def is_quantized(weight: torch.Tensor) -> bool:
    """Whether a weight holds codes instead of values. bitsandbytes can keep 4-bit codes in any type.

    Example:
        >>> is_quantized(torch.zeros(4, dtype=torch.uint8)), is_quantized(torch.zeros(4))
        (True, False)
    """
    return not weight.is_floating_point() or getattr(weight, "quant_state", None) is not None


def readable_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's state without what a layer writes of its quantized weights and cannot read: scales, tables, formats.

    Example:
        >>> sorted(readable_state(nn.Linear(2, 2)))
        ['bias', 'weight']
    """
    state = model.state_dict()
    layers = tuple({name.rpartition(".")[0] + "." for name in quantized_names(model)})
    named = {*dict(model.named_parameters(remove_duplicate=False)), *dict(model.named_buffers(remove_duplicate=False))}
    return {name: value for name, value in state.items() if name in named or not name.startswith(layers)}


def quantized_names(model: nn.Module) -> set[str]:
    """The names of frozen weights that hold codes."""
    weights = model.named_parameters(remove_duplicate=False)
    return {name for name, weight in weights if is_quantized(weight) and not weight.requires_grad}


def base_digests(model: nn.Module) -> dict[str, str]:
    """A digest of each weight that a checkpoint leaves to the base model, by its name in the base model.

    It is made of 64 values of each weight, evenly spread, of its shape and of its type, so that it takes milliseconds
    for billions of weights. There are none for a model without adapters and quantized weights, whose checkpoints hold
    all weights, and for a model whose weights are shared out over processes.

    Example:
        >>> base_digests(nn.Linear(2, 2))
        {}
    """
    model = unwrap(model)
    left_out: Iterable[tuple[str, torch.Tensor]]
    if is_adapted(model):
        left_out = base_weights(model).items()
    else:
        names = quantized_names(model)
        left_out = [(name, weight) for name, weight in model.named_parameters() if name in names]
    return {name: _digest(weight) for name, weight in left_out if not hasattr(weight, "full_tensor")}


def find_other_base(saved: dict[str, str], model: nn.Module) -> str | None:
    """The name of the first weight of the base model that differs from what `base_digests` saw; None if none does.

    Args:
        saved: without entries if nothing is known of them.
    """
    mine = base_digests(model) if saved else {}
    return next((name for name, digest in mine.items() if saved.get(name, digest) != digest), None)


def keep_differentiable(model: nn.Module) -> None:
    """Keep bitsandbytes from changing 4-bit weights for inference on a CPU, and change back those that it has changed.

    With AVX512-BF16 its layers pack their weights in another order when they are first called in evaluation mode, and
    never undo it. The product with packed weights has no gradient: a training that goes on after an evaluation would
    learn from wrong gradients, with a warning of torch at most.

    Args:
        model: any model; one without such layers is left as it is.
    """
    for module in model.modules():
        layer: Any = module
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
            if getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False):
                # Writing a state unpacks.
                layer.state_dict()


@torch.no_grad()
def _digest(weight: torch.Tensor) -> str:
    flat = weight.detach().flatten()
    sample = flat[:: max(len(flat) // _SAMPLE, 1)][:_SAMPLE].cpu().contiguous()
    found = hashlib.sha256(f"{tuple(weight.shape)} {weight.dtype} ".encode())
    found.update(sample.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:8]
