"""The tasks of a grid: those of `TASKS`, the small ones and data of one's own, and what identifies their data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..tasks import TASKS, Task
from .cells import short_hash
from .small.table import SMALL_TASKS, SmallTask


@dataclass(frozen=True)
class OwnTask:
    """A task of one's own. The fields that `Task` also has mean the same.

    Args:
        places: split -> where it is, as `load_source` takes it; local ones are absolute.
        content: split -> hash of its local files, or the name on the Hub.
        label_column: None to find it.
    """

    name: str
    modality: str
    places: Mapping[str, str]
    content: Mapping[str, str]
    label_column: str | None = None
    label_settings: tuple[int, ...] = ()
    backbone: str | None = None
    views: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What the cells say of it, in `settings["task"]`."""
        column = {} if self.label_column is None else {"label_column": self.label_column}
        return {"data": dict(self.content), **column}


AnyTask = Task | SmallTask | OwnTask
# Options of a task in a grid, `settings["task"]` of its cells.
TASK_OPTIONS = {
    "base": "name of the task, if the grid calls the entry by another name",
    "deduplicated": "True for a pool without the examples of the test set",
    "labeled_imbalance": "gamma of a long-tailed labeled set, of which `labels` is the size of the largest class",
    "num_unlabeled": "size of the largest class of the pool",
    "unlabeled_imbalance": "gamma of the pool; negative for the reversed order of classes",
    "test_examples": "most examples of the test set, equally many of each class",
}
# Facts of a task that decide over its rows and draws; titles and citations do not.
_FACTS = (
    *("name", "class_names", "sizes", "per_class", "test_per_class", "train_share"),
    *("shuffle_first", "given_labels", "label_column"),
)


def task_names() -> list[str]:
    """Every name that a grid may use."""
    return [*TASKS, *SMALL_TASKS]


def grid_task(name: str) -> Task | SmallTask:
    """The task of that name, which is one of `task_names`."""
    return SMALL_TASKS[name] if name in SMALL_TASKS else TASKS[name]


@cache
def task_revision(name: str) -> str:
    """A hash of what defines a task's data: its row in the table, and the packages that bring a small one."""
    task = grid_task(name)
    facts: dict[str, Any] = {fact: _plain(getattr(task, fact)) for fact in _FACTS if hasattr(task, fact)}
    for package in getattr(task, "packages", ()):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = None
    return short_hash(facts)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
