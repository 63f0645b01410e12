"""Pools without end: a stream of unlabeled examples, prepared like a dataset, and read from where it was left.

    stream -- first rows --> columns, formats, classes --> `StreamedPool`
                                                    .part(rank, processes)   -> `StreamPart`: raw rows in order
                                                    .prepare(row, position)  -> a row as views want it

A stream has no length and no row by position. It is a `datasets.IterableDataset` (the Hub or Parquet files with
`streaming=True`, WebDataset archives, generators) or a torch `IterableDataset` whose rows are dicts of columns, and
gives the same rows in the same order whenever it begins again with the same epoch.
"""

import contextlib
import copy
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import datasets
import numpy as np
import torch
import torch.utils.data
from datasets.distributed import split_dataset_by_node
from datasets.iterable_dataset import BufferShuffledExamplesIterable
from datasets.utils.file_utils import xopen
from transformers.utils import logging

from ..errors import BrokenExampleError
from ..modality import MODALITIES
from .cells import CellFormat, find_format
from .columns import DataSummary
from .duplicates import digest
from .label_forms import PLAIN_FORM, LabelForm
from .label_kinds import CellReader
from .opinions import OPINION, Opinions, check_column
from .rows import STRONG_SUFFIXES, undecoded

logger = logging.get_logger(__name__)

# Rows that are read before training, to find columns and formats.
_SAMPLE = 16


def is_stream(dataset: Any) -> bool:
    """Whether a dataset is a stream: of `datasets`, of torch, or prepared by this module.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a"]})
        >>> is_stream(rows), is_stream(rows.to_iterable_dataset())
        (False, True)
    """
    return isinstance(dataset, datasets.IterableDataset | torch.utils.data.IterableDataset | StreamedPool)


def pool_size(pool: Any) -> int | None:
    """The number of examples of a pool; None for a stream."""
    return None if is_stream(pool) else len(pool)


def beginning(pool: Any, count: int = _SAMPLE) -> Any:
    """The first prepared rows of a stream; any other dataset as it is."""
    return pool.first(count) if isinstance(pool, StreamedPool) else pool


