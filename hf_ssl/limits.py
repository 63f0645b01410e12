"""How far files may go: bounds that broken and hostile files run into, and honest ones do not come near.

    path --check_file--> not a pipe, device or socket, not too large --check_depth, lines--> parser

A file is compared with these numbers before anything of its size is allocated, so that a few kilobytes cannot ask for
the memory or the time of gigabytes. The bound on the pixels of an image is Pillow's own, `PIL.Image.MAX_IMAGE_PIXELS`
(89 million), which people know how to change.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from reprlib import Repr
from typing import Any, TextIO

import numpy as np

# ---- Text ----

# Bytes of a line, of a row of a table, and of a file that is one text: four million tokens. A longer one is a sign of
# damage, such as a quotation mark that never closes or a disk image with a wrong name.
LONGEST_ROW = 2**24
# Bytes of a JSON document that is read as a whole; the largest tokenizers take 40 million.
LARGEST_DOCUMENT = 2**30
# Bytes of a YAML document. Recipes have some lines; Python's reader takes half a minute for a million bytes.
LARGEST_YAML = 2**18
# How deep JSON and YAML may be nested. What people write stays under 20; readers in C overflow the stack at some
# ten thousand, and `datasets` makes types of columns by recursion.
DEEPEST = 100
# Values of a YAML document once its aliases are written out: nine lines of aliases can stand for a billion.
MOST_NODES = 20_000
# Columns of a table: `datasets` takes minutes for 100,000.
MOST_COLUMNS = 10_000
# Rows of a Parquet file, whose encoding can repeat one value for ever in a few bytes.
MOST_ROWS = 2**29

# ---- Recordings ----

# Samples of one channel, before and after resampling: 51 minutes at 44.1 kHz, 2.3 hours at 16 kHz, half a gigabyte in
# memory. Models listen to seconds; the header of a broken file may claim 2^63.
MOST_SAMPLES = 2**27
# Hz. Speech on the telephone has 8,000; a header that says less than this is broken, or turns seconds into hours.
LOWEST_RATE = 100
# Channels that are mixed into one. Arrays of microphones have up to 64.
MOST_CHANNELS = 256

# ---- Images and recordings ----

# Bytes of a file that is read as a whole, to be copied into a dataset or compared with others: 89 million pixels of
# four times 16 bits take 716 million.
LARGEST_FILE = 2**30

# ---- Models ----

# Layers of a model, and weights that may be missing from its files because they are new: a head for 100,000 classes.
# More means a configuration that is not that of the weights, and would fill the memory with random numbers.
MOST_LAYERS = 2_000
MOST_NEW_WEIGHTS = 2**28

# ---- Archives ----

# How many times its own size an archive may unpack to, if that is more than UNPACKED_FREELY bytes. Texts reach 10,
# zeros 1,000.
MOST_TIMES = 100
UNPACKED_FREELY = 2**27
# Bytes that an archive may unpack to, whatever its size: the largest source of the benchmark has 10 billion.
LARGEST_UNPACKED = 2**38
# Members of an archive; the largest source of the benchmark has 150,000.
MOST_MEMBERS = 2_000_000
# Bytes of the header of one member, such as a long name: the reader of tar holds it in memory.
LARGEST_HEADER = 2**20

_READ = 2**20
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_STRING = re.compile(rb'"[^"\n]*["\n]?')


def file_problem(path: str | os.PathLike[str]) -> str | None:
    """What is at a path instead of a file: "a named pipe", "a device", ...; None for a file, and if nothing is there.

    Opening a pipe waits for a writer that may never come, and a device may never end. Links are followed.

    Example:
        >>> file_problem(os.devnull), file_problem("/"), file_problem("no such file")
        ('a device', 'a folder', None)
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        return "a link to itself" if getattr(error, "errno", None) == errno.ELOOP else None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "not a file")


def check_file(path: str | os.PathLike[str], most: int | None = None) -> None:
    """Raise unless a path can be opened and read without waiting.

    Args:
        path: of the file, which need not exist: opening it will say so.
        most: bytes that it may have at most, if it is to be read as a whole.

    Raises:
        ValueError: in one line, if it is a pipe, device, socket or folder, or is too large.
    """
    if (problem := file_problem(path)) is not None:
        raise ValueError(f"{path} must be a file, got {problem}; remove it or give another one")
    if most is not None and os.path.exists(path) and (size := os.path.getsize(path)) > most:
        raise ValueError(f"{path} must have at most {most:,} bytes, got {size:,}; give a smaller file")


def check_depth(chunks: Iterable[bytes], what: str) -> None:
    """Raise a ValueError if JSON, given in pieces, is nested deeper than `DEEPEST`. Nothing is parsed for it.

    Brackets count outside of strings, which end with their line: a line of JSON Lines cannot hide the next one.

    Example:
        >>> check_depth([b'{"a": "[[[[', b'[[", "b": [1]}'] * 50, "a.json")
    """
    depth, inside, escape = 0, False, b""
    for chunk in chunks:
        chunk = escape + chunk
        # A backslash at the very end belongs to the next piece, unless it is itself escaped.
        escape = b"\\" if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 else b""
        chunk = chunk[: len(chunk) - len(escape)].replace(b"\\\\", b"").replace(b'\\"', b"")
        if inside:
            chunk = b'"' + chunk
        last = chunk[chunk.rfind(b"\n") + 1 :]
        inside = last.count(b'"') % 2 == 1
        depth = _depth_after(_STRING.sub(b"", chunk).translate(None, _OTHERS), depth, what)


def _depth_after(brackets: bytes, depth: int, what: str) -> int:
    """The depth after more brackets; one that closes nothing counts for nothing."""
    if not brackets:
        return depth
    depths = depth + np.cumsum(_STEPS[np.frombuffer(brackets, np.uint8)], dtype=np.int64)
    depths -= np.minimum(np.minimum.accumulate(depths), 0)
    if depths.max() > DEEPEST:
        raise ValueError(f"{what} must be nested at most {DEEPEST} deep, got {depths.max():,}; flatten it")
    return int(depths[-1])


def chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time."""
    with open(path, "rb") as file:
        while chunk := file.read(_READ):
            yield chunk


def lines(file: TextIO, what: str) -> Iterator[str]:
    """The lines of an open text file, as it gives them itself, but none longer than `LONGEST_ROW` characters.

    Raises:
        ValueError: in one line that names `what` and the number of the line, counted from 1.
    """
    number = 0
    while line := file.readline(LONGEST_ROW + 1):
        number += 1
        if len(line) > LONGEST_ROW:
            raise ValueError(f"{what}, line {number} must have at most {LONGEST_ROW:,} characters, got more; split it")
        yield line


def most_unpacked(packed: int) -> int:
    """Bytes that an archive of `packed` bytes may unpack to.

    Example:
        >>> most_unpacked(9_000_000)
        900000000
    """
    return min(LARGEST_UNPACKED, max(UNPACKED_FREELY, MOST_TIMES * packed))


def short(value: Any) -> str:
    """`repr` of a value, in bounded time and length: of values inside of values, only the first few are written.

    Example:
        >>> short([[[[["a" * 100] * 100] * 100] * 100] * 100])[:9]
        "[[[[['aaa"
    """
    return _repr.repr(value)


_repr = Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxother = 6, 80, 80
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 3
