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
        description="Without a name: every algorithm with its paper and views, and every correction for classes of "
        "different sizes. With the name of one: what it does, its settings with their defaults, and how to cite it.",
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
    """A table of all algorithms, and one of all corrections, in the order in which people should read them."""
    from ..algorithms import ALGORITHMS, IMBALANCE
    from ..report.tables import wrapped_table

    rows = []
    for name, algorithm in ALGORITHMS.items():
        views = " ".join(algorithm.views) or "-"
        rows.append([name, str(algorithm.year or "-"), _paper(algorithm), algorithm.summary, views])
    header = ["name", "year", "paper", "what it does", "unlabeled views"]
    algorithms = wrapped_table(header, rows, {"what it does": 36, "unlabeled views": 16})
    rows = [[name, str(each.year or "-"), _paper(each), each.summary] for name, each in IMBALANCE.items()]
    corrections = wrapped_table(header[:-1], rows, {"what it does": 57})
    return f"{algorithms}\n\nCorrections for classes of different sizes (--imbalance):\n\n{corrections}"


def _paper(listed: Any) -> str:
    return f"arXiv {listed.arxiv}" if listed.arxiv else "-"


def describe_algorithm(name: str) -> str:
    """One algorithm or correction: its docstring, its settings with their defaults, and its citation.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> describe_algorithm("fixmatch").splitlines()[0].split(":")[0]
        'fixmatch (FixMatch)'
    """
    from ..algorithms import IMBALANCE, known_correction, resolve_algorithm

    algorithm: Any
    try:
        name = known_correction(name)
        algorithm = IMBALANCE[name]
    except ValueError:
        algorithm = resolve_algorithm(name)
    lines = [f"{name} ({algorithm.title}): {algorithm.summary}", "", inspect.getdoc(algorithm) or ""]
    settings = algorithm.settings()
    if settings:
        lines += ["", "Defaults: " + ", ".join(f"{key}={parameter.default!r}" for key, parameter in settings.items())]
    if algorithm.citation:
        lines += ["", algorithm.citation]
    return "\n".join(lines)
