"""Copies of a task as a `datasets` dataset: on the Hub, saved by `save_to_disk`, or a folder of Parquet files."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.table_limits import check_table
from ...limits import LARGEST_FILE, check_file
from ...modality import MODALITIES
from ..repository import AUGMENTATIONS
from ..tasks import Task
from .audio import audio_row, waveform
from .base import NotThisFormError, RawSource, RawSplit, check_classes, image_bytes

if TYPE_CHECKING:
    import datasets

_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}
# Text that is spread over columns is put together as the CSV reader does.
_TEXT_PARTS = (
    ("title", "description"),
    ("title", "content"),
    ("title", "text"),
    ("question_title", "question_content", "best_answer"),
)


def open_hub_id(task: Task, name: str) -> dict[str, RawSplit]:
    """A dataset of the Hub, through `datasets.load_dataset` and its cache."""
    import datasets

    return _open(datasets.load_dataset(name), task, name)


def open_datasets(task: Task, source: RawSource) -> dict[str, RawSplit]:
    """A folder that `load_from_disk` or `load_dataset` reads, with train and test splits.

    Columns are found by their features: an image or audio column; text in one column (or title and description, ...);
    labels in the task's label column or one with a usual name. Classes that have the task's names in another order are
    renumbered.
    """
    import datasets

    for folder in source.folders():
        if (folder / "dataset_dict.json").is_file():
            return _open(_read_folder(datasets.load_from_disk, str(folder)), task, str(folder))
        if any(path.is_file() for path in folder.glob("*.parquet")):
            root = folder.parent if folder.name == "data" else folder
            return _open(_load(str(root), source.workdir), task, str(root))
    raise NotThisFormError("a `datasets` folder (dataset_dict.json, or *.parquet)")


def _load(folder: str, workdir: Path) -> "datasets.DatasetDict":
    import datasets

    for path in sorted(Path(folder).rglob("*")):
        if not path.is_dir():
            check_table(path)
    return _read_folder(datasets.load_dataset, folder, cache_dir=str(workdir / "datasets"))


def _read_folder(read: Callable[..., Any], folder: str, **options: Any) -> Any:
    try:
        return read(folder, **options)
    except ImportError:
        raise
    except Exception as error:  # pyarrow, pandas, and `datasets` itself raise errors of many kinds for damaged files
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"{folder}: a file of the dataset is damaged: {reason}") from error


def _open(parts: "datasets.Dataset | datasets.DatasetDict", task: Task, name: str) -> dict[str, RawSplit]:
    import datasets

    if isinstance(parts, datasets.Dataset):
        parts = datasets.DatasetDict(train=parts)
    splits = {}
    for split, names in _SPLITS.items():
        found = next((part for part in names if part in parts), None)
        if found is not None:
            splits[split] = _open_split(parts[found], task, f"{name}, split {found}")
    if "train" not in splits:
        raise ValueError(f"{name}: there is no split train, but {', '.join(parts)}")
    return splits


def _open_split(data: "datasets.Dataset", task: Task, where: str) -> RawSplit:
    import datasets

    from ...data.columns import LABEL_COLUMNS  # imports transformers

    label = next((column for column in (task.label_column, *LABEL_COLUMNS) if column in data.column_names), None)
    columns = _content_columns(data, task, where)
    labels = _labels(data, label, task, where) if label else np.full(len(data), -1)
    data = data.select_columns([*columns, *(column for column in AUGMENTATIONS if column in data.column_names)])
    if task.modality == "image":
        data = data.cast_column(columns[0], datasets.Image(decode=False))
    elif task.modality == "audio":
        data = data.cast_column(columns[0], replace(data.features[columns[0]], decode=False))
    return RawSplit(labels, partial(_read, data, columns, task.modality, where))


def _content_columns(data: "datasets.Dataset", task: Task, where: str) -> tuple[str, ...]:
    found = _text_columns(data.column_names) if task.modality == "text" else _media_columns(data, task.modality)
    if not found:
        raise ValueError(f"{where}: expected a column of {task.modality}, got {', '.join(data.column_names)}")
    return found


def _media_columns(data: "datasets.Dataset", modality: str) -> tuple[str, ...]:
    """The only column of images or recordings, or nothing."""
    import datasets

    kind = datasets.Image if modality == "image" else datasets.Audio
    found = [column for column, feature in data.features.items() if isinstance(feature, kind)]
    return tuple(found) if len(found) == 1 else ()


def _text_columns(names: list[str]) -> tuple[str, ...]:
    """A usual column of text, unless it is one part of several; else several parts; or nothing."""
    present = set(names)
    for column in MODALITIES["text"].usual_columns:
        if column in present and not any({column} < set(parts) <= present for parts in _TEXT_PARTS):
            return (column,)
    return next((parts for parts in _TEXT_PARTS if set(parts) <= present), ())


def _labels(data: "datasets.Dataset", column: str, task: Task, where: str) -> np.ndarray:
    import datasets

    values = data.with_format("numpy")[column][:]
    feature = data.features[column]
    if not isinstance(feature, datasets.ClassLabel):
        return check_classes(values, len(task.class_names), Path(where))
    unknown = values < 0
    labels = check_classes(np.where(unknown, 0, values), feature.num_classes, Path(where))
    known = [_spelling(name) for name in task.class_names]
    given = [_spelling(name) for name in feature.names]
    if sorted(known) == sorted(given):
        labels = np.array([known.index(name) for name in given])[labels]
    elif len(known) != len(given):
        raise ValueError(
            f"{where}: column {column} must have the {len(known)} classes of {task.name}, got {len(given)}"
        )
    return np.where(unknown, -1, labels)


def _spelling(name: str) -> str:
    """A class name without what copies spell differently: capitals, spaces, underscores."""
    return re.sub(r"[\W_]+", "", name).lower()


def _read(
    data: "datasets.Dataset", columns: tuple[str, ...], modality: str, where: str, indices: np.ndarray
) -> Iterator[dict]:
    for index in indices:
        row, place = data[int(index)], f"{where}, row {index + 1}"
        source = Path(place).name
        if modality == "text":
            augmented = {column: row[column] for column in AUGMENTATIONS if column in row}
            yield {"text": " ".join(filter(None, (row[column] for column in columns))), **augmented, "source": source}
            continue
        cell = row[columns[0]] or {}
        name = Path(cell["path"]).name if cell.get("path") else None
        if modality == "image":
            yield image_bytes(_content(cell, place), name, source, place)
        else:
            wave = waveform({"bytes": _content(cell, place), "path": f"{place} ({name})"})
            yield audio_row(wave, name or f"{index}.flac", source)


def _content(cell: dict[str, Any], place: str) -> bytes:
    if cell.get("bytes") is not None:
        return cell["bytes"]
    try:
        check_file(cell["path"], LARGEST_FILE)
        return Path(cell["path"]).read_bytes()
    except (KeyError, TypeError, OSError, ValueError) as error:
        raise ValueError(f"{place}: the row has no content: {error}") from error
