"""Features made comparable: length 1, without the mean of the pool.

Encoders put all inputs into a narrow cone: two unrelated texts may have a cosine of 0.6. Once the direction that all
share is taken away, cosines tell examples apart.
"""

import numpy as np

# Rows that are worked on at once, so that memory-mapped features are read in parts (64 MB with 1,024 numbers per row).
_ROWS = 16_384


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Every row divided by its length: float32 [N, D]. Rows of zeros stay zero, rows not finite become NaN."""
    features = np.asarray(features, dtype=np.float32)
    # Scaled by the largest entry first: squares of numbers above 1e19 or below 1e-23 do not fit into float32.
    largest = np.abs(features).max(axis=1, keepdims=True, initial=0.0)
    largest[~np.isfinite(largest)] = np.nan
    scaled = features / np.where(largest == 0, 1.0, largest)
    length = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]
    return scaled / np.where(length == 0, 1.0, length)


def pool_mean(features: np.ndarray) -> np.ndarray:
    """The mean of the rows after each is scaled to length 1, float32 [D]. Rows that are not finite are left out.

    Args:
        features: [N, D], real numbers; may be memory-mapped.

    Raises:
        ValueError: if `features` is not a matrix, or no row of it is finite.
    """
    features = _matrix(features)
    total, count = np.zeros(features.shape[1]), 0
    for start in range(0, len(features), _ROWS):
        rows = unit_rows(features[start : start + _ROWS])
        rows = rows[np.isfinite(rows).all(axis=1)]
        total += rows.sum(axis=0, dtype=np.float64)
        count += len(rows)
    if count == 0:
        raise ValueError(f"features must hold at least one finite row, got none in {len(features)}; encode them again")
    return (total / count).astype(np.float32)


def normalize(features: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Rows scaled to length 1, the pool's mean subtracted, and scaled to length 1 again: float32 [N, D].

    Args:
        features: [N, D], real numbers; may be memory-mapped, since it is read in parts.
        mean: [D], the `pool_mean` of the features that the model of the pool was fitted to, for rows that are not
            among them; by default that of `features`.

    Rows of zeros stay zero. Rows that are not finite (examples that could not be read) become NaN.

    Raises:
        ValueError: if the shapes do not fit together, or no row is finite.

    Example:
        >>> normalize(np.array([[3.0, 1.0], [3.0, -1.0]])).round(3).tolist()
        [[0.0, 1.0], [0.0, -1.0]]
    """
    features = _matrix(features)
    mean = pool_mean(features) if mean is None else np.asarray(mean, dtype=np.float32)
    if mean.shape != features.shape[1:]:
        raise ValueError(f"mean must have shape {features.shape[1:]}, got {mean.shape}; use pool_mean(features)")
    result = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _ROWS):
        part = slice(start, start + _ROWS)
        result[part] = unit_rows(unit_rows(features[part]) - mean)
    return result


def _matrix(features: np.ndarray) -> np.ndarray:
    features = features if isinstance(features, np.ndarray) else np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features must be a matrix [N, D], got shape {features.shape}; stack one vector per example")
    return features
