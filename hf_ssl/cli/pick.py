"""`hf-ssl pick`: which examples of a pool to label first, or next, as a file that is ready to be filled in.

pool, labeled --FeatureBank--> features --hf_ssl.features.picking--> rows --pick_output.py--> FILE or folder
"""

import argparse
from dataclasses import replace
from pathlib import Path

from .output import printable
from .parser import Subparsers
from .screen import one_line, quiet_datasets, transformers_above_bars

_WAYS = ("typical", "cover", "margin", "random")


def register(subparsers: Subparsers) -> None:
    """Add `pick` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "pick",
        help="choose which examples of a pool to label",
        description="Choose the examples of an unlabeled pool that are worth a label, and write them to a file that "
        "`hf-ssl label` or a person fills in, and `hf-ssl train --labeled` then takes as it is. Nothing is trained: a "
        "frozen model encodes the pool once.",
    )
    parser.add_argument(
        "pool",
        metavar="POOL",
        help="unlabeled examples as for `hf-ssl train --unlabeled`: a folder of files, a table, a .txt file with one "
        "text per line, or a Hub dataset",
    )
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="Hub id or folder of the model that encodes, or of a run"
    )
    parser.add_argument("-n", "--number", type=int, default=40, metavar="N", help="how many examples")
    parser.add_argument(
        "--labeled",
        metavar="DATA",
        help="examples that have labels already, as for `hf-ssl train --labeled`: they are left out, and what is like "
        "them comes last",
    )
    parser.add_argument(
        "--by",
        choices=_WAYS,
        default="typical",
        help="typical: the densest example of each large part of the pool (TypiClust), best for the first 40 labels; "
        "cover: neighborhoods that hold as much of the pool as can be (ProbCover); margin: those between two "
        "classes, by the model if it was trained on these classes, else by a classifier of its features, for later "
        "rounds; random: a plain sample, to compare with or to test on",
    )
    parser.add_argument(
        "--num-classes", type=int, metavar="C", help="how many classes there will be, if no label says so; for cover"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="a new .csv or .jsonl file with an empty column `label`; without a suffix, a new folder with copies of "
        "the files, to be sorted into one folder per class",
    )
    parser.add_argument(
        "--format",
        choices=("label-studio", "argilla"),
        help="write a .json file that this labeling tool imports instead",
    )
    parser.add_argument("--column", action="append", metavar="NAME", help="column of the inputs in the pool")
    parser.add_argument("--label-column", metavar="NAME", help="column of the classes in --labeled")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the clusters, or of the random sample")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Pick, and write the file.

    Raises:
        ValueError, OSError: in one line, for an option, model or dataset that cannot be used.
    """
    from .pick_output import check_fits, check_output

    output = Path(args.output)
    write = check_output(output, args.format)
    if args.number < 1:
        raise ValueError(f"-n must be at least 1, got {args.number}; 40 is a good start")
    from ..data.sources import count
    from ..features.picking import DRAW_ORDER, pick
    from .pick_data import encode, load
    from .places import is_hub_id

    transformers_above_bars()
    if not any(is_hub_id(source) for source in (args.pool, args.labeled) if source):
        quiet_datasets()
    given = load(args.pool, args.labeled, args.model, args.column, args.label_column)
    if args.by == "random":
        given = replace(given, order_column=DRAW_ORDER)
    for note in given.notes:
        print(one_line(note))
    check_fits(given.modality, output, args.format)
    encoded = encode(given)
    if args.by == "margin" and encoded.num_classes < 2:
        raise ValueError("--by margin needs --labeled with at least two classes; start with --by typical")
    rows = pick(
        encoded.features,
        args.number,
        encoded.labels,
        args.by,
        num_classes=args.num_classes,
        probabilities=encoded.probabilities if args.by == "margin" else None,
        seed=args.seed,
    )
    places = encoded.in_pool(rows)
    if not len(places):
        raise ValueError(f"{args.pool} holds no example that is not in {args.labeled}; give another pool")
    if encoded.unreadable:
        print(f"{printable(args.pool, end=True)}: {count(encoded.unreadable, 'example')} left out that cannot be read")
    if len(places) < args.number:
        print(f"Fewer than {args.number:,}: {args.pool} holds no more that are different from each other")
    said = write(given, places, output)
    of = f"of {len(given.pool):,} examples of {printable(args.pool, end=True)}"
    print(f"\nPicked by {args.by}: {len(places):,} {of}.\n{said}")
