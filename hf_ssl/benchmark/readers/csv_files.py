"""The text CSVs of Zhang, Zhao and LeCun (arXiv 1509.01626): `train.csv` and `test.csv`, classes from 1."""

import csv
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...limits import LONGEST_ROW, check_file
from ...limits import lines as bounded_lines
from ..tasks import Task
from .base import RawSource, RawSplit, check_class, pick, progress

_HEADERS = {
    "class",
    "class index",
    "label",
    "target",
    "polarity",
    "title",
    "text",
    "description",
    "content",
    "question title",
}


class Layout(NamedTuple):
    """The columns after the class, and whether line breaks are written as `\\n` (AG News has a lone backslash)."""

    columns: tuple[str, ...]
    escapes: bool


LAYOUTS = {
    "ag_news": Layout(("title", "description"), escapes=False),
    "amazon_review": Layout(("title", "text"), escapes=True),
    "yelp_review": Layout(("text",), escapes=True),
    "yahoo_answers": Layout(("question title", "question content", "best answer"), escapes=True),
}
_DEFAULT = Layout(("text",), escapes=False)


def open_csv(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`train.csv` and `test.csv`: the class, from 1, then the columns of `LAYOUTS`; with or without a header; UTF-8.

    The text is the columns that are not empty, joined by a space. Quotation marks inside a field are doubled; files in
    which they are escaped by a backslash instead are recognized by not being valid otherwise.
    """
    folder = source.folder_with("train.csv", "test.csv")
    splits = {}
    for split in ("train", "test"):
        path = folder / f"{split}.csv"
        try:
            labels, read = _open(path, task, _lines)
        except _FormatError as doubled:
            try:
                labels, read = _open(path, task, _backslashes_to_doubled)
            except _FormatError as escaped:
                # The reading that got further is the one that was meant.
                raise ValueError(str(max(doubled, escaped, key=lambda error: error.row))) from None
        splits[split] = RawSplit(labels, read)
    return splits


# How the lines of a file are changed before `csv` reads them.
_Lines = Callable[[Iterable[str]], Iterable[str]]


class _FormatError(Exception):
    """The file is not valid as it was read; `row` is how far the reading got."""

    def __init__(self, message: str, row: int):
        super().__init__(message)
        self.row = row


def _open(path: Path, task: Task, lines: _Lines) -> tuple[np.ndarray, Callable[[np.ndarray], Iterator[dict]]]:
    """The labels of one file, and the function that reads its rows."""
    layout = LAYOUTS.get(task.name, _DEFAULT)
    labels = array("q")
    for row, fields in progress(_records(path, layout, lines), f"Reading {path.name}", " rows"):
        labels.append(check_class(fields[0].strip(), len(task.class_names), f"{path}, row {row}", first=1))
    return np.frombuffer(labels, np.int64), partial(_read, path, layout, lines)


def _read(path: Path, layout: Layout, lines: _Lines, indices: np.ndarray) -> Iterator[dict]:
    for row, fields in pick(_records(path, layout, lines), indices):
        text = " ".join(filter(None, fields[1:]))
        if layout.escapes:
            text = text.replace("\\n", "\n").replace('\\"', '"')
        yield {"text": text, "source": f"{path.name}, row {row}"}


def _records(path: Path, layout: Layout, lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers, counted from 1 without the header."""
    # `csv` has one setting of the longest field for the whole process. A quotation mark that never closes would take
    # in all of the file.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    row, expected = 0, 1 + len(layout.columns)
    check_file(path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.reader(lines(bounded_lines(file, str(path))), strict=True)
            for fields in reader:
                if not fields or (row == 0 and _is_header(fields)):
                    continue
                row += 1
                if len(fields) != expected:
                    names = ", ".join(("class", *layout.columns))
                    message = f"expected {expected} columns ({names}), got {len(fields)}"
                    raise _FormatError(f"{path}, row {row} (line {reader.line_num}): {message}", row)
                yield row, fields
        except csv.Error as error:
            raise _FormatError(f"{path}, row {row + 1} (line {reader.line_num}): {error}", row + 1) from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, after row {row}: it is not UTF-8 text: {error}") from error


def _is_header(fields: list[str]) -> bool:
    """Whether a first row names columns: it has no class, and one name that such files are known to use."""
    names = {field.strip().lower().replace("_", " ") for field in fields}
    return not fields[0].strip().lstrip("+-").isdigit() and not names.isdisjoint(_HEADERS)


def _lines(file: Iterable[str]) -> Iterable[str]:
    return file


def _backslashes_to_doubled(file: Iterable[str]) -> Iterator[str]:
    """Lines with `\\"` as `""`; `csv` could do without, but would drop the backslash of `\\n` too."""
    escaped = re.compile(r'\\(["\\])')
    for line in file:
        yield escaped.sub(lambda match: '""' if match[1] == '"' else match[0], line)
