"""The algorithms for examples with any number of labels: `MULTI_LABEL_ALGORITHMS` is the table."""

from ..base import SSLAlgorithm
from ..mean_teacher import MeanTeacher
from ..supervised import Supervised

MULTI_LABEL_ALGORITHMS: dict[str, type[SSLAlgorithm]] = {"supervised": Supervised, "mean_teacher": MeanTeacher}
