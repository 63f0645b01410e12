"""`hf-ssl label`: fill in the labels of a table, in a local page of the browser or in the terminal.

label_file.py, label_rows.py    the table on disk: one answer is one safe write
labeling.py                     what is done with it: answer, undo, classes
label_server.py, label_page.*   the page
label_terminal.py               the terminal
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from .parser import Subparsers
from .screen import quiet_datasets


def register(subparsers: Subparsers) -> None:
    """Add `label` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "label",
        help="label the examples of a table, one after the other",
        description="Label texts, pictures or recordings one by one, in a page that only this machine can open or in "
        "the terminal. Every answer is on the disk before the next example is shown; what is labeled already is "
        "skipped, so that you can stop and go on at any time.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a .csv, .tsv or .jsonl file with texts or names of files, such as `hf-ssl pick` writes",
    )
    parser.add_argument(
        "--classes",
        metavar="A,B,C",
        help="names of the classes, the first nine of which are the keys 1 to 9; those in FILE are known, and others "
        "can be added at any time",
    )
    parser.add_argument("--terminal", action="store_true", help="ask in the terminal instead of opening a page")
    parser.add_argument("--no-browser", action="store_true", help="print the page's address, and open no browser")
    parser.add_argument("--column", action="append", metavar="NAME", help="column of the inputs")
    parser.add_argument("--label-column", metavar="NAME", help="column of the classes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Label until all is labeled, or the person has had enough.

    Raises:
        ValueError, OSError: in one line, for a file that cannot be labeled.
    """
    from .label_file import LabelFile
    from .labeling import Labeling, class_names

    quiet_datasets()
    classes = class_names(args.classes or "")
    with LabelFile(Path(args.file), args.column, args.label_column) as file:
        labeling = Labeling(file, classes)
        try:
            if args.terminal:
                from .label_terminal import label_in_terminal

                label_in_terminal(labeling)
            else:
                from .label_server import label_in_browser

                label_in_browser(labeling, open_browser=not args.no_browser)
        except KeyboardInterrupt:
            print()
        done = len(file) - len(file.open_rows())
        print(f"{done:,} of {len(file):,} labeled in {args.file}.")
        if done < len(file):
            print(f"Go on any time:  {_again(args, labeling.classes)}")
        if done:
            print(f"Then:  hf-ssl train --model MODEL --labeled {shlex.quote(args.file)} --unlabeled POOL")


def _again(args: argparse.Namespace, classes: Sequence[str]) -> str:
    """The command that goes on; with the classes, since some may have no example yet."""
    from .labeling import label_command

    options = [part for name in args.column or () for part in ("--column", name)]
    options += ["--label-column", args.label_column] if args.label_column else []
    options += ["--terminal"] if args.terminal else []
    options += ["--no-browser"] if args.no_browser else []
    return label_command(args.file, classes, options)
