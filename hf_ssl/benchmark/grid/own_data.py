"""Data of one's own in a grid: a train split, of which labels are drawn, and a test split.

    tasks:
      - task: my_news                    # a new name
        data: news                       # a folder or Hub dataset with the splits train and test, or
        # data: {train: news.csv, test: test.csv, validation: more.csv}    # each as `hf-ssl train` takes it
        modality: text
        labels: [40, 200]

A cell's key has the hash of local files, and the name of a Hub dataset.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from ...data.columns import DataSummary, inspect_data
from ...data.labels import index_labels, read_labels
from ...data.sources import load_source
from ...modality import MODALITIES
from .grid_names import Names, known, table
from .hashes import data_hash
from .tasks import OwnTask, task_names

OWN_KEYS = ("data", "modality", "label_column")
_SPLITS = ("train", "test", "validation")
LABEL = "label"


def own_task(entry: Mapping[str, Any], where: Names) -> OwnTask:
    """The task of an entry of a grid file that has `data`.

    Args:
        entry: with the keys of `OWN_KEYS`, and "task" for its name.

    Raises:
        ValueError: in one line, for a name that there is already, or a wrong place or modality.
        OSError: if a file cannot be read.
    """
    name = entry.get("task")
    if not isinstance(name, str) or not name or name in task_names():
        raise ValueError(f"{where}: task must be a new name for data of your own, got {name!r}; choose one")
    where = where / name
    modality = known(entry.get("modality"), list(MODALITIES), "modality", where)
    column = entry.get("label_column")
    if not isinstance(column, str | None):
        raise ValueError(f"{where}: label_column must be the name of a column, got {column!r}; correct it")
    data = entry["data"]
    if isinstance(data, str):
        data = {split: f"{data}@{split}" for split in ("train", "test")}
    data = table(data, _SPLITS, where / "data")
    for split in ("train", "test"):
        if split not in data:
            raise ValueError(f"{where}: data: {split} is missing; name its file, folder or Hub dataset")
    found = {split: _place(str(place)) for split, place in data.items()}
    places = {split: place for split, (place, _) in found.items()}
    return OwnTask(name, modality, places, {split: content for split, (_, content) in found.items()}, column)


def _place(text: str) -> tuple[str, str]:
    """Where a split is, and what stands for its content."""
    name, at, split = (text, "", "") if Path(text).expanduser().exists() else text.rpartition("@")
    if not at:
        name, split = text, ""
    path = Path(name).expanduser()
    if not path.exists():
        return text, text
    return f"{path.resolve()}{at}{split}", f"{data_hash(path)}{at}{split}"


def own_splits(places: Mapping[str, str], modality: str, label_column: str | None) -> dict[str, datasets.Dataset]:
    """Load the splits; their labels are a column "label" of type `ClassLabel`, the same for all.

    Raises:
        ValueError, OSError: in one line, if they cannot be loaded, or are of another modality.
    """
    loaded = {
        split: load_source(
            place, "labeled" if split == "train" else "test", modality=modality, label_column=label_column
        ).dataset
        for split, place in places.items()
    }
    summary = inspect_data(loaded["train"], label_column=label_column)
    if summary.modality != modality:
        raise ValueError(f"modality must be that of the data, {summary.modality}, got {modality!r}; correct it")
    summary.require_classes("a grid")
    return {split: _named(dataset, summary, split) for split, dataset in loaded.items()}


def _named(dataset: datasets.Dataset, summary: DataSummary, split: str) -> datasets.Dataset:
    """The dataset with the classes of the training data in the column `LABEL`."""
    column = summary.label_column
    if column not in dataset.column_names:
        raise ValueError(f"the {split} data must have the column {column!r} of the training data; add it")
    if split == "train":
        labels = summary.labels.tolist()
    else:
        cells = read_labels(dataset, column, split)
        index_of = index_labels(cells, dataset.features[column], summary.classes, split)
        labels = cells if index_of is None else [None if cell is None else index_of[cell] for cell in cells]
    if None in labels:
        row = labels.index(None)
        raise ValueError(f"the {split} data must have a label for every example, got none for row {row}")
    rows = dataset.remove_columns(column)
    if LABEL in rows.column_names:
        rows = rows.remove_columns(LABEL)
    return rows.add_column(LABEL, labels, feature=datasets.ClassLabel(names=summary.label_names))
