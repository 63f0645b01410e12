"""What all cells of a column of images or recordings have in common, and no cell by itself tells.

    datasets.Image(mode="L")         every picture is gray
    datasets.Audio(sampling_rate=R)  every recording is heard at R Hz, whatever its file holds
    Array3D, nested lists            where the channels are, and which numbers are black and white
    lists of integers                which integer is the loudest sample

`find_format` looks at the feature, and at a few rows spread over the dataset, once; the format then goes with every
cell to the decoders. A picture cannot tell by itself: one with numbers in 0..1 may be a whole picture, or a black one
of a dataset in 0..255.
"""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import datasets
import numpy as np
from PIL import Image

from ..limits import file_problem

# Rows that are looked at to find the range of numbers.
_LOOKED_AT = 64
_ARRAYS = (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D)
_LISTS = (datasets.List, datasets.LargeList)
# (black, white): the usual ranges of floating-point numbers and of integers, the narrowest first.
FLOAT_LEVELS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
INTEGER_LEVELS = ((0.0, 255.0), (0.0, 65535.0))
# Full scale of 16, 24 and 32 bits.
FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)
_CHANNELS = (1, 3, 4)


class Levels(NamedTuple):
    """Which numbers are black and white, and whether pixels are floating-point numbers or integers."""

    black: float
    white: float
    floating: bool


@dataclass(frozen=True)
class CellFormat:
    """Adds what is known of a whole column to each of its cells.

    Args:
        facts: for images "mode", a mode of Pillow; "levels", the numbers (black, white); "channels_first". For
            recordings "heard_at", Hz; "full_scale", the integer above the loudest sample; "silence", the one of none.

    Example:
        >>> CellFormat({"mode": "L"})("a.png"), CellFormat({"full_scale": 32768.0})([0, 16384])
        ({'path': 'a.png', 'mode': 'L'}, {'array': [0, 16384], 'full_scale': 32768.0})
    """

    facts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, cell: Any, row: int | None = None) -> Any:
        """The cell as a dict with what is known of it, and its row for errors; a missing one stays None."""
        if cell is None:
            return None
        if not isinstance(cell, Mapping):
            cell = {"bytes" if isinstance(cell, bytes) else "path" if isinstance(cell, str) else "array": cell}
        named = {"name": f"row {row}"} if row is not None and not cell.get("path") else {}
        return {**cell, **self.facts, **named}


def array_depth(feature: Any) -> int:
    """How many axes the numbers of a column have: 3 for `Array3D` and for lists of lists of lists; 0 if it has none.

    Example:
        >>> array_depth(datasets.Array3D((8, 8, 3), "uint8")), array_depth(datasets.List(datasets.Value("float32")))
        (3, 1)
        >>> array_depth(datasets.Value("string"))
        0
    """
    depth, dtype = _nested(feature)
    return depth if np.dtype(dtype).kind in "biuf" else 0


def _nested(feature: Any) -> tuple[int, str]:
    """Number of axes, and the type of what is inside: the name of a NumPy type, "object" for all else."""
    if isinstance(feature, _ARRAYS):
        return len(feature.shape), feature.dtype
    if isinstance(feature, _LISTS):
        depth, dtype = _nested(feature.feature)
        return depth + 1, dtype
    dtype = getattr(feature, "dtype", "object") if isinstance(feature, datasets.Value) else "object"
    try:
        return 0, np.dtype(dtype).name
    except TypeError:
        return 0, "object"


def find_format(
    dataset: datasets.Dataset, column: str, modality: str, levels: Levels | None = None
) -> CellFormat | None:
    """The format of a column of images or recordings; None if each cell says all there is to know.

    Args:
        dataset: its feature is looked at, and some rows if that leaves something open.
        column: its name.
        modality: "image" or "audio".
        levels: those of the labeled dataset, which others must share.

    Raises:
        ValueError: for arrays that cannot be pictures, and as in `find_levels`.

    Example:
        >>> pictures = datasets.Dataset.from_dict({"image": [[[0.0, 0.5], [1.0, 0.25]]]})
        >>> find_format(pictures, "image", "image").facts
        {'levels': (0.0, 1.0)}
        >>> files = datasets.Dataset.from_dict({"image": ["a.png"]}).cast_column("image", datasets.Image(mode="L"))
        >>> find_format(files, "image", "image").facts
        {'mode': 'L'}
    """
    feature = dataset.features[column]
    if modality == "audio":
        return _sound_format(dataset, column, feature)
    facts: dict[str, Any] = {}
    if isinstance(feature, datasets.Image) and feature.mode:
        facts["mode"] = feature.mode
    depth = array_depth(feature)
    if depth == 3 and _channels_first(list(_arrays(dataset, column)), column):
        facts["channels_first"] = True
    if (fixed := _fixed_levels(feature)) is not None:
        facts["levels"] = fixed
    elif (found := find_levels(dataset, column, levels)) is not None:
        facts["levels"] = found[:2]
    return CellFormat(facts) if facts or depth else None


