"""Layers that a model leaves out at random while it trains (LayerDrop, arXiv 1909.11556)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class LayerDrop:
    """The probabilities with which a model leaves out layers, and a switch for them.

    wav2vec2, HuBERT, WavLM and other speech encoders of transformers skip each layer with the probability `layerdrop`
    (0.1 by default) in each forward pass of a training. They read it from their `config`, or keep it themselves.

    Args:
        model: not wrapped.

    Attributes:
        rate: the largest of the probabilities, in [0, 1]; 0 if no layer is left out.

    Example:
        >>> from transformers import Wav2Vec2Config
        >>> model = nn.Linear(2, 2)
        >>> model.config = Wav2Vec2Config(layerdrop=0.1)
        >>> layerdrop = LayerDrop(model)
        >>> with layerdrop.switched(on=False):
        ...     model.config.layerdrop
        0.0
        >>> layerdrop.rate, model.config.layerdrop
        (0.1, 0.1)
    """

    def __init__(self, model: nn.Module):
        # Modules share configurations.
        holders: dict[int, Any] = {}
        for module in model.modules():
            for holder in (module, getattr(module, "config", None)):
                holders[id(holder)] = holder
        self._places = [
            (holder, name, value)
            for holder in holders.values()
            for name, value in getattr(holder, "__dict__", {}).items()
            if name.endswith("layerdrop") and isinstance(value, float) and value > 0
        ]
        self.rate = max((value for _, _, value in self._places), default=0.0)

    @contextmanager
    def switched(self, *, on: bool) -> Iterator[None]:
        """Let layers be left out inside the `with` block, or not; then as before."""
        before = [getattr(holder, name) for holder, name, _ in self._places]
        for holder, name, value in self._places:
            setattr(holder, name, value if on else 0.0)
        try:
            yield
        finally:
            for (holder, name, _), value in zip(self._places, before, strict=True):
                setattr(holder, name, value)
