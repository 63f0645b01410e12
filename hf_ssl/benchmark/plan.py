"""What a build will write, decided from labels alone: which rows go to which split, and which are drawn as labeled."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import repository
from .readers import RawSplit
from .splits import draw_labels, index_hash, split_first_rows, split_first_share, split_per_class
from .tasks import Task

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """Rows of a raw split that become a published split.

    Args:
        split: name of the published split.
        raw: the raw split.
        indices: ascending, or None for all rows.
    """

    split: str
    raw: RawSplit
    indices: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Class indices [n], int64."""
        return self.raw.labels if self.indices is None else self.raw.labels[self.indices]


class Draw(NamedTuple):
    """A draw of labels.

    Args:
        num_labeled: the setting.
        seed: of the draw.
        labeled: indices of the labeled training examples, in order.
        rest_sha256: identity of the remaining training examples.
    """

    num_labeled: int
    seed: int
    labeled: np.ndarray
    rest_sha256: str


def plan(task: Task, raw: dict[str, RawSplit]) -> dict[str, Part]:
    """Which raw rows become which published split, in the task's order of splits.

    Raises:
        ValueError: if the source lacks a split that cannot be made from the others, or has an impossible label.
    """
    if "train" not in raw:
        raise ValueError(f"the source of {task.title} has no training examples; it has {', '.join(raw) or 'nothing'}")
    parts = {split: Part(split, raw[split]) for split in task.sizes if split in raw}
    for part in _cut(task, raw):
        parts[part.split] = part
    missing = [split for split in task.sizes if split not in parts]
    if missing and missing != ["validation"]:
        raise ValueError(f"the source of {task.title} has no {missing[0]} examples; it has {', '.join(raw)}")
    if missing:
        logger.warning("%s: the source has no validation examples, so there is no validation split", task.title)
    parts = {split: parts[split] for split in task.sizes if split in parts}
    for split, part in parts.items():
        if len(part.labels) != task.sizes[split]:
            logger.warning(
                "%s: %s has %s examples, USB %s", task.title, split, f"{len(part.labels):,}", f"{task.sizes[split]:,}"
            )
        _check_labels(task, part)
    return parts


def _cut(task: Task, raw: dict[str, RawSplit]) -> Iterator[Part]:
    """The splits that USB cuts from the publisher's: validation from train, test from train, or a part of test."""
    train, classes = raw["train"], len(task.class_names)
    if task.per_class and "validation" not in raw:
        indices, short = split_per_class(train.labels, task.per_class, num_classes=classes)
        if short:
            logger.warning(
                "%s: the source has fewer than the %s training rows per class that USB takes (for %d classes, among "
                "them %r); all are taken, in the same proportion of train and validation. This is not USB's split.",
                task.title,
                f"{sum(task.per_class):,}",
                len(short),
                task.class_names[short[0]],
            )
        yield Part("train", train, indices[0])
        yield Part("validation", train, indices[1])
    if task.train_share and "test" not in raw:
        first, rest = split_first_share(train.labels, task.train_share, num_classes=classes)
        yield Part("train", train, first)
        yield Part("test", train, rest)
    if task.test_per_class and "test" in raw and len(raw["test"].labels) > task.sizes["test"]:
        first, _ = split_first_rows(raw["test"].labels, task.test_per_class, num_classes=classes)
        yield Part("test", raw["test"], first)


def _check_labels(task: Task, part: Part) -> None:
    if len(part.labels) == 0:
        raise ValueError(f"{task.title}: the source has no example for {part.split}")
    lowest, highest = -1 if part.split == "unlabeled" else 0, len(task.class_names) - 1
    wrong = np.flatnonzero((part.labels < lowest) | (part.labels > highest))
    if len(wrong):
        raise ValueError(
            f"{task.title}: the label of example {wrong[0] + 1:,} of {part.split} must be {lowest} to {highest}, "
            f"got {part.labels[wrong[0]]}"
        )


def draw_all(task: Task, labels: np.ndarray) -> list[Draw]:
    """Every draw of the task that its training examples allow.

    Raises:
        ValueError: if they allow none.
    """
    draws: list[Draw] = []
    problem = None
    for num_labeled, seed in repository.draws_of(task):
        try:
            draws.append(make_draw(task, labels, num_labeled, seed))
        except ValueError as error:
            found = f"no {num_labeled:,} labels can be drawn: {error}"
            problem = problem or found
            if seed == task.seeds[0]:
                logger.warning("%s: %s; these configurations are left out", task.title, found)
    if not draws:
        raise ValueError(f"{task.title}: {problem}")
    return draws


def make_draw(task: Task, labels: np.ndarray, num_labeled: int, seed: int) -> Draw:
    """One draw from the training examples, or all of them if the labeled set is given; errors as in `draw_labels`.

    Example:
        >>> from hf_ssl.benchmark import TASKS
        >>> make_draw(TASKS["aclImdb"], np.array([0, 1] * 20), num_labeled=4, seed=0).labeled.tolist()
        [36, 2, 23, 3]
    """
    if task.given_labels:
        given = np.arange(len(labels), dtype=np.int64)
        return Draw(num_labeled, seed, given, index_hash(given[:0]))
    labeled, rest = draw_labels(
        labels, num_classes=len(task.class_names), num_labeled=num_labeled, seed=seed, shuffle_first=task.shuffle_first
    )
    return Draw(num_labeled, seed, labeled, index_hash(rest))
