"""How well a model predicts, without network.

    classification.py   one class per example: accuracy, means over the classes, and a module of `evaluate`
    multi_label.py      any number of labels per example: mean average precision, F1, and thresholds that suit them
    regression.py       numbers: absolute and squared error, share of the variance, correlation of the ranks
    default.py          what the trainer measures if the user names no metrics

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
        foreign_auroc,
        geometric_mean,
        ranking_metrics,
        size_metrics,
    )
    from .multi_label import (
        MultiLabelMetrics,
        average_precisions,
        decision_metrics,
        multi_label_metrics,
        tune_thresholds,
    )
    from .regression import regression_metrics

__all__ = [
    "METRICS",
    "ClassificationMetrics",
    "MultiLabelMetrics",
    "RunningMetrics",
    "average_precisions",
    "class_metrics",
    "class_recalls",
    "classification_metrics",
    "compute_metrics",
    "decision_metrics",
    "finite_rows",
    "foreign_auroc",
    "geometric_mean",
    "multi_label_metrics",
    "ranking_metrics",
    "regression_metrics",
    "size_metrics",
    "tune_thresholds",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METRICS": "classification",
        "ClassificationMetrics": "classification",
        "MultiLabelMetrics": "multi_label",
        "RunningMetrics": "classification",
        "average_precisions": "multi_label",
        "class_metrics": "classification",
        "class_recalls": "classification",
        "classification_metrics": "classification",
        "compute_metrics": "classification",
        "decision_metrics": "multi_label",
        "finite_rows": "classification",
        "foreign_auroc": "classification",
        "geometric_mean": "classification",
        "multi_label_metrics": "multi_label",
        "ranking_metrics": "classification",
        "regression_metrics": "regression",
        "size_metrics": "classification",
        "tune_thresholds": "multi_label",
    },
)
