"""The datasets of `hf-ssl train`: loaded, matched by class and column, and checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..data import LABEL_COLUMNS, inspect_data
from ..sources import count, drop_unlabeled, load_source


@dataclass
class TrainData:
    """What a training needs to know of its data.

    Args:
        labeled, unlabeled, test: with the same input column.
        modality, input_column, label_column, label_names: of the labeled examples.
        name: what the labeled data are called in the card and in results.json; no path.
        notes: what a person should know, a sentence each.
    """

    labeled: datasets.Dataset
    unlabeled: datasets.Dataset | None
    test: datasets.Dataset | None
    modality: str
    input_column: str | None
    label_column: str
    label_names: list[str]
    name: str
    notes: list[str] = field(default_factory=list)


def load_train_data(own, settings: Mapping[str, Any]) -> TrainData:
    """Load what `TrainArguments` names.

    Raises:
        ValueError: in one line, if something is missing or does not fit together.
    """
    _check_choice(own, settings["algorithm"])
    notes: list[str] = []
    pool = test = None
    if own.task is not None:
        from ..benchmark import load_task

        task = load_task(own.task, num_labels=own.num_labels, seed=settings["seed"], source=own.source)
        labeled, pool, test = task["labeled"], task["unlabeled"], task["test"]
        name = own.task
    else:
        source = load_source(own.labeled, "labeled", input_column=settings["input_column"])
        labeled, name = source.dataset, public_name(own.labeled)
        notes += source.notes
    label_column = settings["label_column"] or next((c for c in LABEL_COLUMNS if c in labeled.column_names), None)
    rest = None
    if label_column in labeled.column_names:
        labeled, rest = drop_unlabeled(labeled, label_column)
        if len(labeled) == 0:
            raise ValueError(f"{own.labeled}: no row has a label in column {label_column!r}")
    found = inspect_data(labeled, settings["input_column"], label_column)
    column = found.input_column
    if own.unlabeled is not None:
        source = load_source(own.unlabeled, "unlabeled", modality=found.modality, input_column=column)
        pool = _rename_input(source.dataset, column, found.modality)
        notes += source.notes
    if rest is not None:
        notes.append(
            f"{own.labeled}: {count(len(rest), 'row')} without a label {'joins' if len(rest) == 1 else 'join'} the pool"
        )
        rest = rest.select_columns([column])
        pool = rest if pool is None else datasets.concatenate_datasets([pool.select_columns([column]), rest])
    if pool is None and settings["algorithm"] != "supervised":
        raise ValueError("--unlabeled is missing: the pool that the algorithm learns from; --algorithm supervised needs none")
    if own.test is not None:
        source = load_source(own.test, "test", modality=found.modality, input_column=column)
        test = _rename_input(source.dataset, column, found.modality)
        notes += source.notes
    if own.test_fraction is not None:
        labeled, test = _split_off(labeled, found.label_column, own.test_fraction, settings["seed"])
    elif test is not None:
        notes += _overlap(labeled, test, column)
    return TrainData(labeled, pool, test, found.modality, column, found.label_column, found.label_names, name, notes)


def public_name(name: str) -> str:
    """What published files call a source: the name of a file or folder without its path, or the Hub id."""
    path = Path(name if Path(name).exists() else name.rpartition("@")[0] or name)
    return path.resolve().name if path.exists() else name.partition("@")[0].partition(":")[0]


def _check_choice(own, algorithm: str) -> None:
    if own.task is not None:
        given = [f"--{name}" for name in ("labeled", "unlabeled", "test") if getattr(own, name) is not None]
        if given:
            raise ValueError(f"--task brings its own data; leave {', '.join(given)} out")
        if own.num_labels is None:
            raise ValueError("--task needs --num-labels; `hf-ssl benchmark` lists the tasks with their numbers of labels")
    elif own.labeled is None:
        raise ValueError("--labeled is missing: a file, a folder or a Hub dataset with labeled examples (or give --task)")
    elif own.num_labels is not None or own.source is not None:
        raise ValueError("--num-labels and --source belong to --task")
    if own.test_fraction is not None:
        if own.test is not None or own.task is not None:
            raise ValueError("--test-fraction makes a test set of the labeled examples, and there is one already")
        if not 0 < own.test_fraction < 1:
            raise ValueError(f"--test-fraction must be between 0 and 1, got {own.test_fraction}")


def _split_off(labeled, column: str, fraction: float, seed: int) -> tuple[datasets.Dataset, datasets.Dataset]:
    names, codes = np.unique([str(value) for value in labeled[column][:]], return_inverse=True)
    coded = datasets.Dataset.from_dict({"class": codes}).cast_column("class", datasets.ClassLabel(names=names.tolist()))
    coded = coded.add_column("row", list(range(len(coded))))
    try:
        parts = coded.train_test_split(test_size=fraction, stratify_by_column="class", seed=seed)
    except ValueError as error:
        raise ValueError(f"--test-fraction {fraction} of {len(labeled)} labeled examples: {error}; label more") from None
    return labeled.select(sorted(parts["train"]["row"])), labeled.select(sorted(parts["test"]["row"]))


def _rename_input(dataset: datasets.Dataset, column: str, modality: str) -> datasets.Dataset:
    """A pool or test set may call its one input column otherwise."""
    if column in dataset.column_names:
        return dataset
    kinds = {"image": datasets.Image, "audio": datasets.Audio, "text": datasets.Value}
    fitting = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, kinds[modality]) and (modality != "text" or "string" in feature.dtype)
    ]
    usual = [name for name in fitting if name not in LABEL_COLUMNS]
    return dataset.rename_column(usual[0], column) if len(usual) == 1 else dataset


def _overlap(labeled: datasets.Dataset, test: datasets.Dataset, column: str) -> list[str]:
    """Test examples that are labeled training examples, too: the same text, the same file or the same bytes."""

    def identities(dataset):
        values = dataset.with_format("arrow")[column][:].to_pylist() if len(dataset) else []
        return [(v.get("bytes") or v.get("path")) if isinstance(v, dict) else v for v in values]

    known = {value for value in identities(labeled) if value is not None}
    shared = sum(value in known for value in identities(test))
    if not shared:
        return []
    return [f"warning: {shared:,} of the {len(test):,} test examples are among the labeled ones, which flatters the result"]
