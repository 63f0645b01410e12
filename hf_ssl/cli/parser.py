"""What the parsers of all commands share: spelling of options, layout of help, options of several commands."""

import argparse
import copy
import difflib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

# What `register` of a command is given: it adds its own parser there.
if TYPE_CHECKING:
    Subparsers: TypeAlias = argparse._SubParsersAction["CommandParser"]
else:
    # Generic for type checkers only.
    Subparsers = argparse._SubParsersAction
# What the help calls a value, by the name of its type, if the option does not say.
_METAVARS = {"int": "N", "float": "X", "str": "VALUE", "dict": "JSON", "string_to_bool": "true|false"}
# Choices that take more columns than this are listed after the help of the option instead of beside its name.
_MOST_COLUMNS = 60


def with_hyphens(words: Sequence[str]) -> list[str]:
    """The words of a command line with every option spelled with hyphens, so that `--batch_size` is `--batch-size`.

    Values stay as they are, and so does everything after a bare `--`.

    Example:
        >>> with_hyphens(["predict", "my_model", "--batch_size=8", "--output", "my_table.csv"])
        ['predict', 'my_model', '--batch-size=8', '--output', 'my_table.csv']
    """
    end = words.index("--") if "--" in words else len(words)
    return [*(_with_hyphens(word) if word.startswith("--") else word for word in words[:end]), *words[end:]]


def _with_hyphens(option: str) -> str:
    name, equals, value = option.partition("=")
    return name.replace("_", "-") + equals + value


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help in which an option is listed once, and its default only if there is one to know.

    Argparse would list `--max_steps MAX_STEPS, --max-steps MAX_STEPS`, put 42 names of optimizers on one line, and
    end many lines with "(default: None)".
    """

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            # Commands are indented, which argparse forgets: the longest name would get a line of its own.
            self._action_max_length += self._indent_increment

    def _format_action_invocation(self, action: argparse.Action) -> str:
        action = copy.copy(action)
        action.option_strings = [option for option in action.option_strings if "_" not in option]
        return super()._format_action_invocation(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        default = super()._get_default_metavar_for_optional(action)
        return _METAVARS.get(getattr(action.type, "__name__", ""), default)

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if _long_choices(action):
            action = copy.copy(action)
            action.metavar = "NAME"
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        action = copy.copy(action)
        action.help = f"{action.help or ''}{_long_choices(action)}"
        is_told = action.nargs == 0 or "(default" in action.help
        # Not `in (None, False)`: 0 is equal to False, and worth knowing.
        is_nothing = action.default is None or action.default is False or action.default in ("", [])
        if is_told or is_nothing:
            return action.help
        return super()._get_help_string(action)


def _long_choices(action: argparse.Action) -> str:
    """The sentence that lists the choices of an option, if there are too many to be shown beside its name; else ""."""
    listed = ", ".join(map(str, action.choices or ()))
    return f" One of {listed}." if len(listed) > _MOST_COLUMNS and action.metavar is None else ""


class CommandParser(argparse.ArgumentParser):
    """The parser of `hf-ssl` and, since argparse takes the same class for them, of each of its commands."""

    def __init__(self, **settings: Any):
        super().__init__(**{"formatter_class": HelpFormatter, **settings})
        self._is_used = False

    def parse_known_args(self, *arguments: Any, **keywords: Any) -> Any:
        """As argparse does it, which calls this of the command that the words name."""
        self._is_used = True
        return super().parse_known_args(*arguments, **keywords)

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line, which names options or choices that are spelled like an unknown one."""
        self.exit(2, f"{self.prog}: error: {message}{self._meant(message)}\n")

    def _meant(self, message: str) -> str:
        if found := re.match(r"argument .*: invalid choice: '(.*?)' \(choose from (.*)\)$", message):
            typed, known = found[1], re.findall(r"[^', ]+", found[2])
        elif found := re.match(r"unrecognized arguments: (--[^\s=]+)", message):
            # Argparse tells it of the whole command line, and each command has options of its own.
            options = [option for action in self._command()._actions for option in action.option_strings]
            typed, known = found[1], [option for option in options if option.startswith("--")]
        else:
            return f"; `{self.prog} --help` shows how"
        near = difflib.get_close_matches(typed, known, n=2)
        return f"; did you mean {' or '.join(near)}?" if near else f"; `{self._command().prog} --help` shows how"

    def _command(self) -> "CommandParser":
        """The parser of the command that was called, which may be a command of a command."""
        for action in self._actions:
            for parser in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
                if parser._is_used:
                    return parser._command()
        return self


def add_late_parser(
    subparsers: Subparsers, name: str, run: Callable[[argparse.Namespace], None], *, help: str, description: str
) -> None:
    """A command whose options are SSLConfig's.

    Reading those takes transformers and torch, which takes seconds. So this parser only collects the words, as
    `words`, and `run` parses them, `--help` among them. With a prefix that no word can begin with, argparse takes
    every word for a value.

    Args:
        name: of the command.
        run: what it does.
        help, description: as in argparse.
    """
    parser = subparsers.add_parser(name, add_help=False, prefix_chars="\0", help=help, description=description)
    listed = f"the options, which `hf-ssl {name} --help` lists"
    parser.add_argument("words", nargs=argparse.REMAINDER, help=listed)
    parser.set_defaults(run=run)


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that read several labels, or numbers, of each example."""
    parser.add_argument(
        "--label-columns",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        metavar="A,B,C",
        help="several columns instead: each a label with 0 or 1, or each a number",
    )
    parser.add_argument(
        "--label-separator",
        metavar="TEXT",
        help="what stands between the labels in one cell, such as ; for cat;dog; JSON Lines and Parquet have lists",
    )


def add_classifier_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that use a trained classifier."""
    parser.add_argument(
        "--column",
        action="append",
        metavar="NAME",
        help="column of a table that holds the inputs; found by its usual names if not given; give it twice for pairs "
        "of texts",
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="inputs per call of the model")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0 (default: the fastest available)")
