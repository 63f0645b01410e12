"""A model's image processor, followed: its own call is what views without augmentation are equal to, bit for bit.

    RGB picture --the processor's call----------------------------------------> {"pixel_values": [1, C, H, W], ...}
    RGB picture --canvas: resize, crop--> uint8 [H, W, 3] --levels--> float32 [C, H, W], the same numbers

Views are augmented on the canvas: after resizing and cropping, before the numbers that the model takes. What a
processor does is found by calling it on noise of several shapes, not by reading its settings. If its call cannot be
divided like this (padding after normalization, patches of varying size, further inputs), pictures are augmented as
they are and given to the whole call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_backends import TorchvisionBackend

from .base import ModelKeywords
from .image_calls import SHAPES, called, noise
from .image_levels import Levels, find_levels
from .image_size import makes_squares

# Switches of a processor's call that decide over the numbers of pixels, and those that decide over their places.
_NUMBERS = ("do_rescale", "do_normalize", "rescale_offset", "include_top", "do_flip_channel_order")
_PLACES = ("do_resize", "do_center_crop", "do_pad")


class FollowedProcessor:
    """An image processor whose call can be made whole or, unless `canvas_size` is None, in two halves. Picklable.

    Args:
        processor: an image processor: a callable on a list of RGB pictures, with `return_tensors`.

    Attributes:
        processor: the same.
        canvas_size: (height, width) in pixels of the picture between the halves; None if the call cannot be divided.

    Raises:
        ValueError: if it cannot be followed: its call fails, or makes anything but one row of `pixel_values` per
            picture, all of one shape, the same for the same picture. One line says why.

    Example:
        >>> from transformers import CLIPImageProcessor
        >>> sizes = {"size": {"shortest_edge": 12}, "crop_size": {"height": 8, "width": 8}}
        >>> followed = FollowedProcessor(CLIPImageProcessor(**sizes))
        >>> followed.canvas_size
        (8, 8)
        >>> picture = Image.linear_gradient("L").convert("RGB")
        >>> canvas = torch.from_numpy(followed.canvas(picture).copy()).permute(2, 0, 1)
        >>> torch.equal(followed.numbers(canvas[None]), followed([picture])["pixel_values"])
        True
    """

    def __init__(self, processor: Any):
        self.processor = processor
        pictures = [noise(*shape) for shape in SHAPES]
        rows = [called(processor, [picture]) for picture in pictures]
        _check_rows(processor, rows)
        self._calls_singly = not _same_in_a_batch(processor, pictures, rows)
        self._halves = _find_halves(processor, pictures, rows)
        self.canvas_size = None if self._halves is None else self._halves.size

    def __call__(self, pictures: Sequence[Image.Image]) -> ModelKeywords:
        """What the processor makes of N RGB pictures: model keywords, each a tensor [N, ...].

        Raises:
            ValueError: if it makes rows of different shapes.
        """
        if not self._calls_singly:
            # One call, since a call for each picture costs twice as much.
            return called(self.processor, pictures)
        rows = [called(self.processor, [picture]) for picture in pictures]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def canvas(self, picture: Image.Image) -> np.ndarray:
        """An RGB picture resized and cropped: uint8 [H, W, 3]."""
        assert self._halves is not None, "canvas_size says so"
        return self._halves.canvas(picture)

    def numbers(self, canvases: torch.Tensor) -> torch.Tensor:
        """Canvases, uint8 [N, 3, H, W] of any size, as the model takes them: float32 [N, C, H, W], on their device."""
        assert self._halves is not None, "canvas_size says so"
        return self._halves.levels(canvases)

    def check(self, picture: Image.Image) -> None:
        """Divide the call no longer if the halves do not make of an RGB picture, bit for bit, what the call makes."""
        if self._halves is not None and not self._halves.agree(picture, called(self.processor, [picture])):
            self._halves = self.canvas_size = None


def _check_rows(processor: Any, rows: Sequence[ModelKeywords]) -> None:
    name, pixels = type(processor).__name__, rows[0].get("pixel_values")
    if pixels is None:
        raise ValueError(
            f"{name} must make pixel_values, got {', '.join(rows[0])}; give the image processor of an image classifier"
        )
    if not pixels.is_floating_point():
        raise ValueError(
            f"{name} must make floating-point numbers, got {str(pixels.dtype).removeprefix('torch.')}, which models "
            "do not take; switch do_rescale or do_normalize on"
        )
    if not all(bool(row["pixel_values"].isfinite().all()) for row in rows):
        raise ValueError(f"{name} must make finite numbers, got infinite ones or NaN; check its image_std")
    for key in rows[0]:
        shapes = [" x ".join(map(str, row[key].shape[1:])) for row in rows]
        if len(set(shapes)) > 1:
            way_out = "give the image processor of an image classifier"
            if makes_squares(processor):
                way_out = "set image_size, with which all of them become squares"
            raise ValueError(
                f"{name} must make {key} of one shape, got {', '.join(shapes)} for a wide, a tall and a square "
                f"picture, which cannot share a batch; {way_out}"
            )


def _same_in_a_batch(processor: Any, pictures: Sequence[Image.Image], rows: Sequence[ModelKeywords]) -> bool:
    """Whether a processor makes the same of pictures together as of each of them."""
    try:
        if _same(called(processor, pictures), rows):
            return True
    except ValueError:
        pass
    if not _same(called(processor, pictures[:1]), rows[:1]):
        raise ValueError(
            f"{type(processor).__name__} must make the same of the same picture, got other numbers in a second call; "
            "switch its random steps off, or give another image processor"
        )
    return False


def _same(batch: ModelKeywords, rows: Sequence[ModelKeywords]) -> bool:
    return set(batch) == set(rows[0]) and all(
        torch.equal(value, torch.cat([row[name] for row in rows])) for name, value in batch.items()
    )


# ---- Halves ----


@dataclass(frozen=True)
class _Halves:
    """Where a processor's call can be divided.

    Args:
        geometry: the first half: an RGB picture -> uint8 [3, H, W].
        size: H, W.
        keeps: whether it leaves pictures of this size as they are.
        levels: the second half.
    """

    geometry: Callable[[Image.Image], torch.Tensor]
    size: tuple[int, int]
    keeps: bool
    levels: Levels

    def canvas(self, picture: Image.Image) -> np.ndarray:
        if self.keeps and picture.size == self.size[::-1]:
            return np.asarray(picture)
        return self.geometry(picture).permute(1, 2, 0).numpy()

    def agree(self, picture: Image.Image, row: ModelKeywords) -> bool:
        """Whether they make of the picture what the whole call made of it."""
        canvas = torch.from_numpy(self.canvas(picture).copy()).permute(2, 0, 1)
        fits = set(row) == {"pixel_values"} and canvas.shape == (3, *self.size)
        return fits and torch.equal(self.levels(canvas[None]), row["pixel_values"])


def _find_halves(processor: Any, pictures: Sequence[Image.Image], rows: Sequence[ModelKeywords]) -> _Halves | None:
    """The halves of a call, if they make of all pictures what the whole call made of them."""
    try:
        geometry, values = (_transforms if hasattr(processor, "val_transforms") else _switched)(processor)
        canvas = geometry(pictures[0])
        if canvas.dtype != torch.uint8 or canvas.ndim != 3 or len(canvas) != 3:
            return None
        height, width = canvas.shape[1:]
        picture = noise(width, height)
        keeps = torch.equal(geometry(picture), _channels_first(picture))
        levels = find_levels(values, getattr(processor, "data_config", None) or vars(processor))
        halves = None if levels is None else _Halves(geometry, (height, width), keeps, levels)
        agreed = halves is not None and all(map(halves.agree, pictures, rows))
    except Exception:  # whatever a processor raises if only a part of its call is made
        return None
    return halves if agreed else None


def _switched(processor: Any) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]:
    """The halves of a processor of transformers: its call, with the steps of the other half switched off."""
    known = processor.valid_kwargs.__annotations__
    off = [[name for name in names if name in known] for names in (_NUMBERS, _PLACES)]
    # Most classes differ in settings alone, and place pixels by two methods, around which the call makes copies.
    usual = type(processor)._preprocess is TorchvisionBackend._preprocess
    geometry = partial(_placed, processor) if usual else partial(_call_without, processor, off[0])
    return geometry, partial(_call_without, processor, off[1])


def _placed(processor: Any, picture: Image.Image) -> torch.Tensor:
    pixels = _channels_first(picture)
    if processor.do_resize:
        pixels = processor.resize(pixels, size=processor.size, resample=processor.resample)
    return processor.center_crop(pixels, processor.crop_size) if processor.do_center_crop else pixels


def _call_without(processor: Any, steps: Sequence[str], picture: Image.Image) -> torch.Tensor:
    return processor([picture], return_tensors="pt", **dict.fromkeys(steps, False))["pixel_values"][0]


def _transforms(processor: Any) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]:
    """The halves of timm's processor: the transforms before the one that makes a tensor, and that with the rest."""
    steps = list(processor.val_transforms.transforms)
    made: Any = noise(*SHAPES[0])
    for number, step in enumerate(steps):
        made = step(made)
        if isinstance(made, torch.Tensor):
            return partial(_transformed, steps[:number]), partial(_transformed, steps[number:])
    raise TypeError("no transform makes a tensor")


def _transformed(steps: Sequence[Callable[[Any], Any]], picture: Any) -> torch.Tensor:
    for step in steps:
        picture = step(picture)
    return picture if isinstance(picture, torch.Tensor) else _channels_first(picture)


def _channels_first(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