def stream_format(feature: Any, modality: str, levels: Levels | None = None) -> CellFormat | None:
    """As `find_format`, of a stream, of which no row is looked at: its feature and the labeled dataset say it."""
    facts: dict[str, Any] = {}
    if isinstance(feature, datasets.Audio) and feature.sampling_rate:
        facts["heard_at"] = feature.sampling_rate
    if isinstance(feature, datasets.Image) and feature.mode:
        facts["mode"] = feature.mode
    if modality == "image":
        shape = getattr(feature, "shape", None)
        if shape is not None and len(shape) == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
            facts["channels_first"] = True
        if (known := _fixed_levels(feature) or (levels and levels[:2])) is not None:
            facts["levels"] = known
    return CellFormat(facts) if facts or array_depth(feature) else None


def _sound_format(dataset: datasets.Dataset, column: str, feature: Any) -> CellFormat | None:
    facts: dict[str, Any] = {}
    if isinstance(feature, datasets.Audio) and feature.sampling_rate:
        facts["heard_at"] = feature.sampling_rate
    inner = feature.get("array") if isinstance(feature, Mapping) else feature
    depth = array_depth(inner)
    dtype = np.dtype(_nested(inner)[1]) if depth else np.dtype("float32")
    if dtype.kind in "iu":
        # int16 and smaller types say themselves what is loudest.
        bits = 8 * dtype.itemsize
        cells = (cell["array"] if isinstance(cell, Mapping) else cell for cell in _rows(dataset, column))
        facts["full_scale"] = 2.0 ** (bits - 1) if bits <= 16 else full_scale(cells)
        if dtype.kind == "u":
            facts["silence"] = facts["full_scale"]
    return CellFormat(facts) if facts else None


def full_scale(waves: Iterable[Any]) -> float:
    """2^15, 2^23 or 2^31: the narrowest range of signed samples that holds all of these integers."""
    loudest = max((float(np.abs(np.asarray(wave, dtype=np.float64)).max(initial=0)) for wave in waves), default=0.0)
    return next((scale for scale in FULL_SCALES if loudest <= scale), FULL_SCALES[-1])


# ---- Which numbers are black and white ----


