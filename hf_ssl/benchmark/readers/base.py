"""What all readers share: splits of a raw source, the folders in which to look, checks of labels and images."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...limits import LARGEST_FILE, check_file, lines, short

_T = TypeVar("_T")
# How deep below a given folder raw files are looked for: archives and mirrors like to wrap them in one or two folders.
_DEPTH = 3
# What operating systems put beside people's files.
_NOT_DATA = (".", "__MACOSX")


class RawSplit:
    """One part of a raw source, in the source's own order.

    Args:
        labels: class indices [n], -1 if there is no label.
        read: a function of ascending indices that yields the content of these rows: dicts without the label. It is
            called again for each pass, and holds one row at a time.

    Attributes:
        labels: int64 [n].

    Example:
        >>> split = RawSplit([1, 0], lambda indices: ({"text": f"row {index}"} for index in indices))
        >>> list(split.rows([1]))
        [{'text': 'row 1', 'label': 0}]
    """

    def __init__(self, labels: Sequence[int] | np.ndarray, read: Callable[[np.ndarray], Iterator[dict]]):
        self.labels = np.asarray(labels, dtype=np.int64)
        self._read = read

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[dict[str, Any]]:
        """The rows in the source's order, one at a time; may be called repeatedly.

        Args:
            indices: strictly ascending int64 [m]: these rows only.

        Yields:
            dicts with the content ("image", "audio", or "text" and perhaps "aug_0" and "aug_1"), "label" (int, -1 for
            none) and "source" (where the row came from, for messages).

        Raises:
            ValueError: for indices that do not ascend or are out of range, and for damaged content: with its file and
                row.
        """
        indices = np.arange(len(self)) if indices is None else np.asarray(indices, dtype=np.int64)
        if len(indices) and (indices[0] < 0 or indices[-1] >= len(self) or (np.diff(indices) <= 0).any()):
            raise ValueError(f"indices must ascend strictly within 0..{len(self) - 1}, got {indices.tolist()[:10]}")
        if len(indices):
            for index, row in zip(indices, self._read(indices), strict=True):
                yield {**row, "label": int(self.labels[index])}


class NotThisFormError(ValueError):
    """The source does not have a reader's form; the message says what was looked for."""


class Reader(NamedTuple):
    """One raw form: `open(task, source)` gives its splits by name, or raises `NotThisFormError`."""

    open: Callable[..., dict[str, RawSplit]]
    description: str


