"""USB's draws of labeled and unlabeled examples, index by index, and its splits of raw training data.

The generator is NumPy's legacy one, freshly seeded for each draw (`numpy.random.RandomState`), because USB drew with
it: its stream will never change, and the global generator is neither read nor changed.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

# How class sizes of the pool go with those of the labeled set: see `pool_sizes`.
POOL_SHAPES = ("consistent", "uniform", "reversed", "middle", "head-tail")


def draw_labels(
    targets: Sequence[int] | np.ndarray,
    *,
    num_classes: int,
    num_labeled: int,
    seed: int,
    labeled_imbalance: float = 1.0,
    num_unlabeled: int | None = None,
    unlabeled_imbalance: float = 1.0,
    pool_shape: str = "consistent",
    shuffle_first: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose labeled examples as USB does (arXiv 2208.07204): the first of the shuffled indices of each class.

    With an imbalance gamma, class c = 1..C of the labeled set has N_c = N_1 gamma^(-(c - 1) / (C - 1)) examples,
    rounded down, and a negative gamma reverses the classes. The pool has the sizes M_c of `pool_sizes`.

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
        pool_shape: which classes of a long-tailed pool are frequent; see `pool_sizes`. Needs `num_unlabeled`.
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
    wanted = None
    if num_unlabeled is not None:
        wanted = pool_sizes(num_unlabeled, num_classes, unlabeled_imbalance, pool_shape)
    else:
        _refuse_shape_of_the_rest(unlabeled_imbalance, pool_shape)

    generator = np.random.RandomState(seed)
    order = generator.permutation(len(targets)) if shuffle_first else np.arange(len(targets))
    targets = targets[order]
    labeled, pool = [], []
    for index, size in enumerate(labeled_sizes):
        members = np.flatnonzero(targets == index)
        generator.shuffle(members)
        rest = members[size:]
        needed = size + (wanted[index] if wanted else 0)
        if 0 < len(members) < needed:
            raise ValueError(f"class {index} has {len(members):,} examples, this draw needs {needed:,} of it")
        labeled.append(members[:size])
        pool.append(rest if wanted is None else rest[: wanted[index]])
    return order[np.concatenate(labeled)].astype(np.int64), order[np.concatenate(pool)].astype(np.int64)


def _refuse_shape_of_the_rest(imbalance: float, shape: str) -> None:
    """Raise a ValueError if a pool that takes all the rest is given a shape."""
    for name, value, wanted in (("unlabeled_imbalance", imbalance, 1), ("pool_shape", shape, POOL_SHAPES[0])):
        if value != wanted:
            raise ValueError(
                f"{name} must be {wanted} without num_unlabeled, got {value}; for a long-tailed pool give "
                "num_unlabeled, the size of its most frequent class"
            )


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

    Note:
        As in USB, the power is a floating-point number that is rounded down, so that a size whose exact value is a
        whole number may be one less: of 64, 10 classes and gamma 512, class 5 has 1 example, not 2. None of USB's
        gammas, from 10 to 150, is concerned at its sizes.

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
    if not 1 <= gamma < math.inf or num_classes < 2:
        raise ValueError(
            f"an imbalance must be at least 1, or at most -1 for reversed classes, over two or more classes, got "
            f"{imbalance} over {num_classes}"
        )
    sizes = [int(number * gamma ** (-index / (num_classes - 1))) for index in range(num_classes)]
    # Rounding of the power may fall just short of the exact quotient.
    sizes[-1] = int(number / gamma)
    return sizes[::-1] if imbalance < 0 else sizes


def pool_sizes(number: int, num_classes: int, imbalance: float = 1.0, shape: str = "consistent") -> list[int]:
    """Examples of the pool per class, M_c, from M_1 = `number` and gamma = `imbalance`.

    The sizes of the ranks r = 0..C-1 are m_r = M_1 gamma^(-r / (C - 1)), rounded down, and the shape says which class
    has which rank:

        consistent   M_c = m_(c-1): as the labeled set (with a positive gamma; USB's negative one reverses)
        uniform      M_c = M_1, whatever gamma is
        reversed     M_c = m_(C-c)
        middle       the nearer c is to (C + 1) / 2, the more: ranks by |c - (C + 1) / 2|, of equals the first class
        head-tail    the farther, the more: the ranks of `middle` from the last to the first

    So all but `uniform` have the same sizes in another order. Reversed and uniform pools are those of USB (arXiv
    2208.07204) and ACR (Wei and Gan, CVPR 2023); middle and head-tail are after SimPro (Du et al. 2024,
    arXiv 2402.13505).

    Args:
        number: M_1, examples of the most frequent class; with an imbalance of 1 (and any shape) examples in all.
        num_classes: C.
        imbalance: gamma, see `class_sizes`; a negative one reverses the classes of every shape.
        shape: one of `POOL_SHAPES`.

    Raises:
        ValueError: for another shape, or a number or an imbalance out of range.

    Example:
        >>> {shape: pool_sizes(100, 5, 16, shape) for shape in POOL_SHAPES}  # doctest: +NORMALIZE_WHITESPACE
        {'consistent': [100, 50, 25, 12, 6],
         'uniform': [100, 100, 100, 100, 100],
         'reversed': [6, 12, 25, 50, 100],
         'middle': [12, 50, 100, 25, 6],
         'head-tail': [50, 12, 6, 25, 100]}
    """
    if shape not in POOL_SHAPES:
        raise ValueError(f"pool_shape must be one of {', '.join(POOL_SHAPES)}, got {shape!r}")
    sizes = class_sizes("num_unlabeled", number, num_classes, abs(imbalance))
    if imbalance == 1 or shape == "consistent":
        ordered = sizes
    elif shape == "uniform":
        ordered = [number] * num_classes
    elif shape == "reversed":
        ordered = sizes[::-1]
    else:
        by_distance = sorted(range(num_classes), key=lambda index: (abs(2 * index - num_classes + 1), index))
        if shape == "head-tail":
            by_distance.reverse()
        ordered = [sizes[by_distance.index(index)] for index in range(num_classes)]
    return ordered[::-1] if imbalance < 0 else ordered


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
