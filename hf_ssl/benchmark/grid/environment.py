"""The environment of a cell: what its process must be told before it imports torch, and variables for a while."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def repeatable(cores: int) -> dict[str, str]:
    """What a worker must be told before it imports torch, so that a cell gives the same numbers again."""
    return {"OMP_NUM_THREADS": str(cores), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@contextmanager
def changed(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that this process, and what it starts meanwhile, has inside the `with` block.

    Example:
        >>> with changed({"CELL": "7"}):
        ...     os.environ["CELL"]
        '7'
        >>> "CELL" in os.environ
        False
    """
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
