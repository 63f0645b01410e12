"""Weak and strong views of images, as in the USB benchmark (arXiv 2208.07204); torchvision does the work.

    cell --decode--> PIL, RGB --canvas, shift, flip--> weak --operations, cutout--> strong    uint8 [3, H, W]
                                                           \\-quarter turns--> rotated
    stack: uint8 [N, 3, H, W] --finish, on the model's device--> {"pixel_values": float32, normalized}

The canvas is what the model's own processor resizes and crops, and the numbers at the end are the processor's: without
augmentation a view is what its call returns, bit for bit (see `image_processor.py`). Every random number is drawn from
the example's own generator.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from .base import ModelKeywords, Row, Views
from .image_decoding import decode_image
from .image_operations import OPERATIONS, apply_operation, cutout
from .image_processor import FollowedProcessor
from .image_size import sized

_GRAY = (128, 128, 128)


class ImageViews(Views):
    """Views of an image column as uint8 tensors [3, H, W], turned into the model's numbers when they are stacked.

    Weak: resized and cropped by the processor, shifted by up to (1 - crop_ratio) of the sides with mirrored borders,
    flipped. Strong: the same geometry, then `strong_operations` RandAugment operations drawn with replacement, then
    cutout. Medium: strong with half of the operations, rounded up, and without cutout. Rotated: weak, then turned by a
    random number of quarter turns.

    If the processor cannot be divided into resizing and normalizing, items are PIL images: the same changes are made
    to the picture as it is, and the processor's whole call follows when items are stacked.

    Args:
        processor: the model's image processor.
        column: name of the image column.
        size: side in pixels of the squares that it shall make, instead of its own size.
        crop_ratio: share of the sides that a crop keeps at least, in (0, 1].
        horizontal_flip, vertical_flip: mirror with probability 1/2.
        strong_operations: number of operations of a strong view.
        color_operations: whether operations that change colors are among them.

    Attributes:
        processor: the given one, or its copy of another size.

    Raises:
        ValueError: if the processor cannot be followed, or not be set to `size`; one line says why.

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
        self.followed = FollowedProcessor(processor if size is None else sized(processor, size))
        self.processor, self.column = self.followed.processor, column
        self.crop_ratio = crop_ratio
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.strong_operations = strong_operations
        rows = OPERATIONS.items()
        # Sorted, since random numbers choose among them by position.
        self.operations = tuple(sorted(name for name, row in rows if color_operations or not row.changes_colors))

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        """A view of a row: a uint8 tensor [3, H, W] or a PIL image; for "rotated" also its quarter turns, 0 to 3."""
        pixels = self._weak(decode_image(row[self.column]), rng)
        if kind in ("medium", "strong"):
            image = Image.fromarray(pixels)
            count = self.strong_operations if kind == "strong" else self.medium_operations
            for number in rng.integers(len(self.operations), size=count):
                image = apply_operation(image, self.operations[int(number)], rng)
            pixels = np.array(cutout(image, rng) if kind == "strong" else image)
        elif kind == "rotated":
            turns = int(rng.integers(4))
            return self._item(np.rot90(pixels, turns)), turns
        elif kind != "weak":
            raise ValueError(f"unknown kind of view {kind!r}; images have weak, medium, strong and rotated")
        return self._item(pixels)

    @property
    def medium_operations(self) -> int:
        """Operations of a medium view."""
        return (self.strong_operations + 1) // 2

    def _weak(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Resized and cropped (if that comes first), shifted and flipped pixels [H, W, 3]."""
        pixels = np.asarray(image) if self.followed.canvas_size is None else self.followed.canvas(image)
        limits = [int(side * (1 - self.crop_ratio)) for side in pixels.shape[:2]]
        down, right = (int(rng.integers(-limit, limit + 1)) for limit in limits)
        flips = rng.random(2) < 0.5
        pixels = shifted(shifted(pixels, down).swapaxes(0, 1), right).swapaxes(0, 1)
        if self.vertical_flip and flips[1]:
            pixels = pixels[::-1]
        if self.horizontal_flip and flips[0]:
            pixels = pixels[:, ::-1]
        return pixels

    def _item(self, pixels: np.ndarray) -> torch.Tensor | Image.Image:
        if self.followed.canvas_size is None:
            return Image.fromarray(np.ascontiguousarray(pixels))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def of_size(self, side: int) -> "ImageViews":
        """The same views as squares of `side` pixels.

        Raises:
            ValueError: if no setting of the processor makes them.
        """
        other = copy.copy(self)
        other.followed = FollowedProcessor(sized(self.processor, side))
        other.processor = other.followed.processor
        return other

    def evaluation(self, row: Row) -> Image.Image:
        """The image itself, RGB; `collate` shows it to the model as `transformers.pipeline` would, batch by batch."""
        return decode_image(row[self.column])

    def check(self, row: Row) -> None:
        """Compare a view without augmentation with what the processor makes; use its whole call if they differ."""
        self.followed.check(decode_image(row[self.column]))

    def example(self, row: Row) -> dict[str, Any]:
        """The row with its image decoded: PIL, RGB."""
        return {**row, self.column: decode_image(row[self.column])}

    def content_free(self, row: Row) -> Image.Image:
        """A gray image as large as that of the row."""
        return Image.new("RGB", decode_image(row[self.column]).size, _GRAY)

    def accept(self, value: Any) -> Any:
        """An item from a PIL image or array [H, W, 3], by the model's processor, or a tensor [3, H, W], as it is."""
        if isinstance(value, torch.Tensor):
            if value.ndim != 3 or not (value.is_floating_point() or value.dtype == torch.uint8):
                raise TypeError("a tensor must be [3, H, W], of uint8 or normalized floating-point numbers")
            if value.dtype == torch.uint8 and self.followed.canvas_size is None:
                raise TypeError("its processor takes images only; return a PIL image")
            return value
        if not isinstance(value, Image.Image | np.ndarray):
            raise TypeError("expected a PIL image, an array [H, W, 3], a tensor [3, H, W] or a dict with pixel_values")
        made = self.followed([decode_image(value)])
        # Further inputs of the model belong to the item.
        return made["pixel_values"][0] if len(made) == 1 else {name: rows[0] for name, rows in made.items()}

    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        """Views -> {"pixel_values": float32 [N, C, H, W]}, as the processor makes it, and its further model inputs."""
        return self.finish(self.stack(items))

    def stack(self, items: Sequence[Any]) -> ModelKeywords:
        """The first half of `collate`: {"pixel_bytes": uint8 [N, 3, H, W]}, or model inputs that are ready."""
        if isinstance(items[0], Image.Image):
            return self.followed(items)
        if isinstance(items[0], Mapping):
            return {name: torch.stack([item[name] for item in items]) for name in items[0]}
        pixels = torch.stack(list(items))
        return {"pixel_bytes" if pixels.dtype == torch.uint8 else "pixel_values": pixels}

    def finish(self, view: ModelKeywords) -> ModelKeywords:
        """The second half, on the device that the bytes were sent to: they are a quarter of the size of floats."""
        return {"pixel_values": self.followed.numbers(view["pixel_bytes"])} if "pixel_bytes" in view else view

    def problem(self, kind: str) -> str | None:
        """Why there is no view of this kind and what to do, in one line; None if there is one."""
        size = self.followed.canvas_size
        if kind != "rotated" or size is None or size[0] == size[1]:
            return None
        return (
            f"the processor must make squares for rotated views, got {size[1]} x {size[0]} pixels; set image_size, or "
            "rotation_weight=0 in algorithm_kwargs, which leaves them out"
        )

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does, for the log and the model card."""
        flips = [name for name, on in (("left-right", self.horizontal_flip), ("top-bottom", self.vertical_flip)) if on]
        if self.followed.canvas_size is None:
            weak = f"shifted by up to {1 - self.crop_ratio:.3g} of the sides"
        else:
            height, width = self.followed.canvas_size
            shifts = {int(side * (1 - self.crop_ratio)): None for side in (width, height)}
            weak = f"{width} x {height} pixels, shifted by up to {' and '.join(map(str, shifts))}"
        weak += f", flipped {' and '.join(flips)} at random" if flips else ", not flipped"
        if self.followed.canvas_size is None:
            weak += f", then as {type(self.processor).__name__} makes it"
        strong = (
            f"weak, then {self.strong_operations} RandAugment operations out of {len(self.operations)}, then cutout"
        )
        medium = f"weak, then {self.medium_operations} of these operations, without cutout"
        turned = "weak, then turned by 0, 90, 180 or 270 degrees"
        return {"weak": weak, "medium": medium, "strong": strong, "rotated": turned}


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
