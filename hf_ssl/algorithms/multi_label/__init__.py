"""The algorithms for examples with any number of labels: `MULTI_LABEL_ALGORITHMS` is the table.

base.py          the loss that they share, which may be asymmetric
thresholds.py    which labels of an example the pool teaches
supervised ...   one file for each algorithm
"""

from ..base import SSLAlgorithm
from .cap import CAP
from .fixmatch import MultiLabelFixMatch
from .mean_teacher import MultiLabelMeanTeacher
from .pseudo_label import MultiLabelPseudoLabel
from .supervised import MultiLabelSupervised

MULTI_LABEL_ALGORITHMS: dict[str, type[SSLAlgorithm]] = {
    "supervised": MultiLabelSupervised,
    "pseudo_label": MultiLabelPseudoLabel,
    "mean_teacher": MultiLabelMeanTeacher,
    "fixmatch": MultiLabelFixMatch,
    "cap": CAP,
}
