"""The `hf-ssl` command. Heavy imports happen inside the commands, so that help is instant."""

import argparse
import os
import sys
from pathlib import Path

from .benchmark import command as benchmark_command


def build_parser() -> argparse.ArgumentParser:
    """The command line with its help."""
    parser = argparse.ArgumentParser(
        prog="hf-ssl",
        description="Semi-supervised classification for transformers: few labels, many unlabeled examples.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    defaults = argparse.ArgumentDefaultsHelpFormatter

    quickstart = commands.add_parser(
        "quickstart",
        formatter_class=defaults,
        help="train on real handwriting with 40 labels, offline, in about a minute a seed",
        description="Train a small network on scikit-learn's scanned digits twice, with the labeled digits alone and with the "
        "algorithm, and compare: prints a table and writes the model, its card, results.json and curves.png.",
    )
    quickstart.add_argument("--algorithm", default="fixmatch", help="the algorithm to compare with the labeled-only baseline")
    quickstart.add_argument("--labels-per-class", type=int, default=4, metavar="N", help="labeled digits of each class")
    quickstart.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="one comparison each")
    quickstart.add_argument("--output-dir", default="ssl-quickstart", metavar="DIR", help="folder to write to")
    quickstart.set_defaults(run=run_quickstart)

    algorithms = commands.add_parser(
        "algorithms",
        help="list the algorithms, or describe one",
        description="Without a name: each algorithm with its paper, views and settings. With a name: its formula and defaults.",
    )
    algorithms.add_argument("name", nargs="?", help="describe this algorithm")
    algorithms.set_defaults(run=run_algorithms)

    benchmark_command.add_commands(commands)
    return parser


def run_quickstart(args) -> None:
    """`hf-ssl quickstart`."""
    if any(seed < 0 for seed in args.seeds):
        raise ValueError(f"seeds must be at least 0, got {min(args.seeds)}")
    _check_writable(Path(args.output_dir))
    try:
        from .quickstart import run
    except ImportError as error:
        raise ImportError(f'{error}; quickstart needs more packages: pip install "hf-ssl[quickstart]"') from error
    run(args.algorithm, args.labels_per_class, list(dict.fromkeys(args.seeds)), args.output_dir)


def run_algorithms(args) -> None:
    """`hf-ssl algorithms [NAME]`."""
    from .algorithms import ALGORITHMS, resolve_algorithm
    from .report import describe_algorithm, table

    if args.name:
        print(describe_algorithm(args.name, resolve_algorithm(args.name)))
        return
    rows = []
    for name, algorithm in ALGORITHMS.items():
        paper = f"arXiv {algorithm.arxiv}" if algorithm.arxiv else "-"
        views = " ".join(algorithm.views) or "-"
        settings = " ".join(algorithm.settings()) or "-"
        rows.append([name, str(algorithm.year or "-"), paper, algorithm.summary, views, settings])
    print(table(["name", "year", "paper", "what it does", "unlabeled views", "settings"], rows, left=True))


def _check_writable(folder: Path) -> None:
    """Raise an OSError at once, and not after an hour, if nothing can be written to `folder`."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give another --output-dir")
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to {folder}: no permission in {existing}; give another --output-dir")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; wrong input is one line on standard error and exit status 2."""
    args = build_parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("HF_SSL_TRACEBACK"):
            raise
        print(f"hf-ssl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hf-ssl: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
