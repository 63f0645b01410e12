"""A table of examples whose labels are being filled in: every answer is on the disk before the next is asked for.

    FILE --label_rows.py--> rows of text --write--> one label replaced --> the whole file again, atomically

Only the label of a row is ever replaced; all else stays as it is, byte for byte. A lock keeps a second instance out,
and a change by another program is noticed before it would be overwritten.
"""

import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..data.columns import LABEL_COLUMNS, find_input
from ..data.label_forms import find_form
from ..data.sources import read_table
from ..data.spelling import usual_name
from ..files import atomic_write
from ..limits import check_file
from ..problem_types import IN_WORDS, SINGLE_LABEL
from .label_rows import JsonRows, TableRows

_ROWS: dict[str, type[TableRows] | type[JsonRows]] = {".csv": TableRows, ".tsv": TableRows, ".jsonl": JsonRows}
# Bytes of a file that is read as a whole, and written after each answer; and letters of a class's name.
_LARGEST, _LONGEST = 2**28, 200


class LabelFile:
    """A CSV, TSV or JSON Lines file that is being labeled.

    Args:
        path: of the file.
        columns: of the inputs, two for pairs of texts; found as `hf-ssl train` finds them if None.
        label_column: found by its usual names if None; "label" is added if there is none.

    Attributes:
        modality: "image", "audio" or "text".
        labels: one per row, "" for rows without one.

    Raises:
        ValueError, OSError: in one line, if the file cannot be read or written, or is being labeled already.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text("id,text,label\\n01,a rose,\\n02,\\"the sky, blue\\",\\n")
        >>> with LabelFile(path) as file:
        ...     file.write(1, "blue")
        ...     file.open_rows()
        [0]
        >>> print(path.read_text().strip())
        id,text,label
        01,a rose,
        02,"the sky, blue",blue
    """

    def __init__(self, path: Path, columns: list[str] | None = None, label_column: str | None = None):
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}; `hf-ssl pick` writes one")
        if path.suffix.lower() not in _ROWS or not path.is_file():
            raise ValueError(f"FILE must be a .csv, .tsv or .jsonl file, got {path}; `hf-ssl pick` writes one")
        # A link stays a link.
        self.path = path.resolve()
        if not os.access(self.path, os.W_OK) or not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise PermissionError(f"FILE must be writable, and its folder, too, got {path}; copy it to another place")
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{path} is being labeled by another `hf-ssl label`; end that one first") from None
        try:
            self._known = _state(self.path)
            self.modality, self._inputs, self._rows, self.labels = self._read(columns, label_column)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "LabelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows.rows)

    def close(self) -> None:
        """Let others label the file."""
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def open_rows(self) -> list[int]:
        """The rows without a label."""
        return [row for row, label in enumerate(self.labels) if not label]

    def classes(self) -> list[str]:
        """The classes among the labels, in the order in which they first appear."""
        return list(dict.fromkeys(label for label in self.labels if label))

    def shown(self, row: int) -> list[str]:
        """What a person labels: a text, the two of a pair, or the name of a file."""
        return [self._rows.cell(row, name) for name in self._inputs]

    def file_of(self, row: int) -> Path:
        """The picture or recording of a row, as `hf-ssl train` finds it: beside the table, else from where we are."""
        name = self.shown(row)[0]
        beside = self.path.parent / name
        return beside if beside.is_file() or not Path(name).is_file() else Path(name)

    def write(self, row: int, label: str) -> None:
        """Put a label into a row, or take it away (""); it is on the disk when this returns.

        Raises:
            ValueError: if another program has changed the file, or the label cannot stand beside the others.
            OSError: in one line, if it cannot be written; the file is as before then.
        """
        if _state(self.path) != self._known:
            raise ValueError(
                f"{self.path} was changed by another program, and the label {label!r} was not written; close the file "
                "there, and start `hf-ssl label` again"
            )
        before = self._rows.relabel(row, label)
        try:
            mode = self.path.stat().st_mode & 0o777
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(self._rows.content())
                os.chmod(temporary, mode)
        except BaseException:
            self._rows.rows[row] = before
            raise
        self.labels[row] = label
        self._known = _state(self.path)

    def _read(
        self, columns: list[str] | None, label_column: str | None
    ) -> tuple[str, tuple[str, ...], TableRows | JsonRows, list[str]]:
        """Modality, columns of the inputs, rows as they are written, and labels."""
        check_file(self.path, _LARGEST)
        dataset = read_table(self.path, label_column)
        names = dataset.column_names
        label = label_column or usual_name(names, LABEL_COLUMNS) or "label"
        first, second = [*(columns or ()), None, None][:2]
        found = find_input(dataset, label_column=label, input_column=first, text_pair_column=second)
        if found is None:
            raise ValueError(
                f"{self.path} must have a column to be labeled, got the columns {', '.join(names)}; name it with "
                "--column"
            )
        kind = find_form(dataset, [label])[0] if label in names else SINGLE_LABEL
        if kind != SINGLE_LABEL:
            raise ValueError(
                f"{self.path} must have {IN_WORDS[SINGLE_LABEL]}, which is what this command writes, got "
                f"{IN_WORDS[kind]} in column {label!r}; label it with another program, or name another --label-column"
            )
        rows = _ROWS[self.path.suffix.lower()](self.path, label)
        if len(rows.rows) != len(dataset):
            raise ValueError(
                f"{self.path} is read with {len(dataset):,} rows and written with {len(rows.rows):,}, so that labels "
                "could get into wrong rows; save it with a spreadsheet program first"
            )
        return (*found, rows, [rows.cell(row, label).strip() for row in range(len(rows.rows))])


def _state(path: Path) -> tuple[Any, ...]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def class_name(text: str) -> str:
    """The name of a class as it is written into a file: in one line, without spaces around it.

    Raises:
        ValueError: if nothing is left, or it is too long or not printable.

    Example:
        >>> class_name("  a  rose ")
        'a rose'
    """
    name = " ".join(text.split())
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise ValueError(f"a class must have a name of 1 to {_LONGEST} printable letters, got {name!r:.60}")
    return name
