"""Models inside wrappers: DistributedDataParallel, torch.compile and PEFT."""

from typing import Any

from torch import nn


def unwrap(model: Any) -> nn.Module:
    """The model inside DistributedDataParallel and torch.compile.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 2)
        >>> unwrap(torch.compile(model)) is model
        True
    """
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def without_adapters(model: Any) -> nn.Module:
    """The model that adapters of PEFT were put into, with the adapters in it; any other model as `unwrap` returns it.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> without_adapters(model) is model
        True
    """
    model = unwrap(model)
    get_base_model: Any = getattr(model, "get_base_model", None)
    return model if get_base_model is None else get_base_model()


def without_ddp(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, compiled with the settings of the whole."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return without_ddp(model.module)
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return compile_like(model, without_ddp(inner)) if isinstance(inner, nn.parallel.DistributedDataParallel) else model


def compile_like(model: Any, other: nn.Module) -> nn.Module:
    """`other`, compiled with the settings of `model` if that is compiled."""
    while isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    return model.dynamo_ctx(other) if hasattr(model, "dynamo_ctx") and not hasattr(other, "_orig_mod") else other
