"""What the given datasets contain: modality, columns and classes, found from features and the processor.

    features + processor -> `find_input`: modality and input columns  \
                                                                       `inspect_data` -> DataSummary
    features             -> `usual_label`: label column -> labels     /

Column names given as settings always win. Training and `hf-ssl predict` find columns with the same functions, so that
a model is applied to the column of a table on which it would have been trained.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..modality import MODALITIES, MODEL_INPUTS
from ..problem_types import IN_WORDS, SINGLE_LABEL
from .cells import Levels, array_depth, find_levels
from .input_rules import RULES, RULES_IF_GIVEN, RULES_IF_PAIR_GIVEN, Candidates, Found
from .label_forms import JOINED_COLUMN, PLAIN_FORM, LabelForm, find_form
from .label_kinds import LABEL_KINDS, LabelKind
from .labels import Classes, shortened
from .rows import model_inputs
from .spelling import usual_name

logger = logging.get_logger(__name__)

LABEL_COLUMNS = ("label", "labels", "target", "fine_label", "class", "category")
_MEDIA = {name: row for name, row in MODALITIES.items() if row.needs_files}
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class DataSummary:
    """What `inspect_data` found.

    Args:
        modality: "image", "audio" or "text".
        input_columns: the column of the raw input, two for a pair of texts; empty if rows hold nothing but tensors.
        label_column: the column of prepared rows that has the label; "labels" if the user's are several.
        classes: the classes and how cells of the label column map to them; also the labels, or the names of numbers.
        labels: of the labeled set: classes [L], int64; several labels [L, C] or numbers [L, K], float32.
        model_inputs: columns that already hold tensors for the model (`input_ids`, `attention_mask`, ...). If there
            are any, views are made from them and not from `input_columns`.
        levels: the numbers of black and white in the labeled set, if neither a type nor a file says them.
        problem_type: one of `hf_ssl.problem_types.PROBLEM_TYPES`.
        label_form: how the labels are written.
    """

    modality: str
    input_columns: tuple[str, ...]
    label_column: str
    classes: Classes
    labels: np.ndarray
    model_inputs: tuple[str, ...] = ()
    levels: Levels | None = None
    problem_type: str = SINGLE_LABEL
    label_form: LabelForm = PLAIN_FORM

    @property
    def input_column(self) -> str | None:
        """The (first) column of the raw input."""
        return self.input_columns[0] if self.input_columns else None

    @property
    def label_names(self) -> list[str]:
        """Names of the classes, the labels or the numbers, in the order of the model's outputs."""
        return self.classes.names

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The user's columns of labels."""
        return self.label_form.columns or (self.label_column,)

    @property
    def label_kind(self) -> LabelKind:
        """What is done with labels of this kind."""
        return LABEL_KINDS[self.problem_type]

    @property
    def label_counts(self) -> np.ndarray | None:
        """The number of labeled examples of each class, or with each label, [C]; None if labels are numbers."""
        return self.label_kind.counts(self.labels, len(self.label_names))

    @property
    def drawn_by(self) -> np.ndarray:
        """The classes [L] by which labeled examples can be drawn; 0 of all if examples do not have one class."""
        return self.labels if self.labels.ndim == 1 else np.zeros(len(self.labels), dtype=np.int64)

    def label_text(self, row: int) -> str:
        """The label of a labeled example as a text: its class, its labels, or its numbers."""
        return self.label_kind.text(self.labels[row], self.label_names)

    def require_classes(self, what: str) -> None:
        """Raise a ValueError if examples do not have one class each, which `what` is for.

        Example:
            >>> rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [["x"], ["x", "y"]]})
            >>> inspect_data(rows).require_classes("an ensemble")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            ValueError: an ensemble is for one class per example, got several labels per example in column 'label'; ...
        """
        if self.problem_type != SINGLE_LABEL:
            columns = " and ".join(repr(name) for name in self.label_columns)
            raise ValueError(
                f"{what} is for {IN_WORDS[SINGLE_LABEL]}, got {IN_WORDS[self.problem_type]} in column {columns}; "
                "give each example one class, or train one model with SSLTrainer"
            )

    def has_labels(self, dataset: Any) -> bool:
        """Whether a dataset, of the user or prepared, has the columns of labels."""
        return set(self.label_columns) <= set(getattr(dataset, "column_names", None) or ())


