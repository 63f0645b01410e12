"""What commands show while they work, and what they keep off the screen."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def quiet_datasets() -> None:
    """Hide the progress bars and log lines of `datasets` while local files are read, which takes a moment."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)


def with_progress(items: Iterable[T], total: int, unit: str) -> list[T]:
    """The items as a list; a progress bar is shown until the last one is there, if the screen is a terminal."""
    return list(progress(items, total, unit))


def progress(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The items one by one, with the same progress bar."""
    from tqdm.auto import tqdm

    yield from tqdm(items, total=total, unit=unit, disable=None, leave=False)


@contextmanager
def warnings_shown(name: str) -> Iterator[None]:
    """Show the warnings of the logger `name` as single lines on standard error."""
    handler, logger = logging.StreamHandler(), logging.getLogger(name)
    handler.setFormatter(logging.Formatter("hf-ssl: warning: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
