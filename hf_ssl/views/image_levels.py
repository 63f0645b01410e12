"""The numbers that an image processor makes of the levels 0 to 255 of a pixel, found by showing it all of them.

    ramps of 256 levels, channel by channel --the processor--> table [C, 256] --> arithmetic with the same results
    uint8 [N, 3, H, W] --levels, on the model's device--> float32 [N, C, H, W]

A pixel has 256 levels and an image three channels, so the table is all there is to know of rescaling, offsets, means,
deviations, second normalizations and the order of channels. Arithmetic is used only if it gives the table bit for bit,
since looking numbers up takes three times as long.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

_LEVELS = 256
# Operations in a row: each the name of a method that changes a tensor in place, and a number for all channels or each.
_Chain = tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Levels:
    """Turns pixels into the numbers that a model takes: uint8 [N, 3, H, W] -> float32 [N, C, H, W], on their device.

    Args:
        order: C places in 0..2: which channel of the picture each channel is made from.
        table: [C][256] numbers.
        chain: operations on float32 levels that give the table bit for bit; None if none is known.

    Example:
        >>> halved = tuple(level / 2 for level in range(256))
        >>> Levels((2,), (halved,), chain=None)(torch.tensor([7, 8, 9], dtype=torch.uint8).view(1, 3, 1, 1))
        tensor([[[[4.5000]]]])
    """

    order: tuple[int, ...]
    table: tuple[tuple[float, ...], ...]
    chain: _Chain | None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.order != (0, 1, 2):
            pixels = pixels[:, list(self.order)]
        if self.chain is not None:
            return _applied(self.chain, pixels)
        table = _kept(self.table, pixels.device).flatten()
        starts = _kept(tuple(range(0, len(table), _LEVELS)), pixels.device).int().view(-1, 1, 1)
        return table.index_select(0, (pixels + starts).flatten()).view(pixels.shape)


def find_levels(values: Callable[[Image.Image], torch.Tensor], settings: dict[str, Any]) -> Levels | None:
    """The levels of a function from an RGB picture to numbers [C, H, W].

    Args:
        values: the function.
        settings: `image_mean`, `image_std` and `rescale_factor`, or timm's `mean` and `std`: the arithmetic's numbers.

    Returns:
        None if a number depends on more than one channel of one pixel, or on none.
    """
    ramp = np.arange(_LEVELS, dtype=np.uint8).reshape(16, 16)
    made = []
    for channel in range(3):
        pixels = np.zeros((16, 16, 3), np.uint8)
        pixels[:, :, channel] = ramp
        made.append(values(Image.fromarray(pixels)).float().flatten(1))
    varies = torch.stack([numbers.amax(1) > numbers.amin(1) for numbers in made])  # [3, C]
    if made[0].shape[1] != _LEVELS or not bool((varies.sum(0) == 1).all()):
        return None
    order = tuple(varies.int().argmax(0).tolist())
    table = torch.stack([made[channel][row] for row, channel in enumerate(order)])
    levels = torch.arange(_LEVELS, dtype=torch.uint8).expand(1, len(table), 1, _LEVELS)
    equal = (chain for chain in _chains(settings, len(table)) if torch.equal(_applied(chain, levels)[0, :, 0], table))
    return Levels(order, tuple(map(tuple, table.tolist())), next(equal, None))


def _chains(settings: dict[str, Any], channels: int) -> Iterator[_Chain]:
    """The arithmetic of the usual processors."""
    factor = settings.get("rescale_factor") or 1 / 255
    yield (("mul_", (factor,)),)
    mean, deviation = (settings.get(f"image_{name}", settings.get(name)) for name in ("mean", "std"))
    if mean is None or deviation is None:
        return
    mean, deviation = (torch.tensor(value, dtype=torch.float32).expand(channels) for value in (mean, deviation))

    def normalized(scale: float) -> _Chain:
        return ("sub_", tuple((mean * scale).tolist())), ("div_", tuple((deviation * scale).tolist()))

    # transformers with torchvision folds rescaling into the normalization; with Pillow, and in timm, it comes first.
    yield normalized(1.0 / factor)
    yield ("div_", (1.0 / factor,)), *normalized(1.0)
    yield normalized(1.0)
    # EfficientNet divides by the deviations twice.
    yield *normalized(1.0 / factor), normalized(1.0)[1]


def _applied(chain: _Chain, pixels: torch.Tensor) -> torch.Tensor:
    # In place: a batch of large images takes several times as long if each operation needs new memory.
    numbers = pixels.float()
    for name, values in chain:
        # Tensors, also of one number: a GPU divides by a number of Python as if by its rounded inverse.
        getattr(numbers, name)(_kept(values, pixels.device).view(-1, 1, 1))
    return numbers


@lru_cache(maxsize=64)
def _kept(values: tuple[Any, ...], device: torch.device) -> torch.Tensor:
    # Kept: a GPU would wait for the copy in every step.
    return torch.tensor(values, device=device)
