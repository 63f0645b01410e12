"""`hf-ssl benchmark report` and `hf-ssl benchmark compare`: what the finished cells of a grid say."""

import argparse

from .parser import Subparsers

_METRIC = "metric whose complement is the error, such as accuracy or balanced_accuracy"


def add_report(actions: Subparsers) -> None:
    """Add `report` to the actions of `hf-ssl benchmark`."""
    parser = actions.add_parser(
        "report",
        help="tables, tests and a page from a results folder",
        description="Show the results of a grid: error rates per task and number of labels beside USB's published "
        "ones, ranks, tests, wins and costs. The same as CSV, LaTeX, PNG and one HTML page are written to "
        "RESULTS/report.",
    )
    parser.add_argument("results", metavar="RESULTS", help="folder that `hf-ssl benchmark run` writes to")
    parser.add_argument("--output-dir", metavar="DIR", help="folder of the report (default: RESULTS/report)")
    parser.add_argument("--metric", default="accuracy", metavar="NAME", help=_METRIC)
    parser.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark report RESULTS`.

    Raises:
        ValueError: if no cell has the metric.
        OSError: if there is no such folder, or the report cannot be written.
    """
    from pathlib import Path

    from ..benchmark.leaderboard.report import FOLDER, PAGE, write_report
    from .output import check_folder

    check_folder(Path(args.output_dir or Path(args.results) / FOLDER))
    report = write_report(args.results, args.output_dir, args.metric)
    print(report.text)
    if report.without_pictures:
        print('\nNo pictures were drawn: matplotlib is missing; pip install "hf-ssl[plot]"')
    print(f"\nWritten to {report.folder}: {', '.join(path.name for path in report.files)}")
    print(f"Open {report.folder / PAGE} in a browser.")


def add_compare(actions: Subparsers) -> None:
    """Add `compare` to the actions of `hf-ssl benchmark`."""
    parser = actions.add_parser(
        "compare",
        help="two algorithms, or two results folders, run by run",
        description="Compare runs with the same task, labels and seed: differences of the error with their standard "
        "errors per setting, and a verdict in one line.",
    )
    parser.add_argument("first", metavar="A", help="a results folder, or an algorithm such as fixmatch+abc")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument("--results", default="results", metavar="DIR", help="results folder of the two algorithms")
    parser.add_argument("--metric", default="accuracy", metavar="NAME", help=_METRIC)
    parser.set_defaults(run=run_compare)


def run_compare(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark compare A B`.

    Raises:
        ValueError: for an unknown algorithm, or if A and B have no run in common.
        OSError: if there is no such folder.
    """
    from ..benchmark.leaderboard.compare import compare

    print(compare(args.first, args.second, args.results, args.metric))
