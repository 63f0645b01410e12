"""From the name of a file, a folder or a Hub dataset to a `datasets.Dataset`.

    photos/                  images or recordings; labeled: one folder per class, unlabeled: any nesting;
                             other_kinds.py knows what to do about files that cannot be read here
    texts.csv                also .tsv, .json, .jsonl, .parquet; tables.py and json_documents.py tell how it is written
    lines.txt                one text per line, without labels
    saved/                   what `Dataset.save_to_disk` wrote, or a folder of Parquet, CSV or JSON files
    stanfordnlp/imdb         a dataset of the Hub; ID:CONFIGURATION@SPLIT says more, and folder@SPLIT works too

Nothing is written beside the data, and no image or recording is decoded here.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..modality import MODALITIES
from .json_documents import dataset_of_document
from .labels import sorted_names
from .other_kinds import is_hidden, what_to_do, what_to_do_about
from .table_limits import check_table
from .tables import checked_encoding, csv_options, lines_of

DATA_FILES = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
_FILE_SUFFIXES = {suffix for row in MODALITIES.values() for suffix in row.suffixes}
# Which of several splits is meant if none is named, by what the data are for.
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
    """Data, with what a person should know about how they were read.

    Args:
        dataset: the examples.
        notes: sentences such as "ignored 2 files that are not images".
    """

    dataset: datasets.Dataset
    notes: list[str] = field(default_factory=list)


def load_source(
    name: str,
    role: str,
    *,
    modality: str | None = None,
    input_column: str | None = None,
    label_column: str | None = None,
    because: str = "",
) -> Source:
    """Load what `name` names; the module's docstring lists what that may be.

    Args:
        name: a file, a folder, or the id of a Hub dataset.
        role: "labeled", "unlabeled" or "test": which split is meant if none is named, and whether a folder's
            subfolders are classes.
        modality: "image", "audio" or "text" if it is known, for a folder that holds files of several kinds.
        input_column: name of the column for a folder's files or the lines of a .txt; "image", "audio" or "text" if
            None.
        label_column: column of the classes in CSV files, which is read as text; found by its usual names if None.
        because: why it must be this modality, for the error about a folder of another one.

    Raises:
        ValueError: in one line, if there is nothing usable under that name.
        OSError: if it cannot be read or downloaded.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "lines.txt")
        ...     _ = path.write_text("a rose\\n\\nthe sky\\n")
        ...     source = load_source(str(path), "unlabeled")
        >>> source.dataset.to_dict()
        {'text': ['a rose', 'the sky']}
    """
    name, split = _name_and_split(name)
    path = Path(name)
    if path.is_file():
        if split:
            raise ValueError(f"{path} is one file and has no split {split!r}; leave @{split} out")
        return _load_file(path, role, input_column, label_column)
    if path.is_dir():
        return _load_folder(path, split, role, modality, input_column, label_column, because)
    if path.suffix.lower() in {*DATA_FILES, ".txt", *_FILE_SUFFIXES} or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"there is no file or folder {name}")
    identifier, _, configuration = name.partition(":")
    if identifier.count("/") > 1:
        raise FileNotFoundError(f"there is no folder {name}, and ids of Hub datasets have one slash at most")
    try:
        return Source(_load_dataset(f"the dataset {name}", role, split, path=identifier, name=configuration or None))
    except ConnectionError as error:
        raise ConnectionError(f"there is no file or folder {name}, and the Hub cannot be asked: {error}") from None


def _name_and_split(name: str) -> tuple[str, str | None]:
    """NAME@SPLIT as its two parts; a file or folder whose own name has an @ is not divided."""
    if os.path.exists(name) or "@" not in name:
        return name, None
    name, _, split = name.rpartition("@")
    return name, split


def _load_file(path: Path, role: str, input_column: str | None, label_column: str | None) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        if role != "unlabeled":
            raise ValueError(
                f"{path} has texts without labels, and the {role} data need labels; give a CSV, JSON or Parquet file "
                "with a column of texts and one of labels"
            )
        texts, blank = read_lines(path)
        if not texts:
            raise ValueError(f"{path} holds no text; write one text per line")
        dataset = datasets.Dataset.from_dict({input_column or "text": texts})
        return Source(dataset, [f"{path}: {count(blank, 'empty line')} left out"] if blank else [])
    if suffix not in DATA_FILES:
        if (what := what_to_do(path)) is not None:
            raise ValueError(f"{path} {what}")
        one = "; it is one file, give the folder that holds it" if suffix in _FILE_SUFFIXES else ""
        raise ValueError(f"{path} must be a folder or a file of type {', '.join(DATA_FILES)} or .txt{one}")
    notes: list[str] = []
    return Source(read_table(path, label_column, notes), notes)


def read_lines(path: Path) -> tuple[list[str], int]:
    """The lines of a text file (UTF-8) that are not blank, and the number of blank ones.

    Raises:
        ValueError: if the file is not UTF-8.
    """
    lines = [line.strip() for line in lines_of(path)]
    texts = [line for line in lines if line]
    return texts, len(lines) - len(texts)


def read_table(path: Path, label_column: str | None = None, notes: list[str] | None = None) -> datasets.Dataset:
    """The rows of a CSV, TSV, JSON, JSON Lines or Parquet file.

    Args:
        path: its suffix says which of these it is.
        label_column: column of the classes in a CSV or TSV file; found by its usual names if None. Classes are texts,
            as they stand there: "001", "1e3" and "true" are neither numbers nor truth values.
        notes: takes what a person should know about how the file was read, a sentence each.

    Raises:
        ValueError: if it cannot be read, or has no row.
    """
    check_table(path)
    kind, notes = DATA_FILES[path.suffix.lower()], [] if notes is None else notes
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    options: dict[str, Any] = {}
    if kind == "csv":
        options = csv_options([path], label_column, notes)
    elif kind == "json":
        if (dataset := dataset_of_document(path)) is not None:
            notes.append(f"{path}: read as one JSON object of {count(len(dataset.column_names), 'column')}")
            return _absolute_paths(dataset, path.parent)
        options = {"encoding": checked_encoding(path)}
    dataset = _load_dataset(str(path), "labeled", None, path=kind, data_files=glob_escape(path), **options)
    if len(dataset) == 0:
        raise ValueError(f"{path} has no rows")
    return _absolute_paths(dataset, path.parent)


def _absolute_paths(dataset: datasets.Dataset, folder: Path) -> datasets.Dataset:
    """Names of files are taken relative to the folder of their table, if the first of these files exists there."""
    texts = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.Value)]
    # Of all columns at once: `datasets` copies all features each time that it is asked for a column.
    first = dataset.select_columns(texts).with_format(None)[0] if texts else {}
    for name in texts:
        if _is_file_beside(first[name], folder):
            paths = [None if cell is None else str((folder / cell).absolute()) for cell in dataset[name][:]]
            # Not removed first: a dataset without columns has no rows.
            added = dataset.add_column(f"absolute {name}", paths)
            dataset = added.remove_columns(name).rename_column(f"absolute {name}", name)
    return dataset


def _is_file_beside(cell: Any, folder: Path) -> bool:
    return isinstance(cell, str) and Path(cell).suffix.lower() in _FILE_SUFFIXES and (folder / cell).is_file()


def glob_escape(path: Path) -> str:
    """The path for `data_files`, which takes patterns: with brackets, stars and question marks of the name escaped."""
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in str(path))


def _load_dataset(what: str, role: str, split: str | None, **options: Any) -> datasets.Dataset:
    try:
        if split is not None:
            return datasets.load_dataset(**options, split=split)
        found = datasets.load_dataset(**options)
    except (datasets.exceptions.DatasetGenerationError, UnicodeDecodeError) as error:
        cause = error.__cause__ or error
        raise _of_the_cache(what, cause) or ValueError(f"{what} cannot be read: {cause}") from None
    except ValueError as error:
        if "corresponds to no data" in str(error):
            raise ValueError(f"{what} has no rows") from None
        hint = "; write ID:CONFIGURATION" if "Config name is missing" in str(error) else ""
        raise ValueError(f"{what} cannot be read: {error}{hint}") from None
    except (EOFError, RecursionError, MemoryError, OverflowError, LookupError, pa.ArrowException) as error:
        # What parsers raise about damaged files, beside the above.
        raise ValueError(f"{what} cannot be read: {error or type(error).__name__}") from None
    except OSError as error:
        raise _of_the_cache(what, error) or error from None
    return _choose_split(found, role, what)


def _of_the_cache(what: str, error: BaseException) -> OSError | None:
    """The error to raise if `datasets` cannot write the copy that it makes of everything it reads; else None."""
    cache = str(datasets.config.HF_DATASETS_CACHE)
    if "Not enough disk space" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return OSError(
            f"{what} cannot be read: there is no room in {cache}; free some, or set HF_HOME to another folder"
        )
    denied = getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM)
    if denied and str(getattr(error, "filename", "")).startswith(cache):
        return OSError(f"{what} cannot be read: {cache} cannot be written to; set HF_HOME to another folder")
    return None


def _choose_split(
    found: Mapping[str, datasets.Dataset], role: str, what: str, split: str | None = None
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


def _load_folder(
    path: Path,
    split: str | None,
    role: str,
    modality: str | None,
    input_column: str | None,
    label_column: str | None,
    because: str,
) -> Source:
    """A folder that `datasets` saved, or one of tables, or one of images or recordings."""
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Source(_load_saved(path, split, role))
    if split and (path / split).is_dir():
        path, split = path / split, None
    files = list(walk(path))
    if not files:
        raise ValueError(f"the folder {path} is empty")
    media = {
        kind: found
        for kind, row in MODALITIES.items()
        if (found := [file for file in files if file.suffix.lower() in row.suffixes])
    }
    if not media:
        notes: list[str] = []
        return Source(_load_tables(path, files, split, role, label_column, notes), notes)
    if split:
        raise ValueError(
            f"the folder {path} has no subfolder {split!r}; it has {', '.join(subfolders(path)) or 'none'}"
        )
    kind = _choose_media(path, list(media), modality, because)
    named, notes = _with_names_of_text(media[kind], role)
    if not named:
        raise ValueError(f"no file in {path} has a name of UTF-8 text; rename them")
    dataset = _media_dataset(path, named, kind, role, input_column or kind)
    notes = other_files(path, len(files) - len(media[kind]), kind) + notes
    return Source(dataset, notes + [f"{path}: {what}" for what in what_to_do_about(files)])


def _with_names_of_text(files: list[Path], role: str) -> tuple[list[Path], list[str]]:
    """The files whose names can be stored in a dataset, and a note on the others of a pool.

    Raises:
        ValueError: if one of the labeled or test files has another name.
    """
    odd = [file for file in files if any("\ud800" <= letter <= "\udfff" for letter in str(file))]
    if not odd:
        return files, []
    if role != "unlabeled":
        raise ValueError(f"the name of {str(odd[0])!a} is not UTF-8 text; rename it")
    kept = [file for file in files if file not in set(odd)]
    return kept, [f"{count(len(odd), 'file')} left out, the name is not UTF-8 text (first: {str(odd[0])!a})"]


def _load_saved(path: Path, split: str | None, role: str) -> datasets.Dataset:
    """What `save_to_disk` wrote."""
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # what json, pyarrow and `datasets` stumble on in damaged files
        raise ValueError(
            f"{path} was written by save_to_disk and cannot be read back: {error or type(error).__name__}"
        ) from None
    if not isinstance(found, datasets.Dataset):
        return _choose_split(found, role, str(path), split)
    if split:
        raise ValueError(f"{path} is one dataset and has no split {split!r}; leave @{split} out")
    return found


def _load_tables(
    path: Path, files: list[Path], split: str | None, role: str, label_column: str | None, notes: list[str]
) -> datasets.Dataset:
    """The tables of a folder, whose names `datasets` reads as splits."""
    suffixes = {file.suffix.lower() for file in files} & DATA_FILES.keys()
    if suffixes:
        tables = [file for file in files if file.suffix.lower() in suffixes]
        for table in tables:
            check_table(table)
        # Of several kinds `datasets` reads the most frequent one, which may not take the options of another.
        text = len(suffixes) == 1 and suffixes <= {".csv", ".tsv"}
        options = csv_options(tables, label_column, notes) if text else {}
        return _load_dataset(str(path), role, split, path=str(path), **options)
    endings = ", ".join(sorted({file.suffix or file.name for file in files})[:5])
    ways = "".join(f"; {what}" for what in what_to_do_about(files))
    raise ValueError(f"the folder {path} holds no images, recordings or tables, only {endings}{ways}")


def _choose_media(path: Path, present: list[str], modality: str | None, because: str) -> str:
    """Whether a folder's images or its recordings are meant, if it holds such files."""
    if modality in present:
        return modality
    if len(present) > 1:
        raise ValueError(f"the folder {path} holds images and recordings; give a folder with one of them")
    (kind,) = present
    if modality is not None:
        wanted, found = MODALITIES[modality], MODALITIES[kind]
        why, ways = f", because {because}" * bool(because), f"{wanted.plural}, or {found.model}"
        raise ValueError(
            f"the folder {path} must hold {wanted.plural}{why}, got {found.plural}; "
            f"give {ways if because else 'another folder'}"
        )
    return kind


