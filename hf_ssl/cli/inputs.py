"""What the inputs of `hf-ssl predict` name: files, folders, rows of tables, lines of texts, and texts in quotes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import datasets

from ..data.cells import CellFormat, file_arrays, find_format, usual_levels
from ..data.columns import find_input, usual_label
from ..data.rows import undecoded
from ..data.sources import DATA_FILES, count, lines_of, other_files, read_table, walk
from ..errors import BrokenExampleError
from ..modality import MODALITIES, Modality

# Files that are opened before the first answer, to find out which numbers are white.
_LOOKED_AT = 64
# Rows of a table that are in memory at once: texts, and pictures or recordings.
_TEXTS, _FILES = 1024, 16


@dataclass
class Item:
    """One input: where it comes from, its row there, and what the model is to classify.

    Args:
        name: the file; for a text in quotes, the text.
        row: position in a table or text file, from 0; None for a file that is one input.
        value: a path or {"bytes", "path"} of an image or recording, a text, or a pair of texts; or the error that
            says why there is nothing to classify.
    """

    name: str
    row: int | None
    value: Any

    def contents(self) -> list[str]:
        """What a person sees of the value of a row: a text, or the two of a pair, or the name of a file.

        Example:
            >>> Item("list.csv", 4, {"path": "cat.jpg", "bytes": None}).contents()
            ['cat.jpg']
        """
        value = self.value.get("path") if isinstance(self.value, Mapping) else self.value
        if self.row is None or value == self.name:
            return []
        values = value if isinstance(value, tuple) else (value,)
        return [str(cell) if isinstance(cell, str | int | float) else "" for cell in values]


@dataclass(frozen=True)
class Part:
    """What one INPUT names.

    Args:
        size: how many inputs it holds.
        read: yields them in order, each time from the first one on.
        contents: how many columns show what a row held: 0 for files that are one input each.
    """

    size: int
    read: Callable[[], Iterator[Item]]
    contents: int = 0


@dataclass(frozen=True)
class Inputs:
    """What all INPUTs name, in their order. They are read when they are iterated over, and not kept in memory.

    Args:
        parts: one for each INPUT.
        levels: what is black and white in pictures of 32 bits a pixel.
    """

    parts: Sequence[Part]
    levels: CellFormat | None = None

    @property
    def contents(self) -> int:
        """How many columns show what the rows held."""
        return max((part.contents for part in self.parts), default=0)

    def __len__(self) -> int:
        return sum(part.size for part in self.parts)

    def __iter__(self) -> Iterator[Item]:
        for item in chain.from_iterable(part.read() for part in self.parts):
            if self.levels is not None and not isinstance(item.value, Exception):
                item.value = self.levels(item.value)
            yield item


def collect(inputs: Iterable[str], modality: str, columns: Sequence[str] | None) -> tuple[Inputs, list[str]]:
    """What the inputs name, in their order, and notes on what was left out.

    Args:
        inputs: files, folders, or texts in quotes.
        modality: of the model: "image", "audio" or "text".
        columns: of tables, the column of the input, two for pairs of texts; None finds it.

    Raises:
        ValueError, FileNotFoundError: in one line, for an input that does not exist or is of another modality.

    Example:
        >>> found, notes = collect(["What a day."], "text", None)
        >>> list(found), notes
        ([Item(name='What a day.', row=None, value='What a day.')], [])
    """
    parts: list[Part] = []
    notes: list[str] = []
    kind = MODALITIES[modality]
    for name in inputs:
        if Path(name).is_dir():
            part, more = _of_folder(Path(name), kind)
        elif Path(name).is_file():
            part, more = _of_file(name, kind, columns)
        elif os.path.lexists(name) or (modality == "text" and any(letter.isspace() for letter in name.strip())):
            part, more = _of_names([name]), []
        else:
            raise FileNotFoundError(
                f"INPUT must exist, got {name}, but there is no file or folder {name}; check its path"
            )
        parts.append(part)
        notes += more
    found = Inputs(parts)
    return (Inputs(parts, _shared_levels(found)) if modality == "image" else found), notes


def _shared_levels(found: Inputs) -> CellFormat | None:
    """The levels of all pictures of 32 bits a pixel together: one alone does not say what is white.

    Tables have found out theirs.
    """
    files = chain.from_iterable(part.read() for part in found.parts if not part.contents)
    values = (item.value for item in files if isinstance(item.value, str))
    levels = usual_levels(file_arrays(islice(values, _LOOKED_AT)))
    return None if levels is None else CellFormat({"levels": levels[:2]})


def _of_names(names: Sequence[str]) -> Part:
    """Files, or texts in quotes: each is one input."""
    return Part(len(names), lambda: map(_named, names))


def _named(name: str) -> Item:
    if os.path.isfile(name) or not os.path.lexists(name):
        return Item(name, None, name)
    # Never opened, and not the end of the others: what it is instead of a file is the error of its row.
    return Item(
        name, None, BrokenExampleError(f"{name} must be a file, got a device, a pipe or a link that leads nowhere")
    )


def _of_folder(path: Path, kind: Modality) -> tuple[Part, list[str]]:
    if not kind.needs_files:
        raise ValueError(
            f"INPUT must be a table, a .txt file or a text in quotes, got the folder {path}: the model classifies "
            f"{kind.plural}; name the files in it"
        )
    files = list(walk(path))
    usable = [str(file) for file in files if file.suffix.lower() in kind.suffixes]
    if not usable:
        raise ValueError(
            f"INPUT must hold {kind.plural}, got {path}, which holds no {kind.plural}; give another folder"
        )
    return _of_names(usable), other_files(path, len(files) - len(usable), kind.name)


def _of_file(name: str, kind: Modality, columns: Sequence[str] | None) -> tuple[Part, list[str]]:
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in DATA_FILES:
        return _of_table(path, kind.name, columns), []
    if suffix == ".txt" and not kind.needs_files:
        return _of_lines(path)
    others = {suffix for other in MODALITIES.values() if other is not kind for suffix in other.suffixes}
    if not kind.needs_files or suffix == ".txt" or suffix in others:
        raise ValueError(
            f"INPUT must be one of the {kind.plural} or a table of them, got {path}: the model classifies "
            f"{kind.plural}; give another file or another MODEL"
        )
    # An unknown suffix is left to the decoder, which looks at the content.
    return _of_names([name]), []


def _of_lines(path: Path) -> tuple[Part, list[str]]:
    # Read once before the first answer: a byte that is not text, or no text at all, should be known by then.
    lines = texts = 0
    for line in lines_of(path):
        lines += 1
        texts += bool(line.strip())

    def read() -> Iterator[Item]:
        kept = (line.strip() for line in lines_of(path))
        return (Item(str(path), row, line) for row, line in enumerate(filter(None, kept)))

    notes = [f"{path}: {count(lines - texts, 'empty line')} left out"] if lines > texts else []
    return Part(texts, read, contents=1), notes


def _of_table(path: Path, modality: str, columns: Sequence[str] | None) -> Part:
    dataset = read_table(path)
    names = input_columns(dataset, modality, columns, str(path))

    def read() -> Iterator[Item]:
        return (Item(str(path), row, value) for row, value in enumerate(cells(dataset, names, modality)))

    return Part(len(dataset), read, contents=len(names))


def input_columns(
    dataset: datasets.Dataset,
    modality: str,
    given: Sequence[str] | None,
    what: str,
    label_column: str | Sequence[str] | None = None,
) -> list[str]:
    """The column of the input in a table, or the two of a pair of texts: given, or those that training would find.

    Raises:
        ValueError: if it does not exist or cannot be decided on; the message lists the columns.
    """
    listed = ", ".join(dataset.column_names)
    if given:
        missing = [name for name in given if name not in dataset.column_names]
        if missing:
            raise ValueError(f"{what} has no column {missing[0]!r}; its columns are {listed}")
        if len(given) > (2 if modality == "text" else 1):
            raise ValueError(
                f"--column was given {len(given)} times; {modality} inputs have "
                f"{'two' if modality == 'text' else 'one'}"
            )
        return list(given)
    found = find_input(dataset, [modality], label_column=label_column or usual_label(dataset))
    if found is None:
        raise ValueError(f"{what}: no column of {modality} inputs was found among {listed}; name it with --column")
    return list(found[1])


def cells(dataset: datasets.Dataset, columns: Sequence[str], modality: str) -> Iterator[Any]:
    """The values of the input column, undecoded but as training reads them; pairs if there are two columns.

    Example:
        >>> list(cells(datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}), ["text"], "text"))
        ['a', 'b']
    """
    dataset = undecoded(dataset, columns).with_format(None).select_columns(list(columns))
    formats = [None if modality == "text" else find_format(dataset, name, modality) for name in columns]
    row = 0
    for batch in dataset.iter(_TEXTS if modality == "text" else _FILES):
        for values in zip(*(batch[name] for name in columns), strict=True):
            known = [value if form is None else form(value, row) for value, form in zip(values, formats, strict=True)]
            yield known[0] if len(columns) == 1 else tuple(known)
            row += 1
