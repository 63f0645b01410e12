"""`hf-ssl benchmark ...`: list, describe, build, augment, verify and publish the tasks of the USB benchmark.

Running them is told in modules of their own: benchmark_run.py.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from . import benchmark_run, benchmark_submit
from .parser import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `benchmark`, which has commands of its own, to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "benchmark",
        help="build, check and publish the datasets of the USB benchmark, and run algorithms on them",
        description="The 15 datasets of the USB benchmark (arXiv 2208.07204), and CIFAR-10 and SVHN, as Parquet "
        "repositories that `datasets.load_dataset` reads without this package.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    for add in (
        _add_list,
        _add_describe,
        _add_build,
        _add_augment,
        _add_verify,
        _add_publish,
        benchmark_run.add,
        benchmark_submit.add_submit,
        benchmark_submit.add_leaderboard,
    ):
        add(actions)


def _add(
    actions: Subparsers, name: str, run: Callable[[argparse.Namespace], None], help: str, description: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help, description=description)
    parser.set_defaults(run=run)
    return parser


# ---- list, describe ----


def _add_list(actions: Subparsers) -> None:
    _add(actions, "list", run_list, "list the tasks", "List every task with its classes, numbers of labels and sizes.")


def run_list(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark list`."""
    from ..benchmark.tasks import TASKS
    from ..report.tables import table

    rows, notes = [], []
    for task in TASKS.values():
        sizes = ", ".join(f"{split} {count:,}" for split, count in task.sizes.items())
        settings = ", ".join(f"{number:,}" for number in task.label_settings)
        if max(task.label_settings) > task.sizes["train"]:
            settings += "*"
            notes.append(f"* USB's name of the setting; {task.name} has {task.sizes['train']:,} labeled examples")
        rows.append([task.name, task.modality, str(len(task.class_names)), settings, sizes, task.license])
    print(table(["task", "modality", "classes", "labels", "examples", "license"], rows, left=True))
    print("".join(f"\n{note}" for note in notes))


def _add_describe(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "describe",
        run_describe,
        "describe one task",
        "Show a task's source, license, numbers of labels, and the results that USB published for it.",
    )
    parser.add_argument("task", metavar="TASK", help="name of the task, as `hf-ssl benchmark list` shows it")


def run_describe(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark describe TASK`."""
    from ..benchmark.cards import describe_task
    from ..benchmark.tasks import get_task

    print(describe_task(get_task(args.task)))


# ---- build, augment ----


def _add_build(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "build",
        run_build,
        "build a task from its raw data",
        "Write a task as a repository of Parquet files with its card. If the build fails, nothing is left at the "
        "output; an interrupted build can simply be started again.",
    )
    parser.add_argument("task", metavar="TASK", help="name of the task, as `hf-ssl benchmark list` shows it")
    parser.add_argument(
        "--source",
        required=True,
        metavar="PLACE",
        help="the raw data: a folder, an archive, or the id of a copy on the Hub",
    )
    parser.add_argument("--output", metavar="DIR", help="folder to create (default: usb-TASK)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier build at the output")


def run_build(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark build TASK --source PLACE`."""
    from ..benchmark.build import build_task

    folder = build_task(args.task, args.source, args.output, overwrite=args.overwrite)
    print(f"Built {folder}. Check it with: hf-ssl benchmark verify {folder}")


def _add_augment(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "augment",
        run_augment,
        "add back-translations to a built text task",
        "Translate the training texts to two other languages and back, and add both results as the columns aug_0 and "
        "aug_1, which the strong views of texts use. If it is interrupted, start it again: it continues where it "
        "stopped.",
    )
    parser.add_argument("task", metavar="TASK", help="name of a text task that has been built")
    parser.add_argument("--folder", metavar="DIR", help="folder of the built task (default: usb-TASK)")
    parser.add_argument(
        "--translation-models",
        nargs=4,
        metavar="MODEL",
        help="four models: from English and back for aug_0, then for aug_1 (default: MarianMT, through German and "
        "through Russian)",
    )
    parser.add_argument("--temperature", type=float, default=0.9, metavar="T", help="temperature of sampling, above 0")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts per call of a model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of sampling")
    parser.add_argument(
        "--device", metavar="NAME", help="such as cpu or cuda:1 (default: the accelerator if there is one, or the CPU)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace back-translations that the task already has")


def run_augment(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark augment TASK`.

    Raises:
        ValueError: if the folder holds another task, or nothing that can be augmented.
    """
    from ..benchmark import repository
    from ..benchmark.back_translation import TRANSLATION_MODELS, augment
    from ..benchmark.tasks import get_task

    task = get_task(args.task)
    folder = Path(args.folder or repository.repository_name(task))
    if folder.is_dir() and (built := repository.read_record(folder)["task"]) != task.name:
        raise ValueError(
            f"--folder must hold the task {task.name}, but {folder} holds the task {built}; give its folder"
        )
    augment(
        folder,
        args.translation_models or TRANSLATION_MODELS,
        temperature=args.temperature,
        batch_size=args.batch_size,
        seed=args.seed,
        device=args.device,
        overwrite=args.overwrite,
    )
    print(f"Augmented {folder}. Check it with: hf-ssl benchmark verify {folder}")


# ---- verify, publish ----


def _add_verify(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "verify",
        run_verify,
        "check a built or published task",
        "Derive counts, class balance, draws of labels and the overlap of train and test again, and compare them with "
        "what the task should hold. The exit status is 2 if a check fails.",
    )
    parser.add_argument(
        "source", metavar="DIR_OR_ID", help="folder of a built task, or id of a dataset repository on the Hub"
    )


def run_verify(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark verify DIR_OR_ID`.

    Raises:
        ValueError: if a check fails.
    """
    from ..benchmark.verify import verify_task
    from ..report.tables import table

    checks = verify_task(args.source)
    rows = [[check.name, "pass" if check.passed else "FAIL", check.found] for check in checks]
    print(table(["check", "result", "found"], rows, left=True))
    failed = [check.name for check in checks if not check.passed]
    if failed:
        raise ValueError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


def _add_publish(actions: Subparsers) -> None:
    parser = _add(
        actions,
        "publish",
        run_publish,
        "upload a built task to the Hub",
        "Check a built task and upload it as the dataset repository NAMESPACE/usb-TASK, with the token of `hf auth "
        "login` or HF_TOKEN. USB's 15 datasets are gathered in a collection of NAMESPACE. Publishing the same content "
        "again changes nothing.",
    )
    parser.add_argument("task", metavar="TASK", help="name of the task, which has been built")
    parser.add_argument("--namespace", required=True, metavar="NAMESPACE", help="account or organization on the Hub")
    parser.add_argument("--folder", metavar="DIR", help="folder of the built task (default: usb-TASK)")
    parser.add_argument("--private", action="store_true", help="create a private repository, and a private collection")
    parser.add_argument(
        "--no-collection",
        dest="collection",
        action="store_false",
        help="do not add the dataset to NAMESPACE's collection of USB's datasets",
    )


def run_publish(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark publish TASK --namespace NAMESPACE`."""
    from ..benchmark.publish import publish_task

    done = publish_task(args.task, args.namespace, args.folder, private=args.private, collection=args.collection)
    print(f"Published {done.url}" if done.changed else f"Nothing has changed: {done.url}")
    if done.collection:
        print(f"In the collection {done.collection}")
