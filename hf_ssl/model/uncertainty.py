"""How uncertain a model is of its numbers: a linear layer beside the model, in a small file of its own.

Such a layer reads the same features as the head, and gives the logarithm of each number's variance. `config.json` and
`model.safetensors` know nothing of it, so that a saved model stays one that `from_pretrained` and `pipeline()` load.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.utils import cached_file

from .head import find_head

FILE = "uncertainty.safetensors"


@dataclass
class Uncertainty:
    """The standard deviations of a model's numbers, from the features that its head reads.

    Args:
        weight, bias: [K, D] and [K], of the logarithm of the variance in the square of the user's units.

    Example:
        >>> uncertainty = Uncertainty(torch.zeros(1, 2), torch.tensor([4.0]).log())
        >>> uncertainty.deviations(torch.ones(3, 2)).flatten()
        tensor([2., 2., 2.])
    """

    weight: torch.Tensor
    bias: torch.Tensor
    _read: list[torch.Tensor] = field(default_factory=list, repr=False)

    def deviations(self, features: torch.Tensor) -> torch.Tensor:
        """Standard deviations [N, K] of features [N, D], in the user's units, float32."""
        weight, bias = (part.to(features.device, torch.float32) for part in (self.weight, self.bias))
        return (nn.functional.linear(features.float(), weight, bias) / 2).exp()

    @contextmanager
    def listening(self, model: nn.Module) -> Iterator["Uncertainty"]:
        """Note the deviations of what the model is asked inside the `with` block, for `take`.

        Example:
            >>> model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1))
            >>> uncertainty = Uncertainty(torch.zeros(1, 2), torch.zeros(1))
            >>> with uncertainty.listening(model):
            ...     numbers = model(torch.randn(3, 4))
            ...     uncertainty.take().flatten()
            tensor([1., 1., 1.])
        """
        handle = find_head(model).register_forward_pre_hook(self._note)
        try:
            yield self
        finally:
            handle.remove()
            self._read.clear()

    def take(self) -> torch.Tensor:
        """The deviations [N, K] of all calls since the last time, in their order, in main memory."""
        read, self._read = self._read, []
        return torch.cat(read) if read else torch.zeros(0, len(self.bias))

    def _note(self, head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].ndim != 2:
            raise ValueError(
                "features must be [N, D] at the head to tell how uncertain a number is, got "
                f"{tuple(inputs[0].shape)}; delete {FILE} to predict the numbers alone"
            )
        with torch.no_grad():
            self._read.append(self.deviations(inputs[0]).cpu())


def save_uncertainty(folder: str | Path, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Write the layer into a model's folder, which exists; arguments as of `Uncertainty`."""
    tensors = {"weight": weight.float().cpu().contiguous(), "bias": bias.float().cpu().contiguous()}
    save_file(tensors, Path(folder, FILE), metadata={"format": "pt"})


def load_uncertainty(model: str | Path) -> Uncertainty | None:
    """What was saved beside a model; None if it does not tell how uncertain it is.

    Args:
        model: its folder or Hub id.

    Raises:
        ValueError: in one line, if the file is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_uncertainty(folder, torch.zeros(1, 2), torch.zeros(1))
        ...     load_uncertainty(folder)
        Uncertainty(weight=tensor([[0., 0.]]), bias=tensor([0.]))
    """
    path: Any = Path(model, FILE)
    if not Path(model).is_dir():
        path = cached_file(str(model), FILE, _raise_exceptions_for_missing_entries=False)
    if path is None or not Path(path).is_file():
        return None
    try:
        tensors = load_file(path)
        return Uncertainty(tensors["weight"], tensors["bias"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to predict the numbers alone") from None
