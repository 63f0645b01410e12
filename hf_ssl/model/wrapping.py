"""Models inside wrappers: DistributedDataParallel and torch.compile."""

from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def without_ddp(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, compiled as the whole is."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return without_ddp(model.module)
    inner = getattr(model, "_orig_mod", model)
    return compile_like(model, without_ddp(inner)) if isinstance(inner, nn.parallel.DistributedDataParallel) else model


def compile_like(model: nn.Module, other: nn.Module) -> nn.Module:
    """`other`, compiled with the settings that `model` was compiled with, if it was."""
    while isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    return model.dynamo_ctx(other) if hasattr(model, "dynamo_ctx") and not hasattr(other, "_orig_mod") else other
