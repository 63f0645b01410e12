"""The `hf-ssl` command. Heavy imports happen inside the commands, so that help is instant."""

import argparse
import os
import sys
from pathlib import Path

from . import benchmark as benchmark_command
from . import push as push_command


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
    quickstart.add_argument(
        "--algorithm", default="fixmatch", help="the algorithm to compare with the labeled-only baseline"
    )
    quickstart.add_argument(
        "--labels-per-class", type=int, default=4, metavar="N", help="labeled digits of each class"
    )
    quickstart.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="one comparison each"
    )
    quickstart.add_argument("--output-dir", default="ssl-quickstart", metavar="DIR", help="folder to write to")
    quickstart.set_defaults(run=run_quickstart)

    # Its options are SSLConfig's and need transformers: they are read by hf_ssl.cli.train, after this parser.
    train = commands.add_parser(
        "train",
        add_help=False,
        help="train on your own files: few labeled, many unlabeled",
        description="Train a classifier on few labeled and many unlabeled images, texts or recordings.",
    )
    train.set_defaults(run=None)

    predict = commands.add_parser(
        "predict",
        formatter_class=defaults,
        help="classify files, folders and tables with a trained model",
        description="Classify images, recordings or texts with a model, through transformers.pipeline. What cannot be read "
        "stands in the table with its error.",
    )
    predict.add_argument("model", help="folder or Hub id of a classifier, such as the output of `hf-ssl train`")
    predict.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="an image or recording; a folder of them, of any nesting; a CSV, TSV, JSON, JSON Lines or Parquet file; a .txt "
        "with one text a line; a text in quotes",
    )
    predict.add_argument("--output", metavar="FILE.csv", help="write the table to this file instead of showing it")
    predict.add_argument("--top", type=int, default=1, metavar="K", help="the K most probable classes of each input")
    _add_column_options(predict)
    predict.set_defaults(run=run_predict)

    evaluate = commands.add_parser(
        "evaluate",
        formatter_class=defaults,
        help="measure a trained model on labeled data",
        description="Accuracy, balanced accuracy, precision, recall, F1 and the confusion matrix of a model on labeled data. "
        "Classes are matched by name.",
    )
    evaluate.add_argument("model", help="folder or Hub id of a classifier, such as the output of `hf-ssl train`")
    evaluate.add_argument(
        "data",
        help="labeled data as for `hf-ssl train --test`: a file, a folder with a folder for each class, or a Hub dataset",
    )
    evaluate.add_argument(
        "--label-column", metavar="NAME", help="column of the class; found by its name when not given"
    )
    evaluate.add_argument(
        "--output-dir",
        metavar="DIR",
        help="also write evaluation.json, predictions.csv and confusion_matrix.png there",
    )
    _add_column_options(evaluate)
    evaluate.set_defaults(run=run_evaluate)

    algorithms = commands.add_parser(
        "algorithms",
        help="list the algorithms, describe one, or recommend some",
        description="Without a name: each algorithm with its paper, views and settings. With a name: its formula and defaults.",
    )
    algorithms.add_argument("name", nargs="?", help="describe this algorithm")
    algorithms.add_argument(
        "--recommend",
        action="store_true",
        help="which one for which modality, label count and budget, from USB's tables",
    )
    algorithms.set_defaults(run=run_algorithms)

    push_command.add_command(commands)
    benchmark_command.add_commands(commands)
    return parser


def _add_column_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column",
        action="append",
        metavar="NAME",
        help="column of the input in a table, found by its name when not given; twice for pairs of texts",
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="inputs in one call of the model")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; the fastest there is when not given")


def run_predict(args) -> None:
    """`hf-ssl predict MODEL INPUT...`"""
    from .predict import run

    run(args.model, args.inputs, args.output, args.top, args.column, args.batch_size, args.device)


def run_evaluate(args) -> None:
    """`hf-ssl evaluate MODEL DATA`"""
    from .evaluate import run

    run(args.model, args.data, args.label_column, args.column, args.output_dir, args.batch_size, args.device)


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
    if args.recommend:
        from ..benchmark.recommend import recommendation

        print(recommendation())
        return
    from ..algorithms import ALGORITHMS, resolve_algorithm
    from ..report.tables import table
    from .algorithms import describe_algorithm

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


def _hub_trouble(error: Exception) -> str | None:
    """One line, if the connection to the Hub failed: the clients raise errors of their HTTP library then, or wrap them."""
    if "huggingface_hub" not in sys.modules:
        return None
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError

    cause = next((found for found in (error, error.__cause__) if isinstance(found, HTTPError)), None)
    if cause is None:
        return None
    return f"the connection to {constants.ENDPOINT} failed ({' '.join(str(cause).split())}); try again"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; wrong input is one line on standard error and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    training = arguments[:1] == ["train"]
    args = None if training else build_parser().parse_args(arguments)
    try:
        if training:
            from .train import run

            run(arguments[1:])
        else:
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough (`hf-ssl algorithms | head`); Python must not try to flush it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("HF_SSL_TRACEBACK"):
            raise
        print(f"hf-ssl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Exception as error:
        if os.environ.get("HF_SSL_TRACEBACK") or not (trouble := _hub_trouble(error)):
            raise
        print(f"hf-ssl: error: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hf-ssl: interrupted", file=sys.stderr)
        return 130
    return 0
