"""Labeled and test files are opened before training, as far as their headers: a broken one is named at the start.

existence            of every file of labels, test and, with on_broken_file="error", pool    (`rows.missing_file`)
headers, no content  of labels and test, for at most `SECONDS`; of files stored in their rows, if they are small
the whole file       when a batch needs it; a pool has others in its place, labels and test end the run
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

# Longest look at the headers of a dataset. A local disk gives some 10,000 files in that time.
SECONDS = 20.0
_ROWS = 1_000
# A file that is stored in its row is looked at if it has fewer bytes: broken and empty ones are often small.
_FEW_BYTES = 4_096


def unreadable(dataset: datasets.Dataset, column: str, modality: str, seconds: float = SECONDS) -> str | None:
    """The first row whose file cannot be read or is empty, and why; None if no such file was found in time.

    Args:
        dataset: with files that are not decoded.
        column: of images or recordings: paths, or structures of "bytes" and "path", or of "array".
        modality: "image" or "audio".
        seconds: when to end the search.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/cat.png"
        >>> _ = open(path, "w").write("no picture")
        >>> unreadable(datasets.Dataset.from_dict({"image": [path]}), "image", "image")  # doctest: +ELLIPSIS
        'row 0 (...cat.png): it is not an image of a known format'
    """
    look = _image_problem if modality == "image" else _audio_problem()
    end = time.monotonic() + seconds
    for row, name, source in _files(dataset, column):
        if (problem := _problem(source, look)) is not None:
            return f"row {row}{f' ({name})' if name else ''}: {problem}"
        if time.monotonic() > end:
            return None
    return None


def _files(dataset: datasets.Dataset, column: str) -> Iterator[tuple[int, str | None, str | bytes | None]]:
    """Row, name of the file, and its path, or its bytes if there are few; None for what is not looked at."""
    cells = dataset.with_format(None).select_columns([column]).with_format("arrow")
    start = 0
    for table in cells.iter(_ROWS):
        for row, (name, source) in enumerate(_sources(table[column]), start):
            yield row, name, source
        start += len(table)


def _sources(cells: pa.ChunkedArray) -> list[tuple[str | None, str | bytes | None]]:
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        return [(path, path) for path in cells.to_pylist()]
    names = {field.name for field in cells.type} if pa.types.is_struct(cells.type) else set()
    if "array" in names:
        lengths = pc.list_value_length(pc.struct_field(cells, "array")).to_pylist()
        return [(None, b"" if length == 0 else None) for length in lengths]
    if not {"bytes", "path"} <= names:
        return [(None, None)] * len(cells)
    stored = pc.struct_field(cells, "bytes")
    lengths = pc.binary_length(stored)
    few = pc.if_else(pc.less(lengths, _FEW_BYTES), stored, None).to_pylist()
    paths = pc.struct_field(cells, "path").to_pylist()
    return [
        (path, path if length is None else content)
        for path, length, content in zip(paths, lengths.to_pylist(), few, strict=True)
    ]


def _problem(source: str | bytes | None, look: Callable[[Any], str | None] | None) -> str | None:
    if source == b"":
        return "it is empty"
    if isinstance(source, str):
        if "://" in source or not os.path.isfile(source):
            return None  # `datasets` opens addresses, and another check tells of missing files.
        if os.path.getsize(source) == 0:
            return "it is empty"
    if source is None or look is None:
        return None
    return look(io.BytesIO(source) if isinstance(source, bytes) else source)


def _image_problem(source: str | io.BytesIO) -> str | None:
    try:
        with Image.open(source) as image:
            return None if min(image.size) > 0 else "it has no pixels"
    except UnidentifiedImageError:
        return "it is not an image of a known format"
    except Exception as error:  # Pillow raises almost anything for broken files
        return " ".join(str(error).split()) or type(error).__name__


def _audio_problem() -> Callable[[Any], str | None] | None:
    # Recordings need a package that other data do not; without it the first view says so.
    try:
        import soundfile
    except (ImportError, OSError):
        return None

    def look(source: str | io.BytesIO) -> str | None:
        try:
            found: Any = soundfile.info(source)
        except Exception as error:  # as above
            reason = " ".join(str(error).split()).rpartition(": ")[2]
            return f"it cannot be read as sound: {reason or 'unknown format'}"
        return "it holds no samples" if found.frames == 0 else None

    return look
