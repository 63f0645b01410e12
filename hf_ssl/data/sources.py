"""From what a person names - a file, a folder, a Hub dataset, a benchmark task - to a `datasets.Dataset`.

    photos/                  images or recordings; labeled: a folder for each class, unlabeled: any nesting
    texts.csv                also .tsv, .json, .jsonl, .parquet
    lines.txt                one text a line, without labels
    saved/                   what `Dataset.save_to_disk` wrote, or a folder of Parquet, CSV or JSON files
    stanfordnlp/imdb         a dataset of the Hub; ID:CONFIGURATION@SPLIT says more, and folder@SPLIT works too

Nothing is written beside the data, and no image or recording is decoded here.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from .columns import FILE_SUFFIXES

DATA_FILES = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
MEDIA_NAMES = {"image": "images", "audio": "recordings"}
MEDIA_FEATURES = {"image": lambda: datasets.Image(decode=False), "audio": lambda: datasets.Audio(decode=False)}
# Which split of several is meant when none is named, by what the data are for.
USUAL_SPLITS = {
    "labeled": ("labeled", "train"),
    "unlabeled": ("unlabeled", "train"),
    "test": ("test", "validation", "valid", "dev"),
}
_SPLIT_NAMES = frozenset(
    {"train", "training", "test", "testing", "validation", "valid", "val", "dev", "unlabeled", "labeled"}
)


@dataclass
class Source:
    """Data with what a person should know about how they were read.

    Args:
        dataset: the examples.
        notes: sentences such as "ignored 2 files that are not images".
    """

    dataset: datasets.Dataset
    notes: list[str] = field(default_factory=list)


def load_source(name: str, role: str, *, modality: str | None = None, input_column: str | None = None) -> Source:
    """Load what `name` names, as the module's docstring lists.

    Args:
        role: "labeled", "unlabeled" or "test": which split is meant when none is named, and whether a folder's subfolders
            are classes.
        modality: "image", "audio" or "text" where it is known, for a folder that holds files of several kinds.
        input_column: name of the column of a folder's files or of the lines of a .txt; "image", "audio" or "text" if None.

    Raises:
        ValueError: in one line, if there is nothing usable under that name.
        OSError: if it cannot be read or downloaded.
    """
    name, _, split = (
        (name, "", None) if os.path.exists(name) else name.rpartition("@") if "@" in name else (name, "", None)
    )
    path = Path(name)
    if path.is_file():
        if split:
            raise ValueError(f"{path} is one file and has no split {split!r}; leave @{split} out")
        return _load_file(path, role, input_column)
    if path.is_dir():
        return _load_folder(path, split, role, modality, input_column)
    if path.suffix.lower() in {
        *DATA_FILES,
        ".txt",
        *FILE_SUFFIXES["image"],
        *FILE_SUFFIXES["audio"],
    } or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"there is no file or folder {name}")
    identifier, _, configuration = name.partition(":")
    if identifier.count("/") > 1:
        raise FileNotFoundError(f"there is no folder {name}, and ids of Hub datasets have one slash at most")
    return Source(_load_dataset(f"the dataset {name}", role, split, path=identifier, name=configuration or None))


def _load_file(path: Path, role: str, input_column: str | None) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        if role != "unlabeled":
            raise ValueError(
                f"{path} has texts without labels, and the {role} data need labels; give a CSV, JSON or Parquet file with a "
                "column of texts and one of labels"
            )
        texts, blank = read_lines(path)
        if not texts:
            raise ValueError(f"{path} holds no text: one a line is expected")
        dataset = datasets.Dataset.from_dict({input_column or "text": texts})
        return Source(dataset, [f"{path}: {count(blank, 'empty line')} left out"] if blank else [])
    if suffix not in DATA_FILES:
        raise ValueError(f"{path} is none of {', '.join(sorted(DATA_FILES))}, .txt or a folder")
    return Source(read_table(path))


def read_lines(path: Path) -> tuple[list[str], int]:
    """The lines of a text file (UTF-8) that are not blank, and the number of those that are.

    Raises:
        ValueError: if the file is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    texts = [line for line in lines if line]
    return texts, len(lines) - len(texts)


def read_table(path: Path) -> datasets.Dataset:
    """The rows of a CSV, TSV, JSON, JSON Lines or Parquet file.

    Raises:
        ValueError: if it cannot be read, or has no row.
    """
    kind = DATA_FILES[path.suffix.lower()]
    options: dict[str, Any] = {}
    if kind == "csv":
        # Words such as "NA" and "null" are texts and class names here; only an empty cell is a missing one.
        options = {"sep": "\t" if path.suffix.lower() == ".tsv" else ",", "keep_default_na": False, "na_values": [""]}
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    dataset = _load_dataset(str(path), "labeled", None, path=kind, data_files=glob_escape(path), **options)
    if len(dataset) == 0:
        raise ValueError(f"{path} has no rows")
    return _absolute_paths(dataset, path.parent)


def _absolute_paths(dataset: datasets.Dataset, folder: Path) -> datasets.Dataset:
    """Columns of files' names are taken from the folder of the table, if the first of them is there."""
    suffixes = {suffix for found in FILE_SUFFIXES.values() for suffix in found}
    texts = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.Value)]
    for name in texts:
        first = dataset[name][0]
        if isinstance(first, str) and Path(first).suffix.lower() in suffixes and (folder / first).is_file():
            paths = [None if cell is None else str((folder / cell).absolute()) for cell in dataset[name][:]]
            dataset = dataset.remove_columns(name).add_column(name, paths)
    return dataset


def glob_escape(path: Path) -> str:
    """The path for `data_files`, which takes patterns: brackets and stars in a file's name stand for themselves."""
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in str(path))


