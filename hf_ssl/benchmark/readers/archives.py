"""Safe extraction of tar and zip archives: nothing is ever written outside the given folder."""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath

from .base import progress

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # an encrypted member
)


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of a tar or zip archive."""
    return path.is_file() and path.name.lower().endswith(_SUFFIXES)


def extract(archive: Path, folder: Path) -> Path:
    """Extract an archive into its own folder below `folder`, and return that folder.

    An extraction that was interrupted starts again; a complete one of the same, unchanged file is reused.

    Raises:
        ValueError: naming archive and member, if a member would be written outside the folder, is a link or a device,
            or is damaged. Nothing of the archive is left then.
    """
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
        raise ValueError(f"{archive}: the archive is damaged{place}: {error}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.replace(partial, target)
    return target


def _unpack_tar(archive: Path, folder: Path) -> Iterator[str]:
    """Extract member by member and yield their names. Of 100,000 members only the current one is held."""
    if not hasattr(tarfile, "data_filter"):
        raise ValueError("this Python cannot extract archives safely; 3.10.12, 3.11.4, or a later one can")
    with tarfile.open(archive) as tar:
        while (member := tar.next()) is not None:
            _check_member(archive, member.name, _special_kind(member))
            try:
                tar.extract(member, folder, set_attrs=False, filter="data")
            except tarfile.FilterError as error:
                raise ValueError(f"{archive}: member {member.name!r} is not safe to extract: {error}") from error
            # TarFile remembers all members for the sake of links, of which there are none here.
            tar.members = []  # type: ignore[attr-defined]  # documented for this use, absent from the stub
            yield member.name
        # `next` takes a damaged header for the end of the archive, which is a block of zeros or the end of the file.
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        if any(tar.fileobj.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("the header of the next member cannot be read")


def _special_kind(member: tarfile.TarInfo) -> str | None:
    if member.isfile() or member.isdir():
        return None
    return "a link" if member.issym() or member.islnk() else "a device"


def _unpack_zip(archive: Path, folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
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
