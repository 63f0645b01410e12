"""Raw pixel arrays, each row a PNG: CIFAR's pickles, STL-10's binaries, MedMNIST's npz files, SVHN's MATLAB files."""

import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ...limits import check_file, most_unpacked, short
from ..tasks import Task
from . import pickles
from .base import RawSource, RawSplit, check_class, check_classes, check_lengths, image_pixels, library, pick


class _CifarFiles(NamedTuple):
    """Files of each split, the file of class names, and the name under which the files hold the labels."""

    splits: dict[str, tuple[str, ...]]
    meta: str
    key: str


_CIFAR_FILES = {
    "cifar10": _CifarFiles(
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}, "batches.meta", "label"
    ),
    "cifar100": _CifarFiles({"train": ("train",), "test": ("test",)}, "meta", "fine_label"),
}
_STL_SHAPE = (3, 96, 96)
# A compression that zipfile does not know, or a password, is a RuntimeError.
_NPZ_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, OverflowError)


def open_cifar_pickles(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`cifar-100-python/{train,test,meta}` or `cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}`.

    A row of `data` is 1024 red values, row by row, then green, then blue. The meta file names the classes in the order
    of their numbers, which must be the task's.
    """
    splits, meta, key = _CIFAR_FILES["cifar100" if "100" in task.name else "cifar10"]
    names = [name for files in splits.values() for name in files]
    folder = source.folder_with(*names, meta)
    _check_meta(folder / meta, key, task)
    return {split: _open_batches([folder / name for name in files], key, task) for split, files in splits.items()}


def _check_meta(path: Path, key: str, task: Task) -> None:
    content = _strings(pickles.load(path, arrays=True), path)
    given = content.get(f"{key}_names", ())
    names = (
        [name.decode() if isinstance(name, bytes) else name for name in given] if isinstance(given, list) else given
    )
    if names != list(task.class_names):
        raise ValueError(f"{path}: its {key}_names are {short(names)}, not the classes of {task.name}")


def _open_batches(paths: list[Path], key: str, task: Task) -> RawSplit:
    labels: list[int] = []
    ends = [0]
    for path in paths:
        values, pixels = _batch(path, f"{key}s")
        check_lengths(values, len(pixels), path)
        for row, value in enumerate(values, start=1):
            labels.append(check_class(value, len(task.class_names), f"{path}, row {row}"))
        ends.append(len(labels))
    return RawSplit(labels, partial(_read_batches, paths, ends, f"{key}s"))


def _read_batches(paths: list[Path], bounds: list[int], key: str, indices: np.ndarray) -> Iterator[dict]:
    for path, start, end in zip(paths, bounds, bounds[1:], strict=False):
        within = indices[(indices >= start) & (indices < end)] - start
        if len(within):
            _, pixels = _batch(path, key)
            for row in within:
                image = pixels[row].reshape(3, 32, 32).transpose(1, 2, 0)
                yield image_pixels(image, f"{path.name}, row {row + 1}")


def _batch(path: Path, key: str) -> tuple[list[Any], np.ndarray]:
    """Labels [n] and pixels uint8 [n, 3072] of one file; the pixels stay in the file until they are used."""
    content = _strings(pickles.load(path, arrays=True), path)
    missing = [name for name in (key, "data") if name not in content]
    if missing:
        raise ValueError(f"{path}: there is no {missing[0]!r} in it, but {', '.join(map(repr, content))}")
    pixels = content["data"]
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"{path}: its data must be uint8 [n, 3072], got a {type(pixels).__name__}")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise ValueError(f"{path}: its data must be uint8 [n, 3072], got {pixels.dtype} {list(pixels.shape)}")
    if not isinstance(content[key], list | tuple | np.ndarray):
        raise ValueError(f"{path}: its {key} must be a list, got a {type(content[key]).__name__}")
    return list(content[key]), pixels


def _strings(content: Any, path: Path) -> dict[str, Any]:
    """A dict with its keys as str; Python 2 wrote bytes."""
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dict, got a {type(content).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def open_stl_binaries(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`stl10_binary/{train,test,unlabeled}_X.bin` and `{train,test}_y.bin`: uint8, classes from 1.

    An image is three channels of 96 x 96 values, each stored column by column.
    """
    folder = source.folder_with("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin")
    splits = {}
    for split in ("train", "unlabeled", "test"):
        path = folder / f"{split}_X.bin"
        size = int(np.prod(_STL_SHAPE))
        if path.stat().st_size % size:
            raise ValueError(
                f"{path}: the size must be a multiple of {size} bytes, one image, got {path.stat().st_size}"
            )
        count = path.stat().st_size // size
        if split == "unlabeled":
            labels = np.full(count, -1)
        else:
            given = folder / f"{split}_y.bin"
            labels = check_classes(np.fromfile(given, np.uint8), len(task.class_names), given, first=1)
            check_lengths(labels, count, path)
        splits[split] = RawSplit(labels, partial(_read_stl, path))
    return splits


def _read_stl(path: Path, indices: np.ndarray) -> Iterator[dict]:
    images = np.memmap(path, np.uint8, "r").reshape(-1, *_STL_SHAPE)
    for index in indices:
        yield image_pixels(images[index].transpose(2, 1, 0), f"{path.name}, row {index + 1}")


def open_npz(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`<task>.npz` with `{train,val,test}_images` [N, H, W] (gray) or [N, H, W, 3], uint8, and `..._labels` [N, 1].

    Images are read one at a time from the compressed file. Gray ones stay gray.
    """
    path = source.file(f"{task.name}.npz")
    splits = {}
    try:
        with zipfile.ZipFile(path) as archive:
            _check_unpacked(archive, path)
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            for split, prefix in (("train", "train"), ("validation", "val"), ("test", "test")):
                if split not in ("train", "test", *task.sizes):
                    continue
                missing = [name for name in (f"{prefix}_images", f"{prefix}_labels") if name not in names]
                if missing:
                    raise ValueError(f"there is no {missing[0]} in it")
                with archive.open(f"{prefix}_labels.npy") as file:
                    labels = check_classes(npy_array(file.read()), len(task.class_names), path)
                with _npz_rows(path, f"{prefix}_images") as (shape, _):
                    check_lengths(labels, shape[0], path)
                splits[split] = RawSplit(labels, partial(_read_npz, path, f"{prefix}_images"))
    except (*_NPZ_DAMAGE, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {error}") from error
    return splits


def _check_unpacked(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise a ValueError if the arrays are of a size that the file cannot have been made from."""
    packed, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
    if unpacked > (most := most_unpacked(packed)):
        raise ValueError(f"{path}: arrays of {packed:,} bytes must unpack to at most {most:,}, got {unpacked:,}")


def npy_array(data: bytes) -> np.ndarray:
    """The array of an .npy file, which its header describes and its content has to fill.

    Raises:
        ValueError: if it holds objects, or more or less than its header says.
    """
    file = io.BytesIO(data)
    shape, _, dtype = _npy_header(file)
    claimed, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if claimed != there:
        raise ValueError(f"the header tells of {claimed:,} bytes, and there are {there:,}")
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored by columns, and type of an .npy file, which is left at the first number."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"a shape must be of whole numbers, got {short(shape)}")
    return shape, by_columns, dtype


@contextmanager
def _npz_rows(path: Path, name: str) -> Iterator[tuple[tuple[int, ...], Iterator[np.ndarray]]]:
    """The shape of an array in an npz file, and its rows, one at a time."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, by_columns, dtype = _npy_header(file)
        if dtype != np.uint8 or by_columns or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise ValueError(f"{path}: {name} must be uint8 [n, H, W] or [n, H, W, 3], got {dtype} {list(shape)}")

        def rows() -> Iterator[np.ndarray]:
            size = math.prod(shape[1:])
            if size > archive.getinfo(f"{name}.npy").file_size:
                raise ValueError(f"{path}: {name} ends at row 1 of {shape[0]}")
            for row in range(1, shape[0] + 1):
                try:
                    data = file.read(size)
                except _NPZ_DAMAGE as error:
                    raise ValueError(f"{path}: {name}, row {row}: {error}") from error
                if len(data) < size:
                    raise ValueError(f"{path}: {name} ends at row {row} of {shape[0]}")
                yield np.frombuffer(data, np.uint8).reshape(shape[1:])

        yield shape, rows()


def _read_npz(path: Path, name: str, indices: np.ndarray) -> Iterator[dict]:
    with _npz_rows(path, name) as (_, rows):
        for index, pixels in zip(indices, pick(rows, indices), strict=True):
            yield image_pixels(pixels, f"{path.name}, {name}, row {index + 1}")


def open_svhn_mat(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`train_32x32.mat` and `test_32x32.mat`: `X` uint8 [32, 32, 3, N], `y` [N, 1] with 10 for the digit 0.

    MATLAB's compression allows no access to single rows: `X` of one file (225 MB of train) is held while rows are
    read.
    """
    folder = source.folder_with("train_32x32.mat", "test_32x32.mat")
    splits = {}
    for split in ("train", "test"):
        path = folder / f"{split}_32x32.mat"
        labels = check_classes(_matlab(path, "y"), 10, path, first=1)
        splits[split] = RawSplit((labels + 1) % 10, partial(_read_mat, path))
    return splits


def _matlab(path: Path, name: str) -> np.ndarray:
    scipy_io = library("scipy.io", "scipy")
    check_file(path)
    try:
        stated = next((shape for variable, shape, _ in scipy_io.whosmat(path) if variable == name), ())
        if math.prod(stated) > (most := most_unpacked(path.stat().st_size)):
            raise ValueError(f"{name} must have at most {most:,} numbers in a file of its size, got {stated}")
        return scipy_io.loadmat(path, variable_names=[name])[name]
    except KeyError:
        raise ValueError(f"{path}: there is no variable {name} in it") from None
    # scipy raises any error that its parser runs into.
    except Exception as error:
        raise ValueError(f"{path}: it cannot be read as a MATLAB file: {error}") from error


def _read_mat(path: Path, indices: np.ndarray) -> Iterator[dict]:
    pixels = _matlab(path, "X")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2] != 3 or pixels.shape[3] <= indices[-1]:
        raise ValueError(
            f"{path}: X must be uint8 [H, W, 3, N] with an image for each label, got {pixels.dtype} "
            f"{list(pixels.shape)}"
        )
    for index in indices:
        yield image_pixels(pixels[..., index], f"{path.name}, row {index + 1}")
