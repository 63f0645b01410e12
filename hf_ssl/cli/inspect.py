"""`hf-ssl inspect`: one page about a run, with its pool and labels as a map, its examples, and what is doubtful."""

import argparse
import webbrowser
from pathlib import Path

from .output import check_file
from .parser import Subparsers
from .screen import one_line, quiet_datasets, transformers_above_bars

_PAGE = "inspect.html"


def register(subparsers: Subparsers) -> None:
    """Add `inspect` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "inspect",
        help="look at a run: a page with a map of pool and labels, examples, doubtful labels",
        description="Write one HTML page about a run, which needs no network and no server: results and learning "
        "curves, a map of labels, pool and test set, the examples themselves sorted by confidence, by disagreement of "
        "the methods, by change in training and by distance from the labels, confusion, calibration, labels that look "
        "wrong and near duplicates. Of a model for several labels or for numbers it shows results, curves and "
        "settings. The page shows your data: share it as you would share them.",
    )
    parser.add_argument(
        "place",
        metavar="RUN",
        help="output of `hf-ssl train`, `hf-ssl quickstart` or SSLTrainer, or the JSON file of a grid's cell",
    )
    parser.add_argument(
        "--output", metavar="FILE.html", help="write the page to this file (default: inspect.html in RUN)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --output if it exists")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    for name, what in (("labeled", "labeled examples"), ("unlabeled", "pool"), ("test", "test examples")):
        parser.add_argument(
            f"--{name}", metavar="DATA", help=f"the {what}, if RUN does not know where; given as for `hf-ssl train`"
        )
    parser.add_argument(
        "--source",
        metavar="PLACE",
        help="where the task of a grid's cell or of a run with --task is, if not on the Hub",
    )
    parser.add_argument(
        "--map",
        choices=("pca", "umap"),
        help="how features become a map: principal components, or UMAP (default: umap if umap-learn is installed, "
        "else pca)",
    )
    parser.add_argument("--examples", type=int, default=10_000, metavar="N", help="examples on the map, at most")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Gather what is known of the run, and write the page.

    Raises:
        ValueError, OSError: in one line, if RUN is none, or the page cannot be written.
    """
    if not 1 <= args.examples <= 10_000:
        raise ValueError(f"--examples must be in 1..10000, got {args.examples}; a page of more would not open quickly")
    place = Path(args.place)
    if not place.exists():
        raise FileNotFoundError(f"RUN must exist, got {place}, but there is no such file or folder; check its path")
    target = _target(place, args)
    from ..report.inspection.gather import gather
    from ..report.inspection.page import write_page
    from ..report.inspection.projection import usual_map
    from .inspect_run import find_subject

    quiet_datasets()
    transformers_above_bars()
    subject = find_subject(place, args)
    document = gather(subject, args.map or usual_map(), args.examples)
    write_page(target, document)
    print("".join(f"{one_line(note)}\n" for note in subject.notes), end="")
    print(f"Written to {target}: {target.stat().st_size / 1e6:.1f} MB")
    if args.open and not webbrowser.open(target.resolve().as_uri()):
        print("No browser was found; open the file in one.")


def _target(place: Path, args: argparse.Namespace) -> Path:
    """Where the page is written."""
    if args.output is not None:
        target = Path(args.output)
        check_file("--output", target, ".html", [place], args.overwrite)
        return target
    # That of an earlier look is replaced.
    target = place / _PAGE if place.is_dir() else place.with_suffix(".html")
    check_file("--output", target, ".html", [], overwrite=True)
    return target
