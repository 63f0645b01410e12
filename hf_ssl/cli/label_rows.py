"""The rows of a table as they are written, of which one label can be replaced and nothing else changes.

TableRows    CSV and TSV: separator, quotes, ends of lines and encoding stay
JsonRows     JSON Lines: the other lines stay; the changed one keeps its values and their order
"""

import json
import re
from pathlib import Path
from typing import Any

from ..data.tables import find_form
from ..documents import parse_json

_QUOTED = re.compile(r'"((?:[^"]|"")*)"?(.*)', re.DOTALL)
_NUMBER = re.compile(r"-?\d+")


class TableRows:
    """The rows of a CSV or TSV file.

    Args:
        path: of the file, which `hf_ssl.data.sources.read_table` can read.
        label: name of the column of labels; it is added if there is none.

    Attributes:
        rows: each as it stands in the file, with the end of its line.
    """

    def __init__(self, path: Path, label: str):
        form = find_form(path)
        self.encoding, self._separator, self._names = form.encoding, form.separator, list(form.names)
        mark = re.escape(form.separator)
        self._field = re.compile(rf'("(?:[^"]|"")*"?[^{mark}\r\n]*|[^{mark}\r\n]*)({mark}|\r\n|\r|\n|\Z)')
        parts = self._parts(path.read_bytes().decode(form.encoding))
        # Blank lines between rows are part of the row before them.
        joined: list[str] = []
        for number, part in enumerate(parts):
            blank = len(self._spans(part)) == 1 and not part.strip()
            if joined and (blank or number <= form.skipped):
                joined[-1] += part
            elif joined and len(joined) == 1 and not joined[0].strip():
                joined[0] += part
            else:
                joined.append(part)
        self._head, *self.rows = joined
        added = label not in self._names
        if added:
            self._names.append(label)
        self._place = self._names.index(label)
        if added:
            self._head = self._with_cell(self._head, label)
            self.rows = [self._with_cell(row, "") for row in self.rows]

    def content(self) -> bytes:
        """The file."""
        return (self._head + "".join(self.rows)).encode(self.encoding)

    def cell(self, row: int, name: str) -> str:
        """What is in a column of a row; "" if the row ends before it."""
        text, place = self.rows[row], self._names.index(name)
        spans = self._spans(text)
        return _plain(text[slice(*spans[place])]) if place < len(spans) else ""

    def relabel(self, row: int, label: str) -> str:
        """Replace the label of a row, and return the row as it was."""
        before = self.rows[row]
        self.rows[row] = self._with_cell(before, label)
        return before

    def _parts(self, text: str) -> list[str]:
        """The text in parts that end where a row of the table does."""
        parts, begin, place = [], 0, 0
        while place < len(text):
            found = self._field.match(text, place)
            assert found is not None, "an empty field matches everywhere"
            place = found.end()
            if found[2] != self._separator:
                parts.append(text[begin:place])
                begin = place
        return parts + ([text[begin:]] if begin < len(text) else [])

    def _spans(self, row: str) -> list[tuple[int, int]]:
        """Where the fields of a row begin and end; blank lines behind it are not part of it."""
        spans, place = [], 0
        while (found := self._field.match(row, place)) is not None:
            spans.append(found.span(1))
            place = found.end()
            if found[2] != self._separator:
                break
        return spans

    def _with_cell(self, row: str, label: str) -> str:
        special = any(mark in label for mark in (self._separator, '"', "\r", "\n"))
        cell = '"' + label.replace('"', '""') + '"' if special else label
        spans = self._spans(row)
        if self._place < len(spans):
            begin, end = spans[self._place]
            return row[:begin] + cell + row[end:]
        end = spans[-1][1]
        return row[:end] + self._separator * (self._place + 1 - len(spans)) + cell + row[end:]


def _plain(field: str) -> str:
    """A field of a table without its quotes."""
    found = _QUOTED.fullmatch(field)
    return field if found is None else found[1].replace('""', '"') + found[2]


class JsonRows:
    """The rows of a JSON Lines file.

    Args:
        path: of the file.
        label: name of the key of labels.

    Attributes:
        rows: each as it stands in the file, with the end of its line.
    """

    def __init__(self, path: Path, label: str):
        content = path.read_bytes()
        self.encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
        lines = re.findall(r"[^\n]*\n|[^\n]+\Z", content.decode(self.encoding))
        self.rows: list[str] = []
        for line in lines:
            if line.strip() or not self.rows:
                self.rows.append(line)
            else:
                self.rows[-1] += line
        self._path, self._label = path, label
        self._values = [self._parsed(row) for row in range(len(self.rows))]
        self._numbers = any(isinstance(values.get(label), int | float) for values in self._values)

    def content(self) -> bytes:
        """The file."""
        return "".join(self.rows).encode(self.encoding)

    def cell(self, row: int, name: str) -> str:
        """What is under a key of a row, as text; "" if there is nothing."""
        value = self._values[row].get(name)
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)

    def relabel(self, row: int, label: str) -> str:
        """Replace the label of a row, and return the row as it was.

        Raises:
            ValueError: if the other labels are numbers, and this one is not.
        """
        value: str | int | None = label
        if self._numbers:
            if label and not _NUMBER.fullmatch(label):
                raise ValueError(f"the labels of {self._path} are numbers, got {label!r}; write all of them as texts")
            value = int(label) if label else None
        before = self.rows[row]
        values = {**self._values[row], self._label: value}
        end = before[len(before.rstrip()) :]
        self.rows[row] = json.dumps(values, ensure_ascii=before.isascii() and label.isascii()) + end
        self._values[row] = values
        return before

    def _parsed(self, row: int) -> dict[str, Any]:
        values = parse_json(self.rows[row], f"line {row + 1} of {self._path}")
        if not isinstance(values, dict):
            raise ValueError(f"line {row + 1} of {self._path} must be an object, got {self.rows[row].strip():.60}")
        return values
