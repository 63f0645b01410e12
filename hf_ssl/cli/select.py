"""`hf-ssl select`: which of several trained models is the best, without a label."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import check_file, printable
from .parser import Subparsers, add_classifier_options
from .screen import one_line, quiet_datasets, transformers_above_bars

if TYPE_CHECKING:
    from ..select import Agreement, Choice

# The pool is sampled down to this many examples: the numbers hardly change, and k-means takes time.
_EXAMPLES = 5_000
_DIGITS = {"rankme": 1, "chi": 1}


def register(subparsers: Subparsers) -> None:
    """Add `select` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "select",
        help="choose the best of several trained models without labels",
        description="Rank trained models by seven numbers that need no labels: how many directions their features use "
        "(rankme), whether clusters of the features are the predicted classes (ami, ari, v_measure, fmi), how far "
        "apart the clusters are (chi), and whether predictions are sure and of all classes (bnm). The model with the "
        "least mean of squared ranks is chosen. If results.json has a test accuracy of every model, you are also told "
        "how good the choice was.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a trained model, such as the output of `hf-ssl train`, or members/* of `hf-ssl ensemble`",
    )
    parser.add_argument(
        "--unlabeled",
        metavar="DATA",
        required=True,
        help="examples on which the models are compared: a pool as for `hf-ssl train`, all the same for all models",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=_EXAMPLES,
        metavar="N",
        help="how many of them are used, drawn at random",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of this draw, and of k-means")
    parser.add_argument("--output", metavar="FILE.json", help="also write numbers, ranks and choice to this file")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --output if it exists")
    add_classifier_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare the models, show the table, and write the file if one is named.

    Raises:
        ValueError, OSError: in one line, for an option, model or dataset that cannot be used.
    """
    target = None if args.output is None else Path(args.output)
    if target is not None:
        check_file("--output", target, ".json", [*args.runs, args.unlabeled], args.overwrite)
    _check(args)
    transformers_above_bars()
    from ..select import METRICS, choose, known_accuracy, label_free_scores, read_runs

    pool, notes, modality = _load(args)
    print("".join(f"{one_line(note)}\n" for note in notes), end="")
    found = read_runs(args.runs, pool, modality, args=_config(args), batch_size=args.batch_size)
    scores = [label_free_scores(each.features, each.logits, seed=args.seed) for each in found]
    choice = choose(scores)
    accuracies = [known_accuracy(folder) for folder in args.runs]
    agreement = choice.agreement(accuracies)
    print(_table(args.runs, scores, choice, accuracies))
    print(f"\nChosen: {printable(args.runs[choice.chosen], 120, end=True)}, on {len(found[0].features):,} examples.")
    if agreement is not None:
        print(_said(agreement))
    if target is not None:
        rows = [
            {"run": Path(name).name, **scores[place], "ranks": dict(zip(METRICS, choice.ranks[place], strict=True))}
            | {"mean_squared_rank": choice.penalties[place], "test_accuracy": accuracies[place]}
            | {"chosen": place == choice.chosen}
            for place, name in enumerate(args.runs)
        ]
        _write(target, rows, agreement, len(found[0].features), args.seed)
        print(f"Written to {target}")


def _check(args: argparse.Namespace) -> None:
    if args.examples < 1:
        raise ValueError(f"--examples must be at least 1, got {args.examples}; {_EXAMPLES} is usual")
    if args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {args.batch_size}")
    if args.device not in (None, "cpu"):
        raise ValueError(f"--device must be cpu, got {args.device}; leave it out for the fastest one")
    if len(args.runs) < 2:
        raise ValueError("RUN must be given at least twice, got one; name the folders to choose among")
    twice = next((name for name in args.runs if args.runs.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"RUN must be different folders, got {twice} twice; name each once")


def _load(args: argparse.Namespace) -> tuple[Any, list[str], str]:
    """The examples, what a person should know of how they were read, and their modality."""
    import numpy as np

    from ..data.sources import load_source
    from .pretrained import require_one_class, trained_modality

    quiet_datasets()
    for name in args.runs:
        require_one_class(name, "choosing without labels")
    kinds = {name: trained_modality(name).name for name in args.runs}
    modality = kinds[args.runs[0]]
    other = next((name for name, kind in kinds.items() if kind != modality), None)
    if other is not None:
        raise ValueError(
            f"all runs must be of one modality, got {kinds[other]} in {other} and {modality} in {args.runs[0]}; "
            "select among runs of one task"
        )
    column = None if args.column is None else args.column[0]
    source = load_source(args.unlabeled, "unlabeled", modality=modality, input_column=column)
    pool = source.dataset
    if len(pool) > args.examples:
        rows = np.random.default_rng(args.seed).choice(len(pool), args.examples, replace=False)
        pool = pool.select(np.sort(rows))
    return pool, source.notes, modality


def _config(args: argparse.Namespace) -> Any:
    from ..config import SSLConfig

    first, second = [*(args.column or ()), None, None][:2]
    cpu = args.device == "cpu"
    return SSLConfig("select", input_column=first, text_pair_column=second, use_cpu=cpu, report_to="none")


def _table(
    runs: Sequence[str], scores: Sequence[dict[str, float]], choice: "Choice", accuracies: Sequence[float | None]
) -> str:
    from ..report.tables import table
    from ..select import METRICS

    rows = []
    for place in choice.order:
        numbers = [f"{scores[place][name]:.{_DIGITS.get(name, 3)}f}" for name in METRICS]
        accuracy = accuracies[place]
        right = "-" if accuracy is None else f"{100 * accuracy:.1f} %"
        chosen = "yes" if place == choice.chosen else ""
        name = printable(runs[place], 60, end=True)
        rows.append([name, *numbers, f"{choice.penalties[place]:.1f}", right, chosen])
    return table(["run", *METRICS, "mean squared rank", "test accuracy", "chosen"], rows)


def _said(found: "Agreement") -> str:
    """How well the choice agrees with the test accuracies, in one sentence."""
    order = (
        "" if found.spearman is None else f" Spearman's rank correlation with the accuracies is {found.spearman:.2f}."
    )
    gap = "it is the best one" if found.regret == 0 else f"the best one has {100 * found.best:.1f} %"
    return (
        f"By the test sets it is right for {100 * found.chosen:.1f} %; {gap}, and all have {100 * found.mean:.1f} % "
        f"on average.{order}"
    )


def _write(target: Path, rows: list[dict[str, Any]], found: "Agreement | None", examples: int, seed: int) -> None:
    from dataclasses import asdict

    from ..files import atomic_write
    from ..report.results import versions

    content = {
        "runs": rows,
        "agreement": None if found is None else asdict(found),
        "examples": examples,
        "seed": seed,
        "versions": versions(),
    }
    with atomic_write(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
