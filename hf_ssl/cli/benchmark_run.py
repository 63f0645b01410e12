"""`hf-ssl benchmark run GRID`: train what is missing of a grid, one file per training."""

import argparse
import shutil
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from .durations import duration, seconds_of
from .parser import Subparsers

if TYPE_CHECKING:
    from ..benchmark.grid import Cell, Grid, Outcome, Plan, Work

# Above this many cells a dry run shows one line per task instead of one per cell.
_MOST_LINES = 60


def add(actions: Subparsers) -> None:
    """Add `run` to the actions of `hf-ssl benchmark`."""
    parser = actions.add_parser(
        "run",
        help="run a grid: algorithms on tasks over several draws of labels",
        description="Train every cell of a grid that has no result yet. Each cell is one file below the output "
        "directory; it is never run twice, and one that was killed continues from its checkpoint. The exit status is "
        "2 if a cell failed.",
    )
    parser.add_argument("grid", metavar="GRID", help="a YAML file, or a ready grid: smoke, usb_cv, usb_nlp, ...")
    parser.add_argument("--output-dir", default="results", metavar="DIR", help="folder of the results")
    parser.add_argument("--engine", default="local", metavar="NAME", help="where: local, ray, slurm or jobs")
    parser.add_argument(
        "--engine-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the engine, such as partition=gpu; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would run and about how long, and stop")
    parser.add_argument(
        "--select",
        default="",
        metavar="CONDITIONS",
        help="only these cells, such as 'task=ag_news seed=0 algorithm=fixmatch,freematch'",
    )
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="[TASK=]PLACE",
        help="the data of a task, or of all tasks: raw or built, as for `hf-ssl benchmark build` (default: the Hub)",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="cells at a time (default: one per GPU, or per --cores)")
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="CPU cores per cell")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs per cell (default: 1 if there are any)")
    parser.add_argument("--memory", type=float, metavar="MB", help="most memory of a cell, in megabytes")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="at least this long between two checkpoints of a cell, which are written at evaluations",
    )
    parser.add_argument(
        "--report-to", nargs="+", default=[], metavar="NAME", help="trackers: trackio, tensorboard, wandb"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace results of other settings or of another version of hf-ssl"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show nothing but errors; the results are written all the same"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark run GRID`.

    Raises:
        ValueError: in one line, for a wrong grid or option, or if cells failed.
    """
    from .screen import silent

    with silent(args.quiet):
        _run_grid(args)


def _run_grid(args: argparse.Namespace) -> None:
    from ..benchmark.grid import load_grid, make_engine, plan, select
    from .output import check_folder
    from .screen import quiet_datasets

    quiet_datasets()
    grid = load_grid(args.grid)
    cells = select(grid.cells, args.select)
    results = Path(args.output_dir)
    engine = make_engine(args.engine, **_options(args.engine_option))
    work = _work(args, grid, results)
    found = plan(cells, results, args.replace)
    _show(grid, cells, found)
    if args.dry_run:
        _show_cells(cells, found)
        return
    check_folder(results)
    _clean(found.done, work)
    failures = _run(engine, found.missing, work) if found.missing else []
    _close(results, found, failures, work)


def _options(texts: Sequence[str]) -> dict[str, str]:
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--engine-option must be NAME=VALUE, got {text!r}; write such as partition=gpu")
        options[name] = value
    return options


def _work(args: argparse.Namespace, grid: "Grid", results: Path) -> "Work":
    from ..benchmark.grid import Work
    from ..benchmark.grid.tasks import task_names

    for name in ("jobs", "cores"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}; leave it out for the usual number")
    _check_trackers(args.report_to)
    sources = {}
    for text in args.source:
        task, equals, place = text.partition("=")
        sources[task if equals and task in task_names() else ""] = place if equals and task in task_names() else text
    return Work(
        results=results,
        sources={task: _absolute(place) for task, place in sources.items()},
        backbones=grid.places,
        data=grid.data,
        imports=grid.imports,
        jobs=args.jobs,
        cores=args.cores,
        gpus=_gpus(args.gpus),
        memory_mb=args.memory,
        seconds_per_cell=_budget(grid, "cell"),
        seconds_in_all=_budget(grid, "total"),
        save_seconds=args.checkpoint_seconds,
        report_to=tuple(args.report_to),
        project=grid.name,
        replace=args.replace,
    )


def _check_trackers(names: Sequence[str]) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ValueError(f"--report-to must be one of {known}, got {name!r}; leave it out for none")


def _absolute(place: str) -> str:
    """A folder or file as an absolute path; ids of the Hub as they are."""
    path = Path(place).expanduser()
    return str(path.resolve()) if path.exists() else place


def _gpus(wanted: int | None) -> int:
    import torch

    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if wanted is not None and wanted < 0:
        raise ValueError(f"--gpus must be at least 0, got {wanted}; 0 uses the CPU alone")
    return min(there, 1) if wanted is None else wanted


def _budget(grid: "Grid", name: str) -> float | None:
    text = grid.budget.get(name)
    try:
        return None if text is None else seconds_of(text)
    except ValueError:
        raise ValueError(f"{grid.name}: budget: {name} must be such as 90s, 30m or 8h, got {text!r}") from None


# ---- What is shown ----


def _show(grid: "Grid", cells: Sequence["Cell"], found: "Plan") -> None:
    if grid.description:
        print(f"{grid.name}: {grid.description}")
    failed = f", of which {len(found.failed):,} failed before" if found.failed else ""
    print(f"{len(cells):,} cells: {len(found.done):,} done, {len(found.missing):,} to run{failed}", flush=True)
    if found.outdated:
        print(
            f"{len(found.outdated):,} have results of other settings or of another version of hf-ssl, such as "
            f"{found.outdated[0].path}; they stay as they are, --replace runs them again"
        )


def _show_cells(cells: Sequence["Cell"], found: "Plan") -> None:
    """The cells, or their tasks if there are many, with what is done, and an estimate."""
    done, outdated = {id(cell) for cell in found.done}, {id(cell) for cell in found.outdated}
    if len(cells) <= _MOST_LINES:
        for cell in cells:
            state = "done" if id(cell) in done else "outdated" if id(cell) in outdated else "to run"
            print(f"  {state:<9} {cell.key}  {cell.title}")
    else:

        def place(cell: "Cell") -> tuple[str, int, str]:
            return cell.task, cell.num_labeled, cell.backbone

        for (task, labels, backbone), group in groupby(sorted(cells, key=place), key=place):
            rows = list(group)
            names = {cell.label for cell in rows}
            seeds = ", ".join(str(seed) for seed in sorted({cell.seed for cell in rows}))
            ready = sum(id(cell) in done for cell in rows)
            print(
                f"  {task} {labels:,} labels, {backbone}: {len(names)} algorithms, seeds {seeds}: "
                f"{len(rows):,} cells, {ready:,} done"
            )
    for line in found.estimate().lines() if found.missing else []:
        print(line)


# ---- Running ----


def _run(engine: object, missing: Sequence["Cell"], work: "Work") -> list["Outcome"]:
    """Run the cells, with a line for each as it ends; the outcomes of those that failed."""
    from tqdm import tqdm

    from ..training.progress import say
    from ..training.progress_callback import on_terminal

    failures, width = [], len(f"{len(missing)}")
    look = {"unit": "cell", "leave": False, "dynamic_ncols": True, "disable": not on_terminal()}
    with closing(engine.run(missing, work)) as outcomes, tqdm(total=len(missing), **look) as bar:  # type: ignore[attr-defined]
        for number, outcome in enumerate(outcomes, 1):
            say(f"[{number:>{width}}/{len(missing)}] {outcome.cell.title}: {_told(outcome)}")
            bar.update()
            if outcome.error is not None:
                failures.append(outcome)
    return failures


def _told(outcome: "Outcome") -> str:
    from ..benchmark.grid.cell_file import read
    from .screen import one_line

    if outcome.path is None:
        return f"failed ({one_line(str(outcome.error))})"
    accuracy = read(outcome.path)["runs"][0]["test_accuracy"]
    return f"test accuracy {100 * accuracy:.1f} %, {duration(outcome.seconds)}"


def _clean(done: Sequence["Cell"], work: "Work") -> None:
    """Delete checkpoints that a process left which was killed after its cell was done."""
    there = {path.name for path in work.checkpoints.iterdir()} if work.checkpoints.is_dir() else set()
    for cell in done if there else ():
        if cell.key in there:
            shutil.rmtree(work.checkpoints / cell.key, ignore_errors=True)


def _close(results: Path, found: "Plan", failures: Sequence["Outcome"], work: "Work") -> None:
    """Say how it ended.

    Raises:
        ValueError: if cells failed.
    """
    from ..benchmark.grid import plan
    from .screen import one_line

    left = len(plan(found.missing, results, work.replace).missing) - len(failures)
    if left > 0:
        print(f"{left:,} cells were not started within the budget; run the same command again for them")
    if not failures:
        print(f"The results are in {results}; `hf-ssl benchmark report {results}` shows them")
        return
    for outcome in failures:
        print(f"failed: {outcome.cell.title}: {one_line(str(outcome.error))}")
    raise ValueError(f"{len(failures)} of {len(found.missing)} cells failed; run the same command again to retry them")
