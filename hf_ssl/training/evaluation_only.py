"""A trainer without labeled examples, to evaluate and predict with: the dataset has columns, the model has classes.

SSLTrainer(model, args, eval_dataset=test).evaluate()
SSLTrainer(model, args).predict(test)
"""

from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np

from ..config import SSLConfig
from ..data.cells import find_levels
from ..data.columns import DataSummary, check_kind, find_input, processor_for, processor_modalities, usual_label
from ..data.label_forms import JOINED_COLUMN, LabelForm, find_form
from ..data.labels import Classes, as_number, find_classes, read_labels
from ..data.rows import model_inputs
from ..modality import MODEL_INPUTS
from ..model.classes import config_names
from ..model.loading import load_classifier, load_config
from ..model.padding import match_pad_token
from ..problem_types import REGRESSION, SINGLE_LABEL


def first_of(evaluation: Any) -> Any:
    """The dataset, of several the first, of a stream its first row; None if there is none.

    Raises:
        TypeError: if it is not a dataset of `datasets`.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b"]})
        >>> len(first_of({"test": rows})), len(first_of(rows.to_iterable_dataset()))
        (2, 1)
    """
    if isinstance(evaluation, Mapping):
        evaluation = next(iter(evaluation.values()), None)
    if isinstance(evaluation, datasets.IterableDataset):
        evaluation = datasets.Dataset.from_list(list(evaluation.take(1)), features=evaluation.features)
    if evaluation is not None:
        check_kind(evaluation, "the evaluation dataset")
    return evaluation


def inspect_evaluation(dataset: datasets.Dataset, args: SSLConfig, processor: Any, model: Any) -> DataSummary:
    """Modality and columns of a dataset to evaluate on, which may have no labels, and the classes of the model.

    Of several labels and of numbers, columns with their names are found.

    Args:
        dataset: at least one row.
        args: names of columns, if they are given.
        processor: as in `inspect_data`.
        model: a classifier, or its Hub id or path.

    Raises:
        ValueError: if no input is found, or the classes are not known.
    """
    kind = _kind_of(model, args)
    columns = _label_columns(dataset, args, kind, model)
    given = args.input_column is not None and args.input_column not in MODEL_INPUTS
    tensors = () if given else model_inputs(dataset)
    found = find_input(
        dataset,
        processor_modalities(processor),
        label_column=columns,
        input_column=args.input_column if given else None,
        text_pair_column=args.text_pair_column,
    )
    if tensors:
        modality = next(MODEL_INPUTS[name] for name in tensors if name in MODEL_INPUTS)
        columns_of_input = found[1] if found is not None and found[0] == modality else ()
    elif found is not None:
        modality, columns_of_input = found
    else:
        raise ValueError(
            f"input_column must be set: no images, recordings or texts were found among "
            f"{', '.join(dataset.column_names)}"
        )
    form = LabelForm(columns if len(columns) > 1 else ())
    if kind != SINGLE_LABEL and set(columns) <= set(dataset.column_names):
        form = find_form(dataset, columns, kind, args.label_separator)[1]
    label_column = JOINED_COLUMN if form.is_joined else columns[0]
    classes = _classes(dataset, label_column, model, kind, form)
    levels = find_levels(dataset, columns_of_input[0]) if columns_of_input and modality == "image" else None
    none = np.zeros(0, dtype=np.int64)
    return DataSummary(modality, columns_of_input, label_column, classes, none, tensors, levels, kind, form)


def _config_of(model: Any) -> Any:
    return load_config(model) if isinstance(model, str) else getattr(model, "config", None)


def _kind_of(model: Any, args: SSLConfig) -> str:
    """The kind of problem that the model says it is for, or else the settings."""
    config = _config_of(model)
    own = getattr(config, "problem_type", None)
    if own is None and getattr(config, "num_labels", None) == 1:
        own = REGRESSION  # what transformers takes it for
    if None not in (own, args.problem_type) and own != args.problem_type:
        raise ValueError(
            f"problem_type must be {own!r}, what the model is for, got {args.problem_type!r}; leave it out"
        )
    return own or args.problem_type or SINGLE_LABEL


def _label_columns(dataset: datasets.Dataset, args: SSLConfig, kind: str, model: Any) -> tuple[str, ...]:
    """The label columns; of several labels or numbers those that have their names, in the model's order."""
    names = tuple(config_names(_config_of(model)) or ())
    if args.label_columns:
        given = tuple(args.label_columns)
        return names if set(given) == set(names) else given
    found = args.label_column or usual_label(dataset)
    if kind != SINGLE_LABEL and found is None and names and set(names) <= set(dataset.column_names):
        return names
    return (found or "label",)


def _classes(dataset: datasets.Dataset, label_column: str, model: Any, kind: str, form: LabelForm) -> Classes:
    config = _config_of(model)
    names = config_names(config)
    count = getattr(config, "num_labels", None)
    if names is None and kind != SINGLE_LABEL and form.is_joined and count in (None, len(form.columns)):
        names = list(form.columns)
    if names is not None:
        return Classes(names, {index: index for index in range(len(names))}, True)
    outputs = Classes(
        [str(index) for index in range(count or 0)], {index: index for index in range(count or 0)}, False
    )
    if label_column not in dataset.column_names or kind != SINGLE_LABEL:
        return outputs
    feature = dataset.features[label_column]
    labels = [label for label in read_labels(dataset, label_column, "evaluation") if label is not None]
    # A model that was loaded has the outputs in its user's order; one that is still to be loaded would get a new head.
    if (isinstance(feature, datasets.ClassLabel) and not isinstance(model, str)) or count is None:
        return find_classes(labels, feature)
    if isinstance(feature, datasets.ClassLabel):
        labels = feature.names
    # The labels that occur must not decide which output is which: another part of the same data has others.
    for label in labels:
        outputs.index_of[label] = _output_of(label, count, label_column, model)
    return outputs


def _output_of(label: Any, count: int, column: str, model: Any) -> int:
    """The output that a label means in a model without names of its classes."""
    number = None if isinstance(label, bool) else as_number(label)
    if number is None:
        raise ValueError(
            f"the model must name its classes, which {_name_of(model)} does not: which output is {label!r}? Load it "
            "with id2label, and give SSLTrainer the model"
        )
    if not 0 <= number < count:
        raise ValueError(
            f"labels must be in 0 to {count - 1}, the outputs of {_name_of(model)}, which names no classes, got "
            f"{label!r} in column {column!r}; load it with id2label, or number the classes from 0"
        )
    return number


def _name_of(model: Any) -> str:
    return model if isinstance(model, str) else type(model).__name__


def load_for_evaluation(model: Any, data: DataSummary, processor: Any) -> Any:
    """The classifier, loaded if it is a Hub id or path; its head stays as it is.

    Raises:
        ValueError: as `load_classifier`.
    """
    named = getattr(model, "config", None) is None or config_names(model.config) is not None
    if isinstance(model, str) or (named and data.label_names):
        return load_classifier(model, data, processor)
    if data.modality == "text":
        match_pad_token(model, processor_for(processor, "text"))
    return model
