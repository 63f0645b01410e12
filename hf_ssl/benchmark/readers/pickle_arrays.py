"""NumPy arrays in pickles, made from their bytes as `np.frombuffer` would, without calling what the pickle names.

A pickle spells an array as calls of NumPy's functions. Each of these names is recognized as a word (`NAMES`) that
stands for one of the functions below; any other name is refused by `pickles.py`. The type and the content of an array
may come after it in the pickle, as its state.
"""

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class NotAdmittedError(Exception):
    """The pickle holds something that is not plain data; the message says what."""


@dataclass(frozen=True)
class Chunk:
    """A byte string that stays in its file.

    Args:
        path: the file.
        offset: where the bytes begin.
        length: how many there are.
    """

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The bytes, read from the file."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


class ArrayState:
    """An array or its type, while the pickle is read."""

    def set_state(self, *state: Any) -> None:
        """What the pickle says of it after making it."""
        raise NotImplementedError

    def finished(self) -> np.ndarray:
        """The array, at the end of the pickle."""
        raise NotAdmittedError("something other than plain data")


class _Dtype(ArrayState):
    def __init__(self, code: str | bytes, *_: Any):
        # Numbers and nothing else: no objects, no structures, no text.
        if not re.fullmatch(r"[|<>=]?[iuf][1248]", as_text(code)):
            raise NotAdmittedError(f"an array of type {code!r}")
        self.dtype = np.dtype(as_text(code))

    def set_state(self, *state: Any) -> None:
        order = as_text(state[1])
        if order in ("<", ">") and self.dtype.itemsize > 1:
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array(ArrayState):
    def __init__(self, value: np.ndarray | None = None):
        self.value = value

    def set_state(self, *state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        self.value = _from_bytes(data, dtype, shape, bool(by_columns))

    def finished(self) -> np.ndarray:
        return super().finished() if self.value is None else self.value


def as_text(value: str | bytes) -> str:
    """A short text; Python 2 wrote bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else value


def _from_bytes(data: Any, dtype: Any, shape: Any, by_columns: bool = False) -> np.ndarray:
    """An array from its bytes; chunks are mapped from the file, not read."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not isinstance(data, bytes | Chunk):
        raise NotAdmittedError("an array whose content is not bytes")
    if isinstance(data, Chunk):
        with open(data.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(mapped, np.uint8, data.length, data.offset).view(dtype.dtype)
    else:
        flat = np.frombuffer(data, dtype.dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")


def _encoded(text: str, encoding: str | bytes) -> bytes:
    """How a pickle of protocol 2 spells bytes if Python 3 wrote it."""
    if encoding not in ("latin1", b"latin1"):
        raise NotAdmittedError(f"a text encoded as {encoding!r}")
    return text.encode("latin1")


def _empty_array(kind: Any, *_: Any) -> _Array:
    if kind is not _NDARRAY:
        raise NotAdmittedError("an array of another class than numpy.ndarray")
    return _Array()


def _array(data: Any, dtype: Any, shape: Any, order: str | bytes) -> _Array:
    return _Array(_from_bytes(data, dtype, shape, as_text(order) == "F"))


def _number(dtype: Any, data: Any) -> int | float:
    return _from_bytes(data, dtype, ()).item()


def _refused(*_: Any) -> None:
    raise NotAdmittedError("a call of numpy.ndarray")


@dataclass(frozen=True)
class Name:
    """A name that NumPy's pickles may hold, and what a call of it makes here."""

    make: Callable[..., Any]


_NDARRAY = Name(_refused)
_FUNCTIONS: dict[str, Callable[..., Any]] = {"_reconstruct": _empty_array, "_frombuffer": _array, "scalar": _number}
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
# Module and name with a space between, as `pickletools` gives them.
NAMES: dict[str, Name] = {
    "numpy ndarray": _NDARRAY,
    "numpy dtype": Name(_Dtype),
    "_codecs encode": Name(_encoded),
    **{f"{module} {name}": Name(make) for module in _MODULES for name, make in _FUNCTIONS.items()},
}
