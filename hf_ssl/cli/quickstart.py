"""`hf-ssl quickstart`: semi-supervised learning on real handwriting, without network, in about a minute per seed."""

import argparse
from pathlib import Path

from .output import check_folder
from .parser import Subparsers
from .screen import silent


def register(subparsers: Subparsers) -> None:
    """Add `quickstart` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "quickstart",
        help="see it work: real handwriting with 40 labels, offline, in about a minute per seed",
        description="Train a small network on scikit-learn's handwritten digits twice, once on the labeled digits "
        "alone and once with a semi-supervised algorithm, and compare. Prints a table, and writes the model, its "
        "card, results.json and curves.png.",
        epilog="Next, on your own files: `hf-ssl train --model MODEL --labeled LABELED --unlabeled POOL --output-dir "
        "DIR` starts from a pretrained model, and needs a few labels and a folder or table of unlabeled examples. "
        "(There is no pretrained encoder among the files at hand here, so the small network learns from scratch.)",
    )
    parser.add_argument(
        "--algorithm", default="fixmatch", metavar="NAME", help="compare this algorithm with training on labels alone"
    )
    parser.add_argument("--labels-per-class", type=int, default=4, metavar="N", help="labeled digits per class")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        metavar="SEED",
        help="repeat the comparison with each of these seeds (default: 0 1 2)",
    )
    parser.add_argument("--output-dir", default="ssl-quickstart", metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--quiet", action="store_true", help="show nothing but errors; the files are written all the same"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare the algorithm with the labeled-only baseline for each seed.

    Raises:
        ValueError: for an unknown algorithm, a negative seed or an impossible number of labels.
        OSError: if the folder cannot be written.
        ImportError: if a package of the extra "quickstart" is missing.
    """
    if min(args.seeds) < 0:
        raise ValueError(f"--seeds must be at least 0, got {min(args.seeds)}")
    folder = Path(args.output_dir)
    check_folder(folder)
    try:
        from .digits import compare
    except ImportError as error:
        raise ImportError(f'{error}; quickstart needs more packages: pip install "hf-ssl[quickstart]"') from error
    with silent(args.quiet):
        compare(args.algorithm, args.labels_per_class, list(dict.fromkeys(args.seeds)), folder)
