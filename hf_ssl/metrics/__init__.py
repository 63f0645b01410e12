"""How well a model predicts, without network.

    classification.py   one class per example: accuracy, means over the classes, and a module of `evaluate`
    multi_label.py      any number of labels per example: mean average precision, F1, and thresholds that suit them

The public names are imported on first use.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .classification import (
        METRICS,
        ClassificationMetrics,
        RunningMetrics,
        class_metrics,
        class_recalls,
        classification_metrics,
        compute_metrics,
        finite_rows,
        geometric_mean,
        ranking_metrics,
        size_metrics,
    )

__all__ = [
    "METRICS",
    "ClassificationMetrics",
    "RunningMetrics",
    "class_metrics",
    "class_recalls",
    "classification_metrics",
    "compute_metrics",
    "finite_rows",
    "geometric_mean",
    "ranking_metrics",
    "size_metrics",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METRICS": "classification",
        "ClassificationMetrics": "classification",
        "RunningMetrics": "classification",
        "class_metrics": "classification",
        "class_recalls": "classification",
        "classification_metrics": "classification",
        "compute_metrics": "classification",
        "finite_rows": "classification",
        "geometric_mean": "classification",
        "ranking_metrics": "classification",
        "size_metrics": "classification",
    },
)
