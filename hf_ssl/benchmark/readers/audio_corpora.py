"""Collections of sound files with a table of labels or a folder per class, and USB's audio pickles."""

import csv
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...limits import check_file, lines, short
from ..repository import SAMPLING_RATE
from ..tasks import Task
from . import pickles
from .arrays import npy_array
from .audio import audio_file, audio_row, waveform
from .base import NotThisFormError, RawSource, RawSplit, check_class, files_in, text_lines

_USB_FILES = {"train": "train.pkl", "validation": "dev.pkl", "test": "test.pkl"}
# GTZAN: pieces of a track, and seconds of a piece.
_PIECES, _PIECE_SECONDS = 10, 3


def open_urbansound8k(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`metadata/UrbanSound8K.csv` and `audio/fold<n>/*.wav`: folds 1 to 8 are train, 9 validation, 10 test.

    Rows are in the order of the table. `classID` counts in the order of the task's classes, and `class` has to agree.
    """
    folder = source.folder_with("metadata/UrbanSound8K.csv", "audio")
    table = folder / "metadata" / "UrbanSound8K.csv"
    splits = _Splits(folder)
    for where, row in _table(table, ("slice_file_name", "fold", "classID", "class")):
        fold = check_class(row["fold"], 10, f"{where}, fold", first=1) + 1
        label = _named_class(row["classID"], row["class"], task, where)
        split = {9: "validation", 10: "test"}.get(fold, "train")
        splits.add(split, f"audio/fold{fold}/{_plain_name(row['slice_file_name'], where)}", label, where)
    return splits.finish()


def open_esc50(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`meta/esc50.csv` and `audio/*.wav`: folds 1 to 3 are train, 4 validation, 5 test, in the order of the table."""
    folder = source.folder_with("meta/esc50.csv", "audio")
    splits = _Splits(folder)
    for where, row in _table(folder / "meta" / "esc50.csv", ("filename", "fold", "target", "category")):
        fold = check_class(row["fold"], 5, f"{where}, fold", first=1) + 1
        label = _named_class(row["target"], row["category"], task, where)
        split = {4: "validation", 5: "test"}.get(fold, "train")
        splits.add(split, f"audio/{_plain_name(row['filename'], where)}", label, where)
    return splits.finish()


def open_fsdnoisy18k(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`FSDnoisy18k.{audio_train,audio_test,meta}`: training clips verified by hand are train, the others unlabeled.

    The unlabeled rows keep the noisy labels of the publisher, which no algorithm sees.
    """
    folders = {}
    for name in ("audio_train", "audio_test", "meta"):
        # The three are separate archives.
        folders[name] = source.folder_with(f"FSDnoisy18k.{name}") / f"FSDnoisy18k.{name}"
    splits = _Splits(folders["audio_train"].parent)
    for where, row in _table(folders["meta"] / "train.csv", ("fname", "label", "manually_verified")):
        verified = {"0": False, "1": True, "0.0": False, "1.0": True}.get(row["manually_verified"])
        if verified is None:
            raise ValueError(f"{where}: manually_verified must be 0 or 1, got {row['manually_verified']!r}")
        split = "train" if verified else "unlabeled"
        name = _plain_name(row["fname"], where)
        splits.add(split, f"FSDnoisy18k.audio_train/{name}", _class_of(row["label"], task, where), where)
    test = _Splits(folders["audio_test"].parent)
    for where, row in _table(folders["meta"] / "test.csv", ("fname", "label")):
        name = _plain_name(row["fname"], where)
        test.add("test", f"FSDnoisy18k.audio_test/{name}", _class_of(row["label"], task, where), where)
    return {**splits.finish(), **test.finish()}


def open_speech_commands(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """A folder per word, `validation_list.txt` and `testing_list.txt`; files in neither list are train.

    Only the task's words are read. Rows are sorted by class index, then by file name.
    """
    folder = source.folder_with("validation_list.txt", "testing_list.txt", *task.class_names)
    listed: dict[str, tuple[str, str]] = {}
    for split in ("validation", "test"):
        path = folder / ("validation_list.txt" if split == "validation" else "testing_list.txt")
        for where, name in text_lines(path):
            if PurePosixPath(name).parent.name not in task.class_names:
                continue
            if name in listed:
                raise ValueError(f"{where}: {name} was named before, for {listed[name][0]}")
            listed[name] = split, where
    splits, seen = _Splits(folder), set()
    for label, word in enumerate(task.class_names):
        for file in files_in(folder / word, (".wav",)):
            name = f"{word}/{file}"
            seen.add(name)
            splits.add(listed.get(name, ("train", ""))[0], name, label, name)
    for name, (_, where) in listed.items():
        if name not in seen:
            raise ValueError(f"{where}: there is no file {name}")
    return splits.finish()


def open_gtzan(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`genres/<genre>/*.wav` (or `.au`): each track of 30 s becomes ten rows of 3 s, the last of them perhaps shorter.

    USB does not publish which track is in which split. Here the first 70% of each genre's tracks in the order of their
    names are train, the next 15% validation, the rest test: of 100 tracks, those up to 00069, up to 00084, and from
    00085 on. So all pieces of a track are in one split, and tracks of one artist, which usually follow each other,
    stay together too. Rows are sorted by genre, track, piece. One copy of the collection has a damaged
    `jazz.00054.wav`, which the error names; if the file is deleted, its ten rows are missing and the others stay the
    same.
    """
    folder = next((f for f in source.folders() if all((f / genre).is_dir() for genre in task.class_names)), None)
    if folder is None:
        raise NotThisFormError(f"a folder of tracks per genre ({', '.join(task.class_names[:3])}, ...)")
    splits: dict[str, tuple[list[Path], list[int]]] = {name: ([], []) for name in ("train", "validation", "test")}
    for label, genre in enumerate(task.class_names):
        tracks = [folder / genre / name for name in files_in(folder / genre, (".wav", ".au"))]
        first, second = _gtzan_bounds(len(tracks))
        for split, chosen in zip(
            splits.values(), (tracks[:first], tracks[first:second], tracks[second:]), strict=True
        ):
            split[0].extend(chosen)
            split[1].extend([label] * len(chosen))
    return {
        name: RawSplit(np.repeat(np.asarray(labels, np.int64), _PIECES), partial(_read_pieces, paths))
        for name, (paths, labels) in splits.items()
    }


def _gtzan_bounds(count: int) -> tuple[int, int]:
    """Where validation and test begin among this many tracks; of three or more, each split gets at least one."""
    first = max(1, min(round(0.7 * count), count - 2))
    return first, max(first, min(round(0.85 * count), count - 1))


def _read_pieces(paths: list[Path], indices: np.ndarray) -> Iterator[dict]:
    size, current, wave = _PIECE_SECONDS * SAMPLING_RATE, None, np.empty(0)
    for index in indices:
        path, piece = paths[index // _PIECES], index % _PIECES
        if path != current:
            current, wave = path, waveform(path)
            if len(wave) <= (_PIECES - 0.5) * size:
                raise ValueError(
                    f"{path}: {len(wave) / SAMPLING_RATE:.1f} s are too short for {_PIECES} pieces of "
                    f"{_PIECE_SECONDS} s"
                )
        name = f"{path.stem}.{piece}.flac"
        yield audio_row(
            wave[piece * size : (piece + 1) * size], name, f"{path.parent.name}/{path.name}, piece {piece}"
        )


def open_usb_audio_pickles(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """USB's `{train,dev,test}.pkl` and `ulb_train.pkl`: {key: {"wav": an .npy file as bytes, "label": int}}.

    The waveforms are 16 kHz mono. They stay in the file until they are read, one at a time.
    """
    required = {"train": "train.pkl", "test": "test.pkl"}
    files = _USB_FILES | ({"unlabeled": "ulb_train.pkl"} if "unlabeled" in task.sizes else {})
    folder = source.folder_with(*required.values())
    splits = {}
    for split, name in files.items():
        if (folder / name).exists():
            splits[split] = _open_pickle(folder / name, task)
        elif split in task.sizes:
            raise ValueError(f"{folder}: there is no {name}")
    return splits


def _open_pickle(path: Path, task: Task) -> RawSplit:
    content = pickles.load(path)
    rows = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a dict of rows, got a {type(content).__name__}")
    labels, waves = [], []
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        if not isinstance(row, dict) or not {"wav", "label"} <= row.keys():
            raise ValueError(f"{where}: expected a dict with 'wav' and 'label', got {_short(row)}")
        if not isinstance(row["wav"], bytes | pickles.Chunk):
            raise ValueError(f"{where}: 'wav' must be the bytes of an .npy file, got a {type(row['wav']).__name__}")
        labels.append(check_class(row["label"], len(task.class_names), where))
        waves.append(row["wav"])
    return RawSplit(labels, partial(_read_waves, path, waves))


def _short(row: Any) -> str:
    if not isinstance(row, dict):
        return f"a {type(row).__name__}"
    return f"one with {', '.join(map(short, row)) or 'nothing'}"


def _read_waves(path: Path, waves: list, indices: np.ndarray) -> Iterator[dict]:
    for index in indices:
        where, data = f"{path}, row {index + 1}", waves[index]
        data = data.read() if isinstance(data, pickles.Chunk) else data
        try:
            wave = npy_array(data)
            if wave.dtype.kind == "i":
                wave = wave.astype(np.float32) / -np.iinfo(wave.dtype).min
            wave = waveform({"array": np.squeeze(wave), "sampling_rate": SAMPLING_RATE})
        except (ValueError, EOFError, OverflowError, MemoryError) as error:
            raise ValueError(f"{where}: 'wav' is not a waveform: {error}") from error
        yield audio_row(wave, f"{path.stem}-{index}.flac", f"{path.name}, row {index + 1}")


class _Splits:
    """Collects the files of splits; a file that is missing or named twice is an error."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, list[str]] = {}
        self.labels: dict[str, list[int]] = {}
        self.seen: dict[str, str] = {}

    def add(self, split: str, name: str, label: int, where: str) -> None:
        if name in self.seen:
            raise ValueError(f"{where}: {name} was named before, by {self.seen[name]}")
        if not (self.folder / name).is_file():
            raise ValueError(f"{where}: there is no file {self.folder / name}")
        self.seen[name] = where
        self.files.setdefault(split, []).append(name)
        self.labels.setdefault(split, []).append(label)

    def finish(self) -> dict[str, RawSplit]:
        return {
            split: RawSplit(self.labels[split], partial(_read_files, self.folder, self.files[split]))
            for split in self.files
        }


def _read_files(folder: Path, names: list[str], indices: np.ndarray) -> Iterator[dict]:
    for index in indices:
        yield audio_file(folder / names[index], names[index])


def _table(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV with a header, each with the place it came from."""
    check_file(path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.reader(lines(file, str(path)), strict=True)
            header = next(rows, [])
            if missing := [name for name in columns if name not in header]:
                raise ValueError(f"{path}: there is no column {missing[0]}; it has {', '.join(header)}")
            for number, row in enumerate(filter(None, rows), start=1):
                if len(row) != len(header):
                    raise ValueError(f"{path}, row {number}: expected {len(header)} columns, got {len(row)}")
                yield f"{path}, row {number}", dict(zip(header, row, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error


def _plain_name(name: str, where: str) -> str:
    """The name, if it is that of a file in a given folder and cannot lead to another folder."""
    if not name or name != PurePosixPath(name).name or "\\" in name:
        raise ValueError(f"{where}: expected the name of a file without folders, got {name!r}")
    return name


def _class_of(name: str, task: Task, where: str) -> int:
    if name not in task.class_names:
        raise ValueError(f"{where}: {name!r} is not one of the {len(task.class_names)} classes of {task.name}")
    return task.class_names.index(name)


def _named_class(number: str, name: str, task: Task, where: str) -> int:
    """The index of a class that a table gives by number and by name."""
    label = check_class(number, len(task.class_names), where)
    if task.class_names[label] != name:
        raise ValueError(f"{where}: class {label} is {task.class_names[label]!r} in {task.name}, here it is {name!r}")
    return label
