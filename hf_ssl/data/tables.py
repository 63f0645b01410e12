"""How a file of rows is written, found out before it is read: encoding, separator, names of the columns.

    .csv, .tsv     `find_form`: every line is looked at once, so that what would be misread is refused by its line
    .txt, others   `encoding_of`, `lines_of`

What can be read in one way only is read, with a note that says how; everything else is an error of one line.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..limits import LONGEST_ROW
from ..modality import MODALITIES
from .columns import LABEL_COLUMNS
from .labels import shortened
from .other_kinds import ARCHIVE, SPREADSHEET
from .spelling import usual_name

# Columns of a table; `datasets` takes minutes for more, and a file with more often has the wrong separator.
MOST_COLUMNS = 5_000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How files begin that are not what their suffix says.
_BEGINNINGS = {
    b"PK\x03\x04": f"is a zip archive or a spreadsheet; unpack it, or {SPREADSHEET}",
    b"\x1f\x8b": f"is compressed (gzip); {ARCHIVE}",
    b"BZh": f"is compressed (bzip2); {ARCHIVE}",
    b"\xd0\xcf\x11\xe0": f"is a spreadsheet of another program; {SPREADSHEET}",
    b"PAR1": "is a Parquet file; name it .parquet",
    b"%PDF": "is a PDF document; save its texts as CSV, or one per line as .txt",
}


@dataclass(frozen=True)
class TableForm:
    """How a table of text is written.

    Args:
        separator: between the fields of a line.
        encoding: as Python names it.
        names: of the columns, without spaces around them.
        width: number of columns that are read; further ones are empty.
        widest: fields of the longest line.
        skipped: lines above the header.
        notes: what a person should know, a sentence each.
    """

    separator: str
    encoding: str
    names: tuple[str, ...]
    width: int
    widest: int
    skipped: int = 0
    notes: tuple[str, ...] = ()

    def options(self, texts: Sequence[str]) -> dict[str, Any]:
        """Keywords of pandas' `read_csv` that read exactly these columns: a cell is what it says.

        Args:
            texts: names of columns that are read as texts: "001" and "1e3" are not numbers there.
        """
        names = [name or f"Unnamed: {place}" for place, name in enumerate(self.names)]
        names += [f"Unnamed: {place}" for place in range(len(names), self.widest)]
        found = [name for name in names[: self.width] if name in texts]
        return {
            "sep": self.separator,
            "encoding": self.encoding,
            "names": names,
            "header": 0,
            "skiprows": self.skipped or None,
            "usecols": names[: self.width],
            # Words such as "NA" and "null" are texts and class names here.
            "keep_default_na": False,
            "na_values": [""],
            **({"converters": dict.fromkeys(found, str)} if found else {}),
        }


@dataclass
class _Seen:
    """What one pass over a table with one separator has found."""

    names: list[str] = field(default_factory=list)
    rows: int = 0
    widest: int = 0
    # Place of the last field that is not blank in any line.
    last_used: int = 0
    # Line and number of fields of the first row that is wider than the header.
    misfit: tuple[int, int] | None = None
    short: int = 0
    first_short: int = 0
    # Fields of the widest row below the header.
    widest_row: int = 0
    # Line of a row that is the header once more.
    repeated: int | None = None


def encoding_of(path: Path) -> str:
    """The encoding of a text file by its first bytes: UTF-8, or what a byte order mark says.

    Raises:
        ValueError: if it begins like a file of another kind.
    """
    with path.open("rb") as file:
        start = file.read(512)
    for beginning, what in _BEGINNINGS.items():
        if start.startswith(beginning):
            raise ValueError(f"{path} {what}")
    if re.match(rb"\s*<(!doctype html|html)", start, re.IGNORECASE):
        raise ValueError(f"{path} is a web page and not a table; download the file itself")
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def checked_encoding(path: Path) -> str:
    """`encoding_of` a file all of which is text in it.

    Raises:
        ValueError: as `lines_of`.
    """
    for _ in lines_of(path, longest=-1):
        pass
    return encoding_of(path)


def lines_of(path: Path, longest: int = LONGEST_ROW) -> Iterator[str]:
    """The lines of a text file with their ends, which may be those of Unix, Windows or old Macs.

    Args:
        path: the file.
        longest: number of characters that no line reaches; -1 for any length.

    Raises:
        ValueError: for bytes that are not text in the file's encoding, and for lines that are too long.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_bytes("text\\ncaf\\xe9\\n".encode("latin-1"))
        >>> list(lines_of(path))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: ...rows.csv is not UTF-8 text (line 2, byte 0xe9); save it as UTF-8
    """
    encoding = encoding_of(path)
    number = 0
    with path.open(encoding=encoding, newline="") as file:
        while True:
            try:
                line = file.readline(longest)
            except UnicodeError:
                name = encoding.removesuffix("-sig").upper()
                where = _bad_byte(path, encoding)
                raise ValueError(f"{path} is not {name} text ({where}); save it as UTF-8") from None
            if not line:
                return
            number += 1
            if len(line) == longest:
                raise ValueError(f"line {number:,} of {path} is longer than {longest:,} characters; shorten it")
            if "\0" in line:
                raise ValueError(
                    f"line {number:,} of {path} has a NUL character, which texts do not have; save it as UTF-8"
                )
            yield line


def _bad_byte(path: Path, encoding: str) -> str:
    """Where the first byte is that is not text."""
    if not encoding.startswith("utf-8"):
        return "it ends in the middle of a character, or is damaged"
    lines = 1
    with path.open("rb") as file:
        for raw in file:
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                lines += len(re.findall(rb"\r(?!\n)", raw[: error.start]))
                return f"line {lines:,}, byte 0x{raw[error.start]:02x}"
            lines += 1 + len(re.findall(rb"\r(?!\n)", raw))
    return "its end"


# ---- Tables of text ----


def find_form(path: Path) -> TableForm:
    """How a CSV or TSV file is written; its suffix and the header say which separator is tried first.

    Raises:
        ValueError: for a line with more fields than the header, a second header, a quote that is never closed, a
            column that is named twice, and text that cannot be decoded; the line is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text("text;label\\nyes, it is;pos\\n")
        >>> form = find_form(path)
        >>> form.separator, form.names
        (';', ('text', 'label'))
    """
    hint, skipped = _separator_line(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    separator, found = (hint, _look(path, hint, skipped)) if hint else _choose_separator(path, usual)
    _refuse_misfit(path, found, separator)
    if len(found.names) > MOST_COLUMNS:
        raise ValueError(
            f"{path} must have at most {MOST_COLUMNS:,} columns, got {len(found.names):,}; keep those that matter"
        )
    names = [name.strip() for name in found.names]
    twice = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"{path} has two columns with the name {twice!r}; rename one of them")
    named = max((place for place, name in enumerate(names, start=1) if name), default=len(names))
    encoding = encoding_of(path)
    notes = []
    if separator != usual:
        notes.append(f"{path}: read with {_SEPARATORS.get(separator, repr(separator))} between the fields")
    if not encoding.startswith("utf-8"):
        notes.append(f"{path}: read as {encoding.upper()}")
    if found.short:
        number, plural = found.short, found.short > 1
        notes.append(
            f"{path}: {number:,} {'lines have' if plural else 'line has'} fewer fields than the header, the first is "
            f"line {found.first_short:,}; what is missing there is read as empty"
        )
    width, widest = max(named, found.last_used), max(found.widest, len(names))
    return TableForm(separator, encoding, tuple(names), width, widest, skipped, tuple(notes))


def _choose_separator(path: Path, usual: str) -> tuple[str, "_Seen"]:
    """The usual separator, or another one that divides header and lines if the usual one does not."""
    seen = _look(path, usual, 0)
    if seen.misfit is None and len(seen.names) > 1:
        return usual, seen
    header = next((line for line in lines_of(path) if line.strip()), "")
    others = {other: _look(path, other, 0) for other in _SEPARATORS if other != usual and other in header}
    able = [other for other, found in others.items() if len(found.names) > 1 and 2 * found.short < found.rows]
    if len(seen.names) > 1:
        able = [other for other in able if others[other].misfit is None]
    return (able[0], others[able[0]]) if len(able) == 1 else (usual, seen)


def csv_options(tables: Sequence[Path], label_column: str | None, notes: list[str]) -> dict[str, Any]:
    """How to read tables that are text, which must be written alike; what a person should know joins `notes`."""
    forms = [find_form(path) for path in tables]
    first = forms[0]
    for path, form in zip(tables, forms, strict=True):
        notes += form.notes
        if (form.separator, form.encoding, form.skipped) != (first.separator, first.encoding, first.skipped):
            raise ValueError(
                f"{path} has another separator or encoding than {tables[0]}; write the files of a folder alike"
            )
    names = {name for form in forms for name in form.names}
    texts = {found for form in forms if (found := label_column or usual_name(form.names, LABEL_COLUMNS))}
    widest = max(forms, key=lambda form: (form.widest, form.width))
    options = widest.options([*(texts & names), *(names & {*MODALITIES["text"].usual_columns})])
    if any(form.names != first.names for form in forms):
        # Splits with other columns: each table is read by its own header.
        options = {name: value for name, value in options.items() if name not in ("names", "header", "usecols")}
    return options


def _separator_line(path: Path) -> tuple[str | None, int]:
    """The separator that a first line "sep=;" names, as spreadsheet programs write it, and the lines to skip."""
    found = re.fullmatch(r"sep=(.)", next(lines_of(path), "").rstrip("\r\n"))
    return (found[1], 1) if found else (None, 0)


def _look(path: Path, separator: str, skipped: int) -> _Seen:
    """Divide all lines by a separator, up to the first that has more fields than the header."""
    seen = _Seen()
    for line, fields in _rows(path, separator, skipped):
        if len(fields) < 2 and not "".join(fields).strip():
            continue
        if seen.names:
            seen.widest_row = max(seen.widest_row, len(fields))
            if fields == seen.names and len(fields) > 1:
                seen.repeated = seen.repeated or line
        else:
            seen.names = fields
        width, header = len(fields), len(seen.names)
        seen.rows += 1
        seen.widest = max(seen.widest, width)
        if width < header:
            seen.short += 1
            seen.first_short = seen.first_short or line
        if width > seen.last_used:
            seen.last_used = max([seen.last_used, *(place for place, cell in enumerate(fields, 1) if cell.strip())])
        if seen.last_used > header:
            seen.misfit = line, width
            break
    return seen


def _refuse_misfit(path: Path, seen: _Seen, separator: str) -> None:
    if 1 < seen.widest_row < len(seen.names) and not any(name.strip() == "" for name in seen.names):
        raise ValueError(
            f"line {seen.first_short:,} of {path} and all others have at most {seen.widest_row} fields, and the "
            f"header has {len(seen.names)} ({shortened(seen.names, 5)}); name the columns that there are"
        )
    if seen.repeated is not None:
        raise ValueError(
            f"line {seen.repeated:,} of {path} has the names of the columns once more ({shortened(seen.names, 5)}), "
            "as when a file is put behind another one; delete that line"
        )
    if seen.misfit is None:
        return
    line, width = seen.misfit
    quotes = f"put texts with {_SEPARATORS.get(separator, separator)} in double quotes"
    # If the first row is wider already, the header may be what is wrong.
    way = f"name every column in the first line, or {quotes}" if seen.rows == 2 else quotes
    raise ValueError(
        f"line {line:,} of {path} has {width} fields, and the header has {len(seen.names)} "
        f"({shortened(seen.names, 5)}); {way}"
    )


def _rows(path: Path, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The number of the line in which a row begins, and its fields.

    Raises:
        ValueError: if a quote is never closed, or a field is too long.
    """
    recent: list[str] = []

    def remembered() -> Iterator[str]:
        for place, line in enumerate(lines_of(path)):
            if place >= skipped:
                recent.append(line)
                yield line

    reader = csv.reader(remembered(), delimiter=separator)
    begins, last = skipped + 1, []
    with _long_fields():
        while True:
            try:
                fields = next(reader, None)
            except csv.Error:
                raise ValueError(_open_quote(path, begins)) from None
            if fields is None:
                break
            yield begins, fields
            begins, last = skipped + reader.line_num + 1, recent[:]
            recent.clear()
    if last and _ends_inside_quotes(last, separator):
        raise ValueError(_open_quote(path, begins - len(last)))


def _open_quote(path: Path, line: int) -> str:
    return f'a quote that is opened in line {line:,} of {path} is never closed; close it, or write "" for a quote'


def _ends_inside_quotes(lines: list[str], separator: str) -> bool:
    with _long_fields():
        try:
            for _ in csv.reader(lines, delimiter=separator, strict=True):
                pass
        except csv.Error as error:
            return "unexpected end" in str(error)
    return False


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module read texts above its usual limit of 131,072 characters, and no longer ones than ours."""
    before = csv.field_size_limit(LONGEST_ROW)
    try:
        yield
    finally:
        csv.field_size_limit(before)
