"""A cell of a grid: one training, named by everything that its result depends on."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ..._version import __version__

# The number of the layout of a cell's file. It is part of each key: a new layout is a new result.
SCHEMA = 1
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Cell:
    """One training of a grid.

    The result is a function of the key: a hash of the fields below (without `modality`, `schedule` and `variant`,
    which only name what the settings say), the version of this package and the layout of the file. The draw of labels
    follows from task, revision, number of labels and seed; its own hash is noted in the file.

    Args:
        task: name of the task, or of a variant of it (`settings["task"]` then says of which one, and how it differs).
        num_labeled: the task's label setting.
        seed: of the draw, the new weights and the views.
        algorithm: a key of `ALGORITHMS`.
        backbone: Hub id, name of a local folder, or name of a small model that is trained from scratch.
        settings: those that change the result, by topic: "training" (of `SSLConfig`), "algorithm", "imbalance" (of the
            correction), "model" (how the backbone is loaded) and "task"; JSON values only.
        imbalance: a correction for long tails, or None.
        variant: a name that tells this cell's settings from those of the schedule; None if there is no difference.
        backbone_revision: a commit of the Hub or the hash of the local files; None if the grid does not pin one.
        task_revision: hash of the task's definition.
        modality: "image", "text" or "audio".
        schedule: name of the schedule that the settings come from.

    Example:
        >>> cell = Cell("ag_news", 40, 0, "freematch", "google-bert/bert-base-uncased", {"training": {"max_steps": 9}})
        >>> str(cell.path)
        'ag_news/40/freematch/google-bert__bert-base-uncased/seed0.json'
        >>> len(cell.key), cell.run_name
        (16, 'ag_news-40-0')
    """

    task: str
    num_labeled: int
    seed: int
    algorithm: str
    backbone: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    imbalance: str | None = None
    variant: str | None = None
    backbone_revision: str | None = None
    task_revision: str | None = None
    modality: str = "image"
    schedule: str = "own"

    @property
    def label(self) -> str:
        """What is compared with what: the algorithm, its correction, and the variant.

        Example:
            >>> Cell("cifar10", 40, 0, "fixmatch", "m", imbalance="abc", variant="low").label
            'fixmatch+abc-low'
        """
        name = self.algorithm + (f"+{self.imbalance}" if self.imbalance else "")
        return name + (f"-{self.variant}" if self.variant else "")

    @property
    def path(self) -> PurePosixPath:
        """Where the result is, below the results folder."""
        folders = self.task, str(self.num_labeled), self.label, self.backbone.replace("/", "__")
        return PurePosixPath(*map(safe_name, folders), f"seed{self.seed}.json")

    @property
    def error_path(self) -> PurePosixPath:
        """Where the error of a failed cell is, below the results folder."""
        return self.path.with_suffix(".error.json")

    @property
    def run_name(self) -> str:
        """Name of the run in trackers, which group runs by `label`."""
        return f"{self.task}-{self.num_labeled}-{self.seed}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"{self.task} {self.num_labeled} {self.label} {self.backbone} seed {self.seed}"

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits, the same for the same result: whatever the order and spelling of the grid's file."""
        return key_of(self.record(), self.settings, __version__)

    def record(self) -> dict[str, Any]:
        """The block "cell" of the file; the draw's hash is added when it is known."""
        return {
            "task": self.task,
            "modality": self.modality,
            "num_labeled": self.num_labeled,
            "seed": self.seed,
            "algorithm": self.algorithm,
            "imbalance": self.imbalance,
            "variant": self.variant,
            "schedule": self.schedule,
            "backbone": self.backbone,
            "backbone_revision": self.backbone_revision,
            "task_revision": self.task_revision,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]) -> "Cell":
        """The cell of the blocks "cell" and "settings" of a file.

        Example:
            >>> cell = Cell("ag_news", 40, 0, "freematch", "m", {"training": {"max_steps": 9}})
            >>> Cell.from_record(cell.record() | {"draw": "0" * 16}, cell.settings) == cell
            True
        """
        return cls(settings=settings, **{name: value for name, value in record.items() if name in cls._names()})

    @classmethod
    def _names(cls) -> set[str]:
        return set(cls.__dataclass_fields__) - {"settings"}


