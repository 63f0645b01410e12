"""The user's datasets, made ready for views and collators: columns named alike, labels as indices, files undecoded.

    dataset -> columns renamed like the labeled ones -> labels matched by name -> files undecoded -> `Rows`

A dataset that does not fit the labeled one is an error here, before training, that names the dataset and the column.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from ..errors import BrokenExampleError
from ..modality import MODALITIES
from .cells import CellFormat, find_format, stream_format
from .columns import LABEL_COLUMNS, DataSummary, check_kind, column_modalities, usual_label
from .headers import unreadable
from .label_forms import LabelForm
from .label_kinds import CellReader
from .labels import shortened
from .opinions import opinions_of
from .rows import Rows, missing_file, model_inputs, undecoded
from .streams import StreamedPool, is_stream, make_row_preparer, read_sample

logger = logging.get_logger(__name__)

# Rows whose inputs are looked at together.
_ROWS = 100_000


def prepare(
    dataset: Any,
    data: DataSummary,
    what: str,
    *,
    label: bool = True,
    files: bool = True,
    as_given: bool = False,
    teacher: str | None = None,
) -> Any:
    """A dataset of the user as views and collators want it: `Rows`, or the dataset itself if it already is like that.

    The input column may have another name than in the labeled dataset if it is the only one of its modality, and so
    may the label column. Labels become indices of the labeled dataset's classes.

    Args:
        dataset: a `datasets.Dataset`. For a streaming dataset, only what its features reveal is matched. Objects that
            are not `datasets` datasets are returned unchanged.
        data: what was found in the labeled dataset.
        what: "labeled", "unlabeled", or another name for it in errors.
        label: whether there must be labels, all of which must be classes of the labeled dataset.
        files: whether all files must exist, and no row be without an input (whether files can be read shows when they
            are).
        as_given: leave rows as the user formats them, for a custom collator; labels are still matched.
        teacher: of a pool, the column of a larger model's opinions.

    Raises:
        ValueError: if a column, a file or a text is missing, or a label is not one of the classes; the message names
            it.

    Example:
        >>> from hf_ssl.data.columns import inspect_data
        >>> labeled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["cat", "dog"]})
        >>> other = datasets.Dataset.from_dict({"line": ["c"], "kind": [1], "label": ["dog"]})
        >>> prepare(other, inspect_data(labeled), "evaluation")[0]
        {'text': 'c', 'kind': 1, 'label': 1}
    """
    if isinstance(dataset, datasets.IterableDataset) and not as_given:
        return _prepare_stream(dataset, data, what)
    if not isinstance(dataset, datasets.Dataset):
        return dataset
    raw = dataset.with_format(None)
    tensors = dataset if data.model_inputs and not as_given else None
    if not as_given:
        raw = _renamed(raw, data, label)
        check_columns(raw, what, [*(() if tensors else data.input_columns), *(_label_names(data) if label else ())])
    _check_model_inputs(dataset, data, what)
    label_index = _label_index(raw, data, what, label)
    labels: Any = {"label_column": data.label_column, "label_index": label_index, "form": data.label_form}
    if as_given:
        return dataset if label_index is None else Rows(dataset, **labels)
    raw = undecoded(raw, data.input_columns)
    if files:
        if tensors is None:
            _check_inputs(raw, data, what)
        _check_files(raw, data, what)
    formats = _formats(raw, data)
    opinions = None if teacher is None else opinions_of(raw, teacher, data.classes)
    if tensors is None and label_index is None and not formats and opinions is None:
        return raw
    return Rows(raw, tensors, data.model_inputs, formats=formats, opinions=opinions, **labels)


def _formats(raw: datasets.Dataset, data: DataSummary) -> dict[str, CellFormat]:
    """What the cells of a column of images or recordings have in common, if they do not say it themselves."""
    if not MODALITIES[data.modality].needs_files:
        return {}
    columns = [name for name in data.input_columns if name in raw.column_names]
    found = {name: find_format(raw, name, data.modality, data.levels) for name in columns}
    return {name: cell_format for name, cell_format in found.items() if cell_format is not None}


def _check_model_inputs(dataset: datasets.Dataset, data: DataSummary, what: str) -> None:
    missing = [name for name in data.model_inputs if name not in model_inputs(dataset)]
    if missing:
        raise ValueError(
            f"rows of the {what} dataset have no {missing[0]!r}, and those of the labeled dataset have it; map or "
            "transform it in the same way"
        )


def _check_files(raw: datasets.Dataset, data: DataSummary, what: str) -> None:
    for column in data.input_columns if MODALITIES[data.modality].needs_files else ():
        if (path := missing_file(raw, column)) is not None:
            raise ValueError(f"the {what} dataset names {path}, and there is no such file")
        # Of a pool, files that cannot be read are replaced, and there may be millions.
        if what != "unlabeled" and column in raw.column_names:
            problem = unreadable(raw, column, data.modality)
            if problem is not None:
                raise BrokenExampleError(
                    f"a file of the {what} dataset cannot be used, {problem}; replace it, or leave the row out"
                )


def _check_inputs(raw: datasets.Dataset, data: DataSummary, what: str) -> None:
    row = empty_row(raw, data.input_columns) if data.input_columns else None
    if row is not None:
        raise ValueError(
            f"row {row} of the {what} dataset has no {data.modality} (column {data.input_column!r}); give it one, or "
            "leave the row out"
        )


def empty_row(dataset: datasets.Dataset, columns: Sequence[str]) -> int | None:
    """The first row with nothing to classify: of its inputs one is missing, or all are blank; None if there is none.

    Inputs are texts, or files by their paths. Nothing is read of files that are stored in their rows.

    Example:
        >>> empty_row(datasets.Dataset.from_dict({"text": ["a", " ", None]}), ["text"])
        1
    """
    cells = dataset.with_format(None).select_columns(list(columns)).with_format("arrow")
    if not all(map(_is_text_or_path, cells[:1].columns)):
        return None
    start = 0
    for table in cells.iter(_ROWS):
        paths = [_path_or_text(table[name]) for name in columns]
        missing = functools.reduce(pc.or_, map(pc.is_null, paths))
        lengths = (pc.utf8_length(pc.utf8_trim_whitespace(path)) for path in paths)
        blank = functools.reduce(pc.and_kleene, (pc.equal(length, 0) for length in lengths))
        found = pc.index(pc.or_kleene(missing, blank), True).as_py()
        if found >= 0:
            return start + found
        start += len(table)
    return None


def _path_or_text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The paths of files, with a word for those whose bytes are stored; texts as they are."""
    if not pa.types.is_struct(cells.type):
        return cells
    stored = pc.is_valid(pc.struct_field(cells, "bytes"))
    return pc.if_else(stored, "stored", pc.struct_field(cells, "path"))


