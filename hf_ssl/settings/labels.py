"""The settings that say which columns are labels, and what is predicted: in one form, and not two that contradict."""

from typing import Any

from ..problem_types import MULTI_LABEL, PROBLEM_TYPES, SINGLE_LABEL

_SHORT = {name.removesuffix("_classification"): name for name in (SINGLE_LABEL, MULTI_LABEL)}


def settle_label_settings(args: Any) -> None:
    """Write `label_columns` as a list and `problem_type` in full.

    Raises:
        ValueError: for an unknown kind of problem, columns named twice or beside `label_column`, and an empty
            separator.

    Example:
        >>> from types import SimpleNamespace
        >>> given = {"label_columns": "a,b", "problem_type": "multi-label"}
        >>> args = SimpleNamespace(label_column=None, label_separator=None, **given)
        >>> settle_label_settings(args)
        >>> args.label_columns, args.problem_type
        (['a', 'b'], 'multi_label_classification')
    """
    if args.label_columns is not None:
        args.label_columns = split_columns(args.label_columns)
    if args.label_columns and args.label_column is not None:
        raise ValueError(
            f"label_column must be left out beside label_columns, got {args.label_column!r}; name it among them"
        )
    if args.label_separator == "":
        raise ValueError("label_separator must be a text that stands between labels, got ''; leave it out")
    if args.problem_type is not None:
        args.problem_type = known_problem_type(args.problem_type)


def split_columns(given: str | list[str]) -> list[str]:
    """Names of columns, of which a command line gives one text with commas.

    Raises:
        ValueError: if there is none, or one twice.

    Example:
        >>> split_columns("a, b"), split_columns(["a,b"]), split_columns(["a", "b"])
        (['a', 'b'], ['a', 'b'], ['a', 'b'])
    """
    parts = [given] if isinstance(given, str) else list(given)
    names = [name.strip() for name in parts[0].split(",")] if len(parts) == 1 else parts
    if not names or "" in names or len(set(names)) < len(names):
        raise ValueError(f"label_columns must be the names of different columns, got {given!r}; write them as 'a,b,c'")
    return names


def known_problem_type(given: str) -> str:
    """The kind of problem that a person means, in transformers' words.

    Raises:
        ValueError: for another one.

    Example:
        >>> known_problem_type("multi-label"), known_problem_type("regression")
        ('multi_label_classification', 'regression')
    """
    plain = str(given).replace("-", "_")
    if (name := _SHORT.get(plain, plain)) not in PROBLEM_TYPES:
        raise ValueError(
            f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {given!r}; leave it out to find it"
        )
    return name