class FirstRows(Sequence[dict[str, Any]]):
    """The first prepared rows of a stream.

    Args:
        rows: at least one.
        column_names: of the stream.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], column_names: Sequence[str]):
        self._rows, self.column_names = rows, list(column_names)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        return self._rows[index]


class StreamPart:
    """One process's part of a stream, which can be begun again and continued from where it was left.

    Args:
        stream: whole, or split among the processes already by `datasets.distributed.split_dataset_by_node`.
        rank, processes: which part of how many. Whole shards are given out if their number is a multiple of the
            processes; otherwise each process reads everything and keeps every `processes`-th row.

    Note:
        The state of a `datasets` stream leads to the next row at once. It does not hold the buffer of
        `stream.shuffle(...)`, and torch streams have none: then all rows up to the position are read again.

    Example:
        >>> part = StreamPart(datasets.Dataset.from_dict({"n": range(6)}).to_iterable_dataset(), rank=1, processes=2)
        >>> rows = part.begin(number=0)
        >>> next(rows), next(rows), part.state()["position"]
        ({'n': 1}, {'n': 3}, 2)
        >>> list(part.begin(number=0, state=part.state()))
        [{'n': 5}]
    """

    def __init__(self, stream: Any, rank: int = 0, processes: int = 1):
        self._steps, self._position = (0, 1), 0
        if not isinstance(stream, datasets.IterableDataset):
            self._stream, self._steps, self.has_state = stream, (rank, processes), False
            return
        # A copy in both cases: the position of the user's object stays as it is.
        if stream._distributed is not None:
            self._stream = copy.copy(stream)
        else:
            self._stream = split_dataset_by_node(stream, rank=rank, world_size=processes)
        self.has_state = not _has_buffer(stream._ex_iterable)

    def begin(self, number: int, state: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """The rows of pass `number`, counted from 0; with the state of an earlier reading, those after it."""
        if hasattr(self._stream, "set_epoch"):
            self._stream.set_epoch(number)
        self._position = skipped = 0 if state is None else int(state["position"])
        if self.has_state:
            # Without a state it begins at the start, also if it was given one before.
            self._stream.load_state_dict(None if state is None else state["stream"])
            skipped = 0
        offset, step = self._steps
        return self._counted(itertools.islice(self._stream, offset + skipped * step, None, step))

    def _counted(self, rows: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
        for row in rows:
            if not isinstance(row, Mapping):
                raise TypeError(
                    f"rows of the unlabeled stream must be dicts of columns, got a {type(row).__name__}; yield "
                    '{"image": ...}, {"text": ...} or alike'
                )
            self._position += 1
            yield row

    def state(self) -> dict[str, Any]:
        """Where the reading in progress is, after the last row that it gave: numbers, texts, lists and dicts."""
        return {"position": self._position, "stream": self._stream.state_dict() if self.has_state else None}


def _has_buffer(iterable: Any) -> bool:
    """Whether a `datasets` stream shuffles through a buffer, whose content its state leaves out."""
    if isinstance(iterable, BufferShuffledExamplesIterable):
        return iterable.buffer_size > 1
    inner = [getattr(iterable, "ex_iterable", None), *(getattr(iterable, "ex_iterables", None) or ())]
    return any(_has_buffer(each) for each in inner if each is not None)


def row_mark(row: Mapping[str, Any]) -> str:
    """Hexadecimal digits that tell the content of a raw row from that of others.

    Example:
        >>> row_mark({"text": "a", "label": 1}) == row_mark({"label": 1, "text": "a"})
        True
    """
    hashed = hashlib.blake2b(digest_size=16)
    for name in sorted(row):
        hashed.update(name.encode("utf-8", "surrogatepass") + (digest(row[name]) or b""))
    return hashed.hexdigest()


class RowPreparer:
    """Picklable: a raw row of a stream -> a row as views want it, as `hf_ssl.data.rows.Rows` has them.

    Args:
        names: name in the stream -> name in the labeled dataset, of columns whose names differ.
        files: columns of images or recordings; what an address ("hf://...", "zip://...") leads to is read.
        formats: such a column -> what all of its cells have in common.
        label_column: its name.
        label_index: from a cell of it to the index of the class, or to the numbers of other labels.
        inputs: names of what rows hold as tensors for the model.
        form: how the labels are written.
        opinions: what reads the column of a larger model's opinions, if there is one.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        files: Sequence[str],
        formats: Mapping[str, CellFormat],
        label_column: str,
        label_index: CellReader | None,
        inputs: Sequence[str],
        form: LabelForm = PLAIN_FORM,
        opinions: Opinions | None = None,
    ):
        self.names, self.files, self.formats = dict(names), list(files), dict(formats)
        self.label_column, self.label_index, self.form = label_column, label_index, form
        self.label_columns = form.columns if form.is_joined else (label_column,)
        self.opinions = opinions
        self.inputs = {*inputs, *(name + suffix for suffix in STRONG_SUFFIXES for name in inputs)}

    def __call__(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """The prepared row; its position in the stream is for errors.

        Raises:
            BrokenExampleError: if a file at an address cannot be read.
        """
        made = {self.names.get(name, name): value for name, value in row.items()}
        for name in self.inputs & made.keys():
            made[name] = _as_tensor(made[name])
        for name in self.files:
            made[name] = _fetched(made.get(name))
        for name, cell_format in self.formats.items():
            made[name] = cell_format(made.get(name), position)
        if self.opinions is not None:
            made[OPINION] = self.opinions(made.get(self.opinions.column), position)
        if self.label_index is not None and made.keys() >= set(self.label_columns):
            made[self.label_column] = self.label_index(self.form.cell(made, self.label_column))
        return made


def _fetched(cell: Any) -> Any:
    """A cell with the bytes of its file, if that is not on this machine or inside an archive."""
    path = cell.get("path") if isinstance(cell, Mapping) and cell.get("bytes") is None else cell
    if not isinstance(path, str) or "://" not in path:
        return cell
    try:
        with xopen(path, "rb") as file:
            return {"bytes": file.read(), "path": path}
    except Exception as error:  # each kind of storage has its own
        raise BrokenExampleError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def _as_tensor(value: Any) -> torch.Tensor:
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    return tensor.float() if tensor.is_floating_point() else tensor


class StreamedPool:
    """A stream of unlabeled examples whose columns have been matched with the labeled dataset's.

    Args:
        stream: with files undecoded.
        sample: its first raw rows.
        column_names: after matching.
        prepare: makes prepared rows of raw ones.
    """

    def __init__(
        self, stream: Any, sample: Sequence[Mapping[str, Any]], column_names: Sequence[str], prepare: RowPreparer
    ):
        self.stream, self.column_names, self.prepare = stream, list(column_names), prepare
        self._sample = sample

    def part(self, rank: int = 0, processes: int = 1) -> StreamPart:
        """What one of several processes reads."""
        part = StreamPart(self.stream, rank, processes)
        if not part.has_state and isinstance(self.stream, datasets.IterableDataset):
            logger.warning_once(
                "the unlabeled stream has a shuffle buffer of its own, so that a resumed training reads its pass from "
                "the start again; leave .shuffle(...) out, or set its buffer_size to 1: stream_buffer_size shuffles"
            )
        return part

    def first(self, count: int) -> FirstRows:
        """The first prepared rows, `count` or as many as there are, without those that cannot be read.

        Raises:
            BrokenExampleError: if none of them can.
        """
        rows: Sequence[Mapping[str, Any]] = self._sample
        if count > len(rows) >= _SAMPLE:
            rows = list(itertools.islice(StreamPart(self.stream).begin(0), count))
        made: list[dict[str, Any]] = []
        for place, row in enumerate(rows[:count]):
            # What cannot be fetched is counted, or is an error, when it is trained on.
            with contextlib.suppress(BrokenExampleError):
                made.append(self.prepare(row, place))
        if not made:
            raise BrokenExampleError(f"none of the first {len(rows)} files of the unlabeled stream can be read")
        return FirstRows(made, self.column_names)


def read_sample(stream: Any, count: int = _SAMPLE) -> tuple[Any, list[Mapping[str, Any]], datasets.Dataset]:
    """A stream with its files undecoded, its first raw rows, and these as a dataset.

    Raises:
        ValueError: if there is no row, or rows hold what `datasets` cannot store.
        TypeError: if rows are not dicts.
    """
    features = None
    if isinstance(stream, datasets.IterableDataset):
        stream = undecoded(stream, list(stream.features or ()))
        features = stream.features
    rows = list(itertools.islice(StreamPart(stream).begin(0), count))
    if not rows:
        raise ValueError("the stream must hold at least one example, got none; check its filter or split")
    try:
        return stream, rows, _as_dataset(rows, features)
    except Exception as error:  # pyarrow raises several kinds
        held = ", ".join(f"{name}: {type(value).__name__}" for name, value in rows[0].items())
        reason = " ".join(str(error).split())
        raise ValueError(
            f"rows of the stream must hold texts, numbers, images, bytes, paths or arrays, got {held} ({reason}); "
            "leave other columns out"
        ) from error


def _as_dataset(rows: Sequence[Mapping[str, Any]], features: datasets.Features | None) -> datasets.Dataset:
    if features is None:
        return datasets.Dataset.from_list([dict(row) for row in rows])
    # `Audio` cannot be written without torchcodec; what it stores can.
    files = {name: kind for name, kind in features.items() if isinstance(kind, datasets.Image | datasets.Audio)}
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    plain = datasets.Features({**features, **dict.fromkeys(files, stored)})
    dataset = datasets.Dataset.from_list([dict(row) for row in rows], features=plain)
    for name, kind in files.items():
        dataset = dataset.cast_column(name, kind)
    return dataset


def as_datasets_stream(stream: Any) -> datasets.IterableDataset:
    """A stream as one of `datasets`, whose features, if it has none, are those of its first rows.

    Example:
        >>> class Letters(torch.utils.data.IterableDataset):
        ...     def __iter__(self):
        ...         return iter([{"text": "a"}, {"text": "b"}])
        >>> as_datasets_stream(Letters()).features
        {'text': Value('string')}
    """
    if isinstance(stream, datasets.IterableDataset):
        return stream
    _, _, sample = read_sample(stream)
    return datasets.IterableDataset.from_generator(_rows_of, sample.features, gen_kwargs={"stream": stream})


def _rows_of(stream: Any) -> Iterator[dict[str, Any]]:
    yield from StreamPart(stream).begin(0)  # type: ignore[misc]  # it has checked that they are dicts


def make_row_preparer(
    given: datasets.Dataset, matched: datasets.Dataset, data: DataSummary, teacher: str | None = None
) -> RowPreparer:
    """What makes prepared rows of a stream's, whose first ones are `given`, and `matched` with columns renamed.

    `teacher` is the column of a larger model's opinions.
    """
    names = {old: new for old, new in zip(given.column_names, matched.column_names, strict=True) if old != new}
    has_files = MODALITIES[data.modality].needs_files
    files = [name for name in data.input_columns if has_files and name in matched.column_names]
    found = {name: find_format(matched, name, data.modality, data.levels) for name in files}
    formats = {name: cell_format for name, cell_format in found.items() if cell_format is not None}
    feature = matched.features.get(data.label_column)
    reader, form = None, data.label_form
    if data.label_names:
        reader = data.label_kind.stream_reader(feature, form, data.classes, "unlabeled", known=False)
    opinions = None
    if teacher is not None:
        check_column(teacher, matched.column_names)
        opinions = Opinions(data.classes, teacher, matched.features[teacher])
    return RowPreparer(names, files, formats, data.label_column, reader, data.model_inputs, form, opinions)
