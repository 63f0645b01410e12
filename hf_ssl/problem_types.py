"""What is predicted of an example, in the terms of transformers' `config.problem_type`.

SINGLE_LABEL  one of C classes               labels [N], int64
MULTI_LABEL   any of C labels, or none       labels [N, C], 0 or 1
REGRESSION    K numbers, in the user's units labels [N, K]
"""

from typing import NamedTuple

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
# As in "algorithms for ...".
IN_WORDS = {SINGLE_LABEL: "one class per example", MULTI_LABEL: "several labels per example", REGRESSION: "numbers"}


class MainMetric(NamedTuple):
    """The one number by which models are compared, and whether more of it is better."""

    name: str
    greater_is_better: bool


MAIN_METRICS = {
    SINGLE_LABEL: MainMetric("accuracy", True),
    MULTI_LABEL: MainMetric("map", True),
    REGRESSION: MainMetric("mae", False),
}
# All that is measured by default of several labels, and of numbers; `hf_ssl.metrics` says what they are.
MULTI_LABEL_METRICS = ("map", "micro_f1", "macro_f1", "subset_accuracy")
REGRESSION_METRICS = ("mae", "rmse", "r2", "spearman")
