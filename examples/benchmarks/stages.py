"""What each stage of `hf-ssl train` brings: the command itself, with its defaults, over labels and seeds.

    python examples/benchmarks/stages.py run --data DATA --text-model M --image-model M      # every missing run
    python examples/benchmarks/stages.py run --task text --per-class 10 --seed 0 --data ...
    python examples/benchmarks/stages.py table
    python examples/benchmarks/stages.py pictures

A run is one call of the command with `--algorithm auto --baseline` on files: it encodes labels, pool and test set,
fits the probe and the features' classifier, fine-tunes on the labels alone (all weights, and adapters), and fine-
tunes from the features' head, with `--max-steps` as in `STEPS`. Labels are drawn by `hf_ssl.benchmark.splits`; the
data, encoders and test sets are those of `evidence_tasks.py`, photographs at 128 pixels as in `features.py`, which
also tells the seconds of the encoding (features are cached below HF_HOME). `setfit` is SetFit (arXiv 2209.11055) on
the same labels and encoder, in an environment with its package. Each finished run is added to `results/stages.json`.
Seconds are those of the CPU, with one thread.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import torch
from evidence_results import machine
from evidence_tasks import TASKS, Places, draw, load, make_model
from filelock import FileLock
from stages_report import NAMES, TITLES, pictures, with_photographs
from transformers.image_utils import PILImageResampling
from transformers.utils import logging

from hf_ssl.cli import main as command
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "stages.json"
SEEDS = (0, 1, 2, 3, 4)
PER_CLASS = {"text": (1, 4, 10, 25), "images": (1, 4, 10, 25), "audio": (1, 4, 5, 10, 25)}
# Steps of all fine-tuning, in place of a time that a shared machine would not keep. The models of photographs have
# batch normalization and are not fine-tuned; their steps are those of the baseline.
STEPS = {"text": 100, "images": 150, "audio": 150}
POOL = {"images": 5_000}
OPTIONS = {
    "text": ["--max-length", "64"],
    "images": ["--image-size", "128"],
    "audio": ["--max-length-seconds", "1.0"],
}


def run(task: str, per_class: int, seed: int, places: Places, validation: bool, baseline: bool) -> dict[str, Any]:
    """One call of the command; a row with the accuracy and seconds of each stage."""
    data = load(TASKS[task], places)
    count = data["train"].features["label"].num_classes
    if task in POOL:
        data["train"] = data["train"].select(range(POOL[task] + (1_000 if validation else 0)))
    drawn = draw(TASKS[task], data, per_class * count, seed, validation)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = _saved_model(task, places, data["train"].features["label"].names, place / "model")
        for name, rows in (("labeled", drawn.labeled), ("unlabeled", drawn.pool), ("test", drawn.test)):
            rows.to_parquet(place / f"{name}.parquet")
        words = ["train", "--model", str(model), "--algorithm", "auto", "--output-dir", str(place / "run")]
        words += ["--baseline"] if baseline else []
        for name in ("labeled", "unlabeled", "test"):
            words += [f"--{name}", str(place / f"{name}.parquet")]
        words += [*OPTIONS[task], "--seed", str(seed), "--use-cpu", "--report-to", "none", "--save-strategy", "no"]
        if task != "images":
            words += ["--max-steps", str(STEPS[task])]
        # The command's clock counts CPU seconds, which other work on the machine does not change.
        time.perf_counter = time.process_time
        start = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            status = command(words)
        if status:
            raise RuntimeError(f"the command ended with status {status}")
        runs = json.loads((place / "run" / "results.json").read_text(encoding="utf-8"))["runs"]
    kept = ("algorithm", "test_accuracy", "seconds", "steps", "estimate", "estimate_error", "kept")
    return {
        "task": task,
        "per_class": per_class,
        "seed": seed,
        "draw": drawn.hash[:16],
        "test_examples": len(drawn.test),
        "stages": {
            row["algorithm"] if row["algorithm"] in NAMES else "tuned": {name: row.get(name) for name in kept}
            for row in runs
        },
        "cpu_seconds": round(time.process_time() - start, 1),
        "machine": machine(),
        "versions": versions(),
    }


def run_setfit(task: str, per_class: int, seed: int, places: Places, validation: bool) -> dict[str, Any]:
    """SetFit on the same labels, with its own defaults."""
    from setfit_baseline import setfit

    data = load(TASKS[task], places)
    drawn = draw(TASKS[task], data, per_class * data["train"].features["label"].num_classes, seed, validation)
    start = time.process_time()
    accuracy = setfit(drawn.labeled, drawn.test, places.text_model, 64, seed)
    stage = {"test_accuracy": accuracy, "seconds": round(time.process_time() - start, 1)}
    return {"task": task, "per_class": per_class, "seed": seed, "draw": drawn.hash[:16], "stages": {"setfit": stage}}


def _saved_model(task: str, places: Places, names: list[str], folder: Path) -> Path | str:
    """What `--model` is given: the text encoder as it is; the others with the processor of the task."""
    if task == "text":
        return places.text_model
    model, processor = make_model(task, places, {"frozen_blocks": 0}, names, 128, seed=0)
    if task == "images":
        processor.resample = PILImageResampling.BICUBIC
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def add(path: Path, row: dict[str, Any]) -> None:
    """Add the stages of a row to those of the same task, labels and seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        rows = read(path)
        same = [old for old in rows if all(old[name] == row[name] for name in ("task", "per_class", "seed", "draw"))]
        merged = {
            **(same[0] if same else {}),
            **row,
            "stages": {**(same[0]["stages"] if same else {}), **row["stages"]},
        }
        rows = [old for old in rows if old not in same] + [merged]
        rows.sort(key=lambda row: (row["task"], row["per_class"], row["seed"]))
        lines = ",\n".join(json.dumps(row) for row in rows)
        with atomic_write(path) as temporary:
            temporary.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means and standard deviations over the draws, and their number; one column per stage."""
    lines = []
    for task, per_class in dict.fromkeys((row["task"], row["per_class"]) for row in rows):
        mine = [row["stages"] for row in rows if (row["task"], row["per_class"]) == (task, per_class)]
        cells = []
        for name in NAMES:
            values = [100 * stages[name]["test_accuracy"] for stages in mine if name in stages]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread} ({len(values)})" if values else "")
        lines.append([TITLES[task], str(per_class), *cells])
    return markdown_table(["data, encoder", "labels per class", *NAMES.values()], lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table", "pictures"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    Places.add_arguments(parser, required=False)
    parser.add_argument("--tasks", "--task", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--per-class", nargs="+", type=int)
    parser.add_argument("--seeds", "--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument(
        "--no-baseline", action="store_true", help="no fine-tuning on the labels alone, which takes long"
    )
    parser.add_argument("--setfit", action="store_true", help="SetFit instead of the command")
    parser.add_argument("--validation", action="store_true", help="test on a part of the training data; not saved")
    args = parser.parse_args(arguments)
    if args.what in ("table", "pictures"):
        rows = with_photographs(read(args.results), args.results.parent)
        print(table(rows)) if args.what == "table" else pictures(rows, args.results.parent)
        return 0
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places.of(args)
    wanted = [
        (task, per_class, seed)
        for seed in args.seeds
        for task in args.tasks
        for per_class in args.per_class or PER_CLASS[task]
    ]
    done = {
        (row["task"], row["per_class"], row["seed"])
        for row in read(args.results)
        if ("setfit" if args.setfit else "features") in row["stages"]
    }
    for key in wanted:
        if key in done and not args.validation:
            continue
        if args.setfit:
            row = run_setfit(*key, places, args.validation)
        else:
            row = run(*key, places, args.validation, not args.no_baseline)
        found = {name: round(100 * stage["test_accuracy"], 1) for name, stage in row["stages"].items()}
        print(*key, found, {name: stage["seconds"] for name, stage in row["stages"].items()}, flush=True)
        if not args.validation:
            add(args.results, row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
