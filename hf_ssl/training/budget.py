"""As many steps as there is time for: a few steps are tried and timed, and the schedule is planned from that."""

import time
from statistics import median
from typing import Any

from transformers import Trainer, TrainerCallback

# Steps that are tried: the first one is slower, since memory is allocated and workers start.
TRIAL_STEPS = 4
# With fewer steps a schedule has no beginning and no end.
FEWEST_STEPS = 20


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


def step_seconds(trainer: Trainer) -> float:
    """Seconds per step of a trainer that is made for this and for `TRIAL_STEPS` steps; it is trained and used up.

    Raises:
        ValueError: if it trains fewer than two steps.
    """
    clock = _Clock()
    trainer.add_callback(clock)
    trainer.train()
    if len(clock.times) < 2:
        raise ValueError(f"at least 2 steps must be tried, got {len(clock.times)}; set max_steps={TRIAL_STEPS}")
    return median(later - earlier for earlier, later in zip(clock.times, clock.times[1:], strict=False))


def planned_steps(seconds: float, per_step: float, most: int) -> int:
    """Steps that fit into a time: at most `most`, and 0 if fewer than `FEWEST_STEPS` fit.

    Example:
        >>> planned_steps(60, per_step=0.5, most=100), planned_steps(60, 2.0, most=100), planned_steps(5, 1.0, 100)
        (100, 30, 0)
    """
    steps = min(int(seconds / per_step), most)
    return steps if steps >= FEWEST_STEPS else 0
