"""RandAugment's operations (arXiv 1909.13719), as a table with the ranges of the USB benchmark, and cutout.

    name -> OPERATIONS[name] --draw(rng)--> amount --apply(image, amount)--> image

Each operation is the benchmark's, pixel by pixel. Random numbers are drawn here and handed to deterministic functions:
the random transforms of torchvision read the global generator, whose state depends on workers, prefetching and
resuming.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional as F

CUTOUT_COLOR = (125, 123, 114)
_LEVELS = np.arange(256)


@dataclass(frozen=True)
class Operation:
    """One row of `OPERATIONS`.

    Args:
        apply: from an RGB image and an amount to the changed image.
        low, high: range of the amount, which is drawn uniformly; without a range nothing is drawn and the amount is 0.
        whole: whether amounts are whole numbers, `high` included.
        changes_colors: whether it is left out for gray or coded images.
    """

    apply: Callable[[Image.Image, float], Image.Image]
    low: float | None = None
    high: float | None = None
    whole: bool = False
    changes_colors: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """An amount."""
        if self.low is None or self.high is None:
            return 0.0
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        return float(rng.uniform(self.low, self.high))


def apply_operation(image: Image.Image, name: str, rng: np.random.Generator) -> Image.Image:
    """Apply one row of `OPERATIONS`, with an amount drawn from its range.

    Example:
        >>> gray = Image.new("RGB", (8, 8), (100, 100, 100))
        >>> apply_operation(gray, "brightness", np.random.default_rng(0)).getpixel((0, 0))
        (62, 62, 62)
    """
    operation = OPERATIONS[name]
    return operation.apply(image, operation.draw(rng))


def _identity(image: Image.Image, amount: float) -> Image.Image:
    return image


def _autocontrast(image: Image.Image, amount: float) -> Image.Image:
    return _through_tables(image, contrast_table)


def _equalize(image: Image.Image, amount: float) -> Image.Image:
    return _through_tables(image, equal_table)


def _through_tables(image: Image.Image, make_table: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    # Pillow builds these tables in Python loops, which for small images takes longer than the rest of a strong view.
    tables = [make_table(counts) for counts in np.reshape(image.histogram(), (3, 256))]
    return image.point(np.concatenate(tables).clip(0, 255).tolist())


def contrast_table(counts: np.ndarray) -> np.ndarray:
    """The table [256] that stretches the levels from the darkest to the brightest pixel to 0..255; from a histogram.

    Example:
        >>> counts = np.zeros(256, int)
        >>> counts[[100, 150]] = 7
        >>> contrast_table(counts)[[100, 125, 150]]
        array([  0, 127, 255])
    """
    (used,) = counts.nonzero()
    if len(used) < 2:
        return _LEVELS
    scale = 255.0 / (used[-1] - used[0])
    return (_LEVELS * scale - used[0] * scale).astype(np.int64)


def equal_table(counts: np.ndarray) -> np.ndarray:
    """The table [256] that makes all levels as equally frequent as it can; from a histogram [256]."""
    (used,) = counts.nonzero()
    step = int(counts.sum() - counts[used[-1]]) // 255
    if len(used) < 2 or step == 0:
        return _LEVELS
    return (step // 2 + counts.cumsum() - counts) // step


def _posterize(image: Image.Image, bits: float) -> Image.Image:
    return Image.fromarray(np.asarray(image) & np.uint8(256 - 2 ** (8 - int(bits))))


def _solarize(image: Image.Image, threshold: float) -> Image.Image:
    pixels = np.asarray(image)
    # 255 - p is p with all bits flipped.
    return Image.fromarray(pixels ^ ((pixels >= threshold) * np.uint8(255)))


def _shear_x(image: Image.Image, amount: float) -> Image.Image:
    return _affine(image, 1, amount, 0, 0, 1, 0)


def _shear_y(image: Image.Image, amount: float) -> Image.Image:
    return _affine(image, 1, 0, 0, amount, 1, 0)


def _translate_x(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, 1, 0, share * image.width, 0, 1, 0)


def _translate_y(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, 1, 0, 0, 0, 1, share * image.height)


def _affine(image: Image.Image, a: float, b: float, c: float, d: float, e: float, f: float) -> Image.Image:
    """Takes the pixel at (x, y) from (a x + b y + c, d x + e y + f), both from the top left corner; black outside."""
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f))


OPERATIONS: dict[str, Operation] = {
    "autocontrast": Operation(_autocontrast, changes_colors=True),
    "brightness": Operation(F.adjust_brightness, 0.05, 0.95),
    "color": Operation(F.adjust_saturation, 0.05, 0.95, changes_colors=True),
    "contrast": Operation(F.adjust_contrast, 0.05, 0.95, changes_colors=True),
    "equalize": Operation(_equalize),
    "identity": Operation(_identity),
    "posterize": Operation(_posterize, 4, 7, whole=True, changes_colors=True),
    "rotate": Operation(F.rotate, -30, 30),
    "sharpness": Operation(F.adjust_sharpness, 0.05, 0.95),
    "shear_x": Operation(_shear_x, -0.3, 0.3),
    "shear_y": Operation(_shear_y, -0.3, 0.3),
    "solarize": Operation(_solarize, 0, 256, changes_colors=True),
    "translate_x": Operation(_translate_x, -0.3, 0.3),
    "translate_y": Operation(_translate_y, -0.3, 0.3),
}


def cutout(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cover a square of up to half the image's side, centered anywhere, with a middle gray (arXiv 1708.04552)."""
    width, height = image.size
    side = float(rng.uniform(0, 0.5)) * min(width, height)
    x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
    left, top = round(max(0, x - side / 2)), round(max(0, y - side / 2))
    right, bottom = round(min(width, x + side / 2)), round(min(height, y + side / 2))
    image = image.copy()
    if right > left and bottom > top:
        image.paste(CUTOUT_COLOR, (left, top, right, bottom))
    return image
