"""Files that commands write: whether they can be written is checked first, and each is written whole or not at all."""

import csv
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..files import atomic_write


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


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV. A text that a spreadsheet would take for a formula gets an apostrophe, see `harmless`."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([harmless(cell) for cell in row] for row in rows)


def harmless(text: str) -> str:
    """A cell that no spreadsheet program runs: before =, +, -, @, a tab or a line break stands an apostrophe.

    So OWASP recommends it; the apostrophe says "text" to the program. Numbers stay numbers.

    Example:
        >>> [harmless(text) for text in ("cat", "-0.5", "=HYPERLINK(A1)", "@me", "-1+1")]
        ['cat', '-0.5', "'=HYPERLINK(A1)", "'@me", "'-1+1"]
    """
    if not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return text
    return text if re.fullmatch(r"[+-]?\d+(\.\d+)?", text) else f"'{text}"


def drawn(path: Path, draw: Callable[[Path], None]) -> bool:
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