def _is_text_or_path(first: pa.ChunkedArray) -> bool:
    """Whether a column, of which this is the first cell, has texts, or files by their path and not their bytes."""
    if pa.types.is_struct(first.type):
        cell = first[0].as_py() or {}
        return {field.name for field in first.type} == {"bytes", "path"} and cell.get("bytes") is None
    return pa.types.is_string(first.type) or pa.types.is_large_string(first.type)


def _label_names(data: DataSummary) -> tuple[str, ...]:
    """The columns that a dataset with labels has, as the labeled one has them."""
    return data.label_form.columns if data.label_form.is_joined else (data.label_column,)


def _label_index(raw: datasets.Dataset, data: DataSummary, what: str, required: bool) -> CellReader | None:
    """From the cells of the labels to those of prepared rows; None without such, or if cells are indices already."""
    if not set(_label_names(data)) <= set(raw.column_names):
        return None
    given = raw, data.label_column, data.label_form, data.classes
    reader, seen = data.label_kind.reader(*given, what, required)
    if required and what != "labeled":
        _warn_of_untested(data, seen, what)
    return reader


def _warn_of_untested(data: DataSummary, found: set[int], what: str) -> None:
    names = [name for number, name in enumerate(data.label_names) if number not in found]
    if names and len(names) < len(data.label_names):
        logger.warning_once(
            f"the {what} dataset has no example of {len(names):,} of {len(data.label_names):,} "
            f"{data.label_kind.plural}, so that "
            f"nothing is measured of them: {shortened(names, 5)}"
        )


def prepare_pool(pool: Any, data: DataSummary, files: bool, teacher: str | None = None) -> Any:
    """The unlabeled dataset, prepared; of a stream a `StreamedPool`; `files` and `teacher` as in `prepare`.

    Raises:
        TypeError: if it is several splits.
        ValueError: if it is empty, or lacks the input or the column of opinions.
    """
    if is_stream(pool):
        return _prepare_streamed_pool(pool, data, teacher)
    if isinstance(pool, Mapping):
        check_kind(pool, "unlabeled_dataset")
    if len(pool) == 0:
        raise ValueError("the unlabeled dataset is empty; leave it out to train on the labeled examples alone")
    if teacher is not None and not isinstance(pool, datasets.Dataset):
        raise ValueError(
            f"teacher_column must be left out for a pool that is not a datasets.Dataset, got {teacher!r} with a "
            f"{type(pool).__name__}; make the pool one"
        )
    return prepare(pool, data, "unlabeled", label=False, files=files, teacher=teacher)


