"""Readers of the raw forms in which people have the benchmark's data: one row of `READERS` each.

    open_source(task, source, workdir) -> {"train": RawSplit, "test": RawSplit, ...}

Labels are known after a cheap pass; content is read row by row, so that neither a large table nor an archive is ever
held in memory. Damaged data is an error that names the file and the row.
"""

import re
from pathlib import Path

from ..tasks import Task
from .archives import extract, is_archive
from .arrays import open_cifar_pickles, open_npz, open_stl_binaries, open_svhn_mat
from .audio_corpora import (
    open_esc50,
    open_fsdnoisy18k,
    open_gtzan,
    open_speech_commands,
    open_urbansound8k,
    open_usb_audio_pickles,
)
from .base import NotThisFormError, RawSource, RawSplit, Reader
from .csv_files import open_csv
from .hub_datasets import open_datasets, open_hub_id
from .image_files import open_class_folders, open_list_files
from .texts import open_text_folders, open_usb_json

__all__ = ["READERS", "RawSplit", "Reader", "open_source"]

READERS: dict[str, Reader] = {
    "cifar_pickles": Reader(open_cifar_pickles, "CIFAR's Python pickles"),
    "stl_binaries": Reader(open_stl_binaries, "STL-10's binary files"),
    "npz": Reader(open_npz, "a MedMNIST npz file"),
    "svhn_mat": Reader(open_svhn_mat, "SVHN's MATLAB files of cropped digits"),
    "class_folders": Reader(open_class_folders, "a folder of images per class"),
    "list_files": Reader(open_list_files, "lists of 'path label' beside image folders"),
    "text_folders": Reader(open_text_folders, "a folder of text files per class"),
    "csv": Reader(open_csv, "train.csv and test.csv"),
    "usb_json": Reader(open_usb_json, "USB's JSON files"),
    "usb_audio_pickles": Reader(open_usb_audio_pickles, "USB's audio pickles"),
    "urbansound8k": Reader(open_urbansound8k, "UrbanSound8K's folds"),
    "esc50": Reader(open_esc50, "ESC-50's folds"),
    "gtzan": Reader(open_gtzan, "GTZAN's genre folders"),
    "fsdnoisy18k": Reader(open_fsdnoisy18k, "FSDnoisy18k's folders"),
    "speech_commands": Reader(open_speech_commands, "Speech Commands' word folders and lists"),
    "datasets": Reader(open_datasets, "a `datasets` folder, or an id on the Hub"),
}


def open_source(task: Task, source: Path | str, workdir: Path) -> dict[str, RawSplit]:
    """The splits of a raw source of a task.

    Args:
        task: a row of `hf_ssl.benchmark.tasks.TASKS`.
        source: a folder that holds the raw files, or the publisher's archives of them, at most three levels down; one
            archive or one file; or the id of a copy on the Hub.
        workdir: archives are extracted to folders in it, which are reused as long as the archives stay the same.

    Returns:
        Split name -> `RawSplit`: "train" and usually "test"; "validation" and "unlabeled" if the task publishes them.

    Raises:
        ValueError: if no reader of the task recognizes the source (the message names the forms that are understood and
            what was looked for), or if the source is damaged (the message names file and row).
    """
    path = Path(source).expanduser()
    if not path.exists():
        if "datasets" in task.readers and re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(source)):
            return _published(open_hub_id(task, str(source)), task)
        raise ValueError(f"there is no file or folder {source}; it should hold {_forms(task)}")
    workdir = Path(workdir)
    if is_archive(path):
        return _recognize(task, [extract(path, workdir)], workdir, path)
    try:
        return _recognize(task, [path], workdir, path)
    except NotThisFormError:
        archives = sorted(filter(is_archive, path.iterdir())) if path.is_dir() else []
        if not archives:
            raise
    return _recognize(task, [path, *(extract(archive, workdir) for archive in archives)], workdir, path)


def _recognize(task: Task, roots: list[Path], workdir: Path, given: Path) -> dict[str, RawSplit]:
    """The splits by the first of the task's readers that knows the form."""
    source, missing = RawSource(roots, task.name, workdir), []
    for name in task.readers:
        try:
            return _published(READERS[name].open(task, source), task)
        except NotThisFormError as error:
            missing.append(f"{name} looked for {error}")
    raise NotThisFormError(
        f"{given} is not a raw source of {task.name}, which is read from {_forms(task)}; {'; '.join(missing)}"
    )


def _forms(task: Task) -> str:
    return " or ".join(READERS[name].description for name in task.readers)


def _published(splits: dict[str, RawSplit], task: Task) -> dict[str, RawSplit]:
    """Without splits that the raw form has and the task does not use, such as the validation split of TissueMNIST."""
    return {name: split for name, split in splits.items() if name in ("train", "test") or name in task.sizes}
