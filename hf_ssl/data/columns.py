"""What the given datasets contain: modality, columns, classes. Found from features and the processor; settings win."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..modality import MODEL_INPUTS
from .labels import Classes, find_classes, read_labels, shortened
from .rows import model_inputs

logger = logging.get_logger(__name__)

LABEL_COLUMNS = ("label", "labels", "target", "fine_label", "class", "category")
INPUT_COLUMNS = {
    "image": ("image", "img", "path", "file", "file_name", "filename"),
    "audio": ("audio", "path", "file", "file_name", "filename"),
    "text": ("text", "sentence", "content", "ori"),
}
# Pairs of texts as the tasks of GLUE and SuperGLUE name them.
TEXT_PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
# By which a path in a table is recognised as a file of that modality; reading does not depend on them.
FILE_SUFFIXES = {
    "image": (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"),
}
_LONGEST_PATH = 4096
_PLURALS = {"image": "images", "text": "texts", "audio": "recordings"}
_MODELS = {"image": "an image model", "text": "a text model", "audio": "an audio model"}
PROCESSORS = {"image": "image processor", "text": "tokenizer", "audio": "feature extractor"}


@dataclass(frozen=True)
class DataSummary:
    """What `inspect_data` found.

    Args:
        modality: "image", "audio" or "text".
        input_columns: the column of the raw input, two for a pair of texts; none where rows hold tensors alone.
        label_column: its name.
        classes: which there are.
        labels: classes [L] of the labeled set, int64.
        model_inputs: columns that hold tensors for the model already (`input_ids`, `attention_mask`, ...); views are then
            made of those, and not of `input_columns`.
    """

    modality: str
    input_columns: tuple[str, ...]
    label_column: str
    classes: Classes
    labels: np.ndarray
    model_inputs: tuple[str, ...] = ()

    @property
    def input_column(self) -> str | None:
        """The (first) column of the raw input."""
        return self.input_columns[0] if self.input_columns else None

    @property
    def label_names(self) -> list[str]:
        """Names of the classes in the order of their indices."""
        return self.classes.names


def inspect_data(
    labeled: datasets.Dataset,
    input_column: str | None = None,
    label_column: str | None = None,
    *,
    text_pair_column: str | None = None,
    processor: Any = None,
    model_names: Sequence[str] | None = None,
) -> DataSummary:
    """Find modality, columns and classes of the labeled set; given column names win.

    Args:
        processor: decides between columns of several modalities, and whether a column of strings holds texts or paths.
        model_names: names of the classes of a model that was given as an object; see `hf_ssl.data.labels.find_classes`.

    Raises:
        TypeError: if it is no `datasets.Dataset`.
        ValueError: if a column is missing or cannot be decided on (the message lists the columns), if there is no example,
            if the processor is of another modality, or if a label is missing or no class.
    """
    check_kind(labeled, "train_dataset")
    if len(labeled) == 0:
        raise ValueError("the labeled dataset is empty; it needs one example of each class at least")
    label_column = find_label(labeled, label_column)
    given = input_column is not None and input_column not in MODEL_INPUTS
    tensors = () if given else model_inputs(labeled)
    if tensors:
        modality = next(MODEL_INPUTS[name] for name in tensors if name in MODEL_INPUTS)
        try:
            raw, inputs = _find_input(labeled, None, text_pair_column, label_column, processor)
        except ValueError:
            raw, inputs = modality, ()
        inputs = inputs if raw == modality else ()
    else:
        modality, inputs = _find_input(labeled, input_column, text_pair_column, label_column, processor)
    labels = read_labels(labeled, label_column, "labeled")
    if None in labels:
        raise ValueError(
            f"the labeled dataset has no label in row {labels.index(None)} (column {label_column!r}); leave such rows out, or "
            "move them to the unlabeled dataset"
        )
    feature = labeled.features[label_column]
    classes = find_classes(labels, feature, model_names)
    if len(classes.names) < 2:
        raise ValueError(f"the labeled dataset has one class only ({classes.names[0]!r}) in column {label_column!r}")
    index = np.asarray([classes.index_of.get(label, -1) for label in labels], dtype=np.int64)
    if index.min() < 0:
        raise ValueError(
            f"labels in column {label_column!r} run from {min(labels)} to {max(labels)}; with {len(classes.names)} classes "
            f"they must be in 0..{len(classes.names) - 1}"
        )
    seen = set(index.tolist())
    unseen = [name for number, name in enumerate(classes.names) if number not in seen]
    if unseen:
        logger.warning_once(
            f"{len(unseen)} of {len(classes.names)} classes have no labeled example, so that nothing tells the model what they "
            f"look like: {shortened(unseen, 5)}"
        )
    return DataSummary(modality, inputs, label_column, classes, index, tensors)


def check_kind(dataset: Any, argument: str) -> None:
    """Raise a TypeError that says what to do if `dataset` is not a `datasets.Dataset`."""
    if isinstance(dataset, datasets.Dataset):
        return
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise TypeError(
            f"{argument} is streamed ({type(dataset).__name__}), and training needs its rows by position: for the order of an "
            "epoch, for what an algorithm remembers of each example, and to resume. Load it without streaming=True, or keep a "
            "part: datasets.Dataset.from_list(list(stream.take(50_000)), features=stream.features)"
        )
    if isinstance(dataset, Mapping):
        raise TypeError(
            f"{argument} is a {type(dataset).__name__} with the splits {', '.join(dataset)}; give it one of them"
        )
    raise TypeError(
        f"{argument} is a {type(dataset).__name__}, and a datasets.Dataset is needed; datasets.Dataset.from_list(rows) makes "
        "one of a list of dicts"
    )


def find_label(labeled, given: str | None) -> str:
    columns = list(labeled.column_names)
    if given is not None:
        _check_given("label_column", given, columns)
        return given
    # A column of class names is the label whatever it is called, unless there are several.
    classes = [name for name, feature in labeled.features.items() if isinstance(feature, datasets.ClassLabel)]
    for name in [*(name for name in LABEL_COLUMNS if name in columns), *(classes if len(classes) == 1 else [])]:
        return name
    raise ValueError(f"no label column found among {', '.join(columns)}; set label_column")


def _find_input(labeled, given, pair, label_column, processor) -> tuple[str, tuple[str, ...]]:
    """Modality and columns of the raw input."""
    columns = [name for name in labeled.column_names if name != label_column]
    able = processor_modalities(processor)
    for setting, name in (("input_column", given), ("text_pair_column", pair)):
        if name is not None:
            _check_given(setting, name, labeled.column_names)
    found = {name: kinds for name in columns if (kinds := column_modalities(labeled, name))}
    if given is not None:
        found = {given: found.get(given, ("text",))}
    usable = {name: [kind for kind in kinds if kind in able] for name, kinds in found.items()}
    by_kind = {kind: [name for name in usable if kind in usable[name]] for kind in INPUT_COLUMNS}
    for kind in ("image", "audio"):
        usual = [name for name in INPUT_COLUMNS[kind] if name in by_kind[kind]]
        if by_kind[kind]:
            return kind, ((usual or by_kind[kind])[0],)
    texts = by_kind["text"]
    if pair is not None:
        first = [name for name in texts if name != pair]
        usual = [a for a, b in TEXT_PAIRS if b == pair and a in first] or [
            n for n in INPUT_COLUMNS["text"] if n in first
        ]
        if given is None and not usual and len(first) != 1:
            raise ValueError(
                f"which column goes with text_pair_column={pair!r}? Set input_column; there are {', '.join(columns)}"
            )
        return "text", ((usual or first)[0], pair)
    if given is None:
        for names in TEXT_PAIRS:
            if set(names) <= set(texts):
                return "text", names
    usual = [name for name in INPUT_COLUMNS["text"] if name in texts]
    if usual or len(texts) == 1:
        return "text", ((usual or texts)[0],)
    if not texts and found:
        name, kinds = next(iter(found.items()))
        raise ValueError(
            f"column {name!r} holds {_PLURALS[kinds[0]]} and {type(processor).__name__} processes none; use "
            f"{_MODELS[kinds[0]]} and its {PROCESSORS[kinds[0]]}, or set input_column"
        )
    raise ValueError(
        f"no image, audio or single text column found among {', '.join(labeled.column_names)}; set input_column"
    )


def column_modalities(dataset, name: str) -> tuple[str, ...]:
    """What a column can hold: one modality by its feature, several for encoded files without one."""
    feature = dataset.features[name]
    if isinstance(feature, datasets.Image):
        return ("image",)
    if isinstance(feature, datasets.Audio):
        return ("audio",)
    if is_string(feature):
        return (*_file_modalities(dataset.with_format(None)[name][0]), "text")
    if isinstance(feature, Mapping) and {"bytes", "path"} <= feature.keys():
        return _file_modalities(dataset.with_format(None)[name][0]["path"]) or ("image", "audio")
    return ()


def _file_modalities(cell: Any) -> tuple[str, ...]:
    """What the file at a path can be, by its suffix; () for what is no path."""
    if not isinstance(cell, str) or not 0 < len(cell) < _LONGEST_PATH:
        return ()
    suffix = os.path.splitext(cell)[1].lower()
    by_suffix = tuple(kind for kind, suffixes in FILE_SUFFIXES.items() if suffix in suffixes)
    return by_suffix or (("image", "audio") if os.path.isfile(cell) else ())


def processor_modalities(processor: Any) -> tuple[str, ...]:
    """What a processor can process; everything if there is none, or if it is of a kind not known here."""
    if processor is None:
        return tuple(INPUT_COLUMNS)
    parts = [
        processor,
        *(getattr(processor, name, None) for name in ("image_processor", "tokenizer", "feature_extractor")),
    ]
    signs = {"image": "image_mean", "text": "model_max_length", "audio": "sampling_rate"}
    found = tuple(kind for kind, sign in signs.items() if any(hasattr(part, sign) for part in parts))
    return found or tuple(INPUT_COLUMNS)


def processor_for(processor: Any, modality: str) -> Any:
    """The part of a processor that is for the modality; image processor, tokenizer or feature extractor."""
    part = {"image": "image_processor", "text": "tokenizer", "audio": "feature_extractor"}[modality]
    return getattr(processor, part, None) or processor


def _check_given(setting: str, name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        raise ValueError(f"{setting} {name!r} is not in the labeled dataset; its columns are {', '.join(columns)}")


def is_string(feature: Any) -> bool:
    """Whether a feature is that of strings."""
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")
