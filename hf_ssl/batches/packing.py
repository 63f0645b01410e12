"""A batch on its way from the process that made it to the one that trains."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

# Tensors start at multiples of this in the packed bytes, which suits every type of number.
_ALIGNMENT = 64


class PackedBatch(dict):
    """A nested dict of tensors that is sent to another process as one block of shared memory.

        pickling: {"labels", "labeled": {...}, ...} -> (block [bytes], layout: path -> type, shape and place, the rest)
        unpickling: tensors that are parts of the block

    Note:
        torch sends each tensor by itself: the receiver asks a thread of the sender for it, in several messages, and
            each of
        them waits until the interpreter of that process, which makes the next views meanwhile, lets the thread run.
        With the dozen tensors of a joint batch this took longer than training a small network on them.

    Example:
        >>> import pickle
        >>> batch = PackedBatch(labels=torch.tensor([1, 2]), labeled={"x": torch.ones(2)})
        >>> pickle.loads(pickle.dumps(batch))
        {'labels': tensor([1, 2]), 'labeled': {'x': tensor([1., 1.])}}
    """

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        tensors: dict[tuple[str, ...], torch.Tensor] = {}
        rest: dict[tuple[str, ...], Any] = {}
        for path, value in _leaves(self):
            plain = isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.layout is torch.strided
            (tensors if plain and not value.requires_grad else rest)[path] = value
        layout: dict[tuple[str, ...], tuple[torch.dtype, tuple[int, ...], int]] = {}
        size = 0
        for path, tensor in tensors.items():
            layout[path] = (tensor.dtype, tuple(tensor.shape), size)
            size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        block = torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(size))
        for path, tensor in tensors.items():
            _part(block, *layout[path]).copy_(tensor)
        return _unpack, (block, layout, rest)

    def __copy__(self) -> "PackedBatch":
        # The thread that pins memory copies the dict itself first.
        return PackedBatch(self)


def _leaves(batch: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in batch.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _part(block: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...], start: int) -> torch.Tensor:
    size = dtype.itemsize
    for length in shape:
        size *= length
    return block[start : start + size].view(dtype).view(shape)


def _unpack(block: torch.Tensor, layout: Mapping[Any, Any], rest: Mapping[Any, Any]) -> PackedBatch:
    batch = PackedBatch()
    for path, value in [*((path, _part(block, *place)) for path, place in layout.items()), *rest.items()]:
        inner: dict[str, Any] = batch
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return batch
