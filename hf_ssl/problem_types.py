"""What is predicted of an example, in the terms of transformers' `config.problem_type`.

SINGLE_LABEL  one of C classes               labels [N], int64
MULTI_LABEL   any of C labels, or none       labels [N, C], 0 or 1
REGRESSION    K numbers, in the user's units labels [N, K]
"""

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
# As in "algorithms for ...".
IN_WORDS = {SINGLE_LABEL: "one class per example", MULTI_LABEL: "several labels per example", REGRESSION: "numbers"}
