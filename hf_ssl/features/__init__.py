"""Learning on the features of a frozen encoder: the short way from few labels to a classifier.

    dataset -- FeatureBank.encode --> features [N, D] --+-- Graph, propagate --> class probabilities [N, C]
               one pass, cached       memory-mapped     |
                                                        +-- FeatureClassifier --> classes, and a model's head

    inputs.py, windows.py, encoder.py, encoding.py    one pass over a dataset
    keys.py, store.py, bank.py                        the features kept on disk
    ../graph/                                         labels spread over the graph of nearest neighbors
    probe.py, balance.py, self_training.py            linear models, and how often each class is expected
    classifier.py                                     graph and linear models together
    ridge.py, ways.py, targets.py                     ways to predict numbers, mixed by left-out labels
    regressor.py, multi_label.py, answers.py          numbers; several labels per example
    picking.py                                        which examples to label next
    label_errors.py, near_duplicates.py               labels that look wrong, examples that are nearly the same
    start.py                                          the head of a training that begins so

The public names are imported on first use.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from ..graph.neighbors import nearest_neighbors
    from ..graph.normalization import normalize, pool_mean
    from ..graph.spreading import Graph, affinity, propagate
    from .bank import FeatureBank
    from .classifier import FeatureClassifier
    from .multi_label import MultiLabelFeatureClassifier
    from .picking import pick
    from .regressor import FeatureRegressor

__all__ = [
    "FeatureBank",
    "FeatureClassifier",
    "FeatureRegressor",
    "Graph",
    "MultiLabelFeatureClassifier",
    "affinity",
    "nearest_neighbors",
    "normalize",
    "pick",
    "pool_mean",
    "propagate",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "FeatureBank": "bank",
        "FeatureClassifier": "classifier",
        "FeatureRegressor": "regressor",
        "MultiLabelFeatureClassifier": "multi_label",
        "Graph": ".graph.spreading",
        "affinity": ".graph.spreading",
        "nearest_neighbors": ".graph.neighbors",
        "normalize": ".graph.normalization",
        "pick": "picking",
        "pool_mean": ".graph.normalization",
        "propagate": ".graph.spreading",
    },
)
