"""The algorithms that predict numbers: `REGRESSION_ALGORITHMS` is the table."""

from ..base import SSLAlgorithm
from ..mean_teacher import MeanTeacher
from ..pi_model import PiModel
from ..supervised import Supervised

REGRESSION_ALGORITHMS: dict[str, type[SSLAlgorithm]] = {
    "supervised": Supervised,
    "pi_model": PiModel,
    "mean_teacher": MeanTeacher,
}
