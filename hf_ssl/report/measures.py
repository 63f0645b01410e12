"""The number by which models of each kind of problem are compared: how results call it, and how it is shown.

one class        accuracy, in percent                  test_accuracy, best_accuracy
several labels   mean average precision, in percent    test_map, best_map
numbers          mean absolute error, in their units   test_mae, best_mae

Pseudo-labels are measured by accuracy, micro F1 (in percent) and mean absolute error.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from ..problem_types import MAIN_METRICS, MULTI_LABEL, REGRESSION, SINGLE_LABEL


class Measure(NamedTuple):
    """A number by which models are compared.

    Args:
        name: of the metric, which rows of `results.json` have behind "test_" and "best_".
        title: in words.
        is_share: whether it is shown in percent.
        greater_is_better: whether more of it is better.
        pseudo: what the log calls the measure of pseudo-labels, which is a share as well, or none.
        pseudo_title: the same in words.
    """

    name: str
    title: str
    is_share: bool
    greater_is_better: bool
    pseudo: str
    pseudo_title: str

    def text(self, values: Sequence[float]) -> str:
        """The mean of some values, and with several of them their standard deviation; "-" without any.

        Example:
            >>> MEASURES["regression"].text([2.125]), MEASURES["multi_label_classification"].text([0.5, 0.6])
            ('2.125', '55.0 % ± 7.1')
        """
        if not values:
            return "-"
        spread = stdev(values) if len(values) > 1 else None
        if self.is_share:
            return f"{100 * mean(values):.1f} %" + ("" if spread is None else f" ± {100 * spread:.1f}")
        return f"{mean(values):.4g}" + ("" if spread is None else f" ± {spread:.2g}")


_TITLES = {
    SINGLE_LABEL: ("accuracy", True, "pseudo_label_accuracy", "pseudo-label accuracy"),
    MULTI_LABEL: ("mean average precision", True, "pseudo_label_f1", "pseudo-label micro F1"),
    REGRESSION: ("mean absolute error", False, "pseudo_label_mae", "pseudo-label error"),
}
MEASURES = {
    kind: Measure(MAIN_METRICS[kind].name, title, is_share, MAIN_METRICS[kind].greater_is_better, *pseudo)
    for kind, (title, is_share, *pseudo) in _TITLES.items()
}


def measure_of(runs: Sequence[Mapping[str, Any]]) -> Measure:
    """The measure of rows of `results.json`, which are all of one kind of problem.

    Example:
        >>> measure_of([{"algorithm": "cap", "problem_type": "multi_label_classification"}]).name
        'map'
    """
    return MEASURES[next((run["problem_type"] for run in runs if "problem_type" in run), SINGLE_LABEL)]


def tested(run: Mapping[str, Any]) -> float | None:
    """The measure of one row on the test set; None if it was not measured.

    Example:
        >>> tested({"test_mae": 1.5, "problem_type": "regression"}), tested({"test_accuracy": None})
        (1.5, None)
    """
    return run.get(f"test_{measure_of([run]).name}")
