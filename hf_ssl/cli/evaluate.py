"""`hf-ssl evaluate`: how good a trained model is on labeled data, class by class."""

import argparse
from pathlib import Path

from .output import check_folder, check_outside
from .parser import Subparsers, add_classifier_options
from .screen import one_line, quiet_datasets, with_progress

# What an evaluation writes.
_FILES = ("evaluation.json", "predictions.csv", "confusion_matrix.png", "class_recalls.png", "reliability.png")


def register(subparsers: Subparsers) -> None:
    """Add `evaluate` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a trained model on labeled data",
        description="Accuracy, balanced accuracy, precision, recall, F1 and the confusion matrix of a model on "
        "labeled data; of a model that was trained on imbalanced labels also the recall by class size. Then whether "
        "its probabilities can be trusted: expected calibration error (ECE), Brier score, negative log-likelihood "
        "(NLL), each best at 0, and how often its most confident answers are right, with the probability from which "
        "on they are so: a value for `hf-ssl predict --threshold`. The classes of the data and of the model are "
        "matched by name.",
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
        help="also write evaluation.json, predictions.csv, confusion_matrix.png and reliability.png to this folder",
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
    from ..calibration import RunningCalibration
    from .classifier import Classifier
    from .evaluate_open_set import part
    from .evaluation import RANKS, calibrated, compare, labeled_counts, load_examples, shown, write_evaluation

    quiet_datasets()
    classifier = Classifier(args.model, args.batch_size, args.device, tells_foreign=args.open_set)
    examples = load_examples(args.data, args.label_column, args.column, classifier, args.open_set)
    calibration = RunningCalibration()
    found = classifier(examples.values, RANKS, with_logits=classifier.is_exclusive)
    answers = with_progress(calibrated(found, examples.labels, calibration), len(examples.values), "example")
    print("".join(f"{one_line(note)}\n" for note in examples.notes), end="")
    errors = [answer.error for answer in answers if answer.error]
    if errors:
        print(
            f"{len(errors):,} of {len(answers):,} examples could not be read and do not count; the first: {errors[0]}"
        )
    told: dict[str, float] = {}
    if args.open_set:
        parts = part(examples, answers, classifier.foreign_limit)
        examples, answers, told = parts.examples, parts.answers, parts.metrics
        print(parts.note)
    counts = labeled_counts(args.model, classifier.names)
    evaluation = compare(examples, answers, classifier.names, counts, calibration if calibration.count else None)
    evaluation.metrics.update(told)
    print(shown(evaluation))
    if folder is not None:
        written = write_evaluation(folder, evaluation)
        print(f"\nWritten to {folder}: {', '.join(written)}")


def _check_new(folder: Path, overwrite: bool) -> None:
    """Raise a FileExistsError if a file would be replaced that may be worth hours, unless told to replace it."""
    present = [name for name in _FILES if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"--output-dir must not hold an evaluation yet, got {folder} with {', '.join(present)}; give another "
            "folder, or --overwrite"
        )
