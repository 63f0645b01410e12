"""From any dataset, labeled or not, to rows that views are made of."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np

from ..config import SSLConfig
from ..data.columns import DataSummary, find_label, inspect_data
from ..data.labels import UNKNOWN, Classes, find_classes, read_labels
from ..data.prepare import prepare
from ..data.rows import is_transformed
from ..data.streams import as_datasets_stream, is_stream, read_sample
from ..errors import BrokenExampleError
from ..problem_types import SINGLE_LABEL
from ..views.make import make_views

# The first rows, from which columns and the usual length of recordings are found.
_SAMPLE = 100
# Texts whose lengths are looked at, and the most tokens of one by default: a pass takes time in proportion.
_TEXTS, _MOST_TOKENS = 500, 128
# A name that no column has.
_NO_LABEL = ""


@dataclass(frozen=True)
class Inputs:
    """What is encoded.

    Args:
        data: modality, columns and classes.
        rows: the prepared dataset.
        views: makes model inputs of rows.
    """

    data: DataSummary
    rows: Any
    views: Any

    def labels(self) -> np.ndarray | None:
        """Classes of all rows, int64 [N], -1 for rows without one, `UNKNOWN` for other classes.

        Several labels are [N, C] and numbers [N, K], float32, rows of NaN where they are not known. None if no row has
        a known one, or rows are a stream.
        """
        raw, form = getattr(self.rows, "raw", self.rows), self.data.label_form
        columns = form.columns if form.is_joined else (self.data.label_column,)
        if not isinstance(raw, datasets.Dataset) or not set(columns) <= set(raw.column_names):
            return None
        index = getattr(self.rows, "label_index", None)
        cells = form.cells(raw, self.data.label_column)
        classes = [cell if index is None else index(cell) for cell in cells]
        if (size := label_size(self.data)) is not None:
            return some_labels(label_rows(classes, size))
        return some_labels(np.asarray([label if _is_told(label) else -1 for label in classes], dtype=np.int64))


def _is_told(label: int | None) -> bool:
    return label is not None and (label >= 0 or label == UNKNOWN)


def label_size(data: DataSummary) -> int | None:
    """How many numbers the label of an example is; None for one class."""
    return None if data.problem_type == SINGLE_LABEL else len(data.label_names)


def label_rows(labels: Sequence[Any], size: int) -> np.ndarray:
    """Labels that are lists of numbers as float32 [N, size], NaN for None.

    Example:
        >>> label_rows([[0.0, 1.0], None], 2).tolist()
        [[0.0, 1.0], [nan, nan]]
    """
    missing = [np.nan] * size
    rows = [missing if label is None else label for label in labels]
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), size)


def are_known(labels: np.ndarray) -> np.ndarray:
    """Which examples have a label, bool [N]: a class from 0, or a row without NaN."""
    return labels >= 0 if labels.ndim == 1 else np.isfinite(labels).all(axis=1)


def some_labels(labels: np.ndarray) -> np.ndarray | None:
    """The labels, or None if none is known."""
    return labels if are_known(labels).any() else None


def find_inputs(
    dataset: Any,
    processing_class: Any,
    args: SSLConfig,
    *,
    data: DataSummary | None = None,
    views: Any = None,
    skip_broken: bool = False,
) -> Inputs:
    """The rows of a dataset with the views that `SSLTrainer` would evaluate it with.

    Args:
        dataset: a `datasets.Dataset`, or a stream (of `datasets` or torch) of raw columns or of model inputs; with
            `data`, also any indexable rows, as `hf_ssl.data.prepare` makes them.
        processing_class: the model's image processor, tokenizer or feature extractor.
        args: names of columns and settings of views.
        data: what the labeled dataset contains; found from the dataset itself if None.
        views: a view maker, instead of the modality's.
        skip_broken: whether files may be missing.

    Raises:
        TypeError: if the dataset is of another kind.
        ValueError: if it is empty, or has no column that can be encoded; the message says what to do.
    """
    if is_stream(dataset):
        dataset = as_datasets_stream(dataset)
    elif not isinstance(dataset, datasets.Dataset) and data is None:
        raise TypeError(
            f"dataset must be a datasets.Dataset or IterableDataset, got a {type(dataset).__name__}; "
            "datasets.Dataset.from_list(rows) makes one of a list of dicts"
        )
    sample = _sample(dataset)
    if data is None:
        data = _summary(dataset, sample, processing_class, args)
    rows = prepare(dataset, data, "given", label=False, files=not skip_broken)
    if views is None:
        if not data.label_names and data.label_column in sample.column_names:
            # The numbers of a stream, whose classes have no names to match.
            sample = sample.remove_columns([data.label_column])
        beginning = prepare(sample, data, "given", label=False, files=False)
        if skip_broken and data.modality == "audio":
            beginning = _readable(beginning, data)
        views = make_views(data, processing_class, args, labeled=beginning, unlabeled=beginning)
    return Inputs(data, rows, views)


def _sample(dataset: Any) -> Any:
    """The first rows: of a stream as a dataset, with its files left as they are."""
    if isinstance(dataset, datasets.IterableDataset):
        _, _, sample = read_sample(dataset, _SAMPLE)
    elif isinstance(dataset, datasets.Dataset):
        sample = dataset.select(range(min(_SAMPLE, len(dataset))))
    else:
        sample = dataset
    if len(sample) == 0:
        raise ValueError(
            "dataset must hold at least one example to encode, got an empty one; check its filter or split"
        )
    return sample


def _summary(dataset: Any, sample: datasets.Dataset, processing_class: Any, args: SSLConfig) -> DataSummary:
    """What a dataset contains whose labels may be missing: found from its first row, twice, with labels 0 and 1."""
    label = args.label_column
    if label is None:
        with contextlib.suppress(ValueError):
            label = find_label(sample, None)
    pair = sample.select([0, 0])
    stand_in = label or "label"
    if label in pair.column_names and not is_transformed(pair):
        pair = pair.remove_columns([label])
    if stand_in in pair.column_names:
        # A transform may read the real one.
        stand_in = "stand-in"
    with _no_progress_bars():
        pair = pair.add_column(stand_in, [0, 1])
    found = inspect_data(
        pair, args.input_column, stand_in, text_pair_column=args.text_pair_column, processor=processing_class
    )
    classes = _classes(dataset, label)
    column = label if label is not None and classes is not None else _NO_LABEL
    classes = classes or Classes([], {}, False)
    return replace(found, label_column=column, classes=classes, labels=np.zeros(0, dtype=np.int64), levels=None)


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Without those of `datasets`, which copies the two rows."""
    were_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            datasets.enable_progress_bars()


