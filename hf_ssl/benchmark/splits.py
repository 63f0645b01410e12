"""USB's draws of labeled and unlabeled examples, index by index, and its splits of raw training data.

The generator is NumPy's legacy one, freshly seeded for each draw (`numpy.random.RandomState`), because USB drew with
it: its stream will never change, and the global generator is neither read nor changed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def draw_labels(
    targets: Sequence[int] | np.ndarray,
    *,
    num_classes: int,
    num_labeled: int,
    seed: int,
    labeled_imbalance: float = 1.0,
    num_unlabeled: int | None = None,
    unlabeled_imbalance: float = 1.0,
    shuffle_first: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose labeled examples as USB does (arXiv 2208.07204): the first of the shuffled indices of each class.

    Args:
        targets: classes [N], each 0 <= target < num_classes.
        num_classes: C. A class without any example gets no labels.
        num_labeled: labeled examples in all, a multiple of C; with `labeled_imbalance` those of the most frequent
            class.
        seed: of this draw.
        labeled_imbalance: gamma of a long-tailed draw (see `class_sizes`); 1 is balanced.
        num_unlabeled: examples of the pool in all (of the most frequent class with `unlabeled_imbalance`); None takes
            all that remain.
        unlabeled_imbalance: gamma of a long-tailed pool; needs `num_unlabeled`.
        shuffle_first: permute all examples once before drawing, as USB does for EuroSAT and TissueMNIST.

    Returns:
        The indices into `targets` of the labeled examples and of the remaining pool, int64 [L] and [U], class by class
        in the order of the draw. USB trains on both together as its unlabeled pool.

    Raises:
        ValueError: if a class has too few examples, or the numbers do not fit together.

    Example:
        >>> labeled, rest = draw_labels([0, 1, 0, 1, 0, 1], num_classes=2, num_labeled=4, seed=0)
        >>> labeled.tolist(), rest.tolist()
        ([4, 2, 5, 1], [0, 3])
    """
    targets = _checked_targets(targets, num_classes)
    labeled_sizes = class_sizes("num_labeled", num_labeled, num_classes, labeled_imbalance)
    pool_sizes = None
    if num_unlabeled is not None:
        pool_sizes = class_sizes("num_unlabeled", num_unlabeled, num_classes, unlabeled_imbalance)
    elif unlabeled_imbalance != 1:
        raise ValueError(
            f"unlabeled_imbalance must be 1 without num_unlabeled, got {unlabeled_imbalance}; for a long-tailed pool "
            "give num_unlabeled, the size of its most frequent class"
        )

    generator = np.random.RandomState(seed)
    order = generator.permutation(len(targets)) if shuffle_first else np.arange(len(targets))
    targets = targets[order]
    labeled, pool = [], []
    for index, size in enumerate(labeled_sizes):
        members = np.flatnonzero(targets == index)
        generator.shuffle(members)
        rest = members[size:]
        needed = size + (pool_sizes[index] if pool_sizes else 0)
        if 0 < len(members) < needed:
            raise ValueError(f"class {index} has {len(members):,} examples, this draw needs {needed:,} of it")
        labeled.append(members[:size])
        pool.append(rest if pool_sizes is None else rest[: pool_sizes[index]])
    return order[np.concatenate(labeled)].astype(np.int64), order[np.concatenate(pool)].astype(np.int64)


def _checked_targets(targets: Sequence[int] | np.ndarray, num_classes: int) -> np.ndarray:
    targets = np.asarray(targets)
    if targets.ndim != 1 or len(targets) == 0 or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets must be a non-empty list of integers, got {targets.dtype} of shape {targets.shape}")
    if targets.min() < 0 or targets.max() >= num_classes:
        wrong = targets.min() if targets.min() < 0 else targets.max()
        raise ValueError(f"targets must be 0 to {num_classes - 1} for {num_classes} classes, got {wrong}")
    return targets


