"""Features as a map: two numbers per example, so that examples that are alike lie together."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from sklearn.decomposition import PCA

from ...graph.normalization import normalize, pool_mean

MAPS = ("pca", "umap")
# Share of the examples at either end of an axis that is put on the edge: a few odd ones would squeeze the others.
_EDGE = 0.001


def usual_map() -> str:
    """UMAP if umap-learn is installed, else principal components."""
    return "umap" if find_spec("umap") is not None else "pca"


def project(features: np.ndarray, method: str = "pca") -> np.ndarray:
    """Places float32 [N, 2] in 0..1 of features [N, D], the same in every run.

    Args:
        features: real numbers.
        method: "pca", the two principal components, or "umap" (arXiv 1802.03426), which keeps neighbors together and
            takes longer.

    Raises:
        ValueError: for another method.
        ImportError: in one line, if umap-learn is missing.

    Example:
        >>> project(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).shape
        (3, 2)
    """
    if method not in MAPS:
        raise ValueError(f"--map must be one of {', '.join(MAPS)}, got {method!r}; choose one of them")
    nowhere = np.full((len(features), 2), 0.5, dtype=np.float32)
    if len(features) < 3 or features.shape[1] < 2:
        return nowhere
    normalized = normalize(features, pool_mean(features))
    if not np.ptp(normalized, axis=0).any():
        return nowhere
    if method == "umap" and len(features) > 15:
        return _unit(_umap(normalized))
    return _unit(PCA(2, random_state=0).fit_transform(normalized))


def _umap(features: np.ndarray) -> np.ndarray:
    try:
        umap = import_module("umap")
    except ImportError as error:
        raise ImportError(f'--map umap needs umap-learn ({error}); pip install "hf-ssl[inspect]"') from None
    return umap.UMAP(n_components=2, metric="cosine", random_state=0, n_jobs=1).fit_transform(features)


def _unit(places: np.ndarray) -> np.ndarray:
    """Both axes stretched to 0..1."""
    low, high = np.quantile(places, [_EDGE, 1 - _EDGE], axis=0)
    return np.clip((places - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0).astype(np.float32)
