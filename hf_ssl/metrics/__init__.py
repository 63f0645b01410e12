"""How well a model predicts, without network.

    classification.py   one class per example: accuracy, means over the classes, and a module of `evaluate`
    multi_label.py      any number of labels per example: mean average precision, F1, and thresholds that suit them
    regression.py       numbers: absolute and squared error, share of the variance, correlation of the ranks

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
    from .regression import REGRESSION_METRICS, RunningRegressionMetrics, regression_metrics

__all__ = [
    "METRICS",
    "REGRESSION_METRICS",
    "ClassificationMetrics",
    "RunningMetrics",
    "RunningRegressionMetrics",
    "class_metrics",
    "class_recalls",
    "classification_metrics",
    "compute_metrics",
    "finite_rows",
    "geometric_mean",
    "ranking_metrics",
    "regression_metrics",
    "size_metrics",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METRICS": "classification",
        "ClassificationMetrics": "classification",
        "REGRESSION_METRICS": "regression",
        "RunningMetrics": "classification",
        "RunningRegressionMetrics": "regression",
        "class_metrics": "classification",
        "class_recalls": "classification",
        "classification_metrics": "classification",
        "compute_metrics": "classification",
        "finite_rows": "classification",
        "geometric_mean": "classification",
        "ranking_metrics": "classification",
        "regression_metrics": "regression",
        "size_metrics": "classification",
    },
)
