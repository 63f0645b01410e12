"""What the processes of one run tell each other. In a single process they change nothing."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar, overload

import torch
import torch.distributed as dist

Value = TypeVar("Value")
_alone = False


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone else 1


@contextmanager
def on_its_own() -> Iterator[None]:
    """Let a process compute by itself inside the `with` block, as if it were the only one.

    Example:
        >>> with on_its_own():
        ...     world_size()
        1
    """
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


@overload
def gather(tensor: torch.Tensor, /) -> torch.Tensor: ...


@overload
def gather(first: torch.Tensor, second: torch.Tensor, /, *others: torch.Tensor) -> tuple[torch.Tensor, ...]: ...


def gather(*tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """Concatenate every process's tensor along the first axis, in the order of the ranks, without gradient.

    Args:
        tensors: each [N, ...], of any types. Every process must call it with the same shapes.

    Returns:
        One tensor for one, a tuple for several.

    Note:
        Statistics that are computed from the result are the same on every process, and the same as one process would
        compute from the joint batch. Several tensors make one message: for tensors as small as these a message costs
        the same regardless of what is in it.

    Example:
        >>> gather(torch.tensor([1, 2]))
        tensor([1, 2])
        >>> index, labels = gather(torch.tensor([1, 2]), torch.tensor([0, 0]))
    """
    detached = tuple(tensor.detach() for tensor in tensors)
    if world_size() > 1:
        message = torch.cat([_as_bytes(tensor) for tensor in detached])
        parts = [torch.empty_like(message) for _ in range(world_size())]
        dist.all_gather(parts, message)
        detached = tuple(
            torch.cat(parts) for parts in zip(*(_from_bytes(part, detached) for part in parts), strict=True)
        )
    return detached[0] if len(tensors) == 1 else detached


# Each tensor begins at a multiple of this many bytes, as its type requires.
_ALIGNMENT = 16


def _as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.contiguous().flatten().view(torch.uint8)
    return torch.nn.functional.pad(flat, (0, -len(flat) % _ALIGNMENT))


def _from_bytes(message: torch.Tensor, like: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    found, start = [], 0
    for tensor in like:
        size = tensor.numel() * tensor.element_size()
        found.append(message[start : start + size].view(tensor.dtype).view(tensor.shape))
        start += size + -size % _ALIGNMENT
    return found


def gather_objects(value: Value) -> list[Value]:
    """What each process gave, in the order of the ranks. Any value that can be pickled; slower than `gather`.

    Example:
        >>> gather_objects({"rank": 0})
        [{'rank': 0}]
    """
    found = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(found, value)
    return found


def names_of_all(names: Iterable[str]) -> list[str]:
    """The names that any process has, in the same order on every process.

    Processes that add up named numbers must agree on this first: what only some of them have seen (a broken file, a
    hidden label) would otherwise be added to something else, or wait forever for the others.

    Example:
        >>> names_of_all(["loss", "mask_ratio"])
        ['loss', 'mask_ratio']
    """
    return list(dict.fromkeys(chain.from_iterable(gather_objects(list(names)))))


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Sum `tensor` over the processes, with gradient, for losses of the joint batch that are not means over examples.

    The backward pass sums as well. After the usual averaging of gradients over the processes each parameter then has
    the gradient that one process would compute from the joint batch.

    Example:
        >>> total(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return tensor if world_size() == 1 else _Total.apply(tensor)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


@torch.no_grad()
def copy_from_first(tensors: Iterable[torch.Tensor], device: torch.device | None = None) -> None:
    """Give every process the values that the first one has, in place.

    Args:
        tensors: of the same shapes and types, in the same order, on every process; not sharded.
        device: over which they are sent, if they are on another one: NCCL sends nothing that is in main memory.
    """
    if world_size() == 1:
        return
    for tensor in tensors:
        values = tensor.detach().to(device).contiguous()
        dist.broadcast(values, src=0)
        tensor.copy_(values)


# ---- Tensors of which each process keeps a part (torch's DTensor) ----


def is_shard(tensor: torch.Tensor) -> bool:
    """Whether a process keeps only a part of the tensor.

    Example:
        >>> is_shard(torch.ones(2))
        False
    """
    # By its method: importing the class would cost every process that shards nothing.
    return hasattr(tensor, "full_tensor")


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded tensor that this process keeps, in the same memory; any other tensor as it is.

    Example:
        >>> local_part(torch.ones(2))
        tensor([1., 1.])
    """
    sharded: Any = tensor
    return sharded.to_local() if is_shard(tensor) else tensor


