"""The datasets of `hf-ssl train`, loaded and put together; SSLTrainer matches their columns and classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..data.columns import DataSummary, inspect_data, usual_label
from ..data.sources import count, drop_unlabeled, load_source


@dataclass
class TrainData:
    """What a training needs to know of its data.

    Args:
        labeled, unlabeled, test: as they were found; None where there is none.
        summary: modality, columns and classes of the labeled examples.
        name: what the labeled data are called: a file or folder without its path, a Hub id, or a task.
        hub_id: their Hub id, None where they are local.
        notes: what a person should know, a sentence each.
    """

    labeled: datasets.Dataset
    unlabeled: datasets.Dataset | None
    test: datasets.Dataset | None
    summary: DataSummary
    name: str
    hub_id: str | None = None
    notes: list[str] = field(default_factory=list)


def load_train_data(own, settings: Mapping[str, Any], modality: str | None, processor: Any) -> TrainData:
    """Load what `TrainArguments` names.

    Args:
        own: the `TrainArguments`.
        settings: keywords of SSLConfig.
        modality, processor: the model's, where it has one modality alone.

    Raises:
        ValueError: in one line, if something is missing or does not fit together.
    """
    _check_choice(own)
    notes: list[str] = []
    pool = test = rest = None
    if own.task is not None:
        from ..benchmark import load_task

        task = load_task(own.task, num_labels=own.num_labels, seed=settings["seed"], source=own.source)
        labeled, pool, test = task["labeled"], task["unlabeled"], task["test"]
    else:
        source = load_source(own.labeled, "labeled", modality=modality, input_column=settings["input_column"])
        labeled = source.dataset
        notes += source.notes
    label_column = settings["label_column"] or usual_label(labeled)
    if label_column is not None and label_column in labeled.column_names:
        labeled, rest = drop_unlabeled(labeled, label_column)
        if len(labeled) == 0:
            raise ValueError(f"{own.labeled}: no row has a label in column {label_column!r}")
    pair = settings["text_pair_column"]
    found = inspect_data(labeled, settings["input_column"], label_column, text_pair_column=pair, processor=processor)
    if own.unlabeled is not None:
        source = load_source(own.unlabeled, "unlabeled", modality=found.modality, input_column=found.input_column)
        pool = source.dataset
        notes += source.notes
    if rest is not None:
        pool = _with_rest(pool, rest, list(found.input_columns), own)
        notes.append(
            f"{own.labeled}: {count(len(rest), 'row')} without a label {'joins' if len(rest) == 1 else 'join'} the pool"
        )
    if own.test is not None:
        source = load_source(own.test, "test", modality=found.modality, input_column=found.input_column)
        test = source.dataset
        notes += source.notes
    if own.test_fraction is not None:
        labeled, test = _split_off(labeled, found.label_column, own.test_fraction, settings["seed"])
    if pool is None and settings["algorithm"] != "supervised":
        raise ValueError(
            "--unlabeled is missing: the pool that the algorithm learns from; --algorithm supervised needs none"
        )
    name = own.task or public_name(own.labeled)
    hub_id = name if own.task is None and is_hub_id(own.labeled) else None
    return TrainData(labeled, pool, test, found, name, hub_id, notes)


def public_name(source: str) -> str:
    """What published files call a source: a file or folder without its path, or the Hub id."""
    if is_hub_id(source):
        return source.partition("@")[0].partition(":")[0]
    return (Path(source) if Path(source).exists() else Path(source.rpartition("@")[0])).resolve().name


def is_hub_id(source: str) -> bool:
    """Whether a source is neither a file nor a folder here, with or without @SPLIT."""
    return not Path(source).exists() and not Path(source.rpartition("@")[0] or source).exists()


def _check_choice(own) -> None:
    if own.task is not None:
        given = [f"--{name}" for name in ("labeled", "unlabeled", "test") if getattr(own, name) is not None]
        if given:
            raise ValueError(f"--task brings its own data; leave {', '.join(given)} out")
        if own.num_labels is None:
            raise ValueError(
                "--task needs --num-labels; `hf-ssl benchmark list` shows the tasks with their numbers of labels"
            )
    elif own.labeled is None:
        raise ValueError(
            "--labeled is missing: a file, a folder or a Hub dataset with labeled examples (or give --task)"
        )
    elif own.num_labels is not None or own.source is not None:
        raise ValueError("--num-labels and --source belong to --task")
    if own.test_fraction is not None:
        if own.test is not None or own.task is not None:
            raise ValueError("--test-fraction makes a test set of the labeled examples, and there is one already")
        if not 0 < own.test_fraction < 1:
            raise ValueError(f"--test-fraction must be between 0 and 1, got {own.test_fraction}")


def _with_rest(pool, rest: datasets.Dataset, columns: list[str], own) -> datasets.Dataset:
    """The pool with the rows of the labeled data that have no label."""
    rest = rest.select_columns(columns)
    if pool is None:
        return rest
    missing = [name for name in columns if name not in pool.column_names]
    if missing:
        raise ValueError(
            f"rows of {own.labeled} without a label join the pool, and {own.unlabeled} has no column {missing[0]!r}; name it "
            f"alike, or leave these rows out; its columns are {', '.join(pool.column_names)}"
        )
    return datasets.concatenate_datasets(
        [pool.select_columns(columns), rest.cast(pool.select_columns(columns).features)]
    )


def _split_off(labeled, column: str, fraction: float, seed: int) -> tuple[datasets.Dataset, datasets.Dataset]:
    names, codes = np.unique([str(value) for value in labeled[column][:]], return_inverse=True)
    coded = datasets.Dataset.from_dict({"class": codes, "row": list(range(len(codes)))})
    coded = coded.cast_column("class", datasets.ClassLabel(names=names.tolist()))
    try:
        parts = coded.train_test_split(test_size=fraction, stratify_by_column="class", seed=seed)
    except ValueError as error:
        raise ValueError(
            f"--test-fraction {fraction} of {len(labeled)} labeled examples: {error}; label more"
        ) from None
    return labeled.select(sorted(parts["train"]["row"])), labeled.select(sorted(parts["test"]["row"]))
