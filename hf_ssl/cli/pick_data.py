"""The examples that `hf-ssl pick` chooses from: loaded, and encoded as `hf-ssl train` encodes them.

With the same settings the features have the same key, so that the training after it finds them in the cache.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from transformers import set_seed

from ..config import SSLConfig
from ..data.columns import DataSummary, usual_label
from ..data.duplicates import digest
from ..data.label_forms import find_form
from ..data.labels import Classes
from ..data.rows import fetch_rows
from ..data.sources import count, load_source
from ..features.bank import FeatureBank
from ..features.inputs import Inputs, find_inputs, usual_tokens
from ..features.picking import PICK_ORDER
from ..graph.normalization import normalize
from ..modality import MODALITIES
from ..model.classes import config_names
from ..model.head import find_head
from ..model.loading import load_classifier, load_config, load_processor
from ..problem_types import IN_WORDS, SINGLE_LABEL
from .pretrained import check_modality, classified_by
from .screen import nothing_is_trained
from .train_options import default_seed

# Labeled examples are looked for in the pool among rows whose features have at least this cosine with theirs.
_ALIKE = 0.999
# Rows whose logits are computed, or that are compared with the labeled ones, at once.
_ROWS = 4_096


@dataclass(frozen=True)
class Given:
    """What the command names.

    Args:
        model: Hub id or folder.
        source: the name of the pool.
        pool: all its rows, as they are.
        inputs: the same, prepared: modality, columns, files not decoded.
        labeled: the examples that are in a file of labels already, with or without one; None if none was given.
        labeled_source: its name.
        order_column: the column of the output that holds the order of the picks.
        labeled_inputs: the same, prepared; its column of inputs may have another name.
        processor: the model's.
        config: how the pool is read.
        notes: what a person should know, a sentence each.
    """

    model: str
    source: str
    pool: datasets.Dataset
    inputs: Inputs
    labeled: datasets.Dataset | None
    labeled_inputs: Inputs | None
    processor: Any
    config: SSLConfig
    notes: list[str] = field(default_factory=list)
    labeled_source: str | None = None
    order_column: str = PICK_ORDER

    @property
    def modality(self) -> str:
        """ "image", "text" or "audio"."""
        return self.inputs.data.modality

    @property
    def names(self) -> list[str]:
        """The classes among the labels, [] if there are none."""
        return [] if self.labeled_inputs is None else list(self.labeled_inputs.data.label_names)


@dataclass(frozen=True)
class Encoded:
    """What is chosen from: the examples with a label, and behind them those of the pool.

    Args:
        features: float32 [L + U, D]; NaN for those of the pool that cannot be read or are in the labeled file.
        labels: int [L + U], -1 in the pool.
        num_classes: among the labels.
        unreadable: how many of the pool.
        probabilities: [L + U, C], if the model was trained on the classes of the labels.
    """

    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    unreadable: int
    probabilities: np.ndarray | None

    def in_pool(self, rows: np.ndarray) -> np.ndarray:
        """The positions of picked rows in the pool."""
        return rows - int((self.labels >= 0).sum())


def load(pool: str, labeled: str | None, model: str, columns: Sequence[str] | None, label_column: str | None) -> Given:
    """Load pool, labeled examples and the model's processor.

    Raises:
        ValueError, OSError: in one line, if something is missing or does not fit together.
    """
    able = classified_by(model)
    kind = able[0] if len(able) == 1 else None
    column = columns[0] if columns else None
    found = load_source(pool, "unlabeled", modality=kind, input_column=column, label_column=label_column)
    processor = load_processor(model, kind) if kind else None
    pair = columns[1] if columns and len(columns) > 1 else None
    config = SSLConfig(
        output_dir="unused",
        report_to="none",
        input_column=column,
        text_pair_column=pair,
        label_column=label_column,
        seed=default_seed(None),
    )
    inputs = find_inputs(found.dataset, processor, config, skip_broken=True)
    if processor is None:
        check_modality(model, able, inputs.data.modality)
        processor = load_processor(model, inputs.data.modality)
        inputs = find_inputs(found.dataset, processor, config, skip_broken=True)
    if not inputs.data.input_columns:
        raise ValueError(f"{pool} must hold its examples as they are, got tensors for a model; give the raw data")
    if inputs.data.modality == "text":
        config.max_length = usual_tokens(inputs.rows, inputs.views)
    if inputs.data.modality == "audio":
        # Not at the top: recordings need packages that images and texts must not ask for.
        from ..views.audio import LENGTH_SETTING

        setattr(processor, LENGTH_SETTING, inputs.views.max_length / processor.sampling_rate)
    given = Given(model, pool, found.dataset, inputs, None, None, processor, config, found.notes)
    return given if labeled is None else _with_labeled(given, labeled, label_column)


def _with_labeled(given: Given, labeled: str, label_column: str | None) -> Given:
    found = load_source(labeled, "labeled", modality=given.modality, label_column=label_column)
    column = label_column or usual_label(found.dataset)
    if column is None or column not in found.dataset.column_names:
        raise ValueError(
            f"--labeled must have a column of labels, got {labeled} with the columns "
            f"{', '.join(found.dataset.column_names)}; name it with --label-column"
        )
    kind, _ = find_form(found.dataset, [column])
    if kind != SINGLE_LABEL:
        raise ValueError(
            f"--labeled must hold {IN_WORDS[SINGLE_LABEL]}, got {IN_WORDS[kind]} in column {column!r} of {labeled}; "
            "leave it out, and pick by what is typical of the pool"
        )
    inputs = find_inputs(found.dataset, given.processor, _for_labeled(given.config, column), skip_broken=True)
    if inputs.data.modality != given.modality:
        raise ValueError(
            f"--labeled must hold {MODALITIES[given.modality].plural} as the pool does, got "
            f"{MODALITIES[inputs.data.modality].plural}; give other data"
        )
    notes = given.notes + found.notes
    return replace(given, labeled=found.dataset, labeled_inputs=inputs, labeled_source=labeled, notes=notes)


def _for_labeled(config: SSLConfig, label_column: str) -> SSLConfig:
    """For the labeled file, whose column of inputs may have another name than the pool's."""
    other = copy.copy(config)
    other.input_column = other.text_pair_column = None
    other.label_column = label_column
    return other


