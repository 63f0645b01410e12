"""From what a dataset holds to an RGB picture of 8 bits.

    file, bytes, PIL, array --open--> any mode of Pillow --upright, 8 bits, mode of the dataset, on white--> RGB

Nothing is decoded that has more pixels than Pillow's own bound, or would have another program run. Everything that can
be wrong with a picture is a `BrokenExampleError`, so that one of them ends neither a training nor a prediction. What
is only beside the picture, such as a camera's notes, is never a reason not to show it.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..data.cells import usual_levels
from ..errors import BrokenExampleError
from ..limits import file_problem

_ORIENTATION = 0x0112
# Value of the EXIF tag -> what turns the stored picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow has Ghostscript run these.
_PROGRAMS = ("EPS",)
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
# Modes of more than 8 bits a channel; a dataset that asks for one gets gray.
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def decode_image(value: Any) -> Image.Image:
    """An RGB image from what a dataset holds, without metadata.

    It is turned as the camera's EXIF note says if that can be read, and is as stored if not. Transparent images are
    put on white; of animated ones the first frame is taken. Pixels of 16 bits are scaled to 8.

    Numbers of 32 bits, and those of arrays that are not uint8, uint16 or bool, are scaled by the levels that
    `hf_ssl.data.cells` finds in the whole dataset. A value that comes without them is taken to be in the first range
    of 0..1, -1..1, 0..255 and 0..65535 that holds all of its numbers (integers: 0..255 and 0..65535).

    Args:
        value: a PIL image; a file's bytes or path; an array or nested list [H, W] or [H, W, C] with 1, 3 or 4
            channels; or a dict with "bytes" and "path", or with "array", and what `CellFormat` adds to it.

    Raises:
        BrokenExampleError: if it cannot be read, or holds pixels that are NaN, infinite, or outside of the levels; the
            message names the file or row.

    Example:
        >>> decode_image(np.full((2, 3), 0.5)).getpixel((0, 0))
        (128, 128, 128)
        >>> decode_image({"array": np.full((2, 3), 0.5), "levels": (-1.0, 1.0)}).getpixel((0, 0))
        (191, 191, 191)
    """
    facts = value if isinstance(value, Mapping) else {"path": value} if isinstance(value, str) else {}
    name = facts.get("path") or facts.get("name") or "an image"
    try:
        image = _open(value)
        image.load()
        return _bare(_as_rgb(image, facts))
    except UnidentifiedImageError as error:
        raise BrokenExampleError(f"cannot read {name}: it is not an image of a known format") from error
    except FileNotFoundError as error:
        raise BrokenExampleError(f"cannot read {name}: there is no such file") from error
    except Exception as error:  # Pillow's readers raise almost anything if bytes are not what their header says
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BrokenExampleError(f"cannot read {name}: {reason}") from error


def open_image(source: str | bytes) -> Image.Image:
    """A file's path or bytes as an image of which only the header was read.

    Raises:
        ValueError: if it is a pipe, device, socket or folder, has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or is
            a program that draws a picture.
        Exception: almost any other that Pillow's readers raise for broken files.
    """
    if isinstance(source, str) and (problem := file_problem(source)):
        raise ValueError(f"it is {problem} and not a file")
    most = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        # Of this many pixels Pillow warns; it refuses twice as many.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(source if isinstance(source, str) else io.BytesIO(source))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            found = re.search(r"\d+", str(error))
            size = f"{int(found[0]):,}" if found else "more"
            raise ValueError(
                f"an image must have at most {most:,} pixels, got {size}; make it smaller, or set "
                "PIL.Image.MAX_IMAGE_PIXELS"
            ) from None
    if image.format in _PROGRAMS:
        raise ValueError(f"{image.format} is not a format of pictures; save it as PNG")
    return image


def _open(value: Any) -> Image.Image:
    if isinstance(value, Mapping) and value.get("array") is not None:
        return _from_array(value["array"], value)
    if isinstance(value, Mapping):
        value = value["bytes"] if value.get("bytes") is not None else value["path"]
    if isinstance(value, bytes | str):
        return open_image(value)
    return value if isinstance(value, Image.Image) else _from_array(value, {})


def _as_rgb(image: Image.Image, facts: Mapping[str, Any]) -> Image.Image:
    """Turned upright, in the mode of the dataset, on white and with three channels of 8 bits."""
    if (method := _UPRIGHT.get(_orientation(image))) is not None:
        image = image.transpose(method)
    if image.mode in _DEEP:
        levels = (0.0, 65535.0) if image.mode.startswith("I;16") else facts.get("levels")
        image = Image.fromarray(_to_8_bits(np.asarray(image), levels))
    if mode := facts.get("mode"):
        # As `datasets` does it: transparency is dropped, unless it is asked for.
        image = image.convert("L" if mode in _DEEP else mode)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF tag, 1 to 8; 1, "as stored", if there is none that can be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises almost anything for broken notes, which say nothing about the pixels
        return 1


def _bare(image: Image.Image) -> Image.Image:
    """Without metadata: whoever gets the picture would turn it again, or stumble over what is broken in them."""
    if type(image) is not Image.Image:
        image = image.copy()
    image.info = {}
    return image


def _from_array(value: Any, facts: Mapping[str, Any]) -> Image.Image:
    pixels = np.asarray(value)
    if facts.get("channels_first"):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or not pixels.size:
        raise ValueError(f"an array must be [H, W] or [H, W, C] with 1, 3 or 4 channels, got shape {pixels.shape}")
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"an array must hold numbers, got type {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8:
        types = {"bool": (0.0, 1.0), "uint16": (0.0, 65535.0)}
        pixels = _to_8_bits(pixels, facts.get("levels") or types.get(pixels.dtype.name))
    return Image.fromarray(pixels)


def _to_8_bits(pixels: np.ndarray, levels: tuple[float, float] | None) -> np.ndarray:
    """Numbers between (black, white) -> uint8; without levels those of the first usual range that holds them."""
    if not (finite := np.isfinite(pixels)).all():
        # No number could stand for them: black, white and gray are all claims about the picture.
        raise ValueError(f"{(~finite).sum():,} of {finite.size:,} numbers are NaN or infinite")
    found = levels or usual_levels([pixels])
    if found is None:
        raise ValueError("it has no pixels")
    black, white = found[:2]
    low, high = float(pixels.min()), float(pixels.max())
    if low < black or high > white:
        raise ValueError(
            f"pixels must be in {black:g}..{white:g} as in the rest of the dataset, got {low:g}..{high:g}"
        )
    if pixels.dtype.kind in "iu" and (black, white) == (0.0, 65535.0):
        return (pixels.astype(np.int64) >> 8).astype(np.uint8)
    return ((pixels.astype(np.float64) - black) * (255 / (white - black))).round().astype(np.uint8)
