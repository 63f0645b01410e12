"""`hf-ssl predict`: classes and their probabilities for files, folders and tables, through transformers.pipeline."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .output import write_csv
from .parser import Subparsers, add_classifier_options
from .screen import quiet_datasets, with_progress

if TYPE_CHECKING:
    from .classifier import Answer


def register(subparsers: Subparsers) -> None:
    """Add `predict` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "predict",
        help="classify files, folders and tables with a trained model",
        description="Classify images, recordings or texts with a model, through transformers.pipeline. A file that "
        "exists but cannot be read keeps its row in the table, with the error.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder or Hub id of a classifier, such as the output of `hf-ssl train`"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="an image or recording; a folder of them, however nested; a CSV, TSV, JSON, JSON Lines or Parquet file; "
        "a .txt file with one text per line; a text in quotes",
    )
    parser.add_argument("--output", metavar="FILE.csv", help="write the table to this file instead of showing it")
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="show the K most probable classes of each input"
    )
    add_classifier_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Classify the inputs, and show or write the table.

    Raises:
        ValueError, OSError: in one line, for an option, model or input that cannot be used.
    """
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, got {args.top}")
    target = None if args.output is None else _checked(args.output)
    from ..data.sources import count
    from .classifier import Classifier, as_rows
    from .inputs import collect

    quiet_datasets()
    classifier = Classifier(args.model, args.batch_size, args.device)
    items, notes = collect(args.inputs, classifier.modality, args.column)
    if not items:
        raise ValueError("INPUT must hold something to classify, got only empty files; give others")
    answers = with_progress(classifier([item.value for item in items]), len(items), "input")
    header, rows = as_rows(items, answers, min(args.top, len(classifier.names)))
    print("".join(f"{note}\n" for note in notes), end="")
    if target is None:
        print(_shown(header, rows))
    else:
        write_csv(target, header, rows)
        print(_summary(answers))
        print(f"\nWritten to {target}: {count(len(rows), 'row')}")
    errors = [answer.error for answer in answers if answer.error]
    if errors:
        print(f"{len(errors):,} of {len(items):,} inputs could not be read; the first: {errors[0]}")
    if len(errors) == len(items):
        raise ValueError(f"none of the {count(len(items), 'input')} could be read")


def _checked(output: str) -> Path:
    target = Path(output)
    if target.suffix.lower() != ".csv" or not target.absolute().parent.is_dir() or target.is_dir():
        raise ValueError(f"--output must be a .csv file in an existing folder, got {output}")
    return target


def _shown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as text, without columns that hold nothing."""
    from ..report.tables import table

    places = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in places], [[row[i] for i in places] for row in rows], left=True)


def _summary(answers: Sequence["Answer"]) -> str:
    """How many inputs have which class."""
    from ..report.tables import table

    counts = Counter(next(iter(answer.probabilities)) for answer in answers if not answer.error)
    return table(["label", "inputs"], [[label, f"{number:,}"] for label, number in counts.most_common()])
