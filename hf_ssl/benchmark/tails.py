"""Long-tailed configurations of a built repository: their draws, and how a pool is a part of shared files.

    longtail1500_3000_gamma100_100_seed0
      labeled      labels/longtail1500_3000_gamma100_100-seed0.parquet
      unlabeled    the rows of data/train-* whose column in_longtail1500_3000_gamma100_100_seed0 is true
      test         data/test-*

`datasets` filters rows as it reads Parquet files, if the card's metadata say so. A filter is of a configuration, not
of one of its splits, so every file of such a repository has these columns, which are true outside of `train`; the
configurations name the columns that they load, and nobody sees them.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .splits import draw_labels, index_hash
from .tasks import LongTail, Task

logger = logging.getLogger(__name__)

# A setting, and the seed of its draw.
Tail = tuple[LongTail, int]


class TailDraw(NamedTuple):
    """A long-tailed draw.

    Args:
        setting, seed: what was drawn.
        labeled, pool: indices of training examples, int64; the pool is empty if it is the task's own unlabeled split.
    """

    setting: LongTail
    seed: int
    labeled: np.ndarray
    pool: np.ndarray

    @property
    def tail(self) -> Tail:
        """What was drawn."""
        return self.setting, self.seed

    def identity(self) -> dict[str, Any]:
        """What the record says of it."""
        return {
            "labeled": len(self.labeled),
            "unlabeled": len(self.pool),
            "labeled_sha256": index_hash(self.labeled),
            "pool_sha256": index_hash(self.pool),
        }


def tail_name(tail: Tail) -> str:
    """The name of its configuration.

    Example:
        >>> tail_name((LongTail(1500, 3000, 100, -100), 0))
        'longtail1500_3000_gamma100_reversed100_seed0'
    """
    setting, seed = tail
    return f"{setting.name}_seed{seed}"


def tail_path(tail: Tail) -> str:
    """The file of its labeled examples."""
    setting, seed = tail
    return f"labels/{setting.name}-seed{seed}.parquet"


def tails_of(task: Task, record: Mapping[str, Any] | None = None) -> list[Tail]:
    """The long tails of a task, or those of them that a record says were built."""
    tails = [(setting, seed) for setting in task.long_tails for seed in task.seeds]
    if record is None:
        return tails
    built = record.get("long_tails", {})
    return [tail for tail in tails if isinstance(built, dict) and tail_name(tail) in built]


def mark_columns(tails: Sequence[Tail]) -> list[str]:
    """The columns that say which training examples are in which pool; none for pools that are a split of their own."""
    return [f"in_{tail_name(tail)}" for tail in tails if tail[0].num_unlabeled is not None]


def marks(draws: Sequence[TailDraw], size: int) -> dict[str, np.ndarray]:
    """The values [N] of these columns for the N training examples."""
    found = {}
    for draw in draws:
        for column in mark_columns([draw.tail]):
            found[column] = np.zeros(size, dtype=bool)
            found[column][draw.pool] = True
    return found


def reading(columns: Sequence[str], tails: Sequence[Tail], name: str) -> dict[str, Any]:
    """What the card's metadata say about how a configuration is read, beside its files.

    Args:
        columns: those that people load.
        tails: that the repository has; without columns of marks there is nothing to say.
        name: of the configuration.

    Example:
        >>> tail = LongTail(1500, 3000, 100, 100), 0
        >>> reading(["image", "label"], [tail], "full")
        {'columns': ['image', 'label']}
        >>> reading(["image", "label"], [tail], tail_name(tail))["filters"]
        [['in_longtail1500_3000_gamma100_100_seed0', '==', True]]
    """
    found: dict[str, Any] = {"columns": list(columns)} if mark_columns(tails) else {}
    for tail in tails:
        if tail_name(tail) == name and (marked := mark_columns([tail])):
            found["filters"] = [[marked[0], "==", True]]
    return found


def make_tail(task: Task, labels: np.ndarray, tail: Tail) -> TailDraw:
    """One draw from the labels [N] of the training examples.

    Raises:
        ValueError: if a class has too few examples.
    """
    setting, seed = tail
    own = setting.num_unlabeled is None
    labeled, pool = draw_labels(
        labels,
        num_classes=len(task.class_names),
        num_labeled=setting.num_labeled,
        seed=seed,
        labeled_imbalance=setting.labeled_imbalance,
        num_unlabeled=setting.num_unlabeled,
        unlabeled_imbalance=setting.unlabeled_imbalance or 1.0,
        shuffle_first=task.shuffle_first,
    )
    return TailDraw(setting, seed, labeled, pool[:0] if own else pool)


def draw_tails(task: Task, labels: np.ndarray) -> list[TailDraw]:
    """Every long tail of the task that its training examples allow; a warning says how many they do not."""
    draws: list[TailDraw] = []
    problem, missing = "", 0
    for tail in tails_of(task):
        try:
            draws.append(make_tail(task, labels, tail))
        except ValueError as error:
            problem, missing = problem or str(error), missing + 1
    if missing:
        logger.warning("%s: %d long-tailed configurations are left out: %s", task.title, missing, problem)
    return draws
