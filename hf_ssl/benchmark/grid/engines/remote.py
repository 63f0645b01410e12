"""What the engines share that run cells on other machines."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from ..cell_file import key_in, note_error, read
from ..cells import Cell, result_path
from .base import Outcome, Work

# Module and name of the function that trains a cell. It is imported where cells run: it needs torch, and the process
# that waits for them does not.
RUNNER = ("hf_ssl.benchmark.grid.running", "run_cell")


def run_within_limit(cell: Cell, work: Work, runner: tuple[str, str] = RUNNER) -> Outcome:
    """`run_cell`, stopped with an error after `work.seconds_per_cell`; to be called in a process's main thread.

    Args:
        cell, work: as for `run_cell`.
        runner: module and name of that function.
    """
    run_cell = getattr(import_module(runner[0]), runner[1])
    try:
        with time_limit(work.seconds_per_cell):
            return run_cell(cell, work)
    except TimeoutError as error:  # it came while the outcome was being written
        return outcome_of(cell, work, error)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise a TimeoutError in this block after so many seconds; None for no limit.

    Signals do it, so that it is the block itself that stops, and leaves what it leaves after any other error. Systems
    without them, and other threads than the main one, have no limit.

    Example:
        >>> import time
        >>> with time_limit(0.01):
        ...     time.sleep(9)
        Traceback (most recent call last):
        TimeoutError: it took longer than 0 s
    """
    if (
        seconds is None
        or not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds:,.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def end_of(work: Work) -> float:
    """After which no further cell is started, in seconds since 1970: clocks of other machines know it, too."""
    return math.inf if work.seconds_in_all is None else time.time() + work.seconds_in_all


def outcome_of(cell: Cell, work: Work, error: Exception) -> Outcome:
    """How a cell ended whose process cannot tell it: finished, if its file is there, or else with this error."""
    path = result_path(work.results, cell)
    if key_in(path) == cell.key:
        return Outcome(cell, path, None, read(path)["runs"][0].get("seconds") or 0.0)
    return Outcome(cell, None, note_error(cell, work.results, error))


def number(option: str, value: str | float, least: float = 0.0) -> float:
    """The value of an engine's option that is a number.

    Args:
        option: its name, for the error.
        value: as it was typed.
        least: that it must be.

    Example:
        >>> number("hours", "1.5")
        1.5
        >>> number("hours", "long")
        Traceback (most recent call last):
        ValueError: --engine-option hours must be a number of at least 0, got 'long'; give one
    """
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not found >= least:
        raise ValueError(f"--engine-option {option} must be a number of at least {least:g}, got {value!r}; give one")
    return found
