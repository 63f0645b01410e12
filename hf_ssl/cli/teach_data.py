"""The examples of `hf-ssl teach`: a pool, perhaps labeled ones, what their classes are called, and what is written."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..data.columns import inspect_data, usual_label
from ..data.duplicates import digest
from ..data.labels import missing_labels, shortened
from ..data.sources import load_source
from ..data.spelling import matched
from ..errors import BrokenExampleError
from ..files import atomic_write
from ..modality import MODALITIES
from .inputs import cells, input_columns
from .output import seen_from

# Rows that are written together.
_ROWS = 1000


@dataclass
class Examples:
    """Examples that a teacher is asked about.

    Args:
        dataset: as it was loaded.
        columns: of its inputs.
        modality: "image", "text" or "audio".
        source: what was named.
        notes: what a person should know of how it was read.
        classes: names of the labeled examples' classes; None if they are numbers.
        labels: classes of the labeled examples.
    """

    dataset: datasets.Dataset
    columns: list[str]
    modality: str
    source: str
    notes: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.dataset)

    def values(self, start: int) -> Iterator[Any]:
        """The inputs from a row on; an error instead of an input that is not there."""
        rest = self.dataset.select(range(start, len(self.dataset)))
        return map(_or_error, cells(rest, self.columns, self.modality))

    def digest(self) -> str:
        """Hexadecimal digits that follow from all inputs and their order."""
        hashed = hashlib.blake2b(digest_size=16)
        for value in self.values(0):
            files = MODALITIES[self.modality].needs_files
            hashed.update((digest(value, files) if not isinstance(value, Exception) else None) or b"-" * 16)
        return hashed.hexdigest()


def _or_error(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    if any(each is None for each in values):
        return BrokenExampleError("there is nothing in this row")
    return " ".join(map(str, values)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Named:
    """What classes are called.

    Args:
        asked: as the teacher reads them, [C].
        written: as the labeled dataset has them, in the same order.
        labels: of the labeled examples, as positions in both.
    """

    asked: list[str]
    written: list[str]
    labels: list[int]


def load_pool(source: str, modality: str, columns: Sequence[str] | None, new_column: str, suffix: str) -> Examples:
    """The pool, which must not have the new column, and whose examples must fit into a file with that suffix.

    Raises:
        ValueError, OSError: in one line.
    """
    found = load_source(source, "unlabeled", modality=modality)
    pool = Examples(found.dataset, [], modality, source, list(found.notes))
    pool.columns = input_columns(pool.dataset, modality, columns, source)
    if new_column in pool.dataset.column_names:
        raise ValueError(
            f"--teacher-column must be new, got {new_column!r}, which {source} has already; choose another name"
        )
    if len(pool) == 0:
        raise ValueError(f"POOL must hold an example, got none in {source}; give another one")
    if suffix == ".jsonl" and MODALITIES[modality].needs_files:
        cell = pool.dataset.select(range(1)).with_format(None).select_columns(pool.columns)[0][pool.columns[0]]
        if _path_of(_undecoded_cell(pool)) is None and _path_of(cell) is None:
            raise ValueError(
                f"--output must end in .parquet, since the {MODALITIES[modality].plural} are inside {source} and not "
                "files of their own; give another name"
            )
    return pool


def _undecoded_cell(pool: Examples) -> Any:
    return next(cells(pool.dataset.select(range(1)), pool.columns, pool.modality))


def load_labeled(source: str, pool: Examples, label_column: str | None) -> Examples:
    """Labeled examples of the pool's modality, with their classes.

    Raises:
        ValueError, OSError: in one line.
    """
    found = load_source(source, "labeled", modality=pool.modality, label_column=label_column)
    dataset, column = found.dataset, label_column or usual_label(found.dataset)
    if column is not None and column in dataset.column_names:
        # As in training, where rows without a label join the pool.
        dataset = dataset.select(np.flatnonzero(~missing_labels(dataset, column)))
    if len(dataset) == 0:
        raise ValueError(f"--labeled must hold labels, but in {source} no row has one in column {column!r}; add some")
    summary = inspect_data(dataset, None, column)
    if summary.modality != pool.modality:
        raise ValueError(
            f"--labeled must hold {MODALITIES[pool.modality].plural}, as the teacher reads, got "
            f"{MODALITIES[summary.modality].plural} in {source}; give another one, or another --model"
        )
    labeled = Examples(dataset, list(summary.input_columns), pool.modality, source)
    labeled.names, labeled.labels = list(summary.label_names), [int(label) for label in summary.labels]
    labeled.classes = labeled.names if summary.classes.named and not _are_numbers(labeled.names) else None
    return labeled


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.strip().lstrip("-").isdigit() for name in names)


def named_classes(given: Sequence[str] | None, labeled: Examples | None) -> Named:
    """What the teacher is asked for, and what is written: the names of --classes, those of --labeled, or both.

    Raises:
        ValueError: if there are no names, or the two do not fit together.
    """
    if given is not None and len(given) < 2:
        raise ValueError(f"--classes must name at least two classes, got {','.join(given)!r}; put commas between them")
    if labeled is None:
        if given is None:
            raise ValueError("--classes is missing: the names of the classes, or give --labeled, which has them")
        return Named(list(given), list(given), [])
    if given is None:
        if labeled.classes is None:
            raise ValueError(
                f"--classes must say what the classes of {labeled.source} are called, which are the numbers "
                f"{shortened(labeled.names, 5)}; give a name for each, in this order"
            )
        return Named(labeled.classes, labeled.classes, labeled.labels)
    if labeled.classes is None and len(given) == len(labeled.names):
        # Numbers have the names in their order.
        return Named(list(given), labeled.names, labeled.labels)
    order = matched(given, labeled.names)
    if order is None:
        raise ValueError(
            f"--classes must be the classes of {labeled.source}, which are {shortened(labeled.names)}, got "
            f"{shortened(given)}; name each of them once, or leave --classes out"
        )
    written = [labeled.names[place] for place in order]
    return Named(list(given), written, [order.index(label) for label in labeled.labels])


def write_pool(pool: Examples, output: Path, column: str, opinions: Sequence[Mapping[str, float] | None]) -> None:
    """Write the pool with the column of opinions, whole or not at all.

    Raises:
        ValueError: in one line, if a row does not fit into the kind of file.
    """
    if output.suffix.lower() == ".parquet":
        added = pool.dataset.add_column(column, list(opinions))
        with atomic_write(output) as temporary:
            added.to_parquet(temporary)
        return
    with atomic_write(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row, opinion in zip(_rows(pool, output), opinions, strict=True):
            try:
                file.write(json.dumps({**row, column: opinion}, ensure_ascii=False) + "\n")
            except (TypeError, ValueError):
                raise ValueError(
                    f"--output must end in .parquet, since {pool.source} has a column that JSON has no form for; give "
                    "another name"
                ) from None


def _rows(pool: Examples, output: Path) -> Iterator[dict[str, Any]]:
    """The rows of the pool; files by their names as seen from the output."""
    needs_files = MODALITIES[pool.modality].needs_files
    kept = [name for name in pool.dataset.column_names if not (needs_files and name in pool.columns)]
    folder, inputs = output.absolute().parent, cells(pool.dataset, pool.columns, pool.modality)
    rows = pool.dataset.with_format(None).select_columns(kept)
    for start in range(0, len(pool), _ROWS):
        places = range(start, min(start + _ROWS, len(pool)))
        # A dataset without columns has no rows.
        block = rows.select(places).to_list() if kept else [{} for _ in places]
        if not needs_files:
            yield from block
            continue
        for row, cell in zip(block, islice(inputs, len(places)), strict=True):
            path = _path_of(cell)
            yield {pool.columns[0]: None if path is None else seen_from(folder, Path(path).absolute()), **row}


def _path_of(cell: Any) -> str | None:
    path = cell.get("path") if isinstance(cell, Mapping) and cell.get("bytes") is None else cell
    return path if isinstance(path, str) and Path(path).is_file() else None
