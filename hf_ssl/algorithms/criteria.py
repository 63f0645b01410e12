"""What is minimized on labeled examples, for each kind of problem."""

from .. import losses
from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .problem import Criterion

# Kind of problem -> loss of logits [N, C] and labels in its form (see `hf_ssl.problem_types`), with weights [N] or
# None. Numbers are compared in units of their standard deviation.
LABELED_LOSSES: dict[str, Criterion] = {
    SINGLE_LABEL: losses.cross_entropy,
    MULTI_LABEL: losses.binary_cross_entropy,
    REGRESSION: losses.number_error,
}
