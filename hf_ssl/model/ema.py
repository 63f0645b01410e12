"""The exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from .wrapping import unwrap


class ModelEma:
    """Keeps `decay * average + (1 - decay) * model` of every weight, updated once after each optimizer step.

    `module` is a copy of the model that holds the averages: the teacher of algorithms that have one, and what is
    evaluated and saved (by `swapped_into`) if the average is used for evaluation.

    Args:
        model: the model to follow, not wrapped; the average starts as its copy.
        decay: in [0, 1); 0.999 remembers about the last 1,000 steps.

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

    def __init__(self, model: nn.Module, decay: float):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}; 0.999 is usual")
        self.decay = decay
        self._followed = unwrap(model)
        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.module = deepcopy(model, memo=frozen)
        self.module.requires_grad_(False)
        # Pairs of (average, followed).
        pairs: list[tuple[torch.Tensor, torch.Tensor]]
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        self._averaged = [pair for pair in pairs if pair[0] is not pair[1]]
        self._copied = [*zip(self.module.buffers(), model.buffers(), strict=True)]

    @torch.no_grad()
    def update(self, decay: float | None = None) -> None:
        """Move the average towards the model's present weights: one fused operation over all of them.

        Args:
            decay: in [0, 1), for this update only; None means that of the constructor.
        """
        averages, current = [a for a, _ in self._averaged], [c for _, c in self._averaged]
        torch._foreach_lerp_(averages, current, 1.0 - (self.decay if decay is None else decay))
        # Of one type at a time, which is one operation on a GPU.
        for dtype in {average.dtype for average, _ in self._copied}:
            copied = [pair for pair in self._copied if pair[0].dtype == dtype]
            torch._foreach_copy_([a for a, _ in copied], [c for _, c in copied])

    @torch.no_grad()
    def reset(self) -> None:
        """Set the average to the model's present weights."""
        for average, value in self._averaged + self._copied:
            average.copy_(value)

    @contextmanager
    def swapped_into(self, model: nn.Module | None = None) -> Iterator[None]:
        """Let the followed model have the averages as its weights inside the `with` block, and `module` the weights.

        Nothing is copied: storages change places.

        Args:
            model: the followed model, which may be named to make the call readable.

        Raises:
            ValueError: for another model.
        """
        if model is not None and unwrap(model) is not self._followed:
            raise ValueError("model must be the model that is followed, got another; leave it out")
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for average, value in self._averaged + self._copied:
            average.data, value.data = value.data, average.data

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages by the names of the model's weights, without the weights that are shared with the model."""
        averaged = {id(average) for average, _ in self._averaged + self._copied}
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {name: tensor.detach() for name, tensor in named if id(tensor) in averaged}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the averages that `state_dict` returned.

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
