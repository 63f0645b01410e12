"""Labels that a person may not have meant: warnings before training, since a model learns them all the same."""

import datasets
import numpy as np
from transformers.utils import logging

from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .columns import DataSummary
from .labels import alike, as_number, shortened

logger = logging.get_logger(__name__)

# What a text has several of, if its labels contradict each other.
_ANSWERS = {SINGLE_LABEL: "class", MULTI_LABEL: "set of labels", REGRESSION: "number"}
_SEPARATORS = ";|,"
# This many classes, with fewer than two examples each on average, are more likely texts or numbers of rows.
_MANY, _MOST_OF_ALL = 20, 0.5


def warn_of_doubtful_labels(labeled: datasets.Dataset, data: DataSummary) -> None:
    """Warn of classes without a label, with names that are alike, too many, or that look like several in one text.

    Of numbers, warn if all are the same; and of texts that have several answers.

    Args:
        labeled: the labeled dataset.
        data: what was found in it.

    Example:
        >>> from hf_ssl.data.columns import inspect_data
        >>> rows = datasets.Dataset.from_dict({"text": ["good", "bad", "good"], "label": ["pos", "neg", "neg"]})
        >>> warn_of_doubtful_labels(rows, inspect_data(rows))  # warns that "good" is "pos" in row 0, "neg" in row 2
    """
    if data.label_counts is None:
        _warn_of_constants(data)
    else:
        _warn_of_unseen(data, data.label_counts)
        _warn_of_alike(data, data.label_counts)
    if data.labels.ndim == 1 and not isinstance(labeled.features[data.label_column], datasets.ClassLabel):
        _warn_of_too_many(data)
        _warn_of_joined(data)
    if data.modality == "text" and data.input_columns and not data.model_inputs:
        _warn_of_contradictions(labeled, data)


def _warn_of_constants(data: DataSummary) -> None:
    same = (data.labels == data.labels[0]).all(axis=0)
    names = [name for name, is_same in zip(data.label_names, same, strict=True) if is_same]
    if names and len(data.labels) > 1:
        logger.warning_once(
            f"all labeled examples have the same number, so that there is nothing to learn: {shortened(names, 5)}"
        )


def _warn_of_unseen(data: DataSummary, counts: np.ndarray) -> None:
    unseen = [name for name, count in zip(data.label_names, counts, strict=True) if not count]
    if unseen:
        logger.warning_once(
            f"{len(unseen)} of {len(data.label_names)} {data.label_kind.plural} have no labeled example, so that "
            f"nothing tells the model what they look like: {shortened(unseen, 5)}"
        )


def _warn_of_alike(data: DataSummary, counts: np.ndarray) -> None:
    count_of = dict(zip(data.label_names, counts.tolist(), strict=True))
    groups = [" and ".join(f"{name!r} ({count_of[name]:,})" for name in group) for group in alike(data.label_names)]
    if groups:
        plural = data.label_kind.plural
        logger.warning_once(
            f"{plural} that differ only in case, spaces or how they are typed, with their numbers of labeled "
            f"examples: {shortened(groups, 5)}; they are trained as different {plural}: spell them alike if they are "
            "one"
        )


def _warn_of_too_many(data: DataSummary) -> None:
    """A column of texts, names or numbers that was taken for that of the classes has almost as many as rows."""
    seen = len(np.unique(data.labels))
    if seen >= _MANY and seen > _MOST_OF_ALL * len(data.labels):
        logger.warning_once(
            f"{len(data.labels):,} labeled examples have {seen:,} classes in column {data.label_column!r}, such as "
            f"{data.label_names[data.labels[0]]!r:.80}; if that is not the column of the class, set label_column"
            + (f", and if these are numbers to predict, problem_type={REGRESSION!r}" if _are_numbers(data) else "")
        )


def _are_numbers(data: DataSummary) -> bool:
    return all(as_number(name) is not None for name in data.label_names)


def _warn_of_joined(data: DataSummary) -> None:
    """Texts that are several labels, of which there are fewer than different texts: "cat", "dog" and "cat;dog"."""
    for separator in _SEPARATORS:
        joined = [name for name in data.label_names if separator in name]
        parts = {part.strip() for name in data.label_names for part in name.split(separator)}
        if joined and len(parts) < len(data.label_names):
            logger.warning_once(
                f"classes such as {joined[0]!r:.80} in column {data.label_column!r} look like several labels in one "
                f"text: if they are, set label_separator={separator!r}; each is now a class of its own"
            )
            return


def _warn_of_contradictions(labeled: datasets.Dataset, data: DataSummary) -> None:
    cells = labeled.with_format(None).select_columns(list(data.input_columns))
    first: dict[tuple, int] = {}
    again: dict[tuple, int] = {}
    for row, texts in enumerate(zip(*(cells[column][:] for column in data.input_columns), strict=True)):
        if np.any(data.labels[first.setdefault(texts, row)] != data.labels[row]):
            again.setdefault(texts, row)
    if again:
        texts, row = next(iter(again.items()))
        said = {place: data.label_text(place) for place in (first[texts], row)}
        one, other = (f"row {place} ({label!r})" for place, label in said.items())
        count = "1 text has" if len(again) == 1 else f"{len(again):,} texts have"
        logger.warning_once(
            f"{count} more than one {_ANSWERS[data.problem_type]} in the labeled dataset, the first in {one} and "
            f"{other}: {texts[0]!r:.80}; keep the right label of each"
        )
