"""The exponential moving average of a model's weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from ..distributed import local_part, part_like
from .sharding import is_sharded, reshard
from .wrapping import unwrap


class ModelEma:
    """Keeps `decay * average + (1 - decay) * model` of every weight, updated once after each optimizer step.

    `module` is a copy of the model that holds the averages: the teacher of algorithms that have one, and what is
    evaluated and saved (by `swapped_into`) if the average is used for evaluation. Averages of weights in half
    precision (bfloat16, float16) are kept in float32 beside it, 4 bytes per weight, and rounded into `module` after
    each update.

    Args:
        model: the model to follow, not wrapped; the average starts as its copy.
        decay: in [0, 1); 0.999 remembers about the last 1,000 steps.
        module: for a sharded model, which cannot be copied: a copy that is sharded in the same way, whatever its
            weights are (`model.sharding.shard_like_student`). Each process then keeps its part of the averages, and an
            update sends nothing.

    Raises:
        ValueError: if `decay` is outside its range.

    Note:
        *Why not timm's `ModelEmaV3` or torch's `AveragedModel`?* Both copy the whole model and load or copy weights to
        evaluate. Here weights that are not trained are shared with the model, so the average of a LoRA adapter costs
        an adapter and not a second base model; and `swapped_into` exchanges storages, so evaluating the average costs
        no copy and no memory.

        *Why are buffers copied and not averaged?* As in USB: the running statistics of batch normalization are
        averages already. Averaged once more they would keep a part of their start for long, a variance of 1, and in a
        network whose activations have one of 0.002 (the convolutions of many transformers models with new weights)
        that part is most of it: after 400 steps with decay 0.99 such an average was no better than chance, while the
        model itself had learned.

        *Why float32?* bfloat16 has 8 significant bits, and float16 has 11. With a decay of 0.999 an update moves the
        average by a thousandth of its distance to the weight, which is below the rounding unless the distance is
        larger than the weight itself: most averages would stay where they started.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 1.0)
        >>> ema = ModelEma(model, decay=0.9)
        >>> _ = nn.init.constant_(model.weight, 2.0)
        >>> ema.update()
        >>> with ema.swapped_into(model):
        ...     print(round(model.weight.item(), 3))
        1.1
        >>> model.weight.item()
        2.0
    """

    def __init__(self, model: nn.Module, decay: float, module: nn.Module | None = None):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}; 0.999 is usual")
        self.decay = decay
        self._followed = unwrap(model)
        self._sharded = is_sharded(model)
        if self._sharded:
            reshard(model)
        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.module = deepcopy(model, memo=frozen) if module is None else module
        self.module.requires_grad_(False)
        # Pairs of (averaged, followed), and what is averaged: the weight of `module` itself or, in half precision, a
        # copy.
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        self._weights = [pair for pair in pairs if pair[0] is not pair[1] and pair[1].requires_grad]
        # Only a sharded model has any: each layer needs parts of its own.
        self._frozen = [pair for pair in pairs if pair[0] is not pair[1] and not pair[1].requires_grad]
        self._averages = [own.detach().float() if _is_half(own) else own for own, _ in self._weights]
        # The modules, not their buffers: some models replace a buffer in each forward pass.
        modules = zip(_layers(self.module), _layers(model), strict=True)
        self._with_buffers = [(own, other) for own, other in modules if other._buffers]
        if module is not None:
            self.reset()

    @torch.no_grad()
    def update(self, decay: float | None = None) -> None:
        """Move the average towards the model's present weights, in a few fused operations over all of them.

        Args:
            decay: in [0, 1), for this update only; None means that of the constructor.
        """
        kept = [*zip(self._averages, self._weights, strict=True)]
        current = [other if average is own else torch.empty_like(average) for average, (own, other) in kept]
        _copy([(raised, other) for raised, (_, (_, other)) in zip(current, kept, strict=True) if raised is not other])
        averages = self._averages
        if self._sharded:
            averages, current = [local_part(each) for each in averages], [local_part(each) for each in current]
        torch._foreach_lerp_(averages, current, 1.0 - (self.decay if decay is None else decay))
        self._finish_change()

    @torch.no_grad()
    def reset(self) -> None:
        """Set the average to the model's present weights."""
        _copy([(average, other) for average, (_, other) in zip(self._averages, self._weights, strict=True)])
        _copy(self._frozen)
        self._finish_change()

    def _finish_change(self) -> None:
        """Bring `module` up to date with the averages that are kept beside it, and with the model's buffers."""
        self._round()
        _copy(self._buffers_to_copy())

    def _round(self) -> None:
        """Write the averages that are kept in float32 into `module`, in its own type."""
        _copy([(own, kept) for kept, (own, _) in zip(self._averages, self._weights, strict=True) if kept is not own])
        if self._sharded:
            reshard(self.module)

    @contextmanager
    def swapped_into(self, model: nn.Module | None = None) -> Iterator[None]:
        """Let the followed model have the averages as its weights inside the `with` block, and `module` the weights.

        Nothing is copied: storages change places. They change back even if the model was converted to another type
        or device inside the block. Of a sharded model the values of the parts change places.

        Args:
            model: the followed model, which may be named to make the call readable.

        Raises:
            ValueError: for another model.
        """
        if model is not None and unwrap(model) is not self._followed:
            raise ValueError("model must be the model that is followed, got another; leave it out")
        if self._sharded:
            with self._exchanged():
                yield
            return
        pairs = [*self._weights, *self._buffers()]
        storages = [(own.data, other.data) for own, other in pairs]
        buffers = [dict(other._buffers) for _, other in self._with_buffers]
        for (own, other), (averaged, trained) in zip(pairs, storages, strict=True):
            own.data, other.data = trained, averaged
        try:
            yield
        finally:
            for (_, holder), before in zip(self._with_buffers, buffers, strict=True):
                holder._buffers.update(before)
            for (own, other), (averaged, trained) in zip(pairs, storages, strict=True):
                own.data, other.data = averaged, trained

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        """`swapped_into` for a sharded model: torch gathers whole weights from memory of its own."""
        pairs = [*self._weights, *self._buffers()]
        self._exchange(pairs)
        try:
            yield
        finally:
            self._exchange(pairs)

    @torch.no_grad()
    def _exchange(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        for pair in pairs:
            own, other = (local_part(each) for each in pair)
            before = own.clone()
            own.copy_(other)
            other.copy_(before)
        # Whole weights of the last pass are those of before.
        reshard(self._followed)
        reshard(self.module)

    def _buffers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs of (copied, followed), each buffer once, also one that several modules share."""
        found = {}
        for own, other in self._with_buffers:
            for name, buffer in other._buffers.items():
                copied = own._buffers.get(name)
                if buffer is not None and copied is not None:
                    found[id(buffer)] = copied, buffer
        return list(found.values())

    def _buffers_to_copy(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """As `_buffers`, after those that are new in the model, or of another shape or type now, were renewed."""
        for own, other in self._with_buffers:
            for name, buffer in other._buffers.items():
                copied = own._buffers.get(name)
                if buffer is None:
                    own._buffers[name] = None
                elif copied is None or (copied.shape, copied.dtype) != (buffer.shape, buffer.dtype):
                    own._buffers[name] = buffer.detach().clone()
        return self._buffers()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages by the names of the model's weights, without the weights that are shared with the model."""
        kept = {id(own): average for average, (own, _) in zip(self._averages, self._weights, strict=True)}
        weights = {name: kept[id(own)] for name, own in self.module.named_parameters() if id(own) in kept}
        return {name: tensor.detach() for name, tensor in [*weights.items(), *self.module.named_buffers()]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the averages that `state_dict` returned, or older ones in half precision.

        Raises:
            KeyError: if names are missing or unknown.
        """
        mine = self.state_dict()
        if mine.keys() != state.keys():
            differing = sorted(mine.keys() ^ state.keys())
            raise KeyError(
                f"the averaged weights do not fit this model; {len(differing)} names differ, first {differing[0]}"
            )
        _copy([(tensor, part_like(state[name], tensor)) for name, tensor in mine.items()])
        _copy(self._frozen)
        self._round()


def _is_half(weight: torch.Tensor) -> bool:
    return weight.is_floating_point() and weight.element_size() < 4


def _copy(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy the second tensor of each pair into the first: one operation on a GPU for each pair of types."""
    by_types: dict[tuple[torch.dtype, torch.dtype], tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for target, source in pairs:
        targets, sources = by_types.setdefault((target.dtype, source.dtype), ([], []))
        targets.append(local_part(target))
        sources.append(local_part(source))
    for targets, sources in by_types.values():
        torch._foreach_copy_(targets, sources)


def _layers(model: nn.Module) -> list[nn.Module]:
    """The modules of a model, without the wrappers that activation checkpointing puts around some."""
    return [module for module in model.modules() if not hasattr(module, "_checkpoint_wrapped_module")]
