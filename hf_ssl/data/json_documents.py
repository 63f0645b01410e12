"""JSON documents that are one object and not a list of rows, such as those of pandas' `to_json()`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from .tables import lines_of


def dataset_of_document(path: Path) -> datasets.Dataset | None:
    """The rows of a JSON document that is one object; None for a list of rows and JSON Lines, which `datasets` reads.

    Raises:
        ValueError: if it is an object of another kind, has no rows, or a column with several types of values.
    """
    columns = rows_of_document(path)
    if columns is None:
        return None
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError(f"{path} has no rows")
    try:
        return datasets.Dataset.from_dict(columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; write each column with one type of values") from None


def rows_of_document(path: Path) -> dict[str, list[Any]] | None:
    """The columns of a JSON document that is one object and not a list of rows; None if it is a list, or JSON Lines.

    These are the forms of pandas' `to_json()` ("columns", "index", "split", "table") and an object of equally long
    lists.

    Raises:
        ValueError: if it cannot be read, or is none of these.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.json")
        >>> _ = path.write_text('{"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}')
        >>> rows_of_document(path)
        {'text': ['a', 'b'], 'label': ['x', 'y']}
    """
    lines = (line for line in lines_of(path, longest=-1) if line.strip())
    first = next(lines, "").lstrip()
    if not first.startswith("{"):
        if re.match(r"\[\s*\[", first):
            raise ValueError(f"{path} has rows without names of columns; write it with to_json(orient='records')")
        return None
    second = next(lines, None)
    whole = _parsed(first)
    if second is not None and whole is not None:
        return None  # JSON Lines
    if whole is None:
        whole = _parsed("".join([first, second or "", *lines]))
    if not isinstance(whole, Mapping):
        return None  # What reads the rows says what is wrong.
    found = _columns_of(whole)
    if found is None and any(isinstance(value, Mapping | list) for value in whole.values()):
        raise ValueError(
            f"{path} is not a list of rows; write one JSON object per row, as to_json(orient='records') does"
        )
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _columns_of(document: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    if {"columns", "data"} <= document.keys() <= {"columns", "data", "index"}:
        return _joined(document["columns"], document["data"])
    values = list(document.values())
    if {"schema", "data"} == document.keys() or list(document) == ["data"]:
        return _of_records(document["data"])
    if all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
        return dict(document)
    if not all(isinstance(value, Mapping) and value.keys() == values[0].keys() for value in values):
        return None
    # Rows are numbered: by the inner names in columns of cells, by the outer ones in cells of rows.
    if all(map(str.isdecimal, document)) and not all(map(str.isdecimal, values[0])):
        return _of_records(values)
    return {name: list(column.values()) for name, column in document.items()}


def _of_records(records: Any) -> dict[str, list[Any]] | None:
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        return None
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _joined(names: Any, rows: Any) -> dict[str, list[Any]] | None:
    if not isinstance(names, list) or not isinstance(rows, list):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return {str(name): [row[place] for row in rows] for place, name in enumerate(names)}
