"""`hf-ssl evaluate`: how good a trained model is on labeled data, class by class."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..problem_types import IN_WORDS, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .output import check_folder, check_outside
from .parser import Subparsers, add_classifier_options, add_label_options
from .screen import one_line, quiet_datasets, with_progress

if TYPE_CHECKING:
    from .answers import Answer
    from .classifier import Classifier
    from .evaluation_data import Examples

# What evaluations of the three kinds of problems write.
_PICTURES = ("confusion_matrix.png", "class_recalls.png", "reliability.png", "numbers.png")
_FILES = ("evaluation.json", "predictions.csv", "labels.csv", *_PICTURES)


def register(subparsers: Subparsers) -> None:
    """Add `evaluate` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a trained model on labeled data",
        description="Accuracy, balanced accuracy, precision, recall, F1 and the confusion matrix of a model on "
        "labeled data; of a model that was trained on imbalanced labels also the recall by class size. Then whether "
        "its probabilities can be trusted: expected calibration error (ECE), Brier score, negative log-likelihood "
        "(NLL), each best at 0, and how often its most confident answers are right, with the probability from which "
        "on they are so: a value for `hf-ssl predict --threshold`. Of a model for several labels: mean average "
        "precision (map), micro and macro F1, the share of examples with all labels right (subset_accuracy), and each "
        "label by itself. Of a model for numbers: mean absolute error (MAE), root mean squared error (RMSE), R2, and "
        "the rank correlation of Spearman. The classes of the data and of the model are matched by name.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder or Hub id of a classifier, such as the output of `hf-ssl train`"
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help="labeled data as for `hf-ssl train --test`: a file, a folder with one folder per class, or a Hub dataset",
    )
    parser.add_argument(
        "--label-column", metavar="NAME", help="column of the class; found by its usual names if not given"
    )
    add_label_options(parser)
    parser.add_argument(
        "--open-set",
        action="store_true",
        help="the data also have classes that the model does not know: measure all of the above on the known ones, "
        "and how well the others are told from them: foreign_auroc, the area under the ROC curve (50 %% is chance). "
        "Of a model that was trained with --open-set also the shares of foreign and of known examples beyond the "
        "limit of `hf-ssl predict --foreign-threshold auto`",
    )
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        help="also write evaluation.json, predictions.csv and pictures (of several labels: labels.csv) to this folder",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier evaluation in --output-dir"
    )
    add_classifier_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Classify the labeled examples, show how many are right, and write the files if a folder is given.

    Raises:
        ValueError, OSError: in one line, for an option, model or dataset that cannot be used.
    """
    folder = None if args.output_dir is None else Path(args.output_dir)
    if folder is not None:
        check_folder(folder)
        check_outside(folder, [args.data])
        _check_new(folder, args.overwrite)
    from .classifier import Classifier
    from .evaluation_data import load_examples

    quiet_datasets()
    classifier = Classifier(args.model, args.batch_size, args.device, tells_foreign=args.open_set)
    if args.open_set and classifier.problem_type != SINGLE_LABEL:
        raise ValueError(
            f"--open-set must be left out, got a model for {IN_WORDS[classifier.problem_type]}; it is for one "
            "class per example"
        )
    columns = args.label_columns or ([] if args.label_column is None else [args.label_column])
    examples = load_examples(args.data, classifier, args.column, columns, args.label_separator, args.open_set)
    print("".join(f"{one_line(note)}\n" for note in examples.notes), end="")
    measure = {SINGLE_LABEL: _measure_classes, MULTI_LABEL: _measure_labels, REGRESSION: _measure_numbers}
    shown, write = measure[classifier.problem_type](args, classifier, examples)
    print(shown)
    if folder is not None:
        print(f"\nWritten to {folder}: {', '.join(write(folder))}")


# What the screen shows, and what writes the files into a folder and returns their names.
_Measured = tuple[str, Callable[[Path], list[str]]]


def _measure_classes(args: argparse.Namespace, classifier: "Classifier", examples: "Examples") -> _Measured:
    from ..calibration import RunningCalibration
    from .evaluate_open_set import part
    from .evaluation import RANKS, calibrated, compare, labeled_counts, shown, write_evaluation

    calibration = RunningCalibration()
    found = classifier(examples.values, RANKS, with_logits=True)
    answers = _asked(calibrated(found, examples.labels, calibration), examples)
    told: dict[str, float] = {}
    foreign: int | None = None
    if args.open_set:
        parts = part(examples, answers, classifier.foreign_limit)
        foreign = len(examples.labels) - len(parts.examples.labels)
        examples, answers, told = parts.examples, parts.answers, parts.metrics
        print(parts.note)
    counts = labeled_counts(args.model, classifier.names)
    evaluation = compare(examples, answers, classifier.names, counts, calibration if calibration.count else None)
    evaluation.metrics.update(told)
    evaluation = replace(evaluation, foreign=foreign)
    return shown(evaluation), lambda folder: write_evaluation(folder, evaluation)


def _measure_labels(args: argparse.Namespace, classifier: "Classifier", examples: "Examples") -> _Measured:
    from .answers import LabelAnswers
    from .evaluation_labels import compare_labels, show_labels, write_labels

    answers = _asked(classifier(examples.values), examples)
    found = compare_labels(examples, answers, LabelAnswers(1, classifier.thresholds))
    return show_labels(found), lambda folder: write_labels(folder, found)


def _measure_numbers(args: argparse.Namespace, classifier: "Classifier", examples: "Examples") -> _Measured:
    from .answers import NumberAnswers
    from .evaluation_numbers import compare_numbers, show_numbers, write_numbers

    answers = _asked(classifier(examples.values), examples)
    told = NumberAnswers(classifier.names, classifier.uncertainty is not None)
    found = compare_numbers(examples, answers, told)
    return show_numbers(found), lambda folder: write_numbers(folder, found)


def _asked(answers: "Iterable[Answer]", examples: "Examples") -> "list[Answer]":
    """All answers, with a word on those that are errors."""
    found = with_progress(answers, len(examples.values), "example")
    errors = [answer.error for answer in found if answer.error]
    if errors:
        print(f"{len(errors):,} of {len(found):,} examples could not be read and do not count; the first: {errors[0]}")
    return found


def _check_new(folder: Path, overwrite: bool) -> None:
    """Raise a FileExistsError if a file would be replaced that may be worth hours, unless told to replace it."""
    present = [name for name in _FILES if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"--output-dir must not hold an evaluation yet, got {folder} with {', '.join(present)}; give another "
            "folder, or --overwrite"
        )
