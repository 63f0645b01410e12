"""`hf-ssl predict`: classes, labels or numbers for files, folders and tables, through transformers.pipeline.

Inputs are read, classified and written one batch at a time, so that a million of them need the memory of a few.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..problem_types import MULTI_LABEL, REGRESSION
from ..report.spreadsheets import write_csv
from .output import check_file, printable
from .parser import Subparsers, add_classifier_options
from .screen import progress, quiet_datasets

if TYPE_CHECKING:
    from .answers import Answer, Answers

# How many classes are told of each input if --top-k is not given: in a file, and on the screen.
_IN_FILE, _ON_SCREEN = 5, 1
# The threshold of foreign inputs that is saved with the model.
_AUTO = "auto"
# Rows that are aligned with each other on the screen.
_ALIGNED = 1000


def register(subparsers: Subparsers) -> None:
    """Add `predict` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "predict",
        help="classify files, folders and tables with a trained model",
        description="Classify images, recordings or texts with a model, through transformers.pipeline. Of a model for "
        "several labels, the column `labels` has all that reach their thresholds, the most probable first, with ; "
        "between them; a model for numbers tells these, with their standard deviations if it knows them. A file that "
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
    parser.add_argument(
        "--output",
        metavar="FILE.csv",
        help="write the table to this file, which must not exist yet, instead of showing it",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file of --output if it exists; never if it is an INPUT"
    )
    parser.add_argument(
        "--top-k",
        type=_top_k,
        metavar="K",
        help="tell the K most probable classes of each input, or `all` (default: 5 in a file, 1 on the screen)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="name no class for an input whose highest probability is below P, from 0 to 1: its label stays empty, "
        "its probability is told. `hf-ssl evaluate` shows how often answers above which P are right. Of a model for "
        "several labels: the probability from which on an input has a label, instead of the thresholds that were "
        "saved with the model",
    )
    parser.add_argument(
        "--foreign-threshold",
        type=_foreign_threshold,
        metavar="X",
        help="of a model that was trained with --open-set: name no class for an input that looks more foreign to the "
        "labeled examples than X, and tell how foreign each looks in the column `foreign`: by how many standard "
        "deviations it is farther from the nearest class than labeled examples are. `auto` takes the limit that the "
        "labeled examples set, which lets 90 %% of them pass",
    )
    add_classifier_options(parser)
    parser.set_defaults(run=run)


def _top_k(text: str) -> float:
    """The number of classes; infinity for all."""
    if text == "all":
        return float("inf")
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number from 1 on, or all, got {text}") from None


def _foreign_threshold(text: str) -> float | str:
    """The number, or "auto"."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if text != _AUTO and not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text}")
    return _AUTO if text == _AUTO else value


def run(args: argparse.Namespace) -> None:
    """Classify the inputs, and show or write the table.

    Raises:
        ValueError, OSError: in one line, for an option, model or input that cannot be used.
    """
    if args.top_k is not None and args.top_k < 1:
        raise ValueError(f"--top-k must be at least 1, or all, got {args.top_k}")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must be a probability from 0 to 1, got {args.threshold:g}; 0.8 is usual")
    target = None if args.output is None else Path(args.output)
    if target is not None:
        check_file("--output", target, ".csv", args.inputs, args.overwrite)
    from ..data.sources import count
    from .answers import cells_of, header
    from .classifier import Classifier
    from .inputs import collect

    quiet_datasets()
    limit = args.foreign_threshold
    classifier = Classifier(args.model, args.batch_size, args.device, tells_foreign=limit is not None)
    if limit is not None and classifier.foreign_limit is None:
        raise ValueError(
            f"--foreign-threshold must be given for a model that was trained with --open-set, got {args.model}, which "
            "was not; train it with --open-set report, or leave --foreign-threshold out"
        )
    limit = classifier.foreign_limit if limit == _AUTO else limit
    _check_kind(args, classifier.problem_type)
    items, notes = collect(args.inputs, classifier.modality, args.column)
    if not len(items):
        raise ValueError("INPUT must hold something to classify, got only empty files; give others")
    print("".join(f"{note}\n" for note in notes), end="")
    usual = _ON_SCREEN if target is None else _IN_FILE
    top = int(min(args.top_k or usual, len(classifier.names)))
    told = classifier.told(top, args.threshold, limit)
    tally = _Errors(told)
    # Of several labels all may be above their thresholds.
    answers = classifier((item.value for item in items), None if classifier.problem_type == MULTI_LABEL else top)
    if target is not None or len(items) < _ALIGNED:
        # A bar would stand between the tables of more rows.
        answers = progress(answers, len(items), "input")
    pairs = zip(items, map(tally.seen, answers), strict=True)
    head = header(items.contents, told)
    rows = (cells_of(item, answer, items.contents, told) for item, answer in pairs)
    if target is None:
        _show(head, rows)
    else:
        written = write_csv(target, head, rows)
        print(told.summary())
        print(f"\nWritten to {target}: {count(written, 'row')}")
    print("".join(f"{line}\n" for line in told.closing(len(items))), end="")
    tally.say(len(items))


def _check_kind(args: argparse.Namespace, problem_type: str) -> None:
    """Refuse options that make no sense for a kind of problem.

    Raises:
        ValueError: in one line.
    """
    if problem_type == REGRESSION:
        for option, value in (("--threshold", args.threshold), ("--top-k", args.top_k)):
            if value is not None:
                raise ValueError(
                    f"{option} must be given for a model of classes, got {args.model}, which predicts numbers; leave "
                    "it out"
                )


class _Errors:
    """What is remembered of answers that went by: how many are errors, and the first; the others are counted."""

    def __init__(self, told: "Answers") -> None:
        self.told = told
        self.errors = 0
        self.first_error = ""

    def seen(self, answer: "Answer") -> "Answer":
        """Count an answer, and return it."""
        if answer.error:
            self.errors += 1
            self.first_error = self.first_error or answer.error
        else:
            self.told.count(answer)
        return answer

    def say(self, total: int) -> None:
        """Print how many inputs have an error.

        Raises:
            ValueError: if all have.
        """
        if self.errors:
            print(f"{self.errors:,} of {total:,} inputs could not be read; the first: {self.first_error}")
        if self.errors == total:
            raise ValueError(f"none of the {total:,} input{'s' * (total > 1)} could be read")


def _show(header: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """Print the rows as tables of at most `_ALIGNED` rows, without columns that hold nothing."""
    from ..report.tables import table

    # Of inputs, which are files, the end tells them apart.
    while block := [[printable(row[0], 120, end=True), *map(printable, row[1:])] for row in islice(rows, _ALIGNED)]:
        places = [i for i in range(len(header)) if any(row[i] for row in block)]
        print(table([header[i] for i in places], [[row[i] for i in places] for row in block], left=True))