# What the key is made of, beside the settings and the versions.
_IN_KEY = ("task", "num_labeled", "seed", "algorithm", "imbalance", "backbone", "backbone_revision", "task_revision")


def key_of(record: Mapping[str, Any], settings: Mapping[str, Any], version: str, schema: int = SCHEMA) -> str:
    """The key of the blocks "cell" and "settings" of a file, and of the version of this package that wrote it.

    Example:
        >>> cell = Cell("ag_news", 40, 0, "freematch", "m")
        >>> key_of(cell.record(), cell.settings, __version__) == cell.key
        True
        >>> key_of(cell.record(), {"training": {"max_steps": 9}}, __version__) == cell.key
        False
    """
    parts = {name: record.get(name) for name in _IN_KEY}
    return short_hash({"schema": schema, "hf-ssl": version, "cell": parts, "settings": settings})


def short_hash(value: Any, digits: int = 16) -> str:
    """A hash of a JSON value that does not depend on the order of its keys.

    Example:
        >>> short_hash({"a": 1, "b": 2.0}) == short_hash({"b": 2.0, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def safe_name(name: str) -> str:
    """A name as one folder of a path.

    Example:
        >>> safe_name("fixmatch+abc"), safe_name("../evil name"), safe_name("..")
        ('fixmatch+abc', '.._evil_name', '_')
    """
    name = _UNSAFE.sub("_", name)
    return "_" if name.strip(".") == "" else name


# ---- --select ----


def select(cells: Iterable[Cell], conditions: str) -> list[Cell]:
    """The cells for which all of the conditions hold.

    Args:
        cells: of a grid.
        conditions: such as "seed=0 algorithm=fixmatch,freematch": names of fields (`labels` is `num_labeled`), and the
            values that are wanted.

    Raises:
        ValueError: in one line, for a condition that no cell could meet; it names what there is.

    Example:
        >>> cells = [Cell("ag_news", 40, seed, "uda", "m") for seed in (0, 1, 2)]
        >>> [cell.seed for cell in select(cells, "seed=0,2 algorithm=uda")]
        [0, 2]
        >>> select(cells, "algorithm=uba")
        Traceback (most recent call last):
        ValueError: --select algorithm must be one of uda, got 'uba'; name values of this grid
    """
    chosen = list(cells)
    for name, values in _conditions(conditions).items():
        there = sorted({_value(cell, name) for cell in chosen}) if chosen else []
        unknown = [value for value in values if value not in there]
        if unknown and chosen:
            known = ", ".join(there[:30])
            raise ValueError(f"--select {name} must be one of {known}, got {unknown[0]!r}; name values of this grid")
        chosen = [cell for cell in chosen if _value(cell, name) in values]
    return chosen


_SELECTABLE = {
    "task": "task",
    "labels": "num_labeled",
    "num_labeled": "num_labeled",
    "seed": "seed",
    "algorithm": "algorithm",
    "imbalance": "imbalance",
    "variant": "variant",
    "backbone": "backbone",
    "modality": "modality",
    "label": "label",
    "key": "key",
}


def _conditions(text: str) -> dict[str, list[str]]:
    conditions = {}
    for part in text.split():
        name, equals, values = part.partition("=")
        if not equals or not values or name not in _SELECTABLE:
            known = ", ".join(_SELECTABLE)
            raise ValueError(f"--select must be conditions NAME=VALUE,..., got {part!r}; the names are {known}")
        if name in conditions:
            raise ValueError(f"--select must have each name once, got {name} twice; write such as {name}=A,B")
        conditions[name] = values.split(",")
    return conditions


def _value(cell: Cell, name: str) -> str:
    value = getattr(cell, _SELECTABLE[name])
    return "none" if value is None else str(value)


def result_path(results: str | Path, cell: Cell) -> Path:
    """The file of a cell in a results folder."""
    return Path(results) / cell.path
