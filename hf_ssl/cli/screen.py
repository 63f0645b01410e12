"""What commands show while they work, and what they keep off the screen."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

T = TypeVar("T")
# Letters of a message that is shown.
_LONGEST = 800


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
def silent(wanted: bool = True) -> Iterator[None]:
    """For `--quiet`: nothing on the screen, not even warnings, but the line of an error."""
    if not wanted:
        yield
        return
    import datasets
    import huggingface_hub
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    huggingface_hub.utils.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    logger, shown = logging.getLogger("hf_ssl"), transformers_logging.get_verbosity()
    level = logger.level
    logger.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    try:
        with open(os.devnull, "w") as nothing, redirect_stdout(nothing), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        transformers_logging.set_verbosity(shown)


def one_line(text: str) -> str:
    """A message in one line that is safe on a terminal: errors quote what is in files, which may be anything.

    Example:
        >>> one_line("a\\n  file \\x1b[31mred"), len(one_line("word " * 1000))
        ('a file \\\\x1b[31mred', 800)
    """
    if len(text) > 20 * _LONGEST:
        text = text[: 10 * _LONGEST] + text[-10 * _LONGEST :]
    text = " ".join(text.split())
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    # What to do is at the end.
    return text if len(text) <= _LONGEST else f"{text[: 3 * _LONGEST // 4 - 5]} ... {text[-_LONGEST // 4 :]}"


class _AboveBars:
    """Standard error as a stream, which does not write into the line of a progress bar."""

    def write(self, text: str) -> int:
        bars = sys.modules.get("tqdm")
        if bars is None:
            return sys.stderr.write(text)
        bars.tqdm.write(text, file=sys.stderr, end="")
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"hf-ssl: warning: {one_line(record.getMessage())}"


def _is_worth_saying(record: logging.LogRecord) -> bool:
    # To transformers, an interval that is a share of the steps differs from itself in steps, as checkpoints have it.
    message = record.getMessage()
    compared = re.findall(r"\n\t\w+: (\S+) \(from args\)", message)
    shares = [re.fullmatch(r"0\.\d+", given) for given in compared]
    return not ("do not match the ones in the `trainer_state.json`" in message and shares and all(shares))


def transformers_above_bars() -> None:
    """Write what transformers warns of above the progress bars, and show none while weights are read or written."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers.trainer_utils").addFilter(_is_worth_saying)
    for handler in logging.getLogger("transformers").handlers:
        if type(handler) is logging.StreamHandler:  # that of transformers, and not one that collects what is logged
            handler.setStream(_AboveBars())


@contextmanager
def nothing_is_trained() -> Iterator[None]:
    """Without the warnings of what becomes of a model's head and batch normalization, which only a training changes.

    Example:
        >>> with nothing_is_trained():
        ...     logging.getLogger("hf_ssl.model.loading").isEnabledFor(logging.WARNING)
        False
    """
    loggers = [logging.getLogger(f"hf_ssl.model.{name}") for name in ("classes", "loading")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def end_bars() -> None:
    """Take progress bars that an error or an interrupt has left off the screen, so that its line is one of its own."""
    bars = sys.modules.get("tqdm")
    for bar in list(getattr(bars.tqdm, "_instances", ())) if bars is not None else ():
        bar.leave = False
        bar.close()


@contextmanager
def warnings_shown(name: str) -> Iterator[None]:
    """Show the warnings of the logger `name` as single lines on standard error, above progress bars, each once."""
    handler, logger = logging.StreamHandler(_AboveBars()), logging.getLogger(name)
    handler.setFormatter(_OneLine())
    shown: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        # A run of several trainings says the same of the same data.
        known = record.getMessage() in shown
        shown.add(record.getMessage())
        return not known

    handler.addFilter(is_new)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
