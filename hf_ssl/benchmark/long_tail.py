"""Long-tailed labeled sets and pools from any labeled dataset, `long_tailed`, and from any task, `LongTailed`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from .splits import POOL_SHAPES, class_sizes, draw_labels, pool_sizes
from .tasks import Task


def long_tailed(
    dataset: datasets.Dataset,
    *,
    num_labeled: int,
    labeled_imbalance: float,
    num_unlabeled: int | None = None,
    unlabeled_imbalance: float | None = None,
    pool_shape: str = "consistent",
    seed: int = 0,
    label_column: str | None = None,
    shuffle_first: bool = False,
) -> datasets.DatasetDict:
    """A long-tailed labeled set and a pool of another examples, drawn from a labeled dataset.

    The class sizes are those of `hf_ssl.benchmark.splits.draw_labels`, in the order of the class indices: of a column
    of names that is their alphabetical order. The pool keeps its labels, which a training uses for nothing but the
    accuracy of pseudo-labels; the test set is the user's, and should be balanced.

    Args:
        dataset: labeled examples.
        num_labeled: labeled examples of the most frequent class (in all, if `labeled_imbalance` is 1).
        labeled_imbalance: ratio gamma of the most to the least frequent class; a negative one reverses the classes.
        num_unlabeled: examples of the pool of its most frequent class (in all, if `unlabeled_imbalance` is 1); None
            takes as many as the dataset has.
        unlabeled_imbalance: gamma of the pool; None for that of the labeled set.
        pool_shape: "consistent", "uniform", "reversed", "middle" or "head-tail"; see `pool_sizes`.
        seed: of the draw.
        label_column: found by its usual names if None.
        shuffle_first: see `draw_labels`.

    Returns:
        the splits "labeled" and "unlabeled".

    Raises:
        TypeError: if it is not a `datasets.Dataset`.
        ValueError: if there is no such column, a row has no label, or a class has too few examples.

    Example:
        >>> rows = {"text": [str(i) for i in range(60)], "label": ["cat", "dog", "fox"] * 20}
        >>> data = datasets.Dataset.from_dict(rows)
        >>> drawn = long_tailed(data, num_labeled=8, labeled_imbalance=4, pool_shape="reversed")
        >>> from collections import Counter
        >>> sorted(Counter(drawn["labeled"]["label"]).items()), sorted(Counter(drawn["unlabeled"]["label"]).items())
        ([('cat', 8), ('dog', 4), ('fox', 2)], [('cat', 4), ('dog', 9), ('fox', 18)])
    """
    targets, num_classes = _targets(dataset, label_column)
    unlabeled_imbalance = labeled_imbalance if unlabeled_imbalance is None else unlabeled_imbalance
    labeled_sizes = class_sizes("num_labeled", num_labeled, num_classes, labeled_imbalance)
    if min(labeled_sizes) < 1:
        raise ValueError(
            f"labeled_imbalance must leave every class a label, got {labeled_imbalance}, num_labeled={num_labeled}: "
            f"{labeled_sizes}; label more, or take a smaller one"
        )
    if num_unlabeled is None:
        left = np.bincount(targets, minlength=num_classes) - labeled_sizes
        num_unlabeled = largest_pool(left.tolist(), unlabeled_imbalance, pool_shape)
    labeled, pool = draw_labels(
        targets,
        num_classes=num_classes,
        num_labeled=num_labeled,
        seed=seed,
        labeled_imbalance=labeled_imbalance,
        num_unlabeled=num_unlabeled,
        unlabeled_imbalance=unlabeled_imbalance,
        pool_shape=pool_shape,
        shuffle_first=shuffle_first,
    )
    return datasets.DatasetDict({"labeled": dataset.select(labeled), "unlabeled": dataset.select(pool)})


@dataclass(frozen=True)
class LongTailed:
    """The long tail that `load_task` is asked for.

    Args:
        labeled_imbalance, unlabeled_imbalance, pool_shape, num_unlabeled: as in `load_task`.
    """

    labeled_imbalance: float
    unlabeled_imbalance: float | None
    pool_shape: str
    num_unlabeled: int | None

    @property
    def is_balanced(self) -> bool:
        """Whether nothing is asked for."""
        return (*vars(self).values(),) == (1, None, POOL_SHAPES[0], None)

    def check(self, task: Task, deduplicated: bool) -> None:
        """Refuse what a task does not allow, before its data are loaded.

        Raises:
            ValueError: if the pool is a split of its own, with labels that are not known, and is to have a shape.
        """
        if deduplicated:
            raise ValueError("deduplicated must be False for a long tail, got True; leave one of them out")
        wanted = self.unlabeled_imbalance, self.num_unlabeled, self.pool_shape
        if "unlabeled" in task.sizes and wanted != (None, None, POOL_SHAPES[0]):
            raise ValueError(
                f"the pool of {task.name} is a split of its own whose classes are not known, so it is taken as it is; "
                "leave unlabeled_imbalance, num_unlabeled and pool_shape out"
            )

    def draw(self, task: Task, full: datasets.DatasetDict, num_labeled: int, seed: int) -> datasets.DatasetDict:
        """Labeled set and pool from the configuration `full`, with its splits for evaluation."""
        train = full["train"]
        given: dict[str, Any] = {"num_labeled": num_labeled, "labeled_imbalance": self.labeled_imbalance, "seed": seed}
        if "unlabeled" in full:
            targets, num_classes = _targets(train, task.label_column)
            labeled, _ = draw_labels(targets, num_classes=num_classes, shuffle_first=task.shuffle_first, **given)
            drawn = {"labeled": train.select(labeled), "unlabeled": full["unlabeled"]}
        else:
            pool: dict[str, Any] = {
                name: getattr(self, name) for name in ("num_unlabeled", "unlabeled_imbalance", "pool_shape")
            }
            column, shuffled = task.label_column, task.shuffle_first
            drawn = dict(long_tailed(train, **given, **pool, label_column=column, shuffle_first=shuffled))
        rest = {split: full[split] for split in ("validation", "test") if split in full}
        return datasets.DatasetDict({**drawn, **rest})


def _targets(dataset: datasets.Dataset, label_column: str | None) -> tuple[np.ndarray, int]:
    # They bring torch, which the benchmark's other commands do without.
    from ..data.columns import check_kind, find_label
    from ..data.labels import find_classes, read_labels

    check_kind(dataset, "dataset")
    column = find_label(dataset, label_column)
    labels = read_labels(dataset, column, "given")
    if None in labels:
        raise ValueError(
            f"every row must have a label, but row {labels.index(None)} has none in column {column!r}; leave it out"
        )
    classes = find_classes(labels, dataset.features[column])
    return np.asarray([classes.index_of[label] for label in labels]), len(classes.names)


def largest_pool(available: Sequence[int], imbalance: float, shape: str) -> int:
    """The largest `num_unlabeled` for which no class needs more than its available examples.

    Args:
        available: examples [C] that are not labeled.
        imbalance, shape: as `pool_sizes` takes them.

    Raises:
        ValueError: if some class has none left.

    Example:
        >>> largest_pool([90, 90, 9], 16, "consistent"), largest_pool([90, 90, 9], 16, "reversed")
        (90, 9)
    """
    classes = len(available)

    def fits(number: int) -> bool:
        return all(
            size <= left for size, left in zip(pool_sizes(number, classes, imbalance, shape), available, strict=True)
        )

    step = classes if imbalance == 1 else 1
    low, high = 0, max(sum(available), 0) // step + 1
    # Sizes grow with the number, so the largest that fits is found by halving.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    if low == 0:
        raise ValueError(f"every class must have examples left for the pool, got {list(available)[:20]}; label fewer")
    return low * step
