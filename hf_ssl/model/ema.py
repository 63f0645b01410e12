"""The exponential moving average of a model's weights."""

from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn


class ModelEma:
    """Keeps `decay * average + (1 - decay) * model` of every weight, updated once after each optimizer step.

    `module` is a copy of the model that holds the averages: the teacher of algorithms that have one, and what is evaluated
    and saved (by `swapped_into`) when the average is used for evaluation. Weights which are not trained are shared with
    the model, so that an average of a LoRA adapter costs an adapter and not a second base model.

    Buffers are copied, as in USB: the running statistics of batch normalisation are averages already. Averaged once more they
    would keep a part of their start for long, a variance of 1, and in a network whose activations have one of 0.002 (the
    convolutions of many transformers models with new weights) that part is most of it: after 400 steps with decay 0.99 such an
    average was no better than chance, while the model itself had learned.

    Args:
        model: the model to follow, not wrapped; the average starts as its copy.
        decay: in [0, 1); 0.999 remembers about the last 1,000 steps.

    Raises:
        ValueError: if `decay` is outside of its range.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}; 0.999 is usual")
        self.decay = decay
        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.module = deepcopy(model, memo=frozen)
        self.module.requires_grad_(False)
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        pairs = [pair for pair in pairs if pair[0] is not pair[1]]
        self._averaged = pairs
        self._copied = [*zip(self.module.buffers(), model.buffers(), strict=True)]

    @torch.no_grad()
    def update(self, decay: float | None = None) -> None:
        """Move the average towards the model's present weights: one fused operation over all of them."""
        averages, current = [a for a, _ in self._averaged], [c for _, c in self._averaged]
        torch._foreach_lerp_(averages, current, 1.0 - (self.decay if decay is None else decay))
        # Of one type at a time, which is one operation on a GPU.
        for dtype in {average.dtype for average, _ in self._copied}:
            averages, current = zip(*(pair for pair in self._copied if pair[0].dtype == dtype), strict=True)
            torch._foreach_copy_(averages, current)

    @torch.no_grad()
    def reset(self) -> None:
        """Set the average to the model's present weights."""
        for average, value in self._averaged + self._copied:
            average.copy_(value)

    @contextmanager
    def swapped_into(self, model: nn.Module | None = None):
        """Let the followed model carry the averages inside the `with` block. Nothing is copied: storages change places."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for average, value in self._averaged + self._copied:
            average.data, value.data = value.data, average.data

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages by the names of the model's weights, without those it shares with the model."""
        averaged = {id(average) for average, _ in self._averaged + self._copied}
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {name: tensor.detach() for name, tensor in named if id(tensor) in averaged}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Read what `state_dict` gave.

        Raises:
            KeyError: if names are missing or unknown.
        """
        mine = self.state_dict()
        if mine.keys() != state.keys():
            differing = sorted(mine.keys() ^ state.keys())
            raise KeyError(
                f"the averaged weights do not fit this model; {len(differing)} names differ, first {differing[0]}"
            )
        for name, tensor in mine.items():
            tensor.copy_(state[name])
