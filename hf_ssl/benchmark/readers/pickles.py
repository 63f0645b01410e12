"""Reads pickles of plain data without running them.

Python's `pickle` is a program for a small machine that may call any function. Here the machine is interpreted instead, with the
instructions for containers, text, bytes and numbers alone; no name is ever imported, and nothing is ever called. NumPy arrays
and numbers are the one exception, which `load(..., arrays=True)` admits: the names by which pickles spell them are recognised,
and they are made from their bytes as `np.frombuffer` would.

Long byte strings are not read but noted as `Chunk`, a range of the file, so that a file of many gigabytes of sound can be
scanned in little memory, and an array can be mapped from where it lies.
"""

import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Byte strings at least this long stay in the file.
_CHUNK = 1024
# Nothing else in these formats is larger: a longer text is a sign of damage. The pixels of CIFAR-100, when a later Python wrote
# them in an old protocol, are text of 230 MB.
_LONGEST_TEXT = 2**29


@dataclass(frozen=True)
class Chunk:
    """Bytes that lie in a file from `offset` on."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


def load(path: Path, arrays: bool = False) -> Any:
    """What a pickle holds: dict, list, tuple, str, bytes or `Chunk`, int, float, bool, None; with `arrays` also np.ndarray.

    Raises:
        ValueError: naming the file, if it is damaged or holds anything else. Nothing of the file is run in any case.
    """
    try:
        with open(path, "rb") as file:
            return _Machine(file, Path(path), arrays).run()
    except _NotAdmittedError as error:
        raise ValueError(
            f"{path}: the pickle holds {error}; such pickles are not read, since they could run code"
        ) from None
    except _DAMAGE as error:
        raise ValueError(f"{path}: the pickle is damaged: {error or type(error).__name__}") from error


class _NotAdmittedError(Exception):
    pass


_DAMAGE = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True)
class _Name:
    """One of the names by which NumPy arrays are spelled. A word, never the object."""

    name: str


class _Array:
    """An array whose bytes are yet to come."""

    value: np.ndarray | None = None


class _Dtype:
    def __init__(self, code: str):
        # Numbers and nothing else: no objects, no structures, no text.
        if not re.fullmatch(r"[|<>=]?[iuf][1248]", code):
            raise _NotAdmittedError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)


_MARK = object()
_NAMES = {
    **{
        (module, name): _Name(name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
        for name in ("_reconstruct", "_frombuffer", "scalar")
    },
    ("numpy", "ndarray"): _Name("ndarray"),
    ("numpy", "dtype"): _Name("dtype"),
    # How a pickle of protocol 2 spells bytes when Python 3 wrote it.
    ("_codecs", "encode"): _Name("encode"),
}


class _Machine:
    """The stack machine of `pickle`; see the comments of `pickletools` for what each instruction does."""

    def __init__(self, file: BinaryIO, path: Path, arrays: bool):
        self.file, self.path, self.arrays = file, path, arrays
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.size = path.stat().st_size

    def run(self) -> Any:
        while True:
            code = self.read(1)
            if code == b".":
                return _plain(self.stack.pop())
            if code not in _INSTRUCTIONS:
                raise _NotAdmittedError(f"the instruction {code!r} at byte {self.file.tell() - 1}")
            _INSTRUCTIONS[code](self)

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise EOFError("it ends early")
        return data

    def line(self) -> str:
        line = self.file.readline(1024)
        if not line.endswith(b"\n"):
            raise EOFError("it ends early")
        return line[:-1].decode("ascii")

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_bytes(self, layout: str) -> None:
        length = self.number(layout)
        offset = self.file.tell()
        if not 0 <= length <= self.size - offset:
            raise EOFError("it ends early")
        if length < _CHUNK:
            self.push(self.read(length))
        else:
            self.file.seek(length, 1)
            self.push(Chunk(self.path, offset, length))

    def push_text(self, layout: str) -> None:
        length = self.number(layout)
        if not 0 <= length <= min(self.size, _LONGEST_TEXT):
            raise EOFError("it ends early")
        self.push(self.read(length).decode("utf-8", "surrogatepass"))

    def push_long(self, layout: str) -> None:
        length = self.number(layout)
        if not 0 <= length <= 16:
            raise _NotAdmittedError("a very large number")
        self.push(int.from_bytes(self.read(length), "little", signed=True))

    def push_integer_line(self) -> None:
        line = self.line().rstrip("L")
        self.push({"00": False, "01": True}[line] if line in ("00", "01") else int(line))

    def marked(self) -> list[Any]:
        """The values above the last mark, taken off the stack with it."""
        place = next((index for index in reversed(range(len(self.stack))) if self.stack[index] is _MARK), None)
        if place is None:
            raise ValueError("a mark is missing")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def top(self, count: int) -> tuple:
        if len(self.stack) < count:
            raise IndexError("an empty stack")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def pop(self) -> None:
        self.stack.pop()

    def duplicate(self) -> None:
        self.push(self.stack[-1])

    def append(self, values: list[Any] | tuple) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("an append to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any] | tuple) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("an item for what is no dict")
        self.stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        self.push(self.memo[key])

    def name(self, module: str, name: str) -> None:
        if not self.arrays or (module, name) not in _NAMES:
            raise _NotAdmittedError(f"the name {module}.{name}")
        self.push(_NAMES[module, name])

    def reduce(self) -> None:
        """A call, of which there are four kinds, none of which calls what the file says."""
        function, arguments = self.top(2)
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise _NotAdmittedError("a call")
        if function.name == "encode":
            text, encoding = arguments
            if encoding not in ("latin1", b"latin1"):
                raise _NotAdmittedError(f"a text encoded as {encoding!r}")
            self.push(text.encode("latin1"))
        elif function.name == "dtype":
            self.push(_Dtype(_text(arguments[0])))
        elif function.name == "_reconstruct":
            if arguments[0] != _Name("ndarray"):
                raise _NotAdmittedError("an array of another class than numpy.ndarray")
            self.push(_Array())
        elif function.name == "scalar":
            dtype, data = arguments
            self.push(_fill(_Array(), data, dtype, ()).value.item())
        elif function.name == "_frombuffer":
            buffer, dtype, shape, order = arguments
            self.push(_fill(_Array(), buffer, dtype, shape, _text(order) == "F"))
        else:
            raise _NotAdmittedError(f"a call of {function.name}")

    def build(self) -> None:
        """The state of an array or of its type, which comes after it."""
        (state,) = self.top(1)
        target = self.stack[-1]
        if isinstance(target, _Dtype) and isinstance(state, tuple):
            if _text(state[1]) in "<>" and target.dtype.itemsize > 1:
                target.dtype = target.dtype.newbyteorder(_text(state[1]))
        elif isinstance(target, _Array) and isinstance(state, tuple):
            _, shape, dtype, by_columns, data = state
            _fill(target, data, dtype, shape, bool(by_columns))
        else:
            raise _NotAdmittedError("the state of an object")


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _fill(array: _Array, data: Any, dtype: Any, shape: Any, by_columns: bool = False) -> _Array:
    """Give an array its content; chunks are mapped from the file, not read."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not isinstance(data, bytes | Chunk):
        raise _NotAdmittedError("an array whose content is no bytes")
    if isinstance(data, Chunk):
        with open(data.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(mapped, np.uint8, data.length, data.offset).view(dtype.dtype)
    else:
        flat = np.frombuffer(data, dtype.dtype)
    array.value = flat.reshape(shape, order="F" if by_columns else "C")
    return array


def _plain(value: Any) -> Any:
    """The value with its arrays in place. Lists and dicts are changed where they are, each once, however often it occurs."""
    seen: dict[int, Any] = {}

    def visit(value: Any) -> Any:
        if value is None or isinstance(value, int | float | str | bytes | Chunk):
            return value
        if id(value) in seen:
            return seen[id(value)]
        seen[id(value)] = value
        if isinstance(value, list):
            value[:] = map(visit, value)
        elif isinstance(value, dict):
            if wrong := [key for key in value if not isinstance(key, int | str | bytes)]:
                raise _NotAdmittedError(f"a dict with a key of type {type(wrong[0]).__name__}")
            value.update({key: visit(item) for key, item in value.items()})
        elif isinstance(value, tuple):
            seen[id(value)] = tuple(map(visit, value))
        elif isinstance(value, _Array) and value.value is not None:
            return value.value
        else:
            raise _NotAdmittedError("something other than plain data")
        return seen[id(value)]

    return visit(value)


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    # Frames and protocol: nothing to do.
    b"\x80": lambda m: _check_protocol(m.read(1)[0]),
    b"\x95": lambda m: m.read(8),
    # Containers.
    b"(": lambda m: m.push(_MARK),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"d": lambda m: _with(m, m.marked(), {}, m.set_items),
    b"l": lambda m: m.push(m.marked()),
    b"t": lambda m: m.push(tuple(m.marked())),
    b"\x85": lambda m: m.push(m.top(1)),
    b"\x86": lambda m: m.push(m.top(2)),
    b"\x87": lambda m: m.push(m.top(3)),
    b"a": lambda m: m.append(m.top(1)),
    b"e": lambda m: m.append(m.marked()),
    b"s": lambda m: m.set_items(m.top(2)),
    b"u": lambda m: m.set_items(m.marked()),
    # Text and bytes; what Python 2 called a string is bytes.
    b"X": lambda m: m.push_text("<I"),
    b"\x8c": lambda m: m.push_text("<B"),
    b"\x8d": lambda m: m.push_text("<Q"),
    b"B": lambda m: m.push_bytes("<I"),
    b"C": lambda m: m.push_bytes("<B"),
    b"\x8e": lambda m: m.push_bytes("<Q"),
    b"\x96": lambda m: m.push_bytes("<Q"),
    b"T": lambda m: m.push_bytes("<i"),
    b"U": lambda m: m.push_bytes("<B"),
    # Numbers.
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.push_long("<B"),
    b"\x8b": lambda m: m.push_long("<i"),
    b"I": lambda m: m.push_integer_line(),
    b"L": lambda m: m.push(int(m.line().rstrip("L"))),
    b"G": lambda m: m.push(m.number(">d")),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    # The memo and the stack.
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"p": lambda m: m.put(int(m.line())),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"g": lambda m: m.get(int(m.line())),
    b"0": lambda m: m.pop(),
    b"2": lambda m: m.duplicate(),
    # Names, calls and states: for arrays, within the limits that the methods set.
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": lambda m: m.name(*map(_text, m.top(2))),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}


def _check_protocol(number: int) -> None:
    if number > 5:
        raise _NotAdmittedError(f"protocol {number}")


def _with(machine: _Machine, values: list[Any], container: dict, fill: Callable[[list[Any]], None]) -> None:
    machine.push(container)
    fill(values)
