"""Weak and strong views of images, as in the USB benchmark (arXiv 2208.07204); torchvision does the work.

    cell --decode--> PIL, RGB --resize, shift, flip--> weak --operations, cutout--> strong    uint8 [3, size, size]
                                                           \\-quarter turns--> rotated
    stack: uint8 [N, 3, size, size] --finish, on the model's device--> {"pixel_values": float32, normalized}

Every random number is drawn from the example's own generator.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from .base import ModelKeywords, Row, Views
from .image_decoding import decode_image
from .image_operations import OPERATIONS, apply_operation, cutout


class ImageViews(Views):
    """Views of an image column as uint8 tensors [3, size, size], normalized when they are stacked.

    Weak: resize, shift by up to (1 - crop_ratio) of the side with mirrored borders, flip. Strong: the same geometry,
    then `strong_operations` RandAugment operations drawn with replacement, then cutout. Rotated: weak, then turned by
    a random number of quarter turns.

    Args:
        processor: the model's image processor: it gives size, mean and standard deviation, and makes the evaluation
            view.
        column: name of the image column.
        size: side in pixels, instead of the processor's.
        crop_ratio: share of the side that a crop keeps at least, in (0, 1].
        horizontal_flip, vertical_flip: mirror with probability 1/2.
        strong_operations: number of operations of a strong view.
        color_operations: whether operations that change colors are among them.

    Raises:
        ValueError: if there is no `size` and the processor states none.

    Example:
        >>> from transformers import ViTImageProcessor
        >>> views = ImageViews(ViTImageProcessor(size={"height": 32, "width": 32}))
        >>> row = {"image": Image.new("RGB", (40, 30), "red")}
        >>> items = [views(kind, row, np.random.default_rng(0)) for kind in ("weak", "strong")]
        >>> {name: tuple(tensor.shape) for name, tensor in views.collate(items).items()}
        {'pixel_values': (2, 3, 32, 32)}
    """

    modality = "image"
    shares_decoding = True

    def __init__(
        self,
        processor: Any,
        column: str = "image",
        *,
        size: int | None = None,
        crop_ratio: float = 0.875,
        horizontal_flip: bool = True,
        vertical_flip: bool = False,
        strong_operations: int = 3,
        color_operations: bool = True,
    ):
        self.processor, self.column = processor, column
        self.size = size or processor_size(processor)
        self.padding = int(self.size * (1 - crop_ratio))
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.strong_operations = strong_operations
        rows = OPERATIONS.items()
        # Sorted, since random numbers choose among them by position.
        self.operations = tuple(sorted(name for name, row in rows if color_operations or not row.changes_colors))
        normalize = getattr(processor, "do_normalize", True)
        self.mean = list(processor.image_mean) if normalize and processor.image_mean else [0.0, 0.0, 0.0]
        self.std = list(processor.image_std) if normalize and processor.image_std else [1.0, 1.0, 1.0]

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> torch.Tensor | tuple[torch.Tensor, int]:
        """A view of a row: a uint8 tensor [3, size, size]; for "rotated" the tensor and its quarter turns, 0 to 3."""
        pixels = self._weak(decode_image(row[self.column]), rng)
        if kind == "strong":
            image = Image.fromarray(pixels)
            for number in rng.integers(len(self.operations), size=self.strong_operations):
                image = apply_operation(image, self.operations[int(number)], rng)
            pixels = np.array(cutout(image, rng))
        elif kind == "rotated":
            turns = int(rng.integers(4))
            return _to_tensor(np.rot90(pixels, turns)), turns
        elif kind != "weak":
            raise ValueError(f"unknown kind of view {kind!r}; images have weak, strong and rotated")
        return _to_tensor(pixels)

    def _weak(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Resized, shifted and flipped pixels [size, size, 3]."""
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        shifts = rng.integers(-self.padding, self.padding + 1, size=2)
        flips = rng.random(2) < 0.5
        pixels = shifted(shifted(np.asarray(image), int(shifts[0])).swapaxes(0, 1), int(shifts[1])).swapaxes(0, 1)
        if self.vertical_flip and flips[1]:
            pixels = pixels[::-1]
        if self.horizontal_flip and flips[0]:
            pixels = pixels[:, ::-1]
        return pixels

    def evaluation(self, row: Row) -> Image.Image:
        """The image itself, RGB; `collate` shows it to the model as `transformers.pipeline` would, batch by batch."""
        return decode_image(row[self.column])

    def example(self, row: Row) -> dict[str, Any]:
        """The row with its image decoded: PIL, RGB."""
        return {**row, self.column: decode_image(row[self.column])}

    def accept(self, value: Any) -> torch.Tensor:
        """An item from a PIL image or array [H, W, 3], by the model's processor, or a tensor [3, H, W], as it is."""
        if isinstance(value, torch.Tensor):
            if value.ndim != 3 or not (value.is_floating_point() or value.dtype == torch.uint8):
                raise TypeError("a tensor must be [3, H, W], of uint8 or normalized floating-point numbers")
            return value
        if not isinstance(value, Image.Image | np.ndarray):
            raise TypeError("expected a PIL image, an array [H, W, 3], a tensor [3, H, W] or a dict with pixel_values")
        return self.processor(decode_image(value), return_tensors="pt")["pixel_values"][0]

    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        """Views -> {"pixel_values": float32 [N, 3, H, W]}, normalized as the processor does it.

        Images are processed by the model's processor in one call, since a call for each image costs twice as much.
        """
        if isinstance(items[0], Image.Image):
            return {"pixel_values": self.processor(list(items), return_tensors="pt")["pixel_values"]}
        return self.finish(self.stack(items))

    def stack(self, items: Sequence[torch.Tensor]) -> ModelKeywords:
        """The first half of `collate`: {"pixel_bytes": uint8 [N, 3, H, W]}, or "pixel_values" of other numbers."""
        pixels = torch.stack(list(items))
        return {"pixel_bytes" if pixels.dtype == torch.uint8 else "pixel_values": pixels}

    def finish(self, view: ModelKeywords) -> ModelKeywords:
        """The second half, on the device that the bytes were sent to: they are a quarter of the size of floats."""
        if "pixel_bytes" not in view:
            return view
        pixels = view["pixel_bytes"]
        mean, std = _channels(tuple(self.mean), pixels.device), _channels(tuple(self.std), pixels.device)
        # In place: a batch of large images takes several times as long if each operation needs new memory.
        return {"pixel_values": pixels.float().div_(255).sub_(mean).div_(std)}

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does, for the log and the model card."""
        flips = [name for name, on in (("left-right", self.horizontal_flip), ("top-bottom", self.vertical_flip)) if on]
        weak = f"{self.size} x {self.size} pixels, shifted by up to {self.padding}"
        weak += f", flipped {' and '.join(flips)} at random" if flips else ", not flipped"
        strong = (
            f"weak, then {self.strong_operations} RandAugment operations out of {len(self.operations)}, then cutout"
        )
        return {"weak": weak, "strong": strong, "rotated": "weak, then turned by 0, 90, 180 or 270 degrees"}


def shifted(pixels: np.ndarray, shift: int) -> np.ndarray:
    """Row i becomes row i + shift, |shift| < rows; rows outside are mirrored at the border: -1 is 1, n is n - 2."""
    size = len(pixels)
    if shift == 0 or size == 1:
        return pixels
    result = np.empty_like(pixels)
    if shift > 0:
        result[: size - shift] = pixels[shift:]
        result[size - shift :] = pixels[size - 1 - shift : size - 1][::-1]
    else:
        result[-shift:] = pixels[:shift]
        result[:-shift] = pixels[1 : 1 - shift][::-1]
    return result


@lru_cache(maxsize=16)
def _channels(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    # Kept: a GPU would wait for the copy in every step.
    return torch.tensor(values, device=device).view(-1, 1, 1)


def _to_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def processor_size(processor: Any) -> int:
    """Side in pixels of the square that an image processor makes.

    Raises:
        ValueError: if it states none.

    Example:
        >>> from transformers import ViTImageProcessor
        >>> processor_size(ViTImageProcessor(size={"height": 48, "width": 48}))
        48
    """
    for size in (
        getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None,
        getattr(processor, "size", None),
    ):
        if size is None:
            continue
        size = {"": size} if isinstance(size, int) else dict(size)
        for key in ("", "height", "shortest_edge"):
            if size.get(key):
                return int(size[key])
    raise ValueError(f"{type(processor).__name__} states no image size; set image_size")
