"""Labeled data as `hf-ssl evaluate` needs them: inputs, and true classes, labels or numbers in the model's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import datasets
import numpy as np

from ..data.columns import usual_label
from ..data.label_forms import find_form
from ..data.label_kinds import LABEL_KINDS
from ..data.labels import Classes, index_labels, read_labels
from ..data.sources import count, load_source
from ..data.spelling import folded, matched
from ..problem_types import SINGLE_LABEL
from .answers import Answer
from .classifier import Classifier
from .inputs import Item, cells, input_columns

# What to do about examples of classes that the model does not know.
_OTHER_CLASSES = "; correct them, or measure with --open-set if they are foreign to it"


@dataclass(frozen=True)
class Examples:
    """Labeled data as a classifier sees them.

    Args:
        source: what the person called the data.
        values: inputs [N], undecoded.
        labels: true classes [N] as positions in the model's classes; several labels (0 or 1) or numbers, [N, C].
        notes: what a person should know about how the data were read, a sentence each.
    """

    source: str
    values: list[Any]
    labels: np.ndarray
    notes: list[str]


def readable(examples: Examples, answers: Sequence[Answer]) -> list[int]:
    """Positions of the examples that could be read, which are those without an error.

    Raises:
        ValueError: if not one could be read.
    """
    read = [i for i, answer in enumerate(answers) if not answer.error]
    if not read:
        raise ValueError(f"none of the {count(len(answers), 'example')} in {examples.source} could be read")
    return read


def load_examples(
    data: str,
    classifier: Classifier,
    columns: Sequence[str] | None = None,
    label_columns: Sequence[str] = (),
    label_separator: str | None = None,
    open_set: bool = False,
) -> Examples:
    """Load labeled data for a classifier.

    Args:
        data: a file, a folder or a Hub dataset, as `hf_ssl.data.sources` lists them.
        classifier: says what is looked for.
        columns: of the input; found if None.
        label_columns: of the class, the labels or the numbers; found if there are none.
        label_separator: what stands between several labels in one text.
        open_set: whether labels may be other classes than the model's; these become `UNKNOWN`.

    Raises:
        ValueError, OSError: in one line, if there are no such data, or inputs or labels that do not fit the model.
    """
    named = label_columns[0] if len(label_columns) == 1 else None
    source = load_source(data, "test", modality=classifier.modality, label_column=named)
    dataset = source.dataset
    found = tuple(label_columns) or _label_columns(dataset, classifier)
    if not found:
        raise ValueError(
            f"DATA must have a column of labels, got {data} with the columns {', '.join(dataset.column_names)}; name "
            "it with --label-column"
        )
    if missing := [column for column in found if column not in dataset.column_names]:
        option = "--label-column" if len(found) == 1 else "--label-columns"
        raise ValueError(
            f"{option} must be one of {', '.join(dataset.column_names)}, got {missing[0]!r}; name one of them"
        )
    if classifier.problem_type == SINGLE_LABEL:
        if len(found) > 1 or label_separator is not None:
            raise ValueError(
                f"--label-columns and --label-separator must be left out for a model of one class per example, got "
                f"{', '.join(found) if len(found) > 1 else repr(label_separator)}; name one --label-column"
            )
        labels = np.asarray(class_indices(dataset, found[0], classifier.names, open_set))
    else:
        labels = _vectors(dataset, found, classifier, label_separator)
    names = input_columns(dataset, classifier.modality, columns, data, found)
    values = list(cells(dataset, names, classifier.modality))
    return Examples(data, values, labels, source.notes)


def class_indices(dataset: datasets.Dataset, column: str, names: Sequence[str], open_set: bool = False) -> list[int]:
    """The true classes [N] as positions in the model's classes, matched by name.

    Args:
        dataset: labeled examples.
        column: of their labels.
        names: the model's classes, in the order of their indices.
        open_set: whether labels that the model does not know become `UNKNOWN`.

    Raises:
        ValueError: if there is a label that the model does not know; the message names it.

    Example:
        >>> dataset = datasets.Dataset.from_dict({"label": ["dog", "cat", "dog"]})
        >>> class_indices(dataset, "label", ["cat", "dog"])
        [1, 0, 1]
    """
    if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        # A model saved without names: numbers are all that can be compared.
        names = [str(i) for i in range(len(names))]
    labels = read_labels(dataset, column, "evaluation", names)
    classes = Classes(list(names), {index: index for index in range(len(names))}, named=True)
    try:
        feature = dataset.features[column]
        mapping = index_labels(
            labels, feature, classes, "evaluation", known=not open_set, warns=False, hint=_OTHER_CLASSES
        )
    except ValueError as error:
        raise ValueError(str(error).replace("the labeled dataset", "the model")) from None
    # Without a mapping every label is its class's index already.
    found = labels if mapping is None else [mapping.get(label) for label in labels]
    if None in found:
        raise ValueError(
            f"every row must have a label, but row {found.index(None)} has no label in column {column!r}; add it, or "
            "leave the row out"
        )
    return cast(list[int], found)


def items_of(examples: Examples) -> list[Item]:
    """The examples as rows of a table of answers."""
    return [Item(_name(value, examples.source), row, value) for row, value in enumerate(examples.values)]


def _label_columns(dataset: datasets.Dataset, classifier: Classifier) -> tuple[str, ...]:
    """The columns with the names of the model's labels or numbers, if all are there; or the usual one; or none."""
    names = tuple(classifier.names)
    if classifier.problem_type != SINGLE_LABEL and set(names) <= set(dataset.column_names):
        return names
    usual = usual_label(dataset)
    return () if usual is None else (usual,)


def _vectors(
    dataset: datasets.Dataset, columns: tuple[str, ...], classifier: Classifier, separator: str | None
) -> np.ndarray:
    """Labels (0 or 1) or numbers of all rows in the model's order, float64 [N, C].

    Raises:
        ValueError: in one line, if they are missing, or are not the model's.
    """
    kind, names = classifier.problem_type, classifier.names
    columns = _in_order(columns, names) if len(columns) > 1 else columns
    form = find_form(dataset, columns, kind, separator)[1]
    classes = Classes(list(names), {index: index for index in range(len(names))}, named=True)
    try:
        read, _ = LABEL_KINDS[kind].reader(dataset, columns[0], form, classes, "evaluation", required=True)
    except ValueError as error:
        raise ValueError(str(error).replace("the labeled dataset", "the model")) from None
    assert read is not None, "cells of several labels and of numbers are always read"
    return np.array([read(cell) for cell in form.cells(dataset, columns[0])], dtype=np.float64)


def _in_order(columns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Label columns in the order of the model's labels or numbers, by their names, or else as they are given.

    Raises:
        ValueError: if there are more or fewer, or one has the name of another of the model's labels or numbers.

    Example:
        >>> _in_order(["dog", "cat"], ["cat", "dog"]), _in_order(["a", "b"], ["cat", "dog"])
        (('cat', 'dog'), ('a', 'b'))
    """
    if (order := matched(names, columns)) is not None:
        return tuple(columns[place] for place in order)
    known = [folded(name) for name in names]
    pairs = zip(map(folded, columns), known, strict=False)
    if len(columns) != len(names) or any(column in known and column != name for column, name in pairs):
        raise ValueError(
            f"--label-columns must be {len(names)} columns, one for each of {', '.join(names)}, got "
            f"{', '.join(columns)}; name them in this order"
        )
    return tuple(columns)


def _name(value: Any, data: str) -> str:
    """The file that an example is, or the table that it is a row of."""
    if isinstance(value, dict):
        return value.get("path") or data
    return data