def class_sizes(what: str, number: int, num_classes: int, imbalance: float = 1.0) -> list[int]:
    """Examples per class: number / C, or long-tailed int(number * gamma^(-k / (C - 1))) for class k.

    Args:
        what: name of the number, for errors.
        number: examples in all, a multiple of C; of the most frequent class if long-tailed.
        num_classes: C.
        imbalance: gamma, the ratio of the most to the least frequent class; 1 is balanced, and a negative gamma
            reverses the classes, so that the last one is the most frequent.

    Raises:
        ValueError: if the number or the imbalance is out of range.

    Example:
        >>> class_sizes("num_labeled", 100, 3, imbalance=100)
        [100, 10, 1]
    """
    if number < 1:
        raise ValueError(f"{what} must be at least 1, got {number}")
    if imbalance == 1:
        if number % num_classes:
            raise ValueError(f"{what} must be a multiple of the {num_classes} classes, got {number}")
        return [number // num_classes] * num_classes
    gamma = abs(imbalance)
    if gamma < 1 or num_classes < 2:
        raise ValueError(
            f"an imbalance must be at least 1, or at most -1 for reversed classes, over two or more classes, got "
            f"{imbalance} over {num_classes}"
        )
    sizes = [int(number * gamma ** (-index / (num_classes - 1))) for index in range(num_classes)]
    # Rounding of the power may fall just short of the exact quotient.
    sizes[-1] = int(number / gamma)
    return sizes[::-1] if imbalance < 0 else sizes


def index_hash(indices: np.ndarray) -> str:
    """SHA-256 of the indices as little-endian int64, in hexadecimal: the identity of a draw.

    Example:
        >>> index_hash(np.array([3, 1]))[:16]
        '9b768a7138e147b4'
    """
    return hashlib.sha256(np.asarray(indices).astype("<i8").tobytes()).hexdigest()


def split_per_class(
    targets: np.ndarray, sizes: Sequence[int], *, num_classes: int, seed: int = 0
) -> tuple[list[np.ndarray], list[int]]:
    """Cut each class, shuffled, into consecutive parts: train and validation of a text task.

    Args:
        targets: classes [N].
        sizes: how many examples per class go to each part.
        num_classes: C.
        seed: of the shuffles.

    Returns:
        The indices of each part, int64 and ascending, and the classes that had too few examples: those are cut in the
        proportion of `sizes`.

    Note:
        USB does not publish the generator of its shuffle, so its counts can be reproduced and its rows cannot; here it
        is a legacy generator with this seed, class by class.

    Example:
        >>> (train, validation), short = split_per_class(np.array([0, 1] * 5), (3, 1), num_classes=2)
        >>> len(train), len(validation), short
        (6, 2, [])
    """
    generator = np.random.RandomState(seed)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    short = []
    for index in range(num_classes):
        members = np.flatnonzero(targets == index)
        generator.shuffle(members)
        ends = np.cumsum(sizes)
        if len(members) < ends[-1]:
            short.append(index)
            ends = (len(members) * ends) // ends[-1]
        for part, start, end in zip(parts, [0, *ends[:-1]], ends, strict=True):
            part.append(members[start:end])
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts], short


def split_first_share(targets: np.ndarray, share: float, *, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `share` of each class in the given order, and the rest: USB's train and test of EuroSAT.

    Args:
        targets: classes [N].
        share: 0..1; counts are rounded down.
        num_classes: C.

    Returns:
        The indices of both parts, int64 and ascending.

    Example:
        >>> train, test = split_first_share(np.array([0, 0, 0, 0, 0, 1, 1]), 0.8, num_classes=2)
        >>> train.tolist(), test.tolist()
        ([0, 1, 2, 3, 5], [4, 6])
    """
    counts = [int(count * share) for count in np.bincount(targets, minlength=num_classes)]
    return _split_first(targets, counts)


def split_first_rows(targets: np.ndarray, rows: int, *, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `rows` of each class in the given order, and the rest; returns as `split_first_share`.

    Example:
        >>> first, rest = split_first_rows(np.array([0, 0, 1]), 1, num_classes=2)
        >>> first.tolist(), rest.tolist()
        ([0, 2], [1])
    """
    return _split_first(targets, [rows] * num_classes)


def _split_first(targets: np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    first = np.zeros(len(targets), dtype=bool)
    for index, count in enumerate(counts):
        first[np.flatnonzero(targets == index)[:count]] = True
    return np.flatnonzero(first).astype(np.int64), np.flatnonzero(~first).astype(np.int64)