def _fixed_levels(feature: Any) -> tuple[float, float] | None:
    """The levels that a type itself states: truth values, and unsigned integers of 8 and 16 bits."""
    return {"bool": (0.0, 1.0), "uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}.get(_nested(feature)[1])


def find_levels(dataset: datasets.Dataset, column: str, labeled: Levels | None = None) -> Levels | None:
    """The levels of the arrays in a column, or of its files with 32 bits a pixel; None if it has neither.

    Args:
        dataset: some of its rows are looked at.
        column: its name.
        labeled: the levels of the labeled dataset. Dark pictures of whole numbers may be in a part of them.

    Raises:
        ValueError: if the numbers are in no usual range, or in another one than those of the labeled dataset.
    """
    feature = dataset.features[column]
    if _fixed_levels(feature) is not None:
        return None
    if array_depth(feature):
        samples = list(_arrays(dataset, column))
    else:
        rows = dataset.with_format(None).select_columns([column])
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(column, datasets.Image(decode=False))
        samples = file_arrays(rows[index][column] for index in _spread(len(dataset)))
    found = usual_levels(samples, column)
    if found is None or labeled is None or found == labeled or found.floating != labeled.floating:
        return found
    if labeled.black <= found.black and found.white <= labeled.white and all(map(_is_whole, samples)):
        return labeled
    raise ValueError(
        f"column {column!r} must have pixels in {labeled.black:g}..{labeled.white:g} as in the labeled dataset, got "
        f"{found.black:g}..{found.white:g}; scale one of the two"
    )


def usual_levels(samples: Sequence[np.ndarray], column: str = "image") -> Levels | None:
    """The first usual range that holds all finite numbers of some pictures; None without any number.

    Floating-point numbers are in 0..1, -1..1, 0..255 or 0..65535, integers in 0..255 or 0..65535.

    Raises:
        ValueError: if they are in none of these.

    Example:
        >>> usual_levels([np.array([0.0, 0.5]), np.array([200.0])])
        Levels(black=0.0, white=255.0, floating=True)
    """
    finite = [pixels[np.isfinite(pixels)] for pixels in samples]
    finite = [pixels for pixels in finite if pixels.size]
    if not finite:
        return None
    low, high = min(float(pixels.min()) for pixels in finite), max(float(pixels.max()) for pixels in finite)
    floating = any(pixels.dtype.kind == "f" for pixels in finite)
    ranges = FLOAT_LEVELS if floating else INTEGER_LEVELS
    for black, white in ranges:
        if black <= low and high <= white:
            return Levels(black, white, floating)
    known = ", ".join(f"{black:g}..{white:g}" for black, white in ranges)
    raise ValueError(
        f"pixels in column {column!r} must be in one of {known}, got {low:g} to {high:g}; scale them to 0..1"
    )


def file_arrays(cells: Iterable[Any]) -> list[np.ndarray]:
    """What `find_levels` needs of the files among the cells that have 32 bits a pixel; of others, the header is read.

    Of each such file these are its least and greatest finite pixel, and one that is not a whole number, if there is
    one: the pictures themselves may be large.
    """
    found = []
    for cell in cells:
        data = cell if isinstance(cell, bytes) else cell.get("bytes") if isinstance(cell, Mapping) else None
        path = cell.get("path") if isinstance(cell, Mapping) else cell
        if data is None and file_problem(str(path)):
            continue
        try:
            with warnings.catch_warnings():
                # Decoding will refuse it.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(str(path) if data is None else io.BytesIO(data)) as image:
                    if image.mode in ("F", "I"):
                        found.append(_telling(np.asarray(image)))
        except Exception:  # Pillow raises almost anything for broken files; decoding will say which one is broken
            continue
    return found


def _telling(pixels: np.ndarray) -> np.ndarray:
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return finite
    return np.concatenate([[finite.min(), finite.max()], finite[finite != np.round(finite)][:1]]).astype(pixels.dtype)


def _is_whole(pixels: np.ndarray) -> bool:
    finite = pixels[np.isfinite(pixels)]
    return bool((finite == np.round(finite)).all())


# ---- Rows ----


def _channels_first(samples: Sequence[np.ndarray], column: str) -> bool:
    """Whether pictures are [C, H, W] and not [H, W, C]; the latter if both are possible."""
    shapes = [pixels.shape for pixels in samples if pixels.ndim == 3]
    if all(shape[2] in _CHANNELS for shape in shapes):
        return False
    if all(shape[0] in _CHANNELS for shape in shapes):
        return True
    shape = next(shape for shape in shapes if shape[2] not in _CHANNELS)
    raise ValueError(
        f"arrays in column {column!r} must be [height, width, channels] or [channels, height, width] with 1, 3 or 4 "
        f"channels, got shape {shape}; change them, or name another column as input_column"
    )


def _rows(dataset: datasets.Dataset, column: str) -> Iterable[Any]:
    """Cells spread over the dataset, as NumPy's arrays, without missing ones."""
    rows = dataset.select_columns([column]).with_format("numpy")
    return filter(_is_there, (rows[index][column] for index in _spread(len(dataset))))


def _arrays(dataset: datasets.Dataset, column: str) -> Iterable[np.ndarray]:
    """The same without cells that are no arrays of numbers, which decoding will name."""
    arrays = (np.asarray(cell) for cell in _rows(dataset, column))
    return (array for array in arrays if array.dtype.kind in "biuf")


def _is_there(cell: Any) -> bool:
    return cell is not None


def _spread(size: int) -> list[int]:
    return sorted({int(index) for index in np.linspace(0, size - 1, min(size, _LOOKED_AT))}) if size else []
