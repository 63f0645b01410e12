"""`hf-ssl predict`: classes and their probabilities for files, folders and tables, through transformers.pipeline.

Inputs are read, classified and written one batch at a time, so that a million of them need the memory of a few.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..report.spreadsheets import write_csv
from .output import check_file, printable
from .parser import Subparsers, add_classifier_options
from .screen import progress, quiet_datasets

if TYPE_CHECKING:
    from .classifier import Answer

# How many classes are told of each input if --top-k is not given: in a file, and on the screen.
_IN_FILE, _ON_SCREEN = 5, 1
# The threshold of foreign inputs that is saved with the model.
_AUTO = "auto"
# Rows that are aligned with each other on the screen, and classes that are listed with their numbers of inputs.
_ALIGNED, _LISTED = 1000, 20


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
        "its probability is told. `hf-ssl evaluate` shows how often answers above which P are right",
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
    from .classifier import Classifier, cells_of, header
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
    if args.threshold is not None and not classifier.has_probabilities:
        raise ValueError(
            f"--threshold must be given for a model of classes, got {args.model}, which predicts numbers; leave it out"
        )
    items, notes = collect(args.inputs, classifier.modality, args.column)
    if not len(items):
        raise ValueError("INPUT must hold something to classify, got only empty files; give others")
    print("".join(f"{note}\n" for note in notes), end="")
    usual = _ON_SCREEN if target is None else _IN_FILE
    top = int(min(args.top_k or usual, len(classifier.names)))
    tally = _Tally(args.threshold, limit)
    answers = classifier((item.value for item in items), top)
    if target is not None or len(items) < _ALIGNED:
        # A bar would stand between the tables of more rows.
        answers = progress(answers, len(items), "input")
    pairs = zip(items, map(tally.seen, answers), strict=True)
    head = header(items.contents, top, with_foreign=limit is not None)
    rows = (cells_of(item, answer, items.contents, top, args.threshold, limit) for item, answer in pairs)
    if target is None:
        _show(head, rows)
    else:
        written = write_csv(target, head, rows)
        print(tally.table())
        print(f"\nWritten to {target}: {count(written, 'row')}")
    tally.say_abstentions(len(items))
    tally.say_errors(len(items))


class _Tally:
    """What is remembered of answers that went by: how many inputs have which class, none, and an error.

    Args:
        threshold: the probability below which an answer names no class; None if there is none.
        foreign_limit: how foreign an input may look; None if there is no limit.
    """

    def __init__(self, threshold: float | None, foreign_limit: float | None = None) -> None:
        self.labels: Counter[str] = Counter()
        self.threshold = threshold
        self.foreign_limit = foreign_limit
        self.foreign = 0
        self.abstentions = 0
        self.errors = 0
        self.first_error = ""

    def seen(self, answer: "Answer") -> "Answer":
        """Count an answer, and return it."""
        if answer.error:
            self.errors += 1
            self.first_error = self.first_error or answer.error
        elif answer.is_foreign(self.foreign_limit):
            self.foreign += 1
        elif self.threshold is not None and answer.is_below(self.threshold):
            self.abstentions += 1
        else:
            self.labels[next(iter(answer.probabilities))] += 1
        return answer

    def table(self) -> str:
        """The most frequent classes with their numbers of inputs."""
        from ..report.tables import table

        rows = [[printable(label), f"{number:,}"] for label, number in self.labels.most_common(_LISTED)]
        more = len(self.labels) - len(rows)
        return table(["label", "inputs"], rows) + (f"\nand {more:,} more classes" if more else "")

    def say_abstentions(self, total: int) -> None:
        """Print how many inputs got no label, if a threshold was given."""
        if self.foreign_limit is not None:
            who = f"{self.foreign:,} of {total:,} inputs look" if self.foreign else "No input looks"
            print(f"{who} foreign, beyond {self.foreign_limit:.4g}" + "; they got no label" * bool(self.foreign))
        if self.threshold is not None and self.abstentions:
            inputs = f"{self.abstentions:,} of {total:,} inputs"
            print(f"{inputs} got no label: none of their classes reaches --threshold {self.threshold:g}")
        elif self.threshold is not None:
            print(f"All inputs that could be read reach --threshold {self.threshold:g}")

    def say_errors(self, total: int) -> None:
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
