"""JSON and YAML documents of users, read within `hf_ssl.limits`: what is wrong with one is an error in one line."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from .limits import DEEPEST, LARGEST_DOCUMENT, LARGEST_YAML, MOST_NODES, check_depth, check_file


def read_text(path: str | os.PathLike[str], most: int = LARGEST_DOCUMENT, encoding: str = "utf-8") -> str:
    """The text of a file that is read as a whole.

    Raises:
        ValueError: in one line, as `check_file`, or if it is not UTF-8.
        OSError: if it cannot be opened.
    """
    check_file(path, most)
    try:
        return Path(path).read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text, got byte {error.object[error.start]} at {error.start}") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: in one line, as `check_file`, or if it is not JSON or nested too deep.
        OSError: if it cannot be opened.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, what: str) -> Any:
    """What a JSON text holds; `what` names it in errors.

    Raises:
        ValueError: in one line, if it is not JSON or nested too deep.

    Example:
        >>> parse_json('{"a": [1]}', "config.json")
        {'a': [1]}
        >>> parse_json("[" * 200, "config.json")
        Traceback (most recent call last):
        ...
        ValueError: config.json must be nested at most 100 deep, got 200; flatten it
    """
    check_depth([text.encode("utf-8", "surrogatepass")], what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{what} must be JSON, got {error.msg} at {place}") from None
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"{what} must be JSON, got {error}") from None


def parse_yaml(text: str, what: str) -> Any:
    """What a YAML text holds, of the plain types alone; `what` names it in errors.

    Raises:
        ValueError: in one line, if it is not YAML, is nested too deep, or too large once its aliases are written out.

    Example:
        >>> parse_yaml("algorithm: fixmatch", "recipe.yaml")
        {'algorithm': 'fixmatch'}
        >>> parse_yaml("{a: &a [1, 2], b: [*a, *a]}", "recipe.yaml")["b"]
        [[1, 2], [1, 2]]
    """
    if len(text) > LARGEST_YAML:
        raise ValueError(f"{what} must have at most {LARGEST_YAML:,} characters, got {len(text):,}; shorten it")
    try:
        problem = _yaml_problem(text)
        content = None if problem else yaml.safe_load(text)
    # PyYAML makes dates and numbers of whatever looks like them.
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} must be YAML or JSON, got {' '.join(str(error).split())}") from None
    if problem:
        raise ValueError(f"{what} must {problem}")
    return content


def _yaml_problem(text: str) -> str | None:
    """What keeps a document from being put together, found from its events; nothing of it is built for that."""
    # Values and depth of what an anchor names, and of the collections that are open.
    known: dict[str, tuple[int, int]] = {}
    within: list[list[Any]] = [[None, 0, 0]]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        anchor, size, depth = getattr(event, "anchor", None), 1, 0
        if isinstance(event, yaml.CollectionStartEvent):
            within.append([anchor, 1, 1])
            size, depth = 0, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size, depth = within.pop()
        elif isinstance(event, yaml.AliasEvent):
            if anchor not in known:
                return f"not name what comes later or is not complete, got the alias *{anchor}; write it out"
            size, depth = known[anchor]
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if anchor is not None and not isinstance(event, yaml.CollectionStartEvent):
            known[anchor] = size, depth
        parent = within[-1]
        parent[1], parent[2] = parent[1] + size, max(parent[2], depth + 1)
        if len(within) + parent[2] - 2 > DEEPEST:
            return f"be nested at most {DEEPEST} deep, got more; flatten it"
        if sum(part[1] for part in within) > MOST_NODES:
            return f"hold at most {MOST_NODES:,} values, aliases written out, got more; shorten it"
    return None
