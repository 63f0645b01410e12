"""The user's datasets, made ready for views and collators: columns named alike, labels as indices, files undecoded."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from .columns import INPUT_COLUMNS, LABEL_COLUMNS, DataSummary, check_kind, column_modalities, find_label, is_string
from .labels import LabelIndex, different_labels, index_labels, read_labels
from .rows import Rows, missing_file, model_inputs, undecoded


def prepare(
    dataset: Any, data: DataSummary, what: str, *, label: bool = True, files: bool = True, as_given: bool = False
):
    """A dataset of the user as views and collators want it: `Rows`, or the dataset itself where it is that already.

    The input column may have another name than in the labeled dataset if it is the only one of its modality, and so may the
    label column. Labels become indices of the labeled dataset's classes.

    Args:
        what: "labeled", "unlabeled", or what else to call it in errors.
        label: whether there must be labels, which must all be classes of the labeled dataset.
        files: whether all files must be there (that they can be read is seen when they are).
        as_given: leave rows as the user formats them, for a collator of the user's own; labels are matched all the same.

    Of a stream what the features tell is matched. Anything that is not of `datasets` is returned as it is.

    Raises:
        ValueError: if a column or a file is missing, or a label is none of the classes; the message names it.
    """
    if isinstance(dataset, datasets.IterableDataset) and not as_given:
        return _prepare_stream(dataset, data, what)
    if not isinstance(dataset, datasets.Dataset):
        return dataset
    raw = dataset.with_format(None)
    tensors = dataset if data.model_inputs and not as_given else None
    if not as_given:
        raw = _renamed(raw, data, label)
        check_columns(raw, what, [*(() if tensors else data.input_columns), *([data.label_column] if label else [])])
    missing = [name for name in data.model_inputs if name not in model_inputs(dataset)]
    if missing:
        raise ValueError(
            f"rows of the {what} dataset have no {missing[0]!r}, and those of the labeled dataset have it: map or transform it "
            "in the same way"
        )
    index_of = None
    if data.label_column in raw.column_names:
        feature = raw.features[data.label_column]
        if label:
            labels = read_labels(raw, data.label_column, what)
        else:
            labels = different_labels(raw, data.label_column, what, data.label_names)
        if label and None in labels:
            raise ValueError(
                f"the {what} dataset has no label in row {labels.index(None)} (column {data.label_column!r})"
            )
        index_of = index_labels(labels, feature, data.classes, what, known=label)
    recode = None if index_of is None else LabelIndex(index_of)
    if as_given:
        return dataset if recode is None else Rows(dataset, label_column=data.label_column, label_index=recode)
    raw = undecoded(raw, data.input_columns)
    for column in data.input_columns if files and data.modality != "text" else ():
        if (path := missing_file(raw, column)) is not None:
            raise ValueError(f"the {what} dataset names {path}, and there is no such file")
    if tensors is None and recode is None:
        return raw
    return Rows(raw, tensors, data.model_inputs, data.label_column, recode)


def prepare_pool(pool: Any, data: DataSummary, files: bool) -> Any:
    """The unlabeled dataset, prepared; `files` as in `prepare`.

    Raises:
        TypeError: if it is a stream or several splits.
        ValueError: if it is empty, or lacks the input.
    """
    if isinstance(pool, datasets.IterableDataset | Mapping):
        check_kind(pool, "unlabeled_dataset")
    if len(pool) == 0:
        raise ValueError("the unlabeled dataset is empty; leave it out to train on the labeled examples alone")
    return prepare(pool, data, "unlabeled", label=False, files=files)


def prepare_evaluation(dataset: Any, data: DataSummary, as_given: bool) -> Any:
    """A dataset to evaluate on, a dict of such, or None, prepared; `as_given` as in `prepare`."""
    if isinstance(dataset, Mapping):
        return {name: prepare(part, data, name, as_given=as_given) for name, part in dataset.items()}
    return prepare(dataset, data, "evaluation", as_given=as_given)


def _prepare_stream(stream: datasets.IterableDataset, data: DataSummary, what: str) -> datasets.IterableDataset:
    feature = (stream.features or {}).get(data.label_column)
    stream = undecoded(stream, data.input_columns)
    if isinstance(feature, datasets.ClassLabel):
        index_of = index_labels(range(len(feature.names)), feature, data.classes, what, known=False)
    else:
        # Nothing is known of the labels but their type: strings are names, numbers are indices.
        index_of = {name: index for index, name in enumerate(data.label_names)} if is_string(feature) else None
    return stream if index_of is None else stream.map(_RelabelRow(data.label_column, LabelIndex(index_of)))


class _RelabelRow:
    def __init__(self, column: str, index: LabelIndex):
        self.column, self.index = column, index

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {self.column: self.index(row[self.column])}


def check_columns(dataset: Any, what: str, required: Sequence[str]) -> None:
    """Raise a ValueError that lists the columns there are if one of `required` is missing."""
    columns = getattr(dataset, "column_names", None)
    missing = [name for name in required if columns is not None and name not in columns]
    if missing:
        raise ValueError(f"the {what} dataset has no column {missing[0]!r}; its columns are {', '.join(columns)}")


def _renamed(dataset: datasets.Dataset, data: DataSummary, label: bool) -> datasets.Dataset:
    """With the labeled dataset's names for the input and the label, where there is no doubt which columns they are."""
    if len(data.input_columns) == 1 and data.input_column not in dataset.column_names and len(dataset):
        same = [
            name
            for name, feature in dataset.features.items()
            if not isinstance(feature, datasets.ClassLabel)
            and name not in (data.label_column, *LABEL_COLUMNS)
            and data.modality in column_modalities(dataset, name)
        ]
        usual = [name for name in INPUT_COLUMNS[data.modality] if name in same]
        if usual or len(same) == 1:
            dataset = dataset.rename_column((usual or same)[0], data.input_column)
    if label and data.label_column not in dataset.column_names:
        with contextlib.suppress(ValueError):
            dataset = dataset.rename_column(find_label(dataset, None), data.label_column)
    return dataset
