"""Data of one's own in a grid: a train split, of which labels are drawn, and a test split.

    tasks:
      - task: my_news                    # a new name
        data: news                       # a folder or Hub dataset with the splits train and test, or
        # data: {train: news.csv, test: test.csv, validation: more.csv}    # each as `hf-ssl train` takes it
        modality: text
        labels: [40, 200]

A cell's key has the hash of local files, and the name of a Hub dataset.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ...data.columns import DataSummary, inspect_data, is_string
from ...data.labels import index_labels, read_labels
from ...data.sources import DATA_FILES, load_source
from ...files import is_local
from ...modality import MODALITIES
from .cells import Cell, short_hash
from .grid_names import Names, known, table
from .hashes import data_hash
from .tasks import OwnTask, task_names

OWN_KEYS = ("data", "modality", "label_column")
_SPLITS = ("train", "test", "validation")
LABEL = "label"


# ---- What a grid file says ----


def own_task(entry: Mapping[str, Any], where: Names, hashes: dict[Path, str]) -> OwnTask:
    """The task of an entry of a grid file that has `data`.

    Args:
        entry: with the keys of `OWN_KEYS`, and "task" for its name.
        hashes: of the local places that were read so far; others are added, so that each is read once.

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
    if "deduplicated" in entry:
        raise ValueError(f"{where}: deduplicated is for STL-10; leave it out")
    found = _split_places(entry["data"], where / "data", hashes)
    content = {split: content for split, (_, content) in found.items()}
    for split, other in (("train", "test"), ("train", "validation"), ("test", "validation")):
        if other in content and content[split] == content[other]:
            raise ValueError(
                f"{where}: data: {split} and {other} must not be the same; write PLACE@SPLIT for parts of one place"
            )
    return OwnTask(name, modality, {split: place for split, (place, _) in found.items()}, content, column)


def _split_places(data: Any, where: Names, hashes: dict[Path, str]) -> dict[str, tuple[str, str]]:
    """Split -> where it is, and what stands for its content."""
    if isinstance(data, str) and data:
        if Path(data).expanduser().is_file():
            raise ValueError(
                f"{where} must be a place with the splits train and test, got a file; write train: and test:"
            )
        data = {split: f"{data}@{split}" for split in ("train", "test")}
    data = table(data, _SPLITS, where)
    for split in ("train", "test"):
        if split not in data:
            raise ValueError(f"{where}: {split} is missing; name its file, folder or Hub dataset")
    return {split: _place(place, where / split, hashes) for split, place in data.items()}


def _place(text: Any, where: Names, hashes: dict[Path, str]) -> tuple[str, str]:
    """Where a split is, and what stands for its content."""
    if not isinstance(text, str) or not text:
        raise ValueError(f"{where} must be the name of a file, folder or Hub dataset, got {text!r}; write one")
    path, suffix = _parts(text)
    if path.exists():
        path = path.resolve()
        if path not in hashes:
            hashes[path] = data_hash(path)
        return f"{path}{suffix}", f"{hashes[path]}{suffix}"
    if is_local(text) or path.suffix.lower() in {*DATA_FILES, ".txt"}:
        raise ValueError(f"{where}: there is no file or folder {path}; correct the name")
    return text, text


def _parts(text: str) -> tuple[Path, str]:
    """PLACE@SPLIT as the place and "@SPLIT"; a place whose own name has an @ is not divided."""
    whole = Path(text).expanduser()
    name, at, split = text.rpartition("@")
    return (whole, "") if whole.exists() or not at else (Path(name).expanduser(), at + split)


# ---- What a cell loads ----


