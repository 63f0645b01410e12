"""Weak and strong views of images, as in the USB benchmark (arXiv 2208.07204); torchvision does the work.

Every random number is drawn here, from the example's own generator, and handed to torchvision's deterministic functions:
its random transforms read the global generator, whose state depends on workers, prefetching and resuming.
"""

import io
import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2 import functional as F

from ..errors import BrokenExampleError

CUTOUT_COLOR = (125, 123, 114)
_ORIENTATION = 0x0112
_LEVELS = np.arange(256)

_GEOMETRIC = (
    "equalize",
    "identity",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "brightness",
    "sharpness",
)
_COLOR = ("autocontrast", "color", "contrast", "posterize", "solarize")


def decode_image(value: Any) -> Image.Image:
    """An RGB image from what a dataset holds: a PIL image, {"bytes", "path"}, a path, or an array [H, W] or [H, W, C].

    It is turned as the camera's EXIF note says. Transparent images are laid on white. 16-bit grey is scaled to 8 bits, and
    so are floating-point numbers in 0..1.

    Raises:
        BrokenExampleError: if it cannot be read; the message names the file.
    """
    name = "an image"
    try:
        if isinstance(value, Mapping):
            name = value.get("path") or name
            value = Image.open(io.BytesIO(value["bytes"]) if value.get("bytes") is not None else value["path"])
        elif isinstance(value, str):
            name = value
            value = Image.open(value)
        elif not isinstance(value, Image.Image):
            value = _from_array(np.asarray(value))
        value.load()
    except UnidentifiedImageError as error:
        raise BrokenExampleError(f"cannot read {name}: it is no image of a known format") from error
    except FileNotFoundError as error:
        raise BrokenExampleError(f"cannot read {name}: there is no such file") from error
    except (
        OSError,
        TypeError,
        ValueError,
        AttributeError,
        SyntaxError,
        EOFError,
        IndexError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        # What Pillow's readers raise when the bytes are not what their header says.
        raise BrokenExampleError(f"cannot read {name}: {' '.join(str(error).split())}") from error
    if value.getexif().get(_ORIENTATION, 1) != 1:
        value = ImageOps.exif_transpose(value)
    if value.mode.startswith("I;16") or value.mode in ("I", "F"):
        value = Image.fromarray(_to_8_bits(np.asarray(value), value.mode))
    if value.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in value.info:
        value = value.convert("RGBA")
        white = Image.new("RGBA", value.size, "white")
        value = Image.alpha_composite(white, value)
    return value if value.mode == "RGB" else value.convert("RGB")


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = _to_8_bits(pixels, "F")
    return Image.fromarray(pixels)


def _to_8_bits(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Grey of 16 bits, integers or floating-point numbers -> uint8."""
    if mode == "F":
        scale = 255 if pixels.max() <= 1 else 1
        return (np.nan_to_num(pixels) * scale).round().clip(0, 255).astype(np.uint8)
    pixels = pixels.astype(np.int64)
    # 32-bit integers may hold 8-bit values.
    shift = 8 if mode != "I" or pixels.max() > 255 else 0
    return (pixels >> shift).clip(0, 255).astype(np.uint8)


def apply_operation(image: Image.Image, name: str, rng: np.random.Generator) -> Image.Image:
    """One RandAugment operation (arXiv 1909.13719) with a magnitude drawn uniformly from USB's range for it."""
    if name == "identity":
        return image
    if name in ("autocontrast", "equalize"):
        make = contrast_table if name == "autocontrast" else equal_table
        # Pillow makes these tables in Python loops, which for small images takes longer than the rest of a strong view.
        tables = [make(counts) for counts in np.reshape(image.histogram(), (3, 256))]
        return image.point(np.concatenate(tables).clip(0, 255).tolist())
    if name == "posterize":
        return Image.fromarray(np.asarray(image) & np.uint8(256 - 2 ** (8 - int(rng.integers(4, 9)))))
    if name == "solarize":
        pixels = np.asarray(image)
        # 255 - p is p with all bits flipped.
        return Image.fromarray(pixels ^ ((pixels >= rng.uniform(0, 256)) * np.uint8(255)))
    if name in ("brightness", "color", "contrast", "sharpness"):
        adjust = {
            "brightness": F.adjust_brightness,
            "color": F.adjust_saturation,
            "contrast": F.adjust_contrast,
            "sharpness": F.adjust_sharpness,
        }[name]
        return adjust(image, float(rng.uniform(0.05, 0.95)))
    if name == "rotate":
        return F.rotate(image, float(rng.uniform(-30, 30)))
    amount = float(rng.uniform(-0.3, 0.3))
    degrees = math.degrees(math.atan(amount))
    width, height = image.size
    translate = [0, 0]
    shear = [0.0, 0.0]
    if name == "shear_x":
        shear = [degrees, 0.0]
    elif name == "shear_y":
        shear = [0.0, degrees]
    elif name == "translate_x":
        translate = [round(amount * width), 0]
    else:
        translate = [0, round(amount * height)]
    return F.affine(image, angle=0.0, translate=translate, scale=1.0, shear=shear)


def contrast_table(counts: np.ndarray) -> np.ndarray:
    """The table that stretches the levels between the darkest and the brightest pixel to 0..255, from a histogram [256]."""
    (used,) = counts.nonzero()
    if len(used) < 2:
        return _LEVELS
    scale = 255.0 / (used[-1] - used[0])
    return (_LEVELS * scale - used[0] * scale).astype(np.int64)


def equal_table(counts: np.ndarray) -> np.ndarray:
    """The table that makes all levels equally frequent, as far as it can, from a histogram [256]."""
    (used,) = counts.nonzero()
    step = int(counts.sum() - counts[used[-1]]) // 255
    if len(used) < 2 or step == 0:
        return _LEVELS
    return (step // 2 + counts.cumsum() - counts) // step


def cutout(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cover a square of side up to half the image, centred anywhere, with a middle grey (arXiv 1708.04552)."""
    width, height = image.size
    side = float(rng.uniform(0, 0.5)) * min(width, height)
    x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
    left, top = round(max(0, x - side / 2)), round(max(0, y - side / 2))
    right, bottom = round(min(width, x + side / 2)), round(min(height, y + side / 2))
    image = image.copy()
    if right > left and bottom > top:
        image.paste(CUTOUT_COLOR, (left, top, right, bottom))
    return image


class ImageViews:
    """Views of an image column as uint8 tensors [3, size, size], normalised when they are stacked.

    weak: resize, shift by up to (1 - crop_ratio) of the side with mirrored borders, flip. strong: the same geometry, then
    `strong_operations` RandAugment operations drawn with replacement, then cutout. rotated: weak, then turned by a random
    number of quarter turns.

    Args:
        processor: the model's image processor: it gives size, mean and standard deviation, and makes the evaluation view.
        column: name of the image column.
        size: side in pixels, instead of the processor's.
        crop_ratio: in (0, 1].
        horizontal_flip, vertical_flip: mirror with probability 1/2.
        strong_operations: number of operations of a strong view.
        color_operations: whether operations that change colours are among them.
    """

    modality = "image"
    shares_decoding = True

    def __init__(
        self,
        processor,
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
        self.operations = tuple(sorted(_GEOMETRIC + (_COLOR if color_operations else ())))
        normalise = getattr(processor, "do_normalize", True)
        self.mean = list(processor.image_mean) if normalise and processor.image_mean else [0.0, 0.0, 0.0]
        self.std = list(processor.image_std) if normalise and processor.image_std else [1.0, 1.0, 1.0]

    def __call__(self, kind: str, row: Mapping[str, Any], rng: np.random.Generator):
        """The view of a row: a uint8 tensor [3, size, size]; for "rotated" the tensor and its quarter turns, 0 to 3."""
        pixels = self._weak(decode_image(row[self.column]), rng)
        if kind == "strong":
            image = Image.fromarray(pixels)
            for number in rng.integers(len(self.operations), size=self.strong_operations):
                image = apply_operation(image, self.operations[number], rng)
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

    def evaluation(self, row: Mapping[str, Any]) -> Image.Image:
        """The image itself, RGB; `collate` shows it to the model as `transformers.pipeline` would, a batch at a time."""
        return decode_image(row[self.column])

    def example(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its image decoded: PIL, RGB."""
        return {**row, self.column: decode_image(row[self.column])}

    def accept(self, value: Any) -> torch.Tensor:
        """An item of a PIL image or array [H, W, 3], by the model's processor, or of a tensor [3, H, W], as it is."""
        if isinstance(value, torch.Tensor):
            if value.ndim != 3 or not (value.is_floating_point() or value.dtype == torch.uint8):
                raise TypeError("a tensor must be [3, H, W], of uint8 or normalised floating-point numbers")
            return value
        if not isinstance(value, Image.Image | np.ndarray):
            raise TypeError(
                "a PIL image, an array [H, W, 3], a tensor [3, H, W] or a dict with pixel_values is needed"
            )
        return self.processor(decode_image(value), return_tensors="pt")["pixel_values"][0]

    def collate(self, items: list[torch.Tensor | Image.Image]) -> dict[str, torch.Tensor]:
        """Views -> {"pixel_values": float32 [N, 3, H, W]}, normalised with the processor's mean and standard deviation.

        Images are processed as the model's processor does it, which is called once: a call for each image costs twice as much.
        """
        if isinstance(items[0], Image.Image):
            return {"pixel_values": self.processor(list(items), return_tensors="pt")["pixel_values"]}
        return self.finish(self.stack(items))

    def stack(self, items: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The first half of `collate`: {"pixel_bytes": uint8 [N, 3, H, W]}, or "pixel_values" of items that are no bytes."""
        pixels = torch.stack(items)
        return {"pixel_bytes" if pixels.dtype == torch.uint8 else "pixel_values": pixels}

    def finish(self, view: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The second half, on whichever device the bytes are by then: a quarter of the numbers' size had to go there."""
        if "pixel_bytes" not in view:
            return view
        pixels = view["pixel_bytes"]
        mean, std = _channels(tuple(self.mean), pixels.device), _channels(tuple(self.std), pixels.device)
        # In place: a batch of large images takes several times as long where each operation needs new memory.
        return {"pixel_values": pixels.float().div_(255).sub_(mean).div_(std)}

    def describe(self) -> dict[str, str]:
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


def processor_size(processor) -> int:
    """Side of the square that an image processor makes.

    Raises:
        ValueError: if it states none.
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
