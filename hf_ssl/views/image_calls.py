"""An image processor called, on the user's pictures or on noise, and what it may return: a row for each picture."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from .base import ModelKeywords

# Width and height of the pictures that a processor is tried on: wide, tall, square.
SHAPES = ((96, 32), (40, 80), (57, 57))


def called(processor: Any, pictures: Sequence[Image.Image]) -> ModelKeywords:
    """What a processor makes of N RGB pictures: name -> tensor [N, ...]; numbers with a fraction are float32.

    Raises:
        ValueError: if its call fails, or returns anything but a row for each picture.
    """
    name = type(processor).__name__
    try:
        made = processor(list(pictures), return_tensors="pt")
    except Exception as error:  # a processor may raise anything, for settings that do not go together
        raise ValueError(
            f"{name} must make model inputs of any picture, but its call fails: {_line(error)}; check its settings, "
            "or give another image processor"
        ) from error
    if not isinstance(made, Mapping):
        raise ValueError(
            f"{name} must make model inputs by name, got a {type(made).__name__}; give another image processor"
        )
    for key, value in made.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != len(pictures):
            shown = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
            raise ValueError(
                f"{name} must make one row of {key} per picture, got {shown} for {len(pictures)}; give the image "
                "processor of an image classifier"
            )
    return {key: value.float() if value.is_floating_point() else value for key, value in made.items()}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@lru_cache(maxsize=16)
def noise(width: int, height: int) -> Image.Image:
    """The same RGB picture of noise for the same size: whatever moves or changes a pixel is seen in it."""
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