def together(tensor: torch.Tensor) -> torch.Tensor:
    """A sharded tensor with the parts of all processes, each of which must call it; any other tensor as it is.

    Example:
        >>> together(torch.ones(2))
        tensor([1., 1.])
    """
    sharded: Any = tensor
    return sharded.full_tensor() if is_shard(tensor) else tensor


@torch.no_grad()
def whole(tensors: Mapping[str, torch.Tensor], keep: bool = True) -> dict[str, torch.Tensor]:
    """The tensors with the parts of all processes together, one after the other. Every process must call it.

    Args:
        tensors: by name, the same ones in the same order on every process.
        keep: whether this process wants them; the others only send their parts.

    Returns:
        Sharded ones in main memory, others as they are; nothing unless `keep`.

    Example:
        >>> whole({"weight": torch.ones(2)})
        {'weight': tensor([1., 1.])}
    """
    found = {}
    for name, tensor in tensors.items():
        joined = together(tensor).cpu() if is_shard(tensor) else tensor
        if keep:
            found[name] = joined
    return found


@torch.no_grad()
def part_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of a whole tensor what this process keeps of `like`; the tensor itself if `like` is not sharded.

    Nothing is sent: every process must have the whole.
    """
    if not is_shard(like) or is_shard(tensor):
        return tensor
    # Not at the top: only sharded models need it.
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = like
    moved = tensor.to(sharded.device_mesh.device_type)
    return distribute_tensor(moved, sharded.device_mesh, sharded.placements, src_data_rank=None)


@torch.no_grad()
def clip_gradients(parameters: Iterable[torch.nn.Parameter], limit: float) -> torch.Tensor:
    """Scale gradients so that their common norm is at most `limit`; those of a sharded model and others together.

    Args:
        parameters: sharded ones, and ones of which every process has the whole and the same gradient.
        limit: above 0; infinity changes nothing.

    Returns:
        The norm before, on every process.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_gradients([weight], limit=1.0), weight.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    # Apart, and by mesh: a tensor operation takes no list of both kinds.
    groups: dict[Any, list[torch.Tensor]] = {}
    for gradient in gradients:
        groups.setdefault(getattr(gradient, "device_mesh", None), []).append(gradient)
    norms = [together(torch.nn.utils.get_total_norm(group)) for group in groups.values()]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    # As in torch.nn.utils.clip_grad_norm_: to ask whether anything is to be scaled would wait for the GPU.
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local_part(gradient) for gradient in gradients], factor)
    return norm


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes, as DDP does, for parameters outside its module.

    A process without a gradient counts as one of zeros. Parameters that no process has a gradient for keep none, so
    that optimizers leave them alone, as they do in a single process.
    """
    if world_size() == 1:
        return
    by_type: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            by_type.setdefault(parameter.dtype, []).append(parameter)
    for group in by_type.values():
        _average(group)


def _average(parameters: list[torch.nn.Parameter]) -> None:
    # All processes enter the same collective, with or without gradients: otherwise it would never return.
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    found = torch.cat([torch.full_like(each.flatten()[:1], each.grad is not None) for each in parameters])
    joined = torch.cat([*(gradient.flatten() for gradient in gradients), found])
    dist.all_reduce(joined)
    *sums, found = joined.split([*(gradient.numel() for gradient in gradients), len(found)])
    for place, (parameter, gradient, summed) in enumerate(zip(parameters, gradients, sums, strict=True)):
        gradient.copy_((summed / world_size()).view_as(gradient))
        # The number is read only if this process has none: usually no step waits for it.
        if parameter.grad is None and found[place] > 0:
            parameter.grad = gradient