def _classes(dataset: Any, label: str | None) -> Classes | None:
    """The classes of a label column; None without one, or if its cells are not classes."""
    feature = (dataset.features or {}).get(label)
    if label is None or feature is None:
        return None
    if isinstance(dataset, datasets.IterableDataset):
        names = feature.names if isinstance(feature, datasets.ClassLabel) else []
        return Classes(list(names), {index: index for index in range(len(names))}, bool(names))
    with contextlib.suppress(ValueError):
        labels: Sequence[Any] = [cell for cell in read_labels(dataset, label, "given") if cell is not None]
        return find_classes(labels, feature) if labels else None
    return None


def _readable(rows: Any, data: DataSummary) -> list[Any]:
    """Rows of recordings that can be opened: from them the usual length is found."""
    from ..views.audio import usual_seconds

    found = []
    for row in (rows[index] for index in range(len(rows))):
        with contextlib.suppress(BrokenExampleError, OSError):
            usual_seconds([row], str(data.input_column))
            found.append(row)
    return found or [rows[0]]


def usual_tokens(rows: Any, views: Any) -> int:
    """Tokens within which nine of ten texts of the pool end, in steps of 16, and at most 128.

    Args:
        rows: the prepared pool.
        views: what makes model inputs of its texts.
    """
    looked_at = np.random.default_rng(0).permutation(len(rows))[:_TEXTS]
    lengths = [len(views.evaluation(rows[int(row)])["input_ids"]) for row in looked_at]
    return int(min(-(-np.quantile(lengths, 0.9) // 16) * 16, _MOST_TOKENS))
