"""What the inputs of `hf-ssl predict` name: files, folders, rows of tables, lines of texts, and texts in quotes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..data.cells import CellFormat, file_arrays, find_format, usual_levels
from ..data.columns import find_input, usual_label
from ..data.rows import undecoded
from ..data.sources import DATA_FILES, count, other_files, read_lines, read_table, walk
from ..modality import MODALITIES, Modality

# Files that are opened before the first answer, to find out which numbers are white.
_LOOKED_AT = 64


@dataclass
class Item:
    """One input: where it comes from, its row there, and what the model is to classify.

    Args:
        name: the file; for a text in quotes, the text.
        row: position in a table or text file, from 0; None for a file that is one input.
        value: a path or {"bytes", "path"} of an image or recording, a text, or a pair of texts.
    """

    name: str
    row: int | None
    value: Any


def collect(inputs: Iterable[str], modality: str, columns: Sequence[str] | None) -> tuple[list[Item], list[str]]:
    """What the inputs name, in their order, and notes on what was left out.

    Args:
        inputs: files, folders, or texts in quotes.
        modality: of the model: "image", "audio" or "text".
        columns: of tables, the column of the input, two for pairs of texts; None finds it.

    Raises:
        ValueError, FileNotFoundError: in one line, for an input that does not exist or is of another modality.

    Example:
        >>> collect(["What a day."], "text", None)
        ([Item(name='What a day.', row=None, value='What a day.')], [])
    """
    items: list[Item] = []
    notes: list[str] = []
    kind = MODALITIES[modality]
    for name in inputs:
        if Path(name).is_dir():
            found, more = _of_folder(Path(name), kind)
        elif Path(name).is_file():
            found, more = _of_file(name, kind, columns)
        elif modality == "text" and any(letter.isspace() for letter in name.strip()):
            found, more = [Item(name, None, name)], []
        else:
            raise FileNotFoundError(
                f"INPUT must exist, got {name}, but there is no file or folder {name}; check its path"
            )
        items += found
        notes += more
    if modality == "image":
        _share_levels([item for item in items if isinstance(item.value, str)])
    return items, notes


def _share_levels(items: Sequence[Item]) -> None:
    """Give pictures of 32 bits a pixel, which do not say what is white, the levels of all of them together."""
    found = usual_levels(file_arrays(item.value for item in items[:_LOOKED_AT]))
    if found is None:
        return
    for item in items:
        item.value = CellFormat({"levels": found[:2]})(item.value)


def _of_folder(path: Path, kind: Modality) -> tuple[list[Item], list[str]]:
    if not kind.needs_files:
        raise ValueError(
            f"INPUT must be a table, a .txt file or a text in quotes, got the folder {path}: the model classifies "
            f"{kind.plural}; name the files in it"
        )
    files = list(walk(path))
    usable = [file for file in files if file.suffix.lower() in kind.suffixes]
    if not usable:
        raise ValueError(
            f"INPUT must hold {kind.plural}, got {path}, which holds no {kind.plural}; give another folder"
        )
    notes = other_files(path, len(files) - len(usable), kind.name)
    return [Item(str(file), None, str(file)) for file in usable], notes


def _of_file(name: str, kind: Modality, columns: Sequence[str] | None) -> tuple[list[Item], list[str]]:
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in DATA_FILES:
        return _of_table(path, kind.name, columns), []
    if suffix == ".txt" and not kind.needs_files:
        lines, blank = read_lines(path)
        notes = [f"{path}: {count(blank, 'empty line')} left out"] if blank else []
        return [Item(name, row, line) for row, line in enumerate(lines)], notes
    others = {suffix for other in MODALITIES.values() if other is not kind for suffix in other.suffixes}
    if not kind.needs_files or suffix == ".txt" or suffix in others:
        raise ValueError(
            f"INPUT must be one of the {kind.plural} or a table of them, got {path}: the model classifies "
            f"{kind.plural}; give another file or another MODEL"
        )
    # An unknown suffix is left to the decoder, which looks at the content.
    return [Item(name, None, name)], []


def _of_table(path: Path, modality: str, columns: Sequence[str] | None) -> list[Item]:
    dataset = read_table(path)
    values = cells(dataset, input_columns(dataset, modality, columns, str(path)), modality)
    return [Item(str(path), row, value) for row, value in enumerate(values)]


def input_columns(
    dataset: datasets.Dataset,
    modality: str,
    given: Sequence[str] | None,
    what: str,
    label_column: str | None = None,
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


def cells(dataset: datasets.Dataset, columns: Sequence[str], modality: str) -> list[Any]:
    """The values of the input column [N], undecoded but as training reads them; pairs if there are two columns."""
    dataset = undecoded(dataset, columns)
    formats = [None if modality == "text" else find_format(dataset, name, modality) for name in columns]
    values = [
        dataset[name][:] if form is None else [form(cell, row) for row, cell in enumerate(dataset[name][:])]
        for name, form in zip(columns, formats, strict=True)
    ]
    return values[0] if len(columns) == 1 else list(zip(*values, strict=True))
