"""Tables as CSV, which spreadsheet programs open: written whole or not at all, and nothing in them runs."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import atomic_write


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a table as CSV, row by row, and return how many rows it has.

    A text that a spreadsheet would take for a formula gets an apostrophe, see `harmless`. Names of files that are not
    text are written with their bytes as `\\udc..`.

    Raises:
        OSError: with the file's name, if it cannot be written, as on a full disk; nothing is left of it then.
    """
    written = 0
    try:
        with (
            atomic_write(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                writer.writerow([harmless(cell) for cell in row])
                written += 1
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, f"{os.strerror(error.errno)}; nothing was written", str(path)) from None
    return written


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