def _load_dataset(what: str, role: str, split: str | None, **options) -> datasets.Dataset:
    try:
        if split is not None:
            return datasets.load_dataset(**options, split=split)
        found = datasets.load_dataset(**options)
    except (datasets.exceptions.DatasetGenerationError, UnicodeDecodeError) as error:
        cause = error.__cause__ or error
        raise ValueError(f"{what} cannot be read: {cause}") from None
    except ValueError as error:
        if "corresponds to no data" in str(error):
            raise ValueError(f"{what} has no rows") from None
        hint = "; write ID:CONFIGURATION" if "Config name is missing" in str(error) else ""
        raise ValueError(f"{what} cannot be read: {error}{hint}") from None
    return _choose_split(found, role, what)


def _choose_split(
    found: dict[str, datasets.Dataset], role: str, what: str, split: str | None = None
) -> datasets.Dataset:
    names = [str(name) for name in found]
    if split is None:
        split = names[0] if len(names) == 1 else next((name for name in USUAL_SPLITS[role] if name in names), None)
    if split not in names:
        wanted = (
            f"no split {split!r}"
            if split
            else f"several splits, none of which is called {' or '.join(USUAL_SPLITS[role])}"
        )
        raise ValueError(f"{what} has {wanted}; write NAME@SPLIT with one of {', '.join(names)}")
    return found[split]


def _load_folder(path: Path, split: str | None, role: str, modality: str | None, input_column: str | None) -> Source:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        try:
            found = datasets.load_from_disk(str(path))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} was written by save_to_disk and cannot be read back: {error}") from None
        if isinstance(found, datasets.Dataset):
            if split:
                raise ValueError(f"{path} is one dataset and has no split {split!r}; leave @{split} out")
            return Source(found)
        return Source(_choose_split(found, role, str(path), split))
    if split and (path / split).is_dir():
        path, split = path / split, None
    files = list(walk(path))
    if not files:
        raise ValueError(f"the folder {path} is empty")
    kinds = {
        kind: [file for file in files if file.suffix.lower() in suffixes] for kind, suffixes in FILE_SUFFIXES.items()
    }
    present = [kind for kind, found in kinds.items() if found]
    if not present:
        if any(file.suffix.lower() in DATA_FILES for file in files):
            return Source(_load_dataset(str(path), role, split, path=str(path)))
        endings = ", ".join(sorted({file.suffix or file.name for file in files})[:5])
        raise ValueError(f"the folder {path} holds no images, recordings or tables, only {endings}")
    if split:
        raise ValueError(
            f"the folder {path} has no subfolder {split!r}; it has {', '.join(subfolders(path)) or 'none'}"
        )
    kind = modality if modality in present else present[0]
    if len(present) > 1 and modality not in present:
        raise ValueError(f"the folder {path} holds images and recordings; give a folder with one of them")
    if modality not in (None, kind):
        raise ValueError(
            f"the folder {path} holds {MEDIA_NAMES[kind]}, and {MEDIA_NAMES.get(modality, 'texts')} are needed"
        )
    dataset = _media_dataset(path, kinds[kind], kind, role, input_column or kind)
    return Source(dataset, other_files(path, len(files) - len(kinds[kind]), kind))


def _media_dataset(path: Path, files: list[Path], kind: str, role: str, column: str) -> datasets.Dataset:
    columns: dict[str, list] = {column: [str(file.absolute()) for file in files]}
    names: list[str] = []
    if role != "unlabeled":
        loose = [file for file in files if file.parent == path]
        if loose:
            raise ValueError(
                f"{loose[0]} lies in no class folder: {role} {MEDIA_NAMES[kind]} are expected in one folder for each class"
            )
        classes = [file.relative_to(path).parts[0] for file in files]
        names = sorted(set(classes))
        empty = [name for name in subfolders(path) if name not in names] if role == "labeled" else []
        if empty:
            raise ValueError(f"the class folder {path / empty[0]} holds no {MEDIA_NAMES[kind]}; fill it or remove it")
        if set(names) <= _SPLIT_NAMES:
            raise ValueError(f"{path} holds splits ({', '.join(names)}) and not classes; name one: {path}@{names[0]}")
        columns["label"] = [names.index(name) for name in classes]
    dataset = datasets.Dataset.from_dict(columns).cast_column(column, MEDIA_FEATURES[kind]())
    return dataset.cast_column("label", datasets.ClassLabel(names=names)) if names else dataset


def other_files(path: Path, number: int, kind: str) -> list[str]:
    """The note on files of a folder that are no images, or no recordings."""
    which = f"{count(number, 'file')}, no {MEDIA_NAMES[kind]}, ignored"
    return [f"{path}: {which}"] if number else []


def walk(path: Path) -> Iterator[Path]:
    """The files under a folder in the order of their names, at any depth; hidden files and folders are passed over."""
    seen = set()
    for folder, inner, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            # A link back to where one comes from would never end.
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(folder, name)


def subfolders(path: Path) -> list[str]:
    """Names of the folders in a folder, without hidden ones."""
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def count(number: int, what: str) -> str:
    """ "1 file", "2 files"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def drop_unlabeled(dataset: datasets.Dataset, label_column: str) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The rows that have a label, and those whose label is missing or empty (None where there are none)."""
    # `datasets` writes -1 for the missing class of a ClassLabel; NaN is the one value that differs from itself.
    absent = (None, "", -1) if isinstance(dataset.features[label_column], datasets.ClassLabel) else (None, "")
    missing = [value in absent or value != value for value in dataset[label_column][:]]
    if not any(missing):
        return dataset, None
    with_label = dataset.select([i for i, gone in enumerate(missing) if not gone])
    return with_label, dataset.select([i for i, gone in enumerate(missing) if gone])
