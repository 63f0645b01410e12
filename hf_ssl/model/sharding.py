"""Models of which each process keeps a part of every weight: FSDP2, torch's `fully_shard` (arXiv 2304.11277).

accelerate shards the model that is trained. What it has no notion of is here: a second model, the moving average, that
is sharded in the same way, so that parts of weights and parts of averages lie side by side.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..distributed import part_like
from .wrapping import unwrap


def is_sharded(model: nn.Module) -> bool:
    """Whether each process keeps only a part of the model's weights.

    Example:
        >>> is_sharded(nn.Linear(2, 2))
        False
    """
    # Not by its weights, which may be whole after a pass. By its method, as in `distributed.is_shard`.
    return any(hasattr(module, "unshard") for module in model.modules())


def reshard(model: nn.Module) -> None:
    """Let go of whole weights that were gathered for a pass, so that the next pass sees what the parts are now.

    The layers that come last in a pass keep theirs for the backward pass, which need not follow.
    """
    for module in model.modules():
        sharded: Any = module
        if hasattr(module, "reshard"):
            sharded.reshard()


def load_whole(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """`load_state_dict`, strictly, of whole tensors into a model that may be sharded.

    Raises:
        RuntimeError: as there.
    """
    mine = model.state_dict()
    parts = {name: part_like(tensor, mine[name]) if name in mine else tensor for name, tensor in state.items()}
    model.load_state_dict(parts, strict=True)
    reshard(model)


def without_weights(model: nn.Module) -> nn.Module:
    """A copy of a model, not yet sharded, whose weights take no memory and have no values; buffers have.

    Example:
        >>> copied = without_weights(nn.BatchNorm1d(2))
        >>> copied.weight.device.type, copied.running_var
        ('meta', tensor([1., 1.]))
    """
    model = unwrap(model)
    empty = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    return deepcopy(model, memo=empty)


def shard_like_student(model: nn.Module, accelerator: Any) -> nn.Module:
    """Shard a model of `without_weights` as accelerate has sharded the one that it was copied from.

    Returns:
        it, its weights in memory by now and without values.
    """
    from accelerate.utils import fsdp2_prepare_model

    with ready_to_shard(model, accelerator.state.fsdp_plugin):
        model = fsdp2_prepare_model(accelerator, model)
    device = accelerator.device
    # Not `to_empty`, which would empty the buffers as well.
    model._apply(lambda each: torch.empty_like(each, device=device) if each.is_meta else each.to(device))
    return model.requires_grad_(False)


@contextmanager
def ready_to_shard(model: nn.Module, plugin: Any) -> Iterator[None]:
    """Let accelerate, inside the `with` block, shard models such as ViT and ResNet, which would end in an error.

    It shards each layer that must not be split, and the table of embeddings by itself: twice if that is in such a
    layer. And it asks every model for that table, also those that have none and raise an error.

    Args:
        model: about to be sharded.
        plugin: accelerate's, with the names of the layers to shard; None for those that the model names.
    """
    policy = plugin.mixed_precision_policy
    if policy is not None:
        # accelerate would round what the model returns to the type that it computes in, and so the loss.
        plugin.mixed_precision_policy = replace(policy, output_dtype=None)
    asked: Any = model
    try:
        table = asked.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        table = None
    names = plugin.transformer_cls_names_to_wrap
    if names is None:
        names = sorted({type(module).__name__ for module in model.modules()} & {*_unsplit(model)})
    holders = {type(module).__name__ for module in model.modules() if _is_inside(table, module)}
    plugin.transformer_cls_names_to_wrap = [name for name in names if name not in holders]
    silenced = table is None and hasattr(model, "get_input_embeddings")
    if silenced:
        asked.get_input_embeddings = lambda: None
    try:
        yield
    finally:
        if silenced:
            del asked.get_input_embeddings


def _unsplit(model: nn.Module) -> list[str]:
    return list(getattr(model, "_no_split_modules", None) or ())


def _is_inside(table: Any, module: nn.Module) -> bool:
    return isinstance(table, nn.Module) and module is not table and any(each is table for each in module.modules())