# ---- Features ----


def encode(given: Given) -> Encoded:
    """One pass of the frozen model over pool and labeled examples; what was encoded before is read.

    Raises:
        ValueError: if the model or the data cannot be used.
    """
    model, trained = _load_model(given)
    total = len(given.pool) + (0 if given.labeled is None else len(given.labeled))
    print(
        f"Encoding {count(total, 'example')} with the frozen model, once; what was encoded before is kept.",
        flush=True,
    )
    options: dict[str, Any] = {"with_head": True, "on_broken_file": "skip"}
    pool = FeatureBank.encode(model, given.pool, given.processor, args=given.config, **options)
    features, labels = np.array(pool.features), np.full(len(pool), -1)
    read = [pool.head_features]
    if given.labeled is not None and given.labeled_inputs is not None:
        column = given.labeled_inputs.data.label_column
        config = _for_labeled(given.config, column)
        bank = FeatureBank.encode(model, given.labeled, given.processor, args=config, **options)
        features[_in_both(given, features, np.asarray(bank.features))] = np.nan
        known = np.full(len(bank), -1) if bank.labels is None else bank.labels
        rows = np.flatnonzero((known >= 0) & np.isfinite(bank.features).all(axis=1))
        features, labels = np.concatenate([bank.features[rows], features]), np.concatenate([known[rows], labels])
        read.insert(0, None if bank.head_features is None else bank.head_features[rows])
    probabilities = None
    if trained:
        parts = [part for part in read if part is not None]
        probabilities = np.concatenate([_probabilities(model, part) for part in parts])
    return Encoded(features, labels, len(np.unique(labels[labels >= 0])), len(pool.broken), probabilities)


def _load_model(given: Given) -> tuple[nn.Module, bool]:
    """The model, and whether its head was trained on the classes of the labels."""
    own = config_names(load_config(given.model)) or []
    trained = len(given.names) > 1 and set(given.names) <= set(own)
    names = own if trained else given.names if len(given.names) > 1 else own or ["0", "1"]
    summary = DataSummary(
        given.modality,
        given.inputs.data.input_columns,
        "label",
        Classes(list(names), {name: index for index, name in enumerate(names)}, True),
        np.zeros(0, dtype=np.int64),
    )
    # As `hf-ssl train` does: layers that are new are the same then, and so are the features and their key.
    set_seed(given.config.seed)
    with nothing_is_trained():
        model = load_classifier(given.model, summary, given.processor)
    return model, trained


def _probabilities(model: nn.Module, head_features: np.ndarray) -> np.ndarray:
    """What the model's own head says, [N, C]."""
    head = find_head(model)
    device = next(head.parameters()).device
    found = []
    with torch.no_grad():
        for start in range(0, len(head_features), _ROWS):
            read = torch.from_numpy(np.array(head_features[start : start + _ROWS])).to(device)
            found.append(head(read).float().softmax(dim=1).cpu().numpy())
    return np.concatenate(found)


def _in_both(given: Given, pool: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Positions in the pool of examples that are in the labeled file, by content; features tell which to compare."""
    usable = np.isfinite(labeled).all(axis=1)
    if not usable.any() or given.labeled_inputs is None:
        return np.zeros(0, dtype=np.int64)
    zero = np.zeros(pool.shape[1], dtype=np.float32)
    known = normalize(labeled[usable], zero)
    near = []
    for start in range(0, len(pool), _ROWS):
        part = pool[start : start + _ROWS]
        if np.isfinite(part).any():
            cosines = normalize(part, zero) @ known.T
            near.append(start + np.flatnonzero(np.nan_to_num(cosines, nan=-1.0).max(axis=1) > _ALIKE))
    places = np.concatenate(near) if near else np.zeros(0, dtype=np.int64)
    seen = set(_contents(given.labeled_inputs, np.arange(len(labeled))))
    found = _contents(given.inputs, places)
    return places[np.array([content in seen for content in found], dtype=bool)]


def _contents(inputs: Inputs, places: np.ndarray) -> list[tuple[bytes | None, ...]]:
    """What tells the content of examples apart: a digest per column, None for what cannot be read."""
    rows = fetch_rows(inputs.rows, places.tolist())
    files = MODALITIES[inputs.data.modality].needs_files
    return [tuple(digest(row[name], files) for name in inputs.data.input_columns) for row in rows]
