"""What is said when a pretrained model is loaded: nothing of its new head, which every training begins with.

transformers prints a table of all weights that a model and its files do not share. A classifier that is made of a
pretrained model always has some, those of its head and of the head that the files had; others are a real problem.
"""

import logging as python_logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.utils import logging

logger = logging.get_logger(__name__)

# The loggers of transformers -> what begins or names the lines that are left out.
_EXPECTED = {
    "transformers.modeling_utils": ("LOAD REPORT",),
    "transformers.configuration_utils": ("You passed `num_labels",),
}
_SHOWN = 3


@contextmanager
def without_report() -> Iterator[None]:
    """Leave out transformers' table of weights, and its remark on a new number of classes, while a model is loaded."""
    filters = {name: _without(phrases) for name, phrases in _EXPECTED.items()}
    for name, leave_out in filters.items():
        python_logging.getLogger(name).addFilter(leave_out)
    try:
        yield
    finally:
        for name, leave_out in filters.items():
            python_logging.getLogger(name).removeFilter(leave_out)


def _without(phrases: tuple[str, ...]) -> Any:
    return lambda record: not any(phrase in record.getMessage() for phrase in phrases)


def warn_of_lost_weights(model: nn.Module, found: Mapping[str, Any], name: str) -> None:
    """Warn of weights below the head that the files lack, or have and the model does not use.

    Args:
        model: as `from_pretrained` returned it.
        found: what it said about the weights with `output_loading_info=True`.
        name: Hub id or path, for the warning.
    """
    start = f"{getattr(model, 'base_model_prefix', '')}."
    mismatched = {key[0] if isinstance(key, tuple) else key for key in found.get("mismatched_keys", ())}
    for keys, what in (
        ({*found.get("missing_keys", ())} - mismatched, "are not in its files and start at random numbers"),
        (mismatched, "have another shape in its files and start at random numbers"),
        ({*found.get("unexpected_keys", ())}, "in its files are not used"),
    ):
        lost = sorted(key for key in keys if len(start) > 1 and key.startswith(start))
        if lost:
            shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
            logger.warning(
                f"{len(lost):,} weights of {name} below the head {what}: {shown}; check that it is this model"
            )
