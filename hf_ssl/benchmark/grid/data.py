"""The data of a cell: the splits that its trainer is given."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..load import find_repository, load_task
from ..splits import draw_labels
from ..tasks import Task
from .cells import Cell
from .engines.base import Work
from .own_data import LABEL, OWN_KEYS, OwnData, own_splits
from .recipes import FULLY_SUPERVISED
from .small.table import SmallTask
from .tasks import grid_task

_LONG_TAIL = ("labeled_imbalance", "num_unlabeled", "unlabeled_imbalance")


@dataclass(frozen=True)
class CellData:
    """The splits of a cell.

    Args:
        labeled, unlabeled, test: as `SSLTrainer` takes them.
        validation: None if the task has none.
        draw: hash of the labeled examples, in their order.
    """

    labeled: datasets.Dataset
    unlabeled: datasets.Dataset
    test: datasets.Dataset
    validation: datasets.Dataset | None
    draw: str


def cell_data(cell: Cell, work: Work) -> CellData:
    """Load the splits of a cell.

    Raises:
        ValueError, OSError: in one line, if they cannot be loaded.
    """
    options = dict(cell.settings.get("task", {}))
    name = options.get("base", cell.task)
    place = _Place(name, work.source_of(name))
    if "data" in options:
        place = _Place(name, own=OwnData.of(cell, work.data[name]))
        options = {key: value for key, value in options.items() if key not in OWN_KEYS}
    splits = _splits(place, cell.num_labeled, cell.seed, tuple(sorted(options.items())), cell.algorithm)
    test = splits["test"]
    if (most := options.get("test_examples")) is not None and most < len(test):
        test = _balanced(test, most, place.label_column)
    labeled = splits["labeled"]
    return CellData(labeled, splits["unlabeled"], test, splits.get("validation"), rows_hash(labeled))


@dataclass(frozen=True)
class _Place:
    """What is loaded: a task by its name and source (None for the Hub), or data of one's own."""

    name: str
    source: str | None = None
    own: OwnData | None = None

    @property
    def label_column(self) -> str:
        return LABEL if self.own is not None else grid_task(self.name).label_column


@lru_cache(maxsize=4)  # The cells of a grid come in an order in which neighbors share their data.
def _splits(
    place: _Place, num_labeled: int, seed: int, options: tuple[tuple[str, Any], ...], algorithm: str
) -> dict[str, datasets.Dataset]:
    given = dict(options)
    task = grid_task(place.name) if place.own is None else None
    tail = {key: given[key] for key in _LONG_TAIL if key in given}
    if isinstance(task, Task) and not tail:
        deduplicated = bool(given.get("deduplicated"))
        loaded = load_task(place.name, num_labeled, seed, place.source, deduplicated=deduplicated)
        if algorithm == FULLY_SUPERVISED:
            loaded["labeled"] = _whole(place)["train"]
        return dict(loaded)
    splits = dict(_whole(place))
    train = splits.pop("train")
    if algorithm == FULLY_SUPERVISED:
        return {**splits, "labeled": train, "unlabeled": train}
    labels = np.asarray(train[place.label_column])
    classes = train.features[place.label_column].num_classes
    shuffle = bool(getattr(task, "shuffle_first", False))
    labeled, rest = draw_labels(
        labels, num_classes=classes, num_labeled=num_labeled, seed=seed, shuffle_first=shuffle, **tail
    )
    # As in USB the pool is everything, the labeled examples among it; but not in its long-tailed settings.
    pool = train.select(rest) if "num_unlabeled" in tail else train
    return {**splits, "labeled": train.select(labeled), "unlabeled": pool}


@lru_cache(maxsize=4)
def _whole(place: _Place) -> Mapping[str, datasets.Dataset]:
    """All of a task's data, as "train", "test" and, if there is one, "validation"."""
    if place.own is not None:
        return own_splits(place.own)
    task = grid_task(place.name)
    if isinstance(task, SmallTask):
        return task.load()
    return datasets.load_dataset(str(find_repository(task, place.source)), "full")


def _balanced(data: datasets.Dataset, most: int, label_column: str) -> datasets.Dataset:
    """The same examples in every cell, equally many of each class, in their old order."""
    classes = data.features[label_column].num_classes
    number = most // classes * classes
    if number == 0:
        raise ValueError(f"test_examples must be at least one of each of the {classes} classes, got {most}; raise it")
    index, _ = draw_labels(data[label_column], num_classes=classes, num_labeled=number, seed=0)
    return data.select(np.sort(index))


def rows_hash(data: datasets.Dataset) -> str:
    """16 hexadecimal digits of the rows of a dataset, their content and order, as they are stored.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
        >>> rows_hash(rows) == rows_hash(rows.select([0, 1])), rows_hash(rows) == rows_hash(rows.select([1, 0]))
        (True, False)
    """
    digest = hashlib.sha256()
    stored = data.with_format("arrow")
    for batch in stored.iter(batch_size=256):
        for column in sorted(batch.column_names):
            for value in _contents(batch.column(column).to_pylist()):
                digest.update(len(value).to_bytes(8, "little") + value)
    return digest.hexdigest()[:16]


def _contents(values: Iterable[Any]) -> Iterable[bytes]:
    for value in values:
        if isinstance(value, dict) and "bytes" in value:  # an image or recording; where it came from is not content
            value = value["bytes"] if value["bytes"] is not None else _stored(value.get("path"))
        yield value if isinstance(value, bytes) else repr(value).encode()


def _stored(place: str | None) -> bytes | None:
    """The content of a local file; None for what is elsewhere."""
    return Path(place).read_bytes() if place is not None and Path(place).is_file() else None