def prepare_evaluation(dataset: Any, data: DataSummary, as_given: bool) -> Any:
    """A dataset to evaluate on, a dict of such, or None, prepared; `as_given` as in `prepare`."""
    if isinstance(dataset, Mapping):
        return {name: prepare(part, data, name, as_given=as_given) for name, part in dataset.items()}
    return prepare(dataset, data, "evaluation", as_given=as_given)


def _prepare_streamed_pool(stream: Any, data: DataSummary, teacher: str | None) -> StreamedPool:
    """Columns are found from the first rows, by the rules for other datasets."""
    stream, rows, given = read_sample(stream)
    matched = _renamed(given, data, label=False)
    check_columns(matched, "unlabeled", () if data.model_inputs else data.input_columns)
    _check_model_inputs(given, data, "unlabeled")
    preparer = make_row_preparer(given, undecoded(matched, data.input_columns), data, teacher)
    return StreamedPool(stream, rows, matched.column_names, preparer)


def _prepare_stream(stream: datasets.IterableDataset, data: DataSummary, what: str) -> datasets.IterableDataset:
    feature = (stream.features or {}).get(data.label_column)
    columns = stream.column_names
    given = stream.features or {}
    stream = undecoded(stream, data.input_columns)
    for column in data.input_columns if MODALITIES[data.modality].needs_files else ():
        cell_format = stream_format(given.get(column), data.modality, data.levels)
        stream = stream if cell_format is None else stream.map(_FormatCells(column, cell_format))
    if not data.label_names:
        return stream
    if columns is not None and not data.has_labels(stream):
        return stream
    form = data.label_form
    reader = data.label_kind.stream_reader(feature, form, data.classes, what, known=True)
    return stream.map(_RelabelRow(data.label_column, reader, form))


class _FormatCells:
    def __init__(self, column: str, cell_format: CellFormat):
        self.column, self.cell_format = column, cell_format

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {self.column: self.cell_format(row[self.column])}


class _RelabelRow:
    def __init__(self, column: str, reader: CellReader, form: LabelForm):
        self.column, self.reader, self.form = column, reader, form

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        held = self.form.columns if self.form.is_joined else (self.column,)
        return {self.column: self.reader(self.form.cell(row, self.column))} if set(held) <= row.keys() else {}


def check_columns(dataset: Any, what: str, required: Sequence[str]) -> None:
    """Raise a ValueError that lists the existing columns if one of `required` is missing."""
    columns = getattr(dataset, "column_names", None)
    if columns is None:
        return
    missing = [name for name in required if name not in columns]
    if missing:
        raise ValueError(f"the {what} dataset has no column {missing[0]!r}; its columns are {', '.join(columns)}")


def _renamed(dataset: datasets.Dataset, data: DataSummary, label: bool) -> datasets.Dataset:
    """With the labeled dataset's names for the input and the label, if there is no doubt which columns they are."""
    if len(data.input_columns) == 1 and data.input_column not in dataset.column_names and len(dataset):
        same = [name for name in dataset.column_names if _may_be_input(dataset, name, data)]
        kind = MODALITIES[data.modality].feature_class() or ()
        # A column of pictures is meant, and not the paths beside it, such as the archives of WebDataset.
        same = [name for name in same if isinstance(dataset.features[name], kind)] or same
        usual = [name for name in MODALITIES[data.modality].usual_columns if name in same]
        if usual or len(same) == 1:
            dataset = dataset.rename_column((usual or same)[0], data.input_column)
    if label and not data.has_labels(dataset) and not data.label_form.is_joined:
        found = usual_label(dataset)
        dataset = dataset if found is None else dataset.rename_column(found, data.label_column)
    return dataset


def _may_be_input(dataset: datasets.Dataset, name: str, data: DataSummary) -> bool:
    """Whether a column can hold the modality, and is not one of labels, which are often strings as well."""
    if isinstance(dataset.features[name], datasets.ClassLabel) or name in (*_label_names(data), *LABEL_COLUMNS):
        return False
    return data.modality in column_modalities(dataset, name)