@dataclass(frozen=True)
class OwnData:
    """What is loaded for a cell; two of them are equal if the rows are.

    Args:
        places, content: of the splits, as in `OwnTask`.
        modality, label_column: as in `OwnTask`.
        input_column: as in `SSLConfig`.
    """

    places: tuple[tuple[str, str], ...]
    content: tuple[tuple[str, str], ...]
    modality: str
    label_column: str | None
    input_column: str | None

    @classmethod
    def of(cls, cell: Cell, places: Mapping[str, str]) -> "OwnData":
        """The data of a cell, which are in these places."""
        options, training = cell.settings["task"], cell.settings.get("training", {})
        return cls(
            tuple(sorted(places.items())),
            tuple(sorted(options["data"].items())),
            cell.modality,
            options.get("label_column"),
            training.get("input_column"),
        )


def own_splits(data: OwnData) -> dict[str, datasets.Dataset]:
    """Load the splits; their labels are a column "label" of type `ClassLabel`, the same for all.

    Raises:
        ValueError, OSError: in one line without paths, if they cannot be loaded, have changed since the grid was read,
            or are not what the grid says.
    """
    content, hashes, loaded = dict(data.content), dict[Path, str](), {}
    for split, place in data.places:
        path, _ = _parts(place)
        is_gone = path.is_absolute() and not path.exists()
        if is_gone or _place(place, Names(split), hashes)[1] != content[split]:
            raise ValueError(f"the {split} data must be those of the grid's key, and were changed; run the grid again")
    with _cached_by(content):
        for split, place in data.places:
            loaded[split] = _load(split, place, data)
    summary = inspect_data(loaded["train"], data.input_column, data.label_column)
    if summary.modality != data.modality:
        raise ValueError(f"modality must be that of the data, {summary.modality}, got {data.modality!r}; correct it")
    summary.require_classes("a grid")
    for column in summary.input_columns:
        if MODALITIES[summary.modality].needs_files and is_string(loaded["train"].features[column]):
            raise ValueError(
                f"the data must hold their files, got names of files in column {column!r}; give the folder itself, or "
                "a dataset that was saved with them, so that the key can tell their content"
            )
        if column == LABEL:
            raise ValueError(f"the column {LABEL!r} must hold labels, got the inputs; give it another name")
    return {split: _named(dataset, summary, split) for split, dataset in loaded.items()}


def _load(split: str, place: str, data: OwnData) -> datasets.Dataset:
    """One split, as it is stored."""
    role, label_column = "labeled" if split == "train" else "test", data.label_column
    try:
        return load_source(place, role, modality=data.modality, label_column=label_column).dataset
    except (ValueError, OSError) as error:
        # Results name no places, and one with a space would not be known as such later.
        path, _ = _parts(place)
        raise ValueError(" ".join(str(error).replace(str(path), path.name).split())) from None


@contextmanager
def _cached_by(content: Mapping[str, str]) -> Iterator[None]:
    """In this block `datasets` caches what it reads in a folder of its own for this content.

    It knows files by their names and times, and a copy may have the time of other content.
    """
    usual = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = Path(usual) / "hf-ssl-grids" / short_hash(content)
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = usual


def _named(dataset: datasets.Dataset, summary: DataSummary, split: str) -> datasets.Dataset:
    """The dataset with the classes of the training data in the column `LABEL`."""
    column = summary.label_column
    if column not in dataset.column_names:
        raise ValueError(f"the {split} data must have the column {column!r} of the training data; add it")
    if split == "train":
        labels = summary.labels.tolist()
    else:
        cells, feature = read_labels(dataset, column, split), dataset.features[column]
        if isinstance(feature, datasets.ClassLabel) and not summary.classes.named:
            raise ValueError(
                f"the {split} data name their classes and the training data number theirs; name them in both, so that "
                "no class is taken for another"
            )
        index_of = index_labels(cells, feature, summary.classes, split)
        labels = cells if index_of is None else [None if cell is None else index_of[cell] for cell in cells]
    if None in labels:
        row = labels.index(None)
        raise ValueError(f"the {split} data must have a label for every example, got none for row {row}")
    rows = dataset.remove_columns(column)
    if LABEL in rows.column_names:
        rows = rows.remove_columns(LABEL)
    return rows.add_column(LABEL, labels, feature=datasets.ClassLabel(names=summary.label_names))