class RawSource:
    """The places in which a reader looks for raw files: folders, or a single file.

    Args:
        roots: folders, searched with their subfolders down to three levels, or files.
        name: the task's name, which decides if several folders fit, as when a folder holds several datasets.
        workdir: a folder for caches.
    """

    def __init__(self, roots: Sequence[Path], name: str, workdir: Path):
        self.roots, self.name, self.workdir = list(roots), name, workdir
        self._file_roots = {root for root in self.roots if root.is_file()}
        self._levels = [[root for root in self.roots if root.is_dir()]]
        for _ in range(_DEPTH):
            self._levels.append([child for folder in self._levels[-1] for child in _subfolders(folder)])

    def folders(self) -> Iterator[Path]:
        """All folders, shallow ones first."""
        for level in self._levels:
            yield from level

    def folder_with(self, *names: str) -> Path:
        """The shallowest folder that holds all of these entries (names, or relative paths).

        Raises:
            NotThisFormError: if there is none.
            ValueError: if there are several on one level and their names do not tell which one is meant.
        """
        found = self.find_folder(*names)
        if found is None:
            raise NotThisFormError(f"a folder with {', '.join(names)}")
        return found

    def find_folder(self, *names: str) -> Path | None:
        """`folder_with`, or None if there is none."""
        for level in self._levels:
            found = [folder for folder in level if all((folder / name).exists() for name in names)]
            if len(found) > 1:
                found = [folder for folder in found if self.name in folder.name] or found
            if len(found) > 1:
                raise ValueError(
                    f"{', '.join(names)} are in {found[0]} and in {found[1]}; give the one that is meant as the source"
                )
            if found:
                for name in names:
                    if not (found[0] / name).is_dir():
                        check_file(found[0] / name)
                return found[0]
        return None

    def file(self, name: str) -> Path:
        """The file of this name: one of the given files, or the shallowest in the folders.

        Raises:
            NotThisFormError: if there is none.
        """
        for path in self._file_roots:
            if path.name == name:
                return path
        if (folder := self.find_folder(name)) is None:
            raise NotThisFormError(f"a file {name}")
        return folder / name


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(_NOT_DATA))


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The names of a folder's files with one of these endings, lower or upper case, sorted as text.

    Raises:
        ValueError: if there is none.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(suffixes) and entry.is_file()]
    names = sorted(name for name in names if not name.startswith(_NOT_DATA))
    if not names:
        raise ValueError(f"{folder}: there is no file {' or '.join(suffixes)} in it")
    return names


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file that are not blank, without white space around them, each with its place."""
    check_file(path)
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(lines(file, str(path)), start=1):
                if line.strip():
                    yield f"{path}, row {number}", line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: it is not UTF-8 text: {error}") from error


def pick(items: Iterable[_T], indices: np.ndarray) -> Iterator[_T]:
    """The items at ascending positions of a stream, which is read no further than the last of them.

    Example:
        >>> list(pick("abcd", np.array([0, 2])))
        ['a', 'c']
    """
    wanted = iter(indices.tolist())
    target = next(wanted, None)
    for position, item in enumerate(items):
        if target is None:
            return
        if position == target:
            yield item
            target = next(wanted, None)


def check_class(value: Any, num_classes: int, where: str, first: int = 0) -> int:
    """The index 0..num_classes - 1 of a class that the source numbers from `first` on.

    Raises:
        ValueError: naming the place if it is not a whole number, or beyond the classes.

    Example:
        >>> check_class("3", 4, "train.csv, row 1", first=1)
        2
    """
    try:
        number: int | None = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not first <= number < first + num_classes:
        raise ValueError(f"{where}: label {short(value)} is not one of the classes {first}..{first + num_classes - 1}")
    return number - first


def check_classes(values: np.ndarray, num_classes: int, file: Path, first: int = 0) -> np.ndarray:
    """`check_class` for an array [n] or [n, 1] out of one file: int64 [n]; the message counts rows from 1."""
    values = np.asarray(values)
    if values.dtype.kind not in "iu" or values.size != len(values):
        raise ValueError(
            f"{file.name}: labels must be one whole number per row, got {values.dtype} of shape {values.shape}"
        )
    values = values.reshape(-1).astype(np.int64)
    wrong = np.flatnonzero((values < first) | (values >= first + num_classes))
    if len(wrong):
        check_class(int(values[wrong[0]]), num_classes, f"{file}, row {wrong[0] + 1}", first)
    return values - first


def check_lengths(labels: Sequence[int] | np.ndarray, content: int, file: Path) -> None:
    """Raise a ValueError if a file does not hold one label for each row of content."""
    if len(labels) != content:
        raise ValueError(
            f"{file}: expected a label for each of the {content} rows of content, got {len(labels)} labels"
        )


def image_file(path: Path, source: str) -> dict:
    """The row of an image file, its bytes as they are, after decoding it once to make sure that it can be decoded.

    Raises:
        ValueError: naming the file if it is empty or damaged.
    """
    check_file(path, LARGEST_FILE)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error.strerror}") from error
    return image_bytes(data, path.name, source, str(path))


def image_bytes(data: bytes, name: str | None, source: str, where: str) -> dict:
    """The row of an encoded image; errors as in `image_file`, naming `where`."""
    if not data:
        raise ValueError(f"{where}: the image is empty (0 bytes)")
    library("PIL.Image", "hf-ssl[vision]")
    from ...views.image_decoding import open_image  # imports torch

    try:
        with open_image(data) as opened:
            opened.load()
    except Exception as error:  # Pillow raises many kinds for damaged files, SyntaxError among them
        reason = " ".join(str(error).split("<_io")[0].split()) or type(error).__name__
        raise ValueError(f"{where}: the image is damaged: {reason}") from error
    return {"image": {"bytes": data, "path": name}, "source": source}


def image_pixels(pixels: np.ndarray, source: str) -> dict:
    """The row of raw pixels, uint8 [H, W] or [H, W, 3]: a PNG without loss."""
    buffer = io.BytesIO()
    library("PIL.Image", "hf-ssl[vision]").fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return {"image": {"bytes": buffer.getvalue(), "path": None}, "source": source}


def library(name: str, package: str) -> Any:
    """Import an optional dependency at its first use; if it is missing, the ImportError says what to install."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f'this source needs {name.split(".")[0]} ({error}): pip install "{package}"') from error


def progress(items: Iterable[_T], description: str, unit: str, total: int | None = None) -> Iterable[_T]:
    """A progress bar, which `datasets.disable_progress_bars()` turns off."""
    from datasets.utils import tqdm

    return tqdm(items, desc=description, unit=unit, total=total, leave=False)
