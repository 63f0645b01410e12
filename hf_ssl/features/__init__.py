"""Learning on the features of a frozen encoder: the short way from few labels to a classifier.

    dataset -- FeatureBank.encode --> features [N, D] -- Graph, propagate --> class probabilities [N, C]
               one pass, cached       memory-mapped

The public names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "FeatureBank": "bank",
    "FeatureClassifier": "classifier",
    "Graph": "graph",
    "affinity": "graph",
    "nearest_neighbors": "neighbors",
    "normalize": "normalization",
    "pool_mean": "normalization",
    "propagate": "graph",
}

__all__ = [*_PUBLIC]

if TYPE_CHECKING:
    from .bank import FeatureBank  # noqa: F401
    from .classifier import FeatureClassifier  # noqa: F401
    from .graph import Graph, affinity, propagate  # noqa: F401
    from .neighbors import nearest_neighbors  # noqa: F401
    from .normalization import normalize, pool_mean  # noqa: F401


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
