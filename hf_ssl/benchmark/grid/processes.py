"""Ending processes together with all that they started, which outlive them otherwise."""

import contextlib

import psutil


def end_tree(pid: int, *, itself: bool = True) -> None:
    """Kill the processes that a process started, theirs, and the process itself; those that are gone are no error.

    Launchers give their processes sessions of their own, so that no signal to a group would reach them.

    Args:
        pid: of the process, while it runs: afterwards nothing tells what it had started.
        itself: kill it, too.
    """
    try:
        process = psutil.Process(pid)
        # The process first: it must not start others instead of those that end.
        tree = [process] * itself + process.children(recursive=True)
    except psutil.Error:
        return
    for part in tree:
        with contextlib.suppress(psutil.Error):
            part.kill()
