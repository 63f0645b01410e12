"""One file per text, and USB's JSON files."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ...limits import LONGEST_ROW, check_file
from ..repository import AUGMENTATIONS
from ..tasks import Task
from .base import RawSource, RawSplit, check_class, files_in, pick, progress

_READ = 2**20
_USB_FILES = {"train": "train.json", "validation": "dev.json", "test": "test.json"}


def open_text_folders(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`{train,test}/<class>/*.txt`, as IMDB's `aclImdb`: UTF-8, the text as it is, HTML line breaks included.

    Rows are sorted by class index, then by file name as text. Other folders (`unsup`) are not read.
    """
    folder = source.folder_with(*(f"{split}/{name}" for split in ("train", "test") for name in task.class_names))
    splits = {}
    for split in ("train", "test"):
        paths, labels = [], []
        for label, name in enumerate(task.class_names):
            files = files_in(folder / split / name, (".txt",))
            paths += [f"{split}/{name}/{file}" for file in files]
            labels += [label] * len(files)
        splits[split] = RawSplit(labels, partial(_read_texts, folder, paths))
    return splits


def _read_texts(folder: Path, paths: list[str], indices: np.ndarray) -> Iterator[dict]:
    for index in indices:
        path = folder / paths[index]
        check_file(path, LONGEST_ROW)
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: it cannot be read as UTF-8 text: {error}") from error
        if not text.strip():
            raise ValueError(f"{path}: the text is empty")
        yield {"text": text, "source": paths[index]}


def open_usb_json(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """USB's `{train,dev,test}.json`: `{"0": {"ori", "aug_0", "aug_1", "label"}, ...}`.

    The files dev and test have no augmentations. Files are read piece by piece; one row is in memory at a time.
    """
    folder = source.folder_with(*_USB_FILES.values())
    splits = {}
    for split, name in _USB_FILES.items():
        path, labels = folder / name, []
        augmented = None
        for where, row in progress(_scan(path), f"Reading {name}", " rows"):
            labels.append(check_class(row.get("label"), len(task.class_names), where))
            _row(row, where)
            has = {key for key in AUGMENTATIONS if key in row}
            if has != (augmented := has if augmented is None else augmented):
                raise ValueError(
                    f"{where}: it has {sorted(has) or 'no augmentation'}, other rows {sorted(augmented) or 'none'}"
                )
        splits[split] = RawSplit(labels, partial(_read_json, path))
    return splits


def _read_json(path: Path, indices: np.ndarray) -> Iterator[dict]:
    for where, row in pick(_scan(path), indices):
        yield _row(row, where)


def _row(row: dict, where: str) -> dict:
    texts = {"text" if key == "ori" else key: row[key] for key in ("ori", *AUGMENTATIONS) if key in row}
    if "text" not in texts or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"{where}: expected a text 'ori', got a row with {', '.join(map(repr, row)) or 'nothing'}")
    return {**texts, "source": Path(where).name}


def _scan(path: Path) -> Iterator[tuple[str, dict]]:
    """The rows of one large JSON object {name: {...}, ...}, in order, each with the place it came from."""
    check_file(path)
    with open(path, encoding="utf-8-sig") as file:
        yield from _ObjectScanner(file, path).rows()


class _ObjectScanner:
    """Reads one large JSON object piece by piece; `json` decodes its values one at a time.

    Attributes:
        buffer: the text that was read last, of which `place` characters are done with.
        ended: whether the file has nothing after the buffer.
        number: of the row that was read last, from 1.
    """

    _space = re.compile(r"\s*")
    _decoder = json.JSONDecoder()

    def __init__(self, file: TextIO, path: Path):
        self.file, self.path = file, path
        self.buffer, self.place, self.ended, self.number = "", 0, False, 0

    def rows(self) -> Iterator[tuple[str, dict]]:
        self.expect(self.symbol(), "{")
        following = self.symbol()
        while following != "}":
            self.expect(following, "," if self.number else '"')
            if not self.number:
                self.place -= 1  # the quotation mark belongs to the first name
            name = self.value()
            self.expect(self.symbol(), ":")
            row = self.value()
            if not isinstance(name, str) or not isinstance(row, dict):
                raise self.error("expected a name and an object")
            self.number += 1
            yield f"{self.path}, row {self.number}", row
            following = self.symbol()

    def error(self, problem: str) -> ValueError:
        return ValueError(f"{self.path}, row {self.number + 1}: {problem}")

    def expect(self, given: str, wanted: str) -> None:
        if given != wanted:
            raise self.error(f"expected {wanted}, got {repr(given) if given else 'the end of the file'}")

    def refill(self) -> None:
        try:
            more = self.file.read(_READ)
        except UnicodeDecodeError as error:
            raise self.error(f"it is not UTF-8 text: {error}") from error
        self.buffer, self.place, self.ended = self.buffer[self.place :] + more, 0, not more

    def after_space(self) -> int:
        """The next place that is not white space, or the end of the buffer."""
        found = self._space.match(self.buffer, self.place)
        return found.end() if found else self.place

    def symbol(self) -> str:
        """The next character that is not white space, and past it; '' at the end."""
        while (place := self.after_space()) == len(self.buffer) and not self.ended:
            self.place = place
            self.refill()
        self.place = place + 1
        return self.buffer[place : place + 1]

    def value(self) -> Any:
        """The next JSON value. One that cannot be decoded may only be cut off by the end of the buffer."""
        while True:
            start = self.place = self.after_space()
            try:
                result, end = self._decoder.raw_decode(self.buffer, start)
                if end < len(self.buffer) or self.ended:
                    self.place = end
                    return result
            except json.JSONDecodeError as error:
                if self.ended or len(self.buffer) - start > LONGEST_ROW:
                    raise self.error(f"it is not valid JSON: {error.msg}") from error
            except RecursionError as error:
                raise self.error("it is nested too deep") from error
            except ValueError as error:  # a number of thousands of digits
                raise self.error(f"it is not valid JSON: {error}") from error
            self.refill()
