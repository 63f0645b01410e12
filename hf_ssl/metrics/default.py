"""Which metrics an evaluation gives if the user names none: those of the kind of problem.

one class        `RunningMetrics`: accuracy and means over the classes
several labels   `multi_label_metrics` of the probabilities of the labels
numbers          `regression_metrics`
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit
from transformers import EvalPrediction

from ..problem_types import MULTI_LABEL, SINGLE_LABEL
from .classification import RunningMetrics, prediction_arrays
from .multi_label import multi_label_metrics
from .regression import regression_metrics


class CollectedMetrics:
    """A `compute_metrics` for `Trainer` from a function of all answers, which may come batch by batch.

    Args:
        function: metrics by name of answers [N, C] and labels [N, C].

    Example:
        >>> error = CollectedMetrics(lambda answers, labels: {"mae": float(abs(answers - labels).mean())})
        >>> error(EvalPrediction(np.array([[1.0]]), np.array([[2.0]])), compute_result=False)
        {}
        >>> error(EvalPrediction(np.array([[1.0]]), np.array([[4.0]])), compute_result=True)
        {'mae': 2.0}
    """

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], dict[str, float]]):
        self.function = function
        self.clear()

    def clear(self) -> None:
        """Forget the batches so far."""
        self._answers: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Add a batch (or all of them); with `compute_result` the metrics over everything since the last result.

        They are NaN if an answer is NaN or infinite.
        """
        answers, labels = prediction_arrays(prediction)
        self._answers.append(answers)
        self._labels.append(labels)
        if not compute_result:
            return {}
        answers, labels = np.concatenate(self._answers), np.concatenate(self._labels)
        self.clear()
        usable = np.isfinite(answers).reshape(len(answers), -1).all(axis=1)
        metrics = self.function(np.where(usable[:, None], answers.reshape(len(answers), -1), 0), labels)
        return metrics if usable.all() else dict.fromkeys(metrics, float("nan"))


def default_metrics(data: Any = None) -> RunningMetrics | CollectedMetrics:
    """The metrics of a trainer whose user names none.

    Args:
        data: has `problem_type` and `label_names`, as `hf_ssl.data.columns.DataSummary`; None as long as there are no
            data: one class per example.

    Example:
        >>> from types import SimpleNamespace
        >>> metrics = default_metrics(SimpleNamespace(problem_type="regression", label_names=["price"]))
        >>> metrics(EvalPrediction(np.array([[2.0], [4.0]]), np.array([[1.0], [4.0]])))["mae"]
        0.5
    """
    if data is None or data.problem_type == SINGLE_LABEL:
        return RunningMetrics()
    if data.problem_type == MULTI_LABEL:
        return CollectedMetrics(_of_logits)
    return CollectedMetrics(partial(regression_metrics, names=data.label_names))


def _of_logits(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return multi_label_metrics(expit(logits.astype(np.float64)), labels)
