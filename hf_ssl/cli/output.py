"""Files that commands write: whether they can be written is checked first."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def check_folder(folder: Path) -> None:
    """Raise an OSError at once, and not after an hour of work, if nothing can be written to `--output-dir`.

    Example:
        >>> check_folder(Path(__file__))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        NotADirectoryError: --output-dir must be a folder, got the file ...output.py; give another one
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--output-dir must be a folder, got the file {folder}; give another one")
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"--output-dir must be writable, got {folder} without permission to write in {existing}; give another one"
        )
    try:
        # Permissions alone do not tell of a full disk, or of a file system that nothing can be put into.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise PermissionError(
            f"--output-dir must be writable, got {folder}, but nothing can be written in {existing} "
            f"({error.strerror}); give another one"
        ) from None


def check_file(option: str, path: Path, suffix: str, inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Raise an OSError or ValueError at once if a command must not or cannot write the file of an option.

    Args:
        option: its name, for the error.
        path: of the file; what is there is not opened.
        suffix: that it must have.
        inputs: what the command reads; none of it is ever overwritten.
        overwrite: whether another existing file may be replaced.

    Example:
        >>> check_file("--output", Path(__file__), ".py", [__file__], overwrite=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: --output must not be an input, got ...output.py, which would be lost; give another file
    """
    if path.suffix.lower() != suffix or not path.absolute().parent.is_dir() or path.is_dir():
        raise ValueError(f"{option} must be a {suffix} file in an existing folder, got {path}")
    if path.exists() and any(os.path.exists(name) and os.path.samefile(name, path) for name in inputs):
        raise ValueError(f"{option} must not be an input, got {path}, which would be lost; give another file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} must be a file, got {path}, which is a device or pipe; give another one")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{option} must not exist yet, got {path}; give another file, or --overwrite")
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{option} must be in a folder that can be written to, got {path}; give another file")


def printable(text: str, most: int = 80, end: bool = False) -> str:
    """A text in one line of a terminal: at most so many characters, without line breaks and control sequences.

    Args:
        most: of its characters.
        end: keep its end instead of its beginning, as of paths.

    Example:
        >>> printable("two\\nlines"), printable("\\x1b[2J"), printable("long " * 40, most=10)
        ('two lines', '\\\\x1b[2J', 'long long…')
        >>> printable("folder/" * 20 + "file.png", most=10, end=True)
        '…/file.png'
    """
    text = " ".join((text[-4 * most :] if end else text[: 4 * most]).split())
    if len(text) > most:
        text = "…" + text[1 - most :].lstrip() if end else text[: most - 1].rstrip() + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def drawn(path: Path, draw: Callable[[Path], object]) -> bool:
    """Draw a picture into `path`; if matplotlib is missing, say so and return False."""
    try:
        draw(path)
    except ImportError:
        print(f'{path.name} was not drawn: matplotlib is missing; pip install "hf-ssl[plot]"')
        return False
    return True


def check_outside(folder: Path, inputs: Iterable[str | None]) -> None:
    """Raise a ValueError if the output folder is inside a folder of data, where its pictures would become data.

    Args:
        folder: `--output-dir`.
        inputs: what the command reads: files, folders or Hub ids; None for what was not given.

    Example:
        >>> check_outside(Path(__file__).parent / "out", [str(Path(__file__).parent)])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: --output-dir must be outside the data, got .../out inside ...; give another folder
    """
    place = folder.absolute().resolve()
    for name in inputs:
        if name and Path(name).is_dir() and Path(name).resolve() in [place, *place.parents]:
            raise ValueError(f"--output-dir must be outside the data, got {folder} inside {name}; give another folder")


def seen_from(folder: Path, path: Path) -> str:
    """The path of a file as seen from a folder, with slashes; absolute if it cannot be."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return str(path.absolute())
