"""`hf-ssl ensemble`: pseudo-labels that several models vote on, and a student that learns them."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import check_folder, check_outside
from .parser import CommandParser, Subparsers, add_late_parser
from .screen import one_line, quiet_datasets, silent, transformers_above_bars

if TYPE_CHECKING:
    from .train_options import TrainArguments

# What `hf-ssl train` has and an ensemble has not.
_NOT_HERE = ("algorithm", "algorithm_kwargs", "imbalance", "imbalance_kwargs", "start", "baseline", "time_budget")


def register(subparsers: Subparsers) -> None:
    """Add `ensemble` to the commands of `hf-ssl`."""
    add_late_parser(
        subparsers,
        "ensemble",
        run,
        help="train several models on the labels, and a student on what they say of the pool",
        description="Pseudo-labels that several models vote on, and a student that learns them.",
    )


def make_parser() -> CommandParser:
    """The command's own options; those of `hf-ssl train` are left to its parser."""
    from ..ensemble.methods import METHODS, TITLES
    from ..ensemble.votes import VOTES

    parser = CommandParser(
        prog="hf-ssl ensemble",
        usage="hf-ssl ensemble --model MODEL [--model MODEL ...] --labeled DATA --unlabeled DATA\n"
        "                       [--test DATA] --output-dir DIR [--resume] [options]",
        description="Train every model with every method of --peft on the labels alone, let these members vote on the "
        "pool, and train a student on the votes (V-PET, arXiv 2503.09707). Writes the student with its card, "
        "results.json with a row for each member, the vote and the student, and the members to OUTPUT_DIR/members.",
        epilog="Data, --output-dir, --resume, --overwrite and all settings are options of `hf-ssl train`, which "
        "`hf-ssl train --help` and `--help-all` list; --learning-rate is that of all weights.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="Hub id or folder of a pretrained model; give it again for further models of the same kind of data",
    )
    parser.add_argument(
        "--peft",
        default="features,lora,none",
        metavar="METHODS",
        help="how members are fitted, separated by commas: "
        + ", ".join(f"{name} ({TITLES[name]})" if TITLES[name].lower() != name else name for name in METHODS),
    )
    parser.add_argument(
        "--vote",
        choices=VOTES,
        default="mean_probabilities",
        help="how soft labels follow: the share of the members that choose a class; the mean of their probabilities; "
        "softmax of how many choose it",
    )
    parser.add_argument("--student", metavar="MODEL", help="pretrained model of the student (default: the first)")
    parser.add_argument(
        "--student-peft",
        metavar="METHOD",
        help="how the student is trained (default: the first method of --peft that trains weights, or none)",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Train the ensemble and its student, and write what they leave.

    Raises:
        ValueError, TypeError, OSError: in one line, if the request is wrong; nothing is written then.
    """
    from ..ensemble.methods import TRAINED, check_methods
    from .train_options import given_options, parse

    transformers_above_bars()
    own, rest = make_parser().parse_known_args(args.words)
    if not own.model:
        raise ValueError("--model is missing: the Hub id or folder of a pretrained model; give it once for each")
    methods = check_methods(name.strip() for name in own.peft.split(",") if name.strip())
    student = own.student or own.model[0], own.student_peft or next((m for m in methods if m in TRAINED), "none")
    if student[1] not in TRAINED:
        raise ValueError(f"--student-peft must be one of {', '.join(TRAINED)}, got {student[1]!r}; choose among them")
    words = ["--model", own.model[0], *rest]
    arguments, settings = parse(words)
    given = given_options(words)
    wrong = next((name for name in _NOT_HERE if name in given), None)
    if wrong is not None:
        raise ValueError(
            f"--{wrong.replace('_', '-')} is of `hf-ssl train`, and members learn from labels; leave it out"
        )
    if arguments.quiet:
        settings["disable_tqdm"] = True
        given = {*given, "disable_tqdm"}
    with silent(arguments.quiet):
        _train(own, methods, student, arguments, settings, given)


def _train(
    own: argparse.Namespace,
    methods: Sequence[str],
    student: tuple[str, str],
    arguments: "TrainArguments",
    settings: dict[str, Any],
    given: set[str],
) -> None:
    """Train with these settings, of which the user chose those that are `given`."""
    from ..ensemble import train_ensemble
    from .places import is_hub_id
    from .train_output import Output
    from .train_resume import prepare_folder
    from .train_stages import card_facts, prepare

    folder, sources = Path(settings["output_dir"]), (arguments.labeled, arguments.unlabeled, arguments.test)
    check_folder(folder)
    check_outside(folder, sources)
    if not any(is_hub_id(source) for source in sources if source):
        quiet_datasets()
    request = prepare(arguments, settings)
    if request.data.unlabeled is None:
        raise ValueError("--unlabeled is missing: the pool that the members vote on")
    prepare_folder(folder, arguments.resume, arguments.overwrite)
    print("".join(f"{one_line(note)}\n" for note in request.data.notes), end="")
    card = card_facts(request)
    card.command = _command(own, methods, arguments, settings)
    fields = {item.name for item in dataclasses.fields(request.config) if item.init}
    trainer = train_ensemble(
        own.model,
        train_dataset=request.data.labeled,
        unlabeled_dataset=request.data.unlabeled,
        eval_dataset=request.data.test,
        methods=methods,
        vote=own.vote,
        student=student,
        settings={name: settings[name] for name in {*given, "output_dir", "seed"} & fields},
        resume=arguments.resume,
        card=card,
        say=lambda line: print(line, flush=True),
    )
    output = Output(request)
    output.runs, output.verdict = trainer.card.stages, trainer.card.verdict
    print(output.closing())


def _command(
    own: argparse.Namespace, methods: Sequence[str], arguments: "TrainArguments", settings: dict[str, Any]
) -> str:
    """The command line that repeats the run, for the card."""
    from .places import public_place
    from .repeat import repeat_command

    words = [word for model in own.model for word in ("--model", public_place(model))]
    words += ["--peft", ",".join(methods), "--vote", own.vote]
    words += ["--student", public_place(own.student)] if own.student else []
    words += ["--student-peft", own.student_peft] if own.student_peft else []
    shared = repeat_command(dataclasses.replace(arguments, model=""), settings)
    return f"hf-ssl ensemble {shlex.join(words)} {shared.removeprefix('hf-ssl train ')}"
