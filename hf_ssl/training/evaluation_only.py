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
from ..data.labels import Classes, as_number, find_classes, read_labels
from ..data.rows import model_inputs
from ..modality import MODEL_INPUTS
from ..model.classes import config_names
from ..model.loading import load_classifier, load_config
from ..model.padding import match_pad_token


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

    Args:
        dataset: at least one row.
        args: names of columns, if they are given.
        processor: as in `inspect_data`.
        model: a classifier, or its Hub id or path.

    Raises:
        ValueError: if no input is found, or the classes are not known.
    """
    label_column = args.label_column or usual_label(dataset) or "label"
    given = args.input_column is not None and args.input_column not in MODEL_INPUTS
    tensors = () if given else model_inputs(dataset)
    found = find_input(
        dataset,
        processor_modalities(processor),
        label_column=label_column,
        input_column=args.input_column if given else None,
        text_pair_column=args.text_pair_column,
    )
    if tensors:
        modality = next(MODEL_INPUTS[name] for name in tensors if name in MODEL_INPUTS)
        columns = found[1] if found is not None and found[0] == modality else ()
    elif found is not None:
        modality, columns = found
    else:
        raise ValueError(
            f"input_column must be set: no images, recordings or texts were found among "
            f"{', '.join(dataset.column_names)}"
        )
    classes = _classes(dataset, label_column, model)
    levels = find_levels(dataset, columns[0]) if columns and modality == "image" else None
    none = np.zeros(0, dtype=np.int64)
    return DataSummary(modality, columns, label_column, classes, none, tensors, levels)


def _classes(dataset: datasets.Dataset, label_column: str, model: Any) -> Classes:
    config = load_config(model) if isinstance(model, str) else getattr(model, "config", None)
    names = config_names(config)
    if names is not None:
        return Classes(names, {index: index for index in range(len(names))}, True)
    count = getattr(config, "num_labels", None)
    outputs = Classes(
        [str(index) for index in range(count or 0)], {index: index for index in range(count or 0)}, False
    )
    if label_column not in dataset.column_names:
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
        number = None if isinstance(label, bool) else as_number(label)
        if number is None:
            raise ValueError(
                f"the model must name its classes, which {_name_of(model)} does not: which output is {label!r}? Load "
                "it with id2label, and give SSLTrainer the model"
            )
        if not 0 <= number < count:
            raise ValueError(
                f"labels must be in 0 to {count - 1}, the outputs of {_name_of(model)}, which names no classes, got "
                f"{label!r} in column {label_column!r}; load it with id2label, or number the classes from 0"
            )
        outputs.index_of[label] = number
    return outputs


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
