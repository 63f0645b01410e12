"""Features on disk while they are made, so that a killed pass loses seconds, and afterwards, memory-mapped.

    CACHE/KEY.partial/features.npy          rows so far; one file per array, and per process if there are several
                      progress-0-of-1.json  how many windows and rows are certain to be in it
    CACHE/KEY/        features.npy, ...     complete: the folder is renamed in one step
                      bank.json             what else is known of it

Rows are appended in the order of their windows, and the progress is replaced after the rows are on the disk. A
resumed pass cuts the files to the rows that are certain, so it does not matter at which moment the last one ended.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import atomic_write

# Bytes in which a .npy header of these arrays fits; it is written last, when the number of rows is known.
_HEADER = 128
# Seconds between two saves: what a killed pass loses at most.
_SAVE_SECONDS = 2.0
# Errors of a full disk, a folder without permission, and a file that should be a folder.
_WRITING = {getattr(errno, name, -1) for name in ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST")}


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder without permission into an OSError of one line that names the way out."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in _WRITING:
            raise
        reason = os.strerror(error.errno)
        raise OSError(
            f"features cannot be written to {folder}: {reason}; set cache_dir to a folder with room"
        ) from error


class PartWriter:
    """What one process has encoded of the windows that are its own: numbers `rank`, `rank` + `processes`, ...

    Args:
        folder: KEY.partial.
        rank, processes: of how many processes this is which; others' parts are not touched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     partial, target = Path(cache, "key.partial"), Path(cache, "key")
        ...     for row in ([1.0, 2.0], [3.0, 4.0]):
        ...         writer = PartWriter(partial)  # finds what the one before has saved
        ...         writer.append({"features": np.array([row], dtype=np.float32)}, broken=[])
        ...         writer.save()
        ...     finish(partial, target, processes=1, facts={})
        ...     load(target)[0]["features"].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(self, folder: Path, rank: int = 0, processes: int = 1):
        self.folder, self.rank, self.processes = folder, rank, processes
        folder.mkdir(parents=True, exist_ok=True)
        self._progress = folder / f"progress-{rank}-of-{processes}.json"
        self._files: dict[str, BinaryIO] = {}
        self._saved = time.monotonic()
        state = json.loads(self._progress.read_text()) if self._progress.exists() else {}
        # Rows of each window that is done, and positions of broken examples, numbered as in the dataset.
        self.window_rows: list[int] = state.get("window_rows", [])
        self.broken: list[int] = state.get("broken", [])
        self.arrays: dict[str, Any] = state.get("arrays", {})
        for name, array in self.arrays.items():
            self._files[name] = self._open(name, array)

    @property
    def rows(self) -> int:
        """Rows that are written."""
        return sum(self.window_rows)

    def path(self, name: str) -> Path:
        """The file of an array; that of the complete folder already if there is one process."""
        return array_path(self.folder, name, self.rank, self.processes)

    def append(self, window: Mapping[str, np.ndarray], broken: list[int]) -> None:
        """Add the rows of the next window, by the names of the arrays; saved now and then."""
        for name, rows in window.items():
            if name not in self.arrays:
                self.arrays[name] = {"dtype": rows.dtype.str, "shape": list(rows.shape[1:])}
                self._files[name] = self._open(name, self.arrays[name])
            self._files[name].write(np.ascontiguousarray(rows).data)
        self.window_rows.append(len(next(iter(window.values()))))
        self.broken.extend(broken)
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Make everything so far certain: first the rows, then the progress."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        state = {"window_rows": self.window_rows, "broken": self.broken, "arrays": self.arrays}
        with atomic_write(self._progress) as temporary:
            temporary.write_text(json.dumps(state))
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close the files; rows after the last `save` are encoded again by the next pass."""
        for file in self._files.values():
            file.close()

    def _open(self, name: str, array: Mapping[str, Any]) -> BinaryIO:
        self.path(name).touch()
        file = self.path(name).open("r+b")
        file.truncate(_HEADER + self.rows * _row_bytes(array))
        file.seek(0, os.SEEK_END)
        return file


def array_path(folder: Path, name: str, rank: int, processes: int) -> Path:
    """The file of an array in the making."""
    return folder / (f"{name}.npy" if processes == 1 else f"{name}-{rank}-of-{processes}.npy")


def finish(folder: Path, target: Path, processes: int, facts: Mapping[str, Any]) -> None:
    """Join the parts of all processes, and rename the folder.

    Args:
        folder: KEY.partial, in which every process has saved all of its windows.
        target: KEY.
        processes: how many there were.
        facts: for bank.json; the positions of broken examples are added.
    """
    progress = [json.loads((folder / f"progress-{rank}-of-{processes}.json").read_text()) for rank in range(processes)]
    arrays = progress[0]["arrays"]
    rows = sum(sum(part["window_rows"]) for part in progress)
    for name, array in arrays.items():
        if processes > 1:
            _join(folder, name, _row_bytes(array), [part["window_rows"] for part in progress])
        with (folder / f"{name}.npy").open("r+b") as file:
            file.write(_header(array, rows))
            file.flush()
            os.fsync(file.fileno())
    broken = sorted(index for part in progress for index in part["broken"])
    with atomic_write(folder / "bank.json") as temporary:
        temporary.write_text(json.dumps({**facts, "rows": rows, "broken": broken}, indent=2))
    folder.rename(target)
    for junk in (*target.glob("progress-*.json"), *target.glob(f"*-of-{processes}.npy")):
        junk.unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a complete folder by name, memory-mapped, and what bank.json says."""
    facts = json.loads((folder / "bank.json").read_text())
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}, facts


def _join(folder: Path, name: str, row_bytes: int, window_rows: list[list[int]]) -> None:
    """One file of the parts: window 0 of process 0, window 0 of process 1, ..., then the next window of each."""
    processes = len(window_rows)
    with ExitStack() as stack:
        whole = stack.enter_context((folder / f"{name}.npy").open("wb"))
        paths = [array_path(folder, name, rank, processes) for rank in range(processes)]
        # A process without a window has no file.
        parts = [stack.enter_context(path.open("rb")) if path.exists() else None for path in paths]
        for part in (whole, *parts):
            if part is not None:
                part.seek(_HEADER)
        for turn in range(max(map(len, window_rows))):
            for part, rows in zip(parts, window_rows, strict=True):
                if part is not None and turn < len(rows):
                    whole.write(part.read(rows[turn] * row_bytes))


def _row_bytes(array: Mapping[str, Any]) -> int:
    return int(np.dtype(array["dtype"]).itemsize * np.prod(array["shape"], dtype=int))


def _header(array: Mapping[str, Any], rows: int) -> bytes:
    """The .npy header, version 1.0, padded with spaces to `_HEADER` bytes as the format allows."""
    shape = (rows, *array["shape"])
    text = f"{{'descr': {array['dtype']!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = _HEADER - 10
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + text.ljust(size - 1).encode() + b"\n"
