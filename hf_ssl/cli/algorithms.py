"""`hf-ssl algorithms`: list the algorithms and the corrections for long tails, describe one, or recommend some."""

import argparse
import inspect
from typing import Any

from .parser import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `algorithms` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "algorithms",
        help="list the algorithms, describe one, or recommend some",
        description="Without a name: every algorithm with its paper and views, for each kind of problem, and every "
        "correction for classes of different sizes. With the name of one: what it does, its settings with their "
        "defaults, and how to cite it.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="describe this algorithm, or this correction")
    parser.add_argument(
        "--recommend",
        action="store_true",
        help="show which algorithm did best for each modality, number of labels and budget in USB's published tables",
    )
    parser.add_argument(
        "--results",
        metavar="DIR",
        help="with --recommend: also what this results folder of `hf-ssl benchmark run` says",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print what was asked for.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if args.results and not args.recommend:
        raise ValueError(f"--results must come with --recommend, got {args.results} without it; add --recommend")
    if args.recommend:
        from .recommend import recommendation
        from .recommend_measured import measured_recommendation

        measured = measured_recommendation(args.results) if args.results else None
        print(recommendation())
        if measured:
            print(f"\n{measured}")
    elif args.name:
        print(describe_algorithm(args.name))
    else:
        print(list_algorithms())


def list_algorithms() -> str:
    """Tables of all algorithms, by kind of problem, and of all corrections, each in the order to read them in."""
    from ..algorithms import BY_PROBLEM_TYPE, IMBALANCE
    from ..problem_types import IN_WORDS, SINGLE_LABEL
    from ..report.tables import wrapped_table

    header, parts = ["name", "year", "paper", "what it does", "unlabeled views"], []
    for kind, algorithms in BY_PROBLEM_TYPE.items():
        rows = []
        for name, algorithm in algorithms.items():
            views = " ".join(algorithm.views) or "-"
            rows.append([name, str(algorithm.year or "-"), _paper(algorithm), algorithm.summary, views])
        option = "" if kind == SINGLE_LABEL else f" (--problem-type {kind})"
        listed = wrapped_table(header, rows, {"what it does": 36, "unlabeled views": 16})
        parts.append(f"Algorithms for {IN_WORDS[kind]}{option}:\n\n{listed}")
    rows = [[name, str(each.year or "-"), _paper(each), each.summary] for name, each in IMBALANCE.items()]
    corrections = wrapped_table(header[:-1], rows, {"what it does": 57})
    parts.append(f"Corrections for classes of different sizes (--imbalance):\n\n{corrections}")
    return "\n\n".join(parts)


def _paper(listed: Any) -> str:
    return f"arXiv {listed.arxiv}" if listed.arxiv else "-"


def describe_algorithm(name: str) -> str:
    """One algorithm or correction: its docstring, its settings with their defaults, and its citation.

    What an algorithm is for several kinds of problems is described for each of them.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> describe_algorithm("fixmatch").splitlines()[0].split(":")[0]
        'fixmatch (FixMatch)'
    """
    from ..algorithms import BY_PROBLEM_TYPE, IMBALANCE, known_correction, known_name
    from ..problem_types import IN_WORDS, SINGLE_LABEL

    try:
        name = known_correction(name)
        return _description(name, IMBALANCE[name])
    except ValueError:
        name = known_name(name)
    found = {kind: table[name] for kind, table in BY_PROBLEM_TYPE.items() if name in table}
    # The same class for several kinds is described once, for the first of them.
    first = {algorithm: kind for kind, algorithm in reversed(found.items())}
    parts = []
    for kind, algorithm in found.items():
        if first[algorithm] == kind:
            purpose = "" if kind == SINGLE_LABEL else f", for {IN_WORDS[kind]}"
            parts.append(_description(name, algorithm, purpose, cited=kind == next(iter(found))))
    return "\n\n\n".join(parts)


def _description(name: str, described: Any, purpose: str = "", cited: bool = True) -> str:
    lines = [f"{name} ({described.title}){purpose}: {described.summary}", "", inspect.getdoc(described) or ""]
    settings = described.settings()
    if settings:
        lines += ["", "Defaults: " + ", ".join(f"{key}={parameter.default!r}" for key, parameter in settings.items())]
    if cited and described.citation:
        lines += ["", described.citation]
    return "\n".join(lines)
