"""Files written whole or not at all, and JSON that leaves the machine without its paths."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Keys under which libraries note the folder or file that something was loaded from.
_PATH_KEYS = (
    "_name_or_path",
    "name_or_path",
    "base_model_name_or_path",
    "best_model_checkpoint",
    "tokenizer_file",
    "vocab_file",
)


# In a folder, the folder of the files that are being written into it.
NEW_FILES = ".partial"
_TEMPORARY = re.compile(r"\..*\.\d+\.tmp(\.[^.]*)?")
_STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)
_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space") | {errno.EIO: "check the disk"}
# How code that is not Python tells of them: Rust with the number, torch without.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_TORCH_ERRORS = ("inline_container", "iostream error")


# ---- Whole or not at all ----


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces `path` when the block ends, or is deleted when it fails.

    A reader sees the old content or the new one, never a part, even if the machine loses its power. The temporary
    name is hidden and this process's own; the suffix stays, since libraries choose formats by it.

    Raises:
        OSError: in one line that names `path`, if the disk is full or cannot be written to.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with atomic_write(f"{folder.name}/results.json") as temporary:
        ...     _ = temporary.write_text("{}")
        >>> os.listdir(folder.name)
        ['results.json']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        with clear_storage_errors(path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
    finally:
        _discard(temporary)


@contextmanager
def atomic_files(folder: str | Path) -> Iterator[Path]:
    """An empty folder inside `folder`, whose files replace those of `folder` when the block ends, each as a whole.

    Nothing is replaced if the block fails. Subfolders are kept apart: their files go where they belong.

    Args:
        folder: made if it does not exist.

    Raises:
        OSError: in one line that names `folder`, if the disk is full or cannot be written to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_files(folder) as new:
        ...     _ = (new / "config.json").write_text("{}")
        ...     sorted(path.name for path in folder.iterdir())
        ['.partial']
        >>> sorted(path.name for path in folder.iterdir())
        ['config.json']
    """
    folder = Path(folder)
    new = folder / NEW_FILES
    try:
        with clear_storage_errors(folder):
            if new.exists():
                # Left by a process that was killed.
                shutil.rmtree(new)
            new.mkdir(parents=True)
            yield new
            files = files_below(new)
            for path in files:
                sync(path)
            for path in files:
                target = folder / path.relative_to(new)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
            sync(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def unfinished(folder: str | Path) -> list[Path]:
    """What a process that was killed left in a folder that it was writing files to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in (".results.4711.tmp.json", "results.tmp.json"):
        ...     _ = (folder / name).write_text("{")
        >>> [path.name for path in unfinished(folder)]
        ['.results.4711.tmp.json']
    """
    folder = Path(folder)
    found = [path for path in folder.glob(".*.tmp*") if _TEMPORARY.fullmatch(path.name)]
    return found + [path for path in [folder / NEW_FILES] if path.exists()]


def files_below(folder: str | Path) -> list[Path]:
    """The files in a folder and in the folders below it, in the order of their names."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "empty")
        ...     path.touch()
        ...     file_hash(path)[:8]
        'e3b0c442'
    """
    # `hashlib.file_digest` came with Python 3.11.
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: str | Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk and survives a loss of power."""
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot, above all for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    # A folder that has become read-only keeps the file, and the error that is on its way says why.
    with suppress(OSError):
        path.unlink(missing_ok=True)


# ---- What the disk refuses ----


@contextmanager
def clear_storage_errors(path: str | Path, otherwise: str = "or choose another folder") -> Iterator[None]:
    """Turn the errors of a disk that is full or cannot be written to into one line that names the file or folder.

    torch, safetensors and tokenizers raise exceptions of their own for it; anything else passes unchanged.

    Args:
        path: what is written.
        otherwise: what follows the remedy.

    Raises:
        OSError: with the number of the error.

    Example:
        >>> with clear_storage_errors("run/results.json"):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        ...
        OSError: run/results.json cannot be written: No space left on device; free some space or choose another folder
    """
    try:
        yield
    except Exception as error:
        number = _storage_error(error)
        if number is None:
            raise
        kind = type(error) if isinstance(error, OSError) else OSError
        remedy = _REMEDIES.get(number, "make it writable")
        clear = kind(f"{path} cannot be written: {os.strerror(number)}; {remedy} {otherwise}")
        clear.errno = number
        raise clear from error


def _storage_error(error: Exception) -> int | None:
    """The number under which the system knows why something cannot be written; None for other errors."""
    if isinstance(error, OSError):
        return error.errno if error.errno in _STORAGE_ERRORS else None
    text = str(error)
    if (found := _OS_ERROR.search(text)) is not None and int(found[1]) in _STORAGE_ERRORS:
        return int(found[1])
    # torch does not say why.
    return errno.ENOSPC if any(sign in text for sign in _TORCH_ERRORS) else None


# ---- Without paths ----


def is_local(name: str) -> bool:
    """Whether the name of a model or dataset is a path: it exists here, or cannot be a Hub id.

    Example:
        >>> is_local("google/vit-base-patch16-224"), is_local("./vit"), is_local("runs/digits/model")
        (False, True, True)
    """
    return (
        os.path.isabs(name)
        or name.startswith((".", "~"))
        or name.count("/") > 1
        or "\\" in name
        or os.path.exists(name)
    )


def without_paths(text: str) -> str:
    """A JSON document in which the folders that something was loaded from keep only their last name.

    What is not JSON, and JSON without such a path, is returned unchanged, down to its spaces.

    Example:
        >>> print(without_paths('{"_name_or_path": "/home/me/vit"}').strip())
        {
          "_name_or_path": "vit"
        }
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return text
    cleaned = _without_paths(content)
    return text if cleaned == content else json.dumps(cleaned, indent=2, ensure_ascii=False) + "\n"


def _without_paths(value: Any, key: str | None = None) -> Any:
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_paths(item, name) for name, item in value.items()}
    if key in _PATH_KEYS and isinstance(value, str) and is_local(value):
        return Path(value).name
    return value
