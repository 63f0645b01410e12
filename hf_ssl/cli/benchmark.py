"""`hf-ssl benchmark ...`: list, describe, build, verify, publish and augment tasks. Heavy imports happen in the commands."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..benchmark import back_translation as augment


def add_commands(commands) -> None:
    """Add `benchmark` with its own commands to the sub-parsers of `hf-ssl`."""
    benchmark = commands.add_parser(
        "benchmark",
        help="the datasets of the USB benchmark: build, check and publish them",
        description="The 15 datasets of the USB benchmark (arXiv 2208.07204), and CIFAR-10 and SVHN, as Parquet repositories "
        "whose configurations `datasets.load_dataset` reads without this package.",
    )
    actions = benchmark.add_subparsers(dest="action", metavar="ACTION", required=True, help="what to do")

    def add(name: str, run, help: str, description: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=description)
        parser.set_defaults(run=run)
        return parser

    add("list", run_list, "list the tasks", "Every task with its classes, label settings and sizes.")

    describe = add(
        "describe", run_describe, "describe one task", "Facts, source, settings and published numbers of one task."
    )
    describe.add_argument("task", metavar="TASK", help="name of the task")

    build = add(
        "build",
        run_build,
        "build a task from its raw data",
        "Write the Parquet repository of a task and its card. Nothing is left at the output if the build fails, and an "
        "interrupted build can simply be started again.",
    )
    build.add_argument("task", metavar="TASK", help="name of the task")
    build.add_argument(
        "--source", required=True, metavar="DIR", help="the raw data: folder, archive, or id of a copy on the Hub"
    )
    build.add_argument("--output", metavar="DIR", help="folder to make (default: usb-TASK)")
    build.add_argument("--overwrite", action="store_true", help="replace an earlier build at the output")

    back_translation = add(
        "augment",
        augment.run,
        "add back-translations to a built text task",
        "Translate the training texts to another language and back, twice, and write both as the columns aug_0 and aug_1, "
        "which the strong views of text use. An interrupted run goes on where it was.",
    )
    augment.add_arguments(back_translation)

    verify = add(
        "verify",
        run_verify,
        "check a built or published task",
        "Derive counts, class balance, draws and train/test overlap again and print what is as it should be.",
    )
    verify.add_argument("source", metavar="DIR_OR_ID", help="folder that was built, or id of a Hub dataset repository")

    publish = add(
        "publish",
        run_publish,
        "upload a built task to the Hub",
        "Check a built task and upload it as the dataset repository NAMESPACE/usb-TASK, with the token of `hf auth login` or "
        "HF_TOKEN. USB's 15 datasets go into a collection of NAMESPACE. Publishing the same content again changes nothing.",
    )
    publish.add_argument("task", metavar="TASK", help="name of the task")
    publish.add_argument("--namespace", required=True, metavar="NS", help="account or organisation on the Hub")
    publish.add_argument("--folder", metavar="DIR", help="folder that was built (default: usb-TASK)")
    publish.add_argument("--private", action="store_true", help="make a private repository, and a private collection")
    publish.add_argument(
        "--no-collection",
        dest="collection",
        action="store_false",
        help="leave NAMESPACE's collection of USB's datasets alone",
    )


def run_list(args) -> None:
    """`hf-ssl benchmark list`."""
    from ..benchmark.tasks import TASKS
    from ..report.tables import table

    rows = []
    for task in TASKS.values():
        sizes = ", ".join(f"{split} {count:,}" for split, count in task.sizes.items())
        settings = ", ".join(f"{number:,}" for number in task.label_settings)
        rows.append([task.name, task.modality, str(len(task.class_names)), settings, sizes, task.license])
    print(table(["task", "modality", "classes", "labels", "examples", "license"], rows, left=True))


def run_describe(args) -> None:
    """`hf-ssl benchmark describe TASK`."""
    from ..benchmark.cards import describe_task
    from ..benchmark.tasks import get_task

    print(describe_task(get_task(args.task)))


def run_build(args) -> None:
    """`hf-ssl benchmark build TASK --source DIR`."""
    from ..benchmark.build import build_task

    with _shown_warnings():
        folder = build_task(args.task, args.source, args.output, overwrite=args.overwrite)
    print(f"Built {folder}. Check it with: hf-ssl benchmark verify {folder}")


def run_verify(args) -> None:
    """`hf-ssl benchmark verify DIR_OR_ID`; status 2 if a check fails."""
    from ..benchmark.verify import verify_task
    from ..report.tables import table

    checks = verify_task(args.source)
    rows = [[check.name, "pass" if check.passed else "FAIL", check.found] for check in checks]
    print(table(["check", "result", "found"], rows, left=True))
    failed = [check.name for check in checks if not check.passed]
    if failed:
        raise ValueError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


def run_publish(args) -> None:
    """`hf-ssl benchmark publish TASK --namespace NS`."""
    from ..benchmark.publish import publish_task

    with _shown_warnings():
        done = publish_task(args.task, args.namespace, args.folder, private=args.private, collection=args.collection)
    print(f"Published {done.url}" if done.changed else f"Nothing has changed: {done.url}")
    if done.collection:
        print(f"In the collection {done.collection}")


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Warnings of this package as single lines on standard error."""
    handler, logger = logging.StreamHandler(), logging.getLogger("hf_ssl.benchmark")
    handler.setFormatter(logging.Formatter("hf-ssl: warning: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
