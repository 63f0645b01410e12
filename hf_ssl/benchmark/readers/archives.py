"""Safe extraction of tar and zip archives: nothing is written outside the given folder, and no more than it may be.

How much that is depends on the archive's own size (`hf_ssl.limits.most_unpacked`). Of a tar archive everything counts
that comes out of the decompressor, of a zip archive the sizes that it states, since no member can exceed its own.
"""

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, cast

from ...limits import LARGEST_HEADER, MOST_MEMBERS, check_file, most_unpacked
from .base import progress

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    MemoryError,  # a dictionary larger than this machine
    OverflowError,
    UnicodeError,
    struct.error,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # an encrypted member; headers that name each other
)
# How a compressed tar archive begins -> what reads it.
_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of a tar or zip archive."""
    return path.is_file() and path.name.lower().endswith(_SUFFIXES)


def extract(archive: Path, folder: Path) -> Path:
    """Extract an archive into its own folder below `folder`, and return that folder.

    An extraction that was interrupted starts again; a complete one of the same, unchanged file is reused.

    Raises:
        ValueError: naming archive and member, if a member would be written outside the folder, is a link, a device or
            sparse, or is damaged; or if there is more in the archive than `hf_ssl.limits` allows. Nothing of it is
            left then.
    """
    check_file(archive)
    state = archive.stat()
    identity = f"{archive.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    target = folder / f"{archive.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if target.is_dir():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    unpack = _unpack_zip if archive.name.lower().endswith(".zip") else _unpack_tar
    name = None
    try:
        for member in progress(unpack(archive, partial), f"Extracting {archive.name}", " files"):
            name = member
    except _DAMAGE as error:
        shutil.rmtree(partial, ignore_errors=True)
        place = f" after {name}" if name else ""
        reason = str(error) or type(error).__name__
        raise ValueError(f"{archive}: the archive is damaged{place}: {reason}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.replace(partial, target)
    return target


def _unpack_tar(archive: Path, folder: Path) -> Iterator[str]:
    """Extract member by member and yield their names. Of 100,000 members only the current one is held."""
    if not hasattr(tarfile, "data_filter"):
        raise ValueError("this Python cannot extract archives safely; 3.10.12, 3.11.4, or a later one can")
    with _decompressed(archive) as file, tarfile.open(fileobj=cast(BinaryIO, file), mode="r:") as tar:
        total = _Total(archive)
        while (member := tar.next()) is not None:
            _check_member(archive, member.name, _special_kind(member))
            total.add(member.size)
            try:
                tar.extract(member, folder, set_attrs=False, filter="data")
            except tarfile.FilterError as error:
                raise ValueError(f"{archive}: member {member.name!r} is not safe to extract: {error}") from error
            # TarFile remembers all members for the sake of links, of which there are none here.
            tar.members = []  # type: ignore[attr-defined]  # documented for this use, absent from the stub
            yield member.name
        # `next` takes a damaged header for the end of the archive, which is a block of zeros or the end of the file.
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("the header of the next member cannot be read")


@contextmanager
def _decompressed(archive: Path) -> Iterator["_Bounded"]:
    with open(archive, "rb") as file:
        start = file.read(6)
    readers: Iterator[Callable[..., Any]] = (read for magic, read in _COMPRESSIONS.items() if start.startswith(magic))
    with cast(BinaryIO, next(readers, open)(archive, "rb")) as file:
        yield _Bounded(file, archive)


class _Bounded:
    """A tar archive after decompression, as `tarfile` reads it, which ends with an error where it gets too long.

    Members are copied in small pieces. Only a header is read as a whole, whatever size it claims.
    """

    def __init__(self, file: BinaryIO, archive: Path):
        self.file, self.total = file, _Total(archive)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of a member claims {size:,} bytes")
        self.total.check(self.file.tell() + size)
        return self.file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        self.total.check(position)
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()


class _Total:
    """How many members an archive has so far and how many bytes they take, compared with what it may have."""

    def __init__(self, archive: Path):
        self.archive, self.packed = archive, archive.stat().st_size
        self.most = most_unpacked(self.packed)
        self.members = self.size = 0

    def add(self, size: int) -> None:
        """One more member. Raises a ValueError if that is too many, or too much."""
        self.members, self.size = self.members + 1, self.size + size
        if self.members > MOST_MEMBERS:
            raise ValueError(
                f"{self.archive}: an archive must have at most {MOST_MEMBERS:,} members, got more; unpack it yourself"
            )
        self.check(self.size)

    def check(self, size: int) -> None:
        """Raises a ValueError if the archive may not unpack to this many bytes."""
        if size > self.most:
            raise ValueError(
                f"{self.archive}: an archive of {self.packed:,} bytes must unpack to at most {self.most:,}, got "
                f"{size:,} or more; if you trust it, unpack it and give its folder"
            )


def _special_kind(member: tarfile.TarInfo) -> str | None:
    if member.issparse():
        return "sparse"
    if member.isfile() or member.isdir():
        return None
    return "a link" if member.issym() or member.islnk() else "a device"


def _unpack_zip(archive: Path, folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as file:
        total = _Total(archive)
        for member in file.infolist():
            total.add(member.file_size)
            mode = member.external_attr >> 16
            _check_member(archive, member.orig_filename, "a link" if stat.S_ISLNK(mode) else None)
            file.extract(member, folder)
            yield member.filename


def _check_member(archive: Path, name: str, kind: str | None) -> None:
    """Refuse what would be written elsewhere. The safe filter of `tarfile` would rename some of it silently."""
    windows = PureWindowsPath(name)
    if windows.anchor or PurePosixPath(name).is_absolute():
        kind = "an absolute path"
    elif ".." in windows.parts:
        kind = "a path that leads out of the archive"
    elif "\0" in name:
        kind = "a name with a zero byte"
    if kind:
        raise ValueError(f"{archive}: member {name!r} is {kind}; such archives are not extracted")
