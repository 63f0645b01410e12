"""`hf-ssl demo`: a Gradio Space to try a model in, with the examples that it finds similar to an input."""

import argparse
import shlex
import sys
from pathlib import Path

from .output import check_folder, check_outside
from .parser import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `demo` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "demo",
        help="write a Gradio Space to try a model in, and push it",
        description="Write a Space for the Hub: a page on which people try MODEL on an image, a text or a recording. "
        "With --labeled it shows which labeled examples are most similar to the input, with --pool what the model "
        "predicts for the most similar unlabeled ones. The Space then holds features and classes of these examples, "
        "and the examples themselves only with --with-examples.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder or Hub id of a classifier, such as the output of `hf-ssl train`"
    )
    parser.add_argument("--labeled", metavar="L", help="the labeled data of the training, as for `hf-ssl train`")
    parser.add_argument(
        "--pool", metavar="U", help="its unlabeled data; the Space gets a random sample of 1,000, or all if fewer"
    )
    parser.add_argument(
        "--with-examples",
        action="store_true",
        help="show the examples on the page: pictures of 128 pixels without metadata, the first 300 letters of "
        "texts, the first 3 seconds of recordings; and six to try the model on, of up to 512 pixels, 1,000 letters or "
        "10 seconds. --push publishes them: only with the consent of everyone concerned",
    )
    parser.add_argument("--column", metavar="NAME", help="column of the inputs; found by its usual names if not given")
    parser.add_argument(
        "--label-column", metavar="NAME", help="column of the class; found by its usual names if not given"
    )
    parser.add_argument("--output-dir", metavar="DIR", default="demo-space", help="folder of the Space")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier Space in DIR")
    parser.add_argument(
        "--push",
        metavar="NS/NAME",
        help="push it as a Gradio Space, which is created if it does not exist; MODEL must be on the Hub",
    )
    parser.add_argument("--private", action="store_true", help="with --push: create a private Space")
    parser.add_argument("--launch", action="store_true", help="run it on this machine; needs gradio")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0 (default: the fastest available)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the Space; then push or launch it, if asked to.

    Raises:
        ValueError, OSError: in one line, for an option, model or dataset that cannot be used, or if the Hub refuses.
    """
    folder = Path(args.output_dir)
    _check(args, folder)
    from ..hub.demo.space import push_demo, write_demo
    from .demo_data import find_demo
    from .screen import one_line, quiet_datasets

    quiet_datasets()
    demo, notes = find_demo(args, folder)
    print("".join(f"{one_line(note)}\n" for note in notes), end="")
    write_demo(folder, demo)
    held = " and ".join(f"{len(part.classes):,} of the {name} examples" for name, part in demo.parts.items())
    print(f"Written to {folder}: a page to try {args.model}{f', with {held}' if held else ''}")
    if args.push:
        if demo.with_examples:
            # Said before anything leaves the machine.
            print(f"The Space will show {held} to {'those who may see it' if args.private else 'everyone'}.")
        pushed = push_demo(folder, args.push, private=args.private)
        print(f"Pushed: {pushed.url}" if pushed.changed else f"Nothing has changed: {pushed.url}")
    elif not args.launch:
        print(f"Try it: python app.py in {folder}, with gradio (--launch does so)")
    if args.launch:
        _launch(folder)


def _check(args: argparse.Namespace, folder: Path) -> None:
    """Raise an error at once about what could not be written, pushed or launched in the end."""
    from importlib.util import find_spec

    from ..files import is_local

    check_folder(folder)
    check_outside(folder, [args.labeled, args.pool])
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / "app.py").is_file():
            raise FileExistsError(f"--output-dir must be new or a Space, got {folder} with other files; give another")
        if not args.overwrite:
            raise FileExistsError(
                f"--output-dir must not hold a Space yet, got {folder}; give another folder, or --overwrite"
            )
    if args.with_examples and not (args.labeled or args.pool):
        raise ValueError("--with-examples needs examples; give --labeled, --pool or both")
    if args.private and not args.push:
        raise ValueError("--private is of the Space that --push creates; give --push NS/NAME, or leave it out")
    if args.push and is_local(args.model):
        raise ValueError(
            f"MODEL must be on the Hub for --push, since the Space loads it from there, got the folder {args.model}; "
            f"push it first (hf-ssl push {shlex.quote(args.model)} NS/MODEL) and give its id"
        )
    if args.launch and find_spec("gradio") is None:
        from ..hub.demo.space import GRADIO

        raise ImportError(f'--launch needs gradio, which is missing; pip install "gradio=={GRADIO}"')


def _launch(folder: Path) -> None:
    """Run the app in its folder until it is interrupted."""
    import subprocess

    status = subprocess.run([sys.executable, "app.py"], cwd=folder).returncode
    if status:
        raise OSError(f"the app in {folder} ended with status {status}; what it said is above")
