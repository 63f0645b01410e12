"""The algorithms that predict numbers: `REGRESSION_ALGORITHMS` is the table.

consistency  the Pi-Model and Mean Teacher of numbers
ucvme        predictions with their own uncertainty, which weighs what the pool teaches
rankup       the order of pairs of examples, learned as FixMatch learns classes
alignment    what RankUp may add: predictions of the pool are distributed like the labels

All of them compute in standardized numbers, see `SSLAlgorithm.standardized`; models answer in the user's units.
"""

from ..base import SSLAlgorithm
from ..supervised import Supervised
from .consistency import NumberMeanTeacher, NumberPiModel
from .rankup import RankUp
from .ucvme import UCVME

REGRESSION_ALGORITHMS: dict[str, type[SSLAlgorithm]] = {
    "supervised": Supervised,
    "pi_model": NumberPiModel,
    "mean_teacher": NumberMeanTeacher,
    "ucvme": UCVME,
    "rankup": RankUp,
}