def _media_dataset(path: Path, files: list[Path], kind: str, role: str, column: str) -> datasets.Dataset:
    """A dataset of files, undecoded, with the folders as classes unless they are unlabeled."""
    columns: dict[str, list] = {column: [str(file.absolute()) for file in files]}
    feature = MODALITIES[kind].feature_class()(decode=False)
    if role == "unlabeled":
        return datasets.Dataset.from_dict(columns).cast_column(column, feature)
    names = _class_folders(path, files, kind, role)
    position = {name: index for index, name in enumerate(names)}
    columns["label"] = [position[file.relative_to(path).parts[0]] for file in files]
    dataset = datasets.Dataset.from_dict(columns).cast_column(column, feature)
    return dataset.cast_column("label", datasets.ClassLabel(names=names))


def _class_folders(path: Path, files: list[Path], kind: str, role: str) -> list[str]:
    """The names of the folders that hold the files, sorted.

    Raises:
        ValueError: if a file is in none of them, a labeled class has no file, or the folders are splits and not
        classes.
    """
    plural = MODALITIES[kind].plural
    loose = [file for file in files if file.parent == path]
    if loose:
        raise ValueError(f"{loose[0]} must be in a class folder; {role} {plural} are expected in one folder per class")
    names = sorted_names(file.relative_to(path).parts[0] for file in files)
    filled = set(names)
    empty = [name for name in subfolders(path) if name not in filled] if role == "labeled" else []
    if empty:
        raise ValueError(f"the class folder {path / empty[0]} holds no {plural}; fill it or remove it")
    if set(names) <= _SPLIT_NAMES:
        raise ValueError(f"{path} holds splits ({', '.join(names)}) and not classes; name one: {path}@{names[0]}")
    return names


def other_files(path: Path, number: int, kind: str) -> list[str]:
    """The note on files of a folder that are not images, or not recordings; empty if there are none."""
    which = f"{count(number, 'file')}, no {MODALITIES[kind].plural}, ignored"
    return [f"{path}: {which}"] if number else []


def walk(path: Path) -> Iterator[Path]:
    """The files under a folder in the order of their names, at any depth; hidden files and folders are left out."""
    seen: set[str] = set()
    for folder, inner, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            # Following a link back to a parent folder would never end.
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(folder, name)


def subfolders(path: Path) -> list[str]:
    """Names of the folders in a folder, without hidden ones."""
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def count(number: int, what: str, several: str | None = None) -> str:
    """A number with its noun, whose plural ends in an "s" unless it is given.

    Example:
        >>> count(1, "file"), count(2000, "file"), count(2, "class", "classes")
        ('1 file', '2,000 files', '2 classes')
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"
