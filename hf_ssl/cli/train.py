"""`hf-ssl train`: from files, folders or Hub datasets to a model folder, its card, results.json and curves.png.

train_options.py    what was asked for: options, recipe, defaults
train_data.py       the datasets, loaded and put together
train_imbalance.py  --imbalance, and what is said of unequal classes
train_auto.py       --algorithm auto and features: probe, features, fine-tuning, and which of them is kept
train_features.py   the same for several labels and for numbers: probe and features
train_doubts.py     labels that look wrong, and test examples that are labeled ones: what --algorithm auto says of them
train_stages.py     the trainings of a named algorithm: labels alone (--baseline), then the algorithm
train_pace.py       how often a test set is evaluated
train_resume.py     the output folder and an earlier run in it: what may be replaced, where it goes on
train_output.py     the output folder: what is written, what is said at the end
repeat.py           the command line that repeats the run, for the card
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import check_folder, check_outside
from .parser import Subparsers, add_late_parser
from .screen import one_line, quiet_datasets, silent, transformers_above_bars

if TYPE_CHECKING:
    from .train_options import TrainArguments


def register(subparsers: Subparsers) -> None:
    """Add `train` to the commands of `hf-ssl`."""
    add_late_parser(
        subparsers,
        "train",
        run,
        help="train on your own files: few labeled, many unlabeled",
        description="Train a classifier on few labeled and many unlabeled images, texts or recordings.",
    )


def run(args: argparse.Namespace) -> None:
    """Train, and write what the run leaves.

    Raises:
        ValueError, TypeError, OSError: in one line, if the request is wrong; nothing is written then.
    """
    began = time.perf_counter()
    from .train_options import given_options, parse

    transformers_above_bars()
    arguments, settings = parse(args.words)
    if arguments.quiet:
        settings["disable_tqdm"] = True
    with silent(arguments.quiet):
        _train(arguments, settings, given_options(args.words), began)


def _train(arguments: "TrainArguments", settings: dict[str, Any], given: set[str], began: float) -> None:
    """Train with these settings, of which the user chose those that are `given`."""
    from ..algorithms import known_name, resolve_algorithm
    from ..problem_types import SINGLE_LABEL
    from ..training.evaluation import balance_decides
    from .places import is_hub_id
    from .train_imbalance import check_correction, imbalance_note
    from .train_options import STAGED
    from .train_output import Output
    from .train_pace import with_evaluation_steps
    from .train_resume import start
    from .train_stages import prepare, train_algorithm, train_baseline

    staged = settings["algorithm"] in STAGED
    if not staged:
        known_name(settings["algorithm"])
    check_correction(settings)
    check_folder(Path(settings["output_dir"]))
    check_outside(Path(settings["output_dir"]), [arguments.labeled, arguments.unlabeled, arguments.test])
    if not any(is_hub_id(source) for source in (arguments.labeled, arguments.unlabeled, arguments.test) if source):
        # Reading files takes a moment; downloads take long and keep their bars.
        quiet_datasets()
    prepared = prepare(arguments, settings)
    kind = prepared.data.summary.problem_type
    if not staged:
        # Before an earlier run is replaced.
        resolve_algorithm(settings["algorithm"], kind)
    request = start(with_evaluation_steps(prepared, given), given)
    if request is None:
        return
    output = Output(request)
    if request.is_main:
        by_balance = balance_decides(request.config) and request.data.test is not None
        sizes = imbalance_note(request.data.summary, settings, by_balance)
        for note in [*request.data.notes, *([sizes] if sizes else [])]:
            print(one_line(note), flush=True)
    if staged and kind != SINGLE_LABEL:
        from .train_features import train_on_features

        trainer = train_on_features(request, output, began)
    elif staged:
        # Not at the top: only this needs scikit-learn, which takes a second to import.
        from .train_auto import train_in_stages

        trainer = train_in_stages(request, output, given, began)
    else:
        if arguments.baseline and settings["algorithm"] != "supervised":
            output.add(*train_baseline(request, request.settings))
            if request.is_main:
                output.write_results()
        trainer, row = train_algorithm(request, output.runs)
        output.add(row, trainer.state.log_history)
    output.save(trainer)
    if request.is_main:
        print(output.closing())
