"""Processes that tests start, and wait for only so long."""

import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def start_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; returns its id. An exception is printed, and ends it with status 1."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(child: int, seconds: float = 120) -> int:
    """Wait for a forked process; its exit status, or minus the signal that ended it.

    Raises:
        TimeoutError: if it runs longer; it is killed.
    """
    found: list[int] = []

    def has_ended() -> bool:
        process, status = os.waitpid(child, os.WNOHANG)
        found.extend([os.waitstatus_to_exitcode(status)] if process else [])
        return bool(found)

    _wait(has_ended, child, seconds)
    return found[0]


def wait_until(reached: Callable[[], bool], child: int, seconds: float = 120) -> None:
    """Wait until a forked process has done something.

    Raises:
        ChildProcessError: if it ends before.
        TimeoutError: if it takes longer; it is killed.
    """

    def reached_or_ended() -> bool:
        if reached():
            return True
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            raise ChildProcessError(f"process {child} ended with status {os.waitstatus_to_exitcode(status)} too early")
        return False

    _wait(reached_or_ended, child, seconds)


def _wait(done: Callable[[], bool], child: int, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"process {child} was waited for longer than {seconds} s, and was killed")
        time.sleep(0.01)


@contextmanager
def at_most(seconds: float, process: subprocess.Popen) -> Iterator[None]:
    """Kill a process that still runs after this time; inside the block reading from it then ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
