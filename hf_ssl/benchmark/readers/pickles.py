"""Reads pickles of plain data without running them.

Python's `pickle` is a program for a small machine that may call any function. Here the machine is interpreted instead:
`pickletools` reads the instructions, of which only those for containers, text, bytes and numbers are carried out;
nothing is imported by name, and nothing that the file names is called. NumPy arrays and numbers are the one exception,
which `load(..., arrays=True)` admits: `pickle_arrays.py` makes them from their bytes.

Long byte strings are not read but noted as `Chunk`, a range of the file, so that a file of many gigabytes of sound can
be scanned in little memory, and an array can be mapped from where it is in the file.
"""

import io
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...limits import check_file
from .pickle_arrays import NAMES, ArrayState, Chunk, Name, NotAdmittedError, as_text

__all__ = ["Chunk", "load"]

# Byte strings at least this long stay in the file.
_CHUNK = 1024
# Nothing else in these formats is longer: more is a sign of damage. The pixels of CIFAR-100, if a later Python wrote
# them in an old protocol, are text of 230 MB.
_LONGEST_TEXT = 2**29
_LONGEST_NUMBER = 16
_LONGEST_LINE = 1024

# How instructions spell the length that their argument begins with.
_1, _4, _8, _SIGNED = struct.Struct("<B"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<i")
_TEXTS = {"SHORT_BINUNICODE": _1, "BINUNICODE": _4, "BINUNICODE8": _8}
_NUMBERS = {"LONG1": _1, "LONG4": _SIGNED}
_BYTES = {"SHORT_BINBYTES": _1, "BINBYTES": _4, "BINBYTES8": _8, "BYTEARRAY8": _8}
# What Python 2 called a string is bytes.
_SIZED = _TEXTS | _NUMBERS | _BYTES | {"SHORT_BINSTRING": _1, "BINSTRING": _SIGNED}
# Code of each instruction -> its name, and what reads its argument.
_READERS = {op.code.encode("latin-1"): (op.name, op.arg and op.arg.reader) for op in pickletools.opcodes}


def load(path: Path, arrays: bool = False) -> Any:
    """What a pickle holds: dict, list, tuple, str, bytes or `Chunk`, int, float, bool, None; if asked for, np.ndarray.

    Args:
        path: the file.
        arrays: admit NumPy arrays of numbers, and single NumPy numbers, which become Python's.

    Raises:
        ValueError: naming the file, if it is damaged or holds anything else. Nothing in the file is run in any case.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(pickle.dumps({"labels": [0, 1], "wave": bytes(5000)}))
        ...     file.flush()
        ...     content = load(Path(file.name))
        >>> content["labels"], content["wave"].length
        ([0, 1], 5000)
    """
    path = Path(path)
    try:
        check_file(path)
        with _File(io.FileIO(path)) as file:
            machine = _Machine(arrays, path.stat().st_size)
            for name, argument in _instructions(file, path):
                _ACTIONS[name](machine, argument)
            return _plain(machine.stack.pop())
    except NotAdmittedError as error:
        raise ValueError(
            f"{path}: the pickle holds {error}; such pickles are not read, since they could run code"
        ) from None
    except (ValueError, LookupError, TypeError, EOFError, AttributeError, struct.error) as error:
        raise ValueError(f"{path}: the pickle is damaged: {error or type(error).__name__}") from error
    except (OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{path}: the pickle is damaged: {type(error).__name__}") from error


class _File(io.BufferedReader):
    def readline(self, size: int | None = -1) -> bytes:
        """A line of bounded length: a damaged file need not have another line break."""
        return super().readline(_LONGEST_LINE)


def _instructions(file: _File, path: Path) -> Iterator[tuple[str, Any]]:
    """Name and argument of each instruction, as `pickletools.genops`, which would read long byte strings."""
    size, name = path.stat().st_size, ""
    while name != "STOP":
        code = file.read(1)
        if not code:
            raise EOFError("it ends early")
        name, reader = _READERS.get(code, ("", None))
        if name not in _ACTIONS:
            raise NotAdmittedError(f"the instruction {name or code!r} at byte {file.tell() - 1}")
        if name in _SIZED:
            yield name, _sized_argument(name, file, path, size)
        else:
            yield name, reader and reader(file)


def _sized_argument(name: str, file: _File, path: Path, size: int) -> str | bytes | int | Chunk:
    (length,) = _SIZED[name].unpack(file.read(_SIZED[name].size))
    long = not 0 <= length < _CHUNK
    offset = file.tell() if long else 0
    if long and not 0 <= length <= size - offset:
        raise EOFError("it ends early")
    if (name in _NUMBERS and length > _LONGEST_NUMBER) or (name in _TEXTS and length > _LONGEST_TEXT):
        raise NotAdmittedError(f"a text or number of {length:,} bytes")
    if long and name not in _TEXTS:
        file.seek(length, io.SEEK_CUR)
        return Chunk(path, offset, length)
    data = file.read(length)
    if len(data) < length:
        raise EOFError("it ends early")
    if name in _NUMBERS:
        return int.from_bytes(data, "little", signed=True)
    return data.decode("utf-8", "surrogatepass") if name in _TEXTS else data


class _Machine:
    """The stack machine of `pickle`; the comments of `pickletools` say what each instruction does."""

    def __init__(self, arrays: bool, size: int):
        # Bytes that calls may still make: each of a file's is decoded once, and a call costs only a few.
        self.arrays, self.left = arrays, 2 * size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> tuple[Any, ...]:
        """The uppermost values, taken off the stack."""
        if len(self.stack) < count:
            raise IndexError("an empty stack")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def marked(self) -> list[Any]:
        """The values above the last mark, taken off the stack with it."""
        place = next((index for index in reversed(range(len(self.stack))) if self.stack[index] is _MARK), None)
        if place is None:
            raise ValueError("a mark is missing")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def append(self, values: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("an append to what is not a list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("an item for what is not a dict")
        self.stack[-1].update(_pairs(values))

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def protocol(self, number: int) -> None:
        if number > 5:
            raise NotAdmittedError(f"protocol {number}")

    def name(self, name: str) -> None:
        if not self.arrays or name not in NAMES:
            raise NotAdmittedError(f"the name {name.replace(' ', '.')}")
        self.push(NAMES[name])

    def reduce(self) -> None:
        """A call, which makes an array or a part of one, without calling what the file names."""
        name, arguments = self.take(2)
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise NotAdmittedError("a call")
        made = name.make(*arguments)
        self.left -= len(made) if isinstance(made, bytes) else 0
        if self.left < 0:
            raise NotAdmittedError("calls that make more than the file holds")
        self.push(made)

    def build(self) -> None:
        """The state of an array or of its type, which follows after it."""
        (state,) = self.take(1)
        if not isinstance(self.stack[-1], ArrayState) or not isinstance(state, tuple):
            raise NotAdmittedError("the state of an object")
        self.stack[-1].set_state(*state)


def _pairs(values: list[Any] | tuple[Any, ...]) -> dict[Any, Any]:
    for key in values[::2]:
        # Before it is hashed, which may take for ever for tuples inside of tuples.
        if isinstance(key, list | tuple | dict):
            raise TypeError(f"a key of a dict is a {type(key).__name__}")
        if not isinstance(key, int | str | bytes):
            raise NotAdmittedError(f"a dict with a key of type {type(key).__name__}")
    return dict(zip(values[::2], values[1::2], strict=True))


_MARK = object()
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda m, length: None,
    "STOP": lambda m, _: None,
    # Values: the argument itself, and constants.
    **dict.fromkeys((*_SIZED, "BININT", "BININT1", "BININT2", "INT", "LONG", "BINFLOAT"), _Machine.push),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    # Containers.
    "MARK": lambda m, _: m.push(_MARK),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "DICT": lambda m, _: m.push(_pairs(m.marked())),
    "LIST": lambda m, _: m.push(m.marked()),
    "TUPLE": lambda m, _: m.push(tuple(m.marked())),
    "TUPLE1": lambda m, _: m.push(m.take(1)),
    "TUPLE2": lambda m, _: m.push(m.take(2)),
    "TUPLE3": lambda m, _: m.push(m.take(3)),
    "APPEND": lambda m, _: m.append(m.take(1)),
    "APPENDS": lambda m, _: m.append(m.marked()),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.marked()),
    # The stack and the memo.
    "POP": lambda m, _: m.take(1),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, key: m.push(m.memo[key])),
    # Names, calls and states: for arrays, within the limits that the methods set.
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda m, _: m.name(" ".join(map(as_text, m.take(2)))),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}


def _plain(value: Any) -> Any:
    """The value with finished arrays. Lists and dicts are changed in place, each once, however often they occur."""
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
            value.update({key: visit(item) for key, item in value.items()})
        elif isinstance(value, tuple):
            seen[id(value)] = tuple(map(visit, value))
        elif isinstance(value, ArrayState):
            return value.finished()
        else:
            raise NotAdmittedError("something other than plain data")
        return seen[id(value)]

    return visit(value)
