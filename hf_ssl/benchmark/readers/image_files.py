"""Images that lie in files: a folder per class, and lists of "path label"."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from ...modality import MODALITIES
from ..tasks import Task
from .base import NotThisFormError, RawSource, RawSplit, check_class, files_in, image_file, progress, text_lines

# The lists of Semi-Aves, by split.
_LISTS = {"train": "l_train_val.txt", "unlabeled": "u_train_in.txt", "test": "test.txt"}


def open_class_folders(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """A folder of images per class, named as the class: one split "train", or `train/` and `test/` with such folders.

    Rows are sorted by class name, then by file name (as text: `Forest_10.jpg` before `Forest_2.jpg`), as in
    torchvision's `ImageFolder`, with which USB reads EuroSAT.
    """
    classes = set(task.class_names)
    for folder in source.folders():
        if len(classes & _names(folder)) >= min(2, len(classes)):
            splits = {split: folder.parent / split for split in ("train", "test")}
            if folder in splits.values() and all(path.is_dir() for path in splits.values()):
                return {split: _open_folder(path, task) for split, path in splits.items()}
            return {"train": _open_folder(folder, task)}
    raise NotThisFormError(f"a folder of images per class ({', '.join(task.class_names[:3])}, ...)")


def _names(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__"))}


def _open_folder(folder: Path, task: Task) -> RawSplit:
    present = _names(folder)
    if missing := [name for name in task.class_names if name not in present]:
        raise ValueError(f"{folder}: there is no folder for the class {missing[0]!r}")
    if unknown := sorted(present - set(task.class_names)):
        raise ValueError(
            f"{folder / unknown[0]}: {unknown[0]!r} is not one of the {len(task.class_names)} classes of {task.name}"
        )
    paths, labels = [], []
    for name in progress(sorted(task.class_names), f"Listing {folder.name}", " folders"):
        files = files_in(folder / name, MODALITIES["image"].suffixes)
        paths += [f"{name}/{file}" for file in files]
        labels += [task.class_names.index(name)] * len(files)
    return RawSplit(labels, partial(_read_files, folder, paths))


def _read_files(folder: Path, paths: list[str], indices: np.ndarray) -> Iterator[dict]:
    for index in indices:
        yield image_file(folder / paths[index], paths[index])


def open_list_files(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """`{l_train_val,u_train_in,test}.txt` with lines "path label": train, unlabeled and test.

    Paths are relative to the folder above the lists (USB), to that of the lists, or to the given one. The label is the
    last word of a line; for unlabeled images it may be -1 or missing.
    """
    folder = source.folder_with(*_LISTS.values())
    splits: dict[str, RawSplit] = {}
    seen: dict[str, str] = {}
    for split, name in _LISTS.items():
        bases = [folder.parent, folder, *source.folders()]
        splits[split] = _open_list(folder / name, bases, task, seen, split == "unlabeled")
    return splits


def _open_list(path: Path, bases: list[Path], task: Task, seen: dict[str, str], unlabeled: bool) -> RawSplit:
    """One list. `seen` holds the images named so far, in this and other lists, with the place where each was named."""
    files: list[tuple[Path, str]] = []
    labels: list[int] = []
    base_of: dict[PurePosixPath, Path | None] = {}
    for where, line in text_lines(path):
        name, label = _entry(line, where, unlabeled)
        labels.append(-1 if label == "-1" else check_class(label, len(task.class_names), where))
        if PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
            raise ValueError(f"{where}: {name!r} leads out of the source; only paths below it are read")
        if name in seen:
            raise ValueError(f"{where}: {name} was named before, by {seen[name]}")
        seen[name] = where
        # All images of one folder are below the same base, which need not be looked for again.
        parent = PurePosixPath(name).parent
        if parent not in base_of:
            base_of[parent] = next((base for base in bases if (base / name).is_file()), None)
        base = base_of[parent]
        if base is None or not (base / name).is_file():
            raise ValueError(f"{where}: there is no image {name}")
        files.append((base, name))
    return RawSplit(labels, partial(_read_listed, files))


def _entry(line: str, where: str, unlabeled: bool) -> tuple[str, str]:
    """Path and label of a line; unlabeled images need not have one."""
    name, _, label = line.rpartition(" ")
    if not name and unlabeled:
        return line, "-1"
    if not name:
        raise ValueError(f"{where}: expected 'path label', got {line!r}")
    return name.strip(), label


def _read_listed(files: list[tuple[Path, str]], indices: np.ndarray) -> Iterator[dict]:
    for index in indices:
        base, name = files[index]
        yield image_file(base / name, name)
