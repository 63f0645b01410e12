"""Examples that are nearly the same: the same photograph saved again, a text with a word changed, a cut recording."""

import numpy as np

from .normalization import unit_rows

# Rows of each side that are compared at once.
_BLOCK = 4_096


def near_duplicates(
    features: np.ndarray, other: np.ndarray | None = None, similarity: float = 0.98
) -> list[tuple[int, int, float]]:
    """Pairs of rows that are nearly the same, the most similar first.

    Args:
        features: [N, D], real numbers.
        other: [M, D] to compare with; the rows of `features` among themselves if None.
        similarity: the least cosine of a pair, in (0, 1].

    Returns:
        (row in `features`, row in `other`, cosine) per pair; without `other` each pair once, the smaller row first.

    Example:
        >>> pairs = near_duplicates(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]))
        >>> [(row, same, round(cosine, 3)) for row, same, cosine in pairs]
        [(0, 2, 0.995)]
    """
    first = unit_rows(features)
    second = first if other is None else unit_rows(other)
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(first), _BLOCK):
        for begin in range(start if other is None else 0, len(second), _BLOCK):
            cosines = first[start : start + _BLOCK] @ second[begin : begin + _BLOCK].T
            rows, columns = np.nonzero(cosines >= similarity)
            for row, column in zip(rows, columns, strict=True):
                if other is not None or row + start < column + begin:
                    found.append((int(row + start), int(column + begin), float(min(cosines[row, column], 1.0))))
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))
