"""Texts that lie in files of their own, and USB's JSON files."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from .base import RawSplit, Source, check_class, files_in, pick, progress

_READ = 2**20
# A longer row is a sign of damage; without a limit all of a broken file would be taken for one row.
_LONGEST_ROW = 2**24
_USB_FILES = {"train": "train.json", "validation": "dev.json", "test": "test.json"}


def open_text_folders(task, source: Source) -> dict[str, RawSplit]:
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
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: it cannot be read as UTF-8 text: {error}") from error
        if not text.strip():
            raise ValueError(f"{path}: the text is empty")
        yield {"text": text, "source": paths[index]}


def open_usb_json(task, source: Source) -> dict[str, RawSplit]:
    """USB's `{train,dev,test}.json`: `{"0": {"ori", "aug_0", "aug_1", "label"}, ...}`; dev and test have no augmentations.

    Files are read piece by piece; one row is held at a time.
    """
    folder = source.folder_with(*_USB_FILES.values())
    splits = {}
    for split, name in _USB_FILES.items():
        path, labels = folder / name, []
        augmented = None
        for where, row in progress(_scan(path), f"Reading {name}", " rows"):
            labels.append(check_class(row.get("label"), len(task.class_names), where))
            _row(row, where)
            has = {key for key in ("aug_0", "aug_1") if key in row}
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
    texts = {"text" if key == "ori" else key: row[key] for key in ("ori", "aug_0", "aug_1") if key in row}
    if "text" not in texts or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"{where}: a text 'ori' is needed, the row has {', '.join(map(repr, row))}")
    return {**texts, "source": Path(where).name}


def _scan(path: Path) -> Iterator[tuple[str, dict]]:
    """The rows of one large JSON object {name: {...}, ...}, in order, each with the place it came from."""
    decoder, space = json.JSONDecoder(), re.compile(r"[\s]*")
    number = 0
    with open(path, encoding="utf-8-sig") as file:
        buffer, place, ended = "", 0, False

        def refill() -> None:
            nonlocal buffer, place, ended
            try:
                more = file.read(_READ)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, row {number + 1}: it is not UTF-8 text: {error}") from error
            buffer, place, ended = buffer[place:] + more, 0, not more

        def symbol() -> str:
            """The next character that is no space, and past it; '' at the end."""
            nonlocal place
            while (place := space.match(buffer, place).end()) == len(buffer) and not ended:
                refill()
            place += 1
            return buffer[place - 1 : place]

        def value():
            """The next JSON value. What cannot be decoded may only be cut off by the end of the buffer."""
            nonlocal place
            while True:
                start = space.match(buffer, place).end()
                try:
                    result, end = decoder.raw_decode(buffer, start)
                    if end < len(buffer) or ended:
                        place = end
                        return result
                except json.JSONDecodeError as error:
                    if ended or len(buffer) - start > _LONGEST_ROW:
                        raise ValueError(f"{path}, row {number + 1}: it is not valid JSON: {error.msg}") from error
                refill()

        def expect(given: str, allowed: str) -> str:
            if given == "" or given not in allowed:
                reason = f"{given!r}" if given else "the end of the file"
                raise ValueError(f"{path}, row {number + 1}: {' or '.join(allowed)} is needed, not {reason}")
            return given

        expect(symbol(), "{")
        following = symbol()
        while following != "}":
            expect(following, '"' if number == 0 else ",")
            if number == 0:
                place -= 1
            name = value()
            expect(symbol(), ":")
            row = value()
            if not isinstance(name, str) or not isinstance(row, dict):
                raise ValueError(f"{path}, row {number + 1}: a name and an object are needed")
            number += 1
            yield f"{path}, row {number}", row
            following = symbol()
