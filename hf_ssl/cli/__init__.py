"""The `hf-ssl` command: one module per command, each with `register(subparsers)` and `run(args)`.

    register    adds the command's parser, with its help; imports nothing heavy, so that `hf-ssl X --help` is instant
    run         does the work; torch, transformers and datasets are imported here

What several commands need is beside them: their parsers (parser.py), the screen (screen.py) and files (output.py).
"""

import argparse
import os
import sys

from . import (
    algorithms,
    benchmark,
    demo,
    ensemble,
    evaluate,
    inspect,
    label,
    pick,
    predict,
    push,
    quickstart,
    select,
    skill,
    teach,
    train,
)
from .parser import CommandParser, with_hyphens
from .screen import end_bars, one_line, warnings_shown

# In the order in which people meet them.
COMMANDS = (
    quickstart,
    pick,
    label,
    teach,
    train,
    inspect,
    predict,
    evaluate,
    ensemble,
    select,
    algorithms,
    push,
    demo,
    benchmark,
    skill,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; parsed arguments hold the command's `run`."""
    parser = CommandParser(
        prog="hf-ssl",
        description="Semi-supervised classification for transformers: few labels, many unlabeled examples.",
        epilog="`hf-ssl COMMAND --help` shows the options of a command; they may be written with - or _. "
        "Set HF_SSL_TRACEBACK=1 to see where an error comes from.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.register(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: the words after `hf-ssl`; those of this process if None.

    Returns:
        the exit status: 0, 2 after wrong input (one line on standard error says what), or 130 if interrupted.
    """
    args = build_parser().parse_args(with_hyphens(sys.argv[1:] if arguments is None else arguments))
    try:
        with warnings_shown("hf_ssl"):
            _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`hf-ssl algorithms | head`), and Python must not try to flush the output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        end_bars()
        print("hf-ssl: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        message = _explanation(error)
        if message is None or os.environ.get("HF_SSL_TRACEBACK"):
            raise
        end_bars()
        print(f"hf-ssl: error: {message}", file=sys.stderr)
        return 2
    return 0


def _run(args: argparse.Namespace) -> None:
    # Not at the top: help needs no HTTP client.
    from ..hub.requests import guarded

    # Models and datasets are loaded by their ids with requests that would wait for ever.
    with guarded(follow=True):
        args.run(args)


def _explanation(error: Exception) -> str | None:
    """One line about wrong input or a failed connection; None for anything else, which is a bug of ours."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({one_line(str(error)) or 'nothing more is known'}); use less data"
    if isinstance(error, ValueError | TypeError | OSError | ImportError):
        return one_line(str(error))
    if "huggingface_hub" not in sys.modules:
        return None
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError

    # If a connection fails, the clients raise errors of their HTTP library, or wrap them.
    cause = next((found for found in (error, error.__cause__) if isinstance(found, HTTPError)), None)
    if cause is None:
        return None
    return f"the connection to {constants.ENDPOINT} failed ({one_line(str(cause))}); try again"