def inspect_data(
    labeled: datasets.Dataset,
    input_column: str | None = None,
    label_column: str | None = None,
    *,
    text_pair_column: str | None = None,
    processor: Any = None,
    model_names: Sequence[str] | None = None,
    label_columns: Sequence[str] | None = None,
    label_separator: str | None = None,
    problem_type: str | None = None,
) -> DataSummary:
    """Find modality, columns and labels of the labeled set; given column names win.

    Args:
        labeled: the labeled examples.
        input_column: column of the raw input; found if None.
        label_column: column of the class; found if None.
        text_pair_column: column of the second text of a pair; pairs with usual names are found if None.
        processor: decides between columns of several modalities, and whether a column of strings holds texts or paths.
        model_names: names of the classes of a model that was given as an object; see
            `hf_ssl.data.labels.find_classes`.
        label_columns: several columns of labels or numbers, instead of `label_column`.
        label_separator: what stands between several labels in one text.
        problem_type: one of `hf_ssl.problem_types`; found from the labels if None, see
            `hf_ssl.data.label_forms.find_form`.

    Raises:
        TypeError: if `labeled` is not a `datasets.Dataset`.
        ValueError: if a column is missing or cannot be decided on (the message lists the columns), if there are no
            examples, if the processor is of another modality, or if a label is missing or is not one of the classes.

    Example:
        >>> rows = {"sentence": ["a rose", "the sky"], "id": [7, 8], "label": ["red", "blue"]}
        >>> found = inspect_data(datasets.Dataset.from_dict(rows))
        >>> found.modality, found.input_columns, found.label_names, found.labels.tolist()
        ('text', ('sentence',), ['blue', 'red'], [1, 0])
    """
    check_kind(labeled, "train_dataset")
    if len(labeled) == 0:
        raise ValueError("the labeled dataset must hold at least one example of each class, got an empty dataset")
    columns = find_labels(labeled, label_column, label_columns)
    given = input_column is not None and input_column not in MODEL_INPUTS
    tensors = () if given else model_inputs(labeled)
    if tensors:
        modality = next(MODEL_INPUTS[name] for name in tensors if name in MODEL_INPUTS)
        able = processor_modalities(processor)
        raw = find_input(labeled, able, label_column=columns, text_pair_column=text_pair_column)
        inputs = raw[1] if raw is not None and raw[0] == modality else ()
    else:
        modality, inputs = _require_input(labeled, input_column, text_pair_column, columns, processor)
    kind, form = find_form(labeled, columns, problem_type, label_separator)
    column = JOINED_COLUMN if form.is_joined else columns[0]
    classes, labels = LABEL_KINDS[kind].read(labeled, column, form, model_names)
    levels = find_levels(labeled, inputs[0]) if inputs and modality == "image" else None
    return DataSummary(modality, inputs, column, classes, labels, tensors, levels, kind, form)


def check_kind(dataset: Any, argument: str) -> None:
    """Raise a TypeError that says what to do if `dataset` is not a `datasets.Dataset`."""
    if isinstance(dataset, datasets.Dataset):
        return
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise TypeError(f"{argument} is a {kind} with the splits {', '.join(dataset)}; give it one of them")
    if isinstance(dataset, datasets.IterableDataset):
        raise TypeError(
            f"{argument} is streamed ({kind}), and labeled examples are needed by position: all of them are in each "
            "cycle. Load it without streaming=True, or keep a part: "
            "datasets.Dataset.from_list(list(stream.take(50_000)), features=stream.features)"
        )
    raise TypeError(
        f"{argument} must be a datasets.Dataset, got a {kind}; build one from a list of dicts with "
        "datasets.Dataset.from_list(rows)"
    )


# ---- The label column and its classes ----


def usual_label(dataset: datasets.Dataset) -> str | None:
    """The column of the labels, by its usual names or as the only one of class names; None if there is none."""
    usual = usual_name(dataset.column_names, LABEL_COLUMNS)
    # A column of class names is the label under any name, unless there are several.
    classes = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)]
    return usual or (classes[0] if len(classes) == 1 else None)


