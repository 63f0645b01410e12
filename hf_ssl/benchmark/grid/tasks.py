"""The tasks of a grid: those of `TASKS` and the small ones, and what identifies their data."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..tasks import TASKS, Task
from .cells import short_hash
from .small.table import SMALL_TASKS, SmallTask

AnyTask = Task | SmallTask
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


def grid_task(name: str) -> AnyTask:
    """The task of that name, which is known to exist."""
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
