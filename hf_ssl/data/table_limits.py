"""Whether a table may be read at all: what would end or fill the process is found before a parser sees the file.

    .json, .jsonl    nesting, at which pyarrow's reader overflows its stack; lines as long as the file
    .parquet         rows, columns and sizes that the file states, compared with its own size
    .csv, .tsv       columns of the header
    all              pipes, devices and sockets, which would never end

The other lines of tables of text are read one by one before they are parsed, and have their bound there.
"""

from collections.abc import Iterator
from pathlib import Path

from ..limits import (
    LARGEST_DOCUMENT,
    LONGEST_ROW,
    MOST_COLUMNS,
    MOST_ROWS,
    check_depth,
    check_file,
    chunks,
    most_unpacked,
)


def check_table(path: Path) -> None:
    """Raise unless a file of rows can be read within `hf_ssl.limits`. A file that is not there is left to its reader.

    Raises:
        ValueError: in one line that names the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.jsonl")
        >>> _ = path.write_text('{"text": "a", "label": ' + "[" * 100 + "\\n")
        >>> check_table(path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: ...rows.jsonl must be nested at most 100 deep, got 101; flatten it
    """
    check_file(path)
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv", ".jsonl") and path.exists():
        _check_columns(path, b'":' if kind == ".jsonl" else b",;|\t")
    if kind in (".json", ".jsonl") and path.exists():
        check_depth(_rows(path, whole=kind == ".json" and path.stat().st_size <= LARGEST_DOCUMENT), str(path))
    elif kind == ".parquet" and path.exists():
        _check_parquet(path)


def _check_columns(path: Path, marks: bytes) -> None:
    """Raise a ValueError if the first line has too many columns, each of which goes with one of the marks."""
    with open(path, "rb") as file:
        line = file.readline(LONGEST_ROW)
    # The names of JSON end with two marks, those of other tables with any one of them.
    counts = [line.count(marks)] if marks.startswith(b'"') else [1 + line.count(mark) for mark in marks]
    _refuse_columns(path, max(counts))


def _refuse_columns(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise ValueError(f"{path} must have at most {MOST_COLUMNS:,} columns, got {columns:,}; leave some out")


def _rows(path: Path, whole: bool) -> Iterator[bytes]:
    """The bytes of a file, none of whose lines may be longer than a row unless the `whole` may be one document."""
    length = 0
    for chunk in chunks(path):
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
        length = length + len(chunk) if first < 0 else max(length + first, len(chunk) - 1 - last)
        if length > LONGEST_ROW and not whole:
            raise ValueError(
                f"each line of {path} must have at most {LONGEST_ROW:,} bytes, got more; write one row per line (JSON "
                "Lines)"
            )
        length = length if first < 0 else len(chunk) - 1 - last
        yield chunk


def _check_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Of the strings and lists in the metadata, which may claim any length, pyarrow reads 100 MB and a million.
        found = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    for value in (found.metadata or {}).values():
        # `datasets` keeps its features there, as JSON.
        check_depth([value], f"{path}, in its metadata,")
    packed, most = path.stat().st_size, most_unpacked(path.stat().st_size)
    size = sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
    if found.num_columns > MOST_COLUMNS:
        raise ValueError(
            f"{path} must have at most {MOST_COLUMNS:,} columns, got {found.num_columns:,}; leave some out"
        )
    if not 0 <= found.num_rows <= MOST_ROWS:
        raise ValueError(f"{path} must have at most {MOST_ROWS:,} rows, got {found.num_rows:,}; divide it")
    if not 0 <= size <= most:
        raise ValueError(f"{path} of {packed:,} bytes must unpack to at most {most:,}, got {size:,}; write it again")