def find_labels(
    labeled: datasets.Dataset, label_column: str | None = None, label_columns: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The columns of the labels: those of `label_columns`, or the one of `find_label`.

    Raises:
        ValueError: as in `find_label`, or if both are given, or a column twice.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a"], "sad": [0], "glad": [1], "label": [1]})
        >>> find_labels(rows), find_labels(rows, None, ["sad", "glad"])
        (('label',), ('sad', 'glad'))
    """
    if not label_columns:
        return (find_label(labeled, label_column),)
    if label_column is not None:
        raise ValueError(f"label_column must be left out beside label_columns, got {label_column!r}; name it there")
    for name in label_columns:
        _check_given(labeled, "label_columns", name)
    if len(set(label_columns)) < len(label_columns):
        raise ValueError(f"label_columns must be different columns, got {', '.join(label_columns)}; name each once")
    return tuple(label_columns)


def find_label(labeled: datasets.Dataset, given: str | None = None) -> str:
    """The label column: `given`, or `usual_label`.

    Raises:
        ValueError: if it is missing or cannot be decided on; the message lists the columns.
    """
    if given is not None:
        _check_given(labeled, "label_column", given)
        return given
    found = usual_label(labeled)
    if found is None:
        names = shortened([name if name.isidentifier() else repr(name)[:80] for name in labeled.column_names])
        raise ValueError(
            f"no label column found among {names}; set label_column (the first line of a table names its columns)"
        )
    return found


# ---- The input column ----


def find_input(
    dataset: datasets.Dataset,
    able: Sequence[str] = tuple(MODALITIES),
    *,
    label_column: str | Sequence[str] | None = None,
    input_column: str | None = None,
    text_pair_column: str | None = None,
) -> Found:
    """Modality and columns of the raw input, by the first rule that decides; None if none does.

    The rules in their order: the given column alone; images, then recordings; the partner of a given second text; a
    known pair of texts; a column of texts with a usual name; the only column of texts.

    Args:
        dataset: at least one row, of which the first tells paths of files from texts.
        able: modalities to look for; those of a model or processor.
        label_column: one or several columns that are never the input, unless one is given as such.
        input_column: the given column.
        text_pair_column: the given second text of a pair.

    Example:
        >>> rows = datasets.Dataset.from_dict({"premise": ["a"], "hypothesis": ["b"], "source": ["web"], "label": [0]})
        >>> find_input(rows, label_column="label")
        ('text', ('premise', 'hypothesis'))
        >>> find_input(rows, ["image"]) is None
        True
    """
    if not {input_column, text_pair_column} <= {None, *dataset.column_names}:
        return None
    labels = (label_column,) if isinstance(label_column, str) else label_column or ()
    kinds = _kinds(dataset, labels, input_column)
    usable = {name: tuple(kind for kind in found if kind in able) for name, found in kinds.items()}
    candidates = Candidates(usable, input_column, text_pair_column)
    if input_column is not None:
        rules = RULES_IF_GIVEN
    elif text_pair_column is not None:
        rules = RULES_IF_PAIR_GIVEN
    else:
        rules = RULES
    return next((found for rule in rules if (found := rule(candidates)) is not None), None)


def _kinds(dataset: datasets.Dataset, labels: Sequence[str], given: str | None) -> dict[str, tuple[str, ...]]:
    """Columns that may be the input -> what they can hold; a given one alone, as texts if nothing is known."""
    # Asked for once: `datasets` copies all features each time, which takes minutes for thousands of columns.
    features, first = dataset.features, dataset.with_format("arrow")[:1]
    held = {
        name: _modalities(feature, partial(_first_cell, first, name))
        for name, feature in features.items()
        if name not in labels
    }
    found = {name: kinds for name, kinds in held.items() if kinds}
    if given is not None:
        return {given: found.get(given, ("text",))}
    for name in [name for name in found if array_depth(features[name])]:
        # Numbers may be anything, unless their column is called what it is.
        found[name] = tuple(kind for kind in found[name] if name in MODALITIES[kind].usual_columns)
    return {name: kinds for name, kinds in found.items() if kinds}


def _require_input(
    labeled: datasets.Dataset, given: str | None, pair: str | None, labels: Sequence[str], processor: Any
) -> tuple[str, tuple[str, ...]]:
    """As `find_input`, with an error that says what to do if nothing is found."""
    for setting, name in (("input_column", given), ("text_pair_column", pair)):
        if name is not None:
            _check_given(labeled, setting, name)
    if given is not None and not column_modalities(labeled, given):
        raise ValueError(
            f"input_column must hold images, recordings or texts, got {given!r} of type {labeled.features[given]}; "
            "name another column"
        )
    able = processor_modalities(processor)
    found = find_input(labeled, able, label_column=labels, input_column=given, text_pair_column=pair)
    if found is not None:
        return found
    if given is not None and given == pair:
        raise ValueError(
            f"text_pair_column must be another column than input_column, got {pair!r} twice; leave it out"
        )
    columns = [name for name in labeled.column_names if name not in labels]
    if given is None and pair is not None:
        raise ValueError(
            f"which column goes with text_pair_column={pair!r}? Set input_column; there are {', '.join(columns)}"
        )
    kinds = _kinds(labeled, labels, given)
    texts = "text" in able and any("text" in held for held in kinds.values())
    if kinds and not texts:
        name, held = next(iter(kinds.items()))
        modality = MODALITIES[held[0]]
        raise ValueError(
            f"column {name!r} holds {modality.plural} and {type(processor).__name__} processes none; use "
            f"{modality.model} and its {modality.processor}, or set input_column"
        )
    raise ValueError(
        f"no image, audio or single text column found among {', '.join(labeled.column_names)}; set input_column"
    )


def column_modalities(dataset: datasets.Dataset, name: str) -> tuple[str, ...]:
    """What a column can hold: one modality by its feature, several for encoded files without one."""
    return _modalities(dataset.features[name], lambda: dataset.with_format(None)[name][0])


def _first_cell(rows: Any, name: str) -> Any:
    return rows[name][0].as_py()


def _modalities(feature: Any, first_cell: Callable[[], Any]) -> tuple[str, ...]:
    for kind, modality in _MEDIA.items():
        if isinstance(feature, modality.feature_class()):
            return (kind,)
    if is_string(feature):
        return (*_file_modalities(first_cell()), "text")
    if isinstance(feature, Mapping):
        return _dict_modalities(feature, first_cell())
    if isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary"):
        return tuple(_MEDIA)
    # One axis is time; two are height and width, or channels and time; a third one is that of colors.
    return {1: ("audio",), 2: ("image", "audio"), 3: ("image",)}.get(array_depth(feature), ())


def _dict_modalities(feature: Mapping[str, Any], cell: Any) -> tuple[str, ...]:
    """What a column of dicts can hold: encoded files, or samples of sound with their rate."""
    if "bytes" in feature:
        return _file_modalities((cell or {}).get("path")) or tuple(_MEDIA)
    return ("audio",) if {"array", "sampling_rate"} <= feature.keys() else ()


def _file_modalities(cell: Any) -> tuple[str, ...]:
    """What the file at a path can be, by its suffix; () for anything that is not a path."""
    if not isinstance(cell, str) or not 0 < len(cell) < _LONGEST_PATH:
        return ()
    suffix = os.path.splitext(cell)[1].lower()
    by_suffix = tuple(kind for kind, modality in _MEDIA.items() if suffix in modality.suffixes)
    return by_suffix or (tuple(_MEDIA) if os.path.isfile(cell) else ())


def is_string(feature: Any) -> bool:
    """Whether a feature is that of strings."""
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _check_given(labeled: datasets.Dataset, setting: str, name: str) -> None:
    if name not in labeled.column_names:
        raise ValueError(
            f"{setting} {name!r} is not in the labeled dataset; its columns are {', '.join(labeled.column_names)}"
        )


# ---- The processor ----


def processor_modalities(processor: Any) -> tuple[str, ...]:
    """The modalities that a processor can process; all of them for None and for processors of unknown kinds."""
    if processor is None:
        return tuple(MODALITIES)
    parts = [processor, *(getattr(processor, row.processor_part, None) for row in MODALITIES.values())]
    found = tuple(name for name, row in MODALITIES.items() if any(hasattr(part, row.processor_sign) for part in parts))
    return found or tuple(MODALITIES)


def processor_for(processor: Any, modality: str) -> Any:
    """The image processor, tokenizer or feature extractor inside a processor; the processor itself without parts."""
    return getattr(processor, MODALITIES[modality].processor_part, None) or processor
