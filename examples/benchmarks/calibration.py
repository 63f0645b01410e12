"""Can the probabilities be trusted? ECE and NLL of each stage of `hf-ssl train`, without and with its temperature.

    python examples/benchmarks/calibration.py run --data DATA --text-model M --image-model M    # every missing run
    python examples/benchmarks/calibration.py run --task text --seed 0 --tuned --data ...       # fine-tuned, too
    python examples/benchmarks/calibration.py table

A run is one call of the command with 40 labels (recordings: four of each of ten words), with `--algorithm
features`, or with `auto` and `--tuned`, which fine-tunes for `STEPS`. Its `results.json` tells the temperature that is
fitted to labels held out in turn, and what it does on the test set. Data, draws, encoders and test sets are those of
`stages.py`; photographs have batch normalization and are not fine-tuned. Each finished run is added to
`results/calibration.json`.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import torch
from evidence_tasks import TASKS, Places, draw, load
from stages import OPTIONS, POOL, _saved_model
from stages_report import TITLES
from transformers.utils import logging

from hf_ssl.cli import main as command
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "calibration.json"
SEEDS = (0, 1, 2, 3, 4)
LABELS = 40
STEPS = 40
_KEPT = ("test_accuracy", "temperature", "temperature_labels", "steps")
_MEASURED = ("ece", "nll", "brier", "calibrated_ece", "calibrated_nll", "calibrated_brier")


def run(task: str, seed: int, tuned: bool, places: Places) -> list[dict[str, Any]]:
    """One call of the command; a row per stage."""
    data = load(TASKS[task], places)
    if task in POOL:
        data["train"] = data["train"].select(range(POOL[task]))
    drawn = draw(TASKS[task], data, LABELS, seed, False)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = _saved_model(task, places, data["train"].features["label"].names, place / "model")
        words = ["train", "--model", str(model), "--output-dir", str(place / "run"), *OPTIONS[task]]
        for name, rows in (("labeled", drawn.labeled), ("unlabeled", drawn.pool), ("test", drawn.test)):
            rows.to_parquet(place / f"{name}.parquet")
            words += [f"--{name}", str(place / f"{name}.parquet")]
        words += ["--algorithm", "auto", "--max-steps", str(STEPS)] if tuned else ["--algorithm", "features"]
        words += ["--seed", str(seed), "--use-cpu", "--report-to", "none", "--save-strategy", "no"]
        with contextlib.redirect_stdout(sys.stderr):
            status = command(words)
        if status:
            raise RuntimeError(f"the command ended with status {status}")
        stages = json.loads((place / "run" / "results.json").read_text(encoding="utf-8"))["runs"]
    return [
        {"task": task, "seed": seed, "stage": row["algorithm"], "test_examples": len(drawn.test)}
        | {name: row[name] for name in _KEPT}
        | {name: round(row[name], 5) for name in _MEASURED}
        for row in stages
    ]


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def add(path: Path, new: list[dict[str, Any]]) -> None:
    """Add rows to those of a results file, for older ones of the same stage, task and seed."""
    rows = {(row["task"], row["seed"], row["stage"]): row for row in [*read(path), *new]}
    lines = ",\n".join(json.dumps(rows[key]) for key in sorted(rows))
    with atomic_write(path) as temporary:
        temporary.write_text(f'{{"rows": [\n{lines}\n], "versions": {json.dumps(versions())}}}\n', encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means and standard errors over the draws of labels."""
    lines = []
    for task, stage in dict.fromkeys((row["task"], row["stage"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["stage"]) == (task, stage)]

        def cell(name: str, factor: float, digits: int, mine: list[dict[str, Any]] = mine) -> str:
            values = [factor * row[name] for row in mine]
            error = f" ± {stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
            return f"{mean(values):.{digits}f}{error}"

        cells = [cell("test_accuracy", 100, 1), cell("ece", 100, 1), cell("calibrated_ece", 100, 1)]
        cells += [cell("nll", 1, 3), cell("calibrated_nll", 1, 3), cell("temperature", 1, 2)]
        lines.append([TITLES[task], stage, str(len(mine)), *cells])
    header = ["data, encoder", "stage", "draws", "accuracy %", "ECE %", "ECE % with T", "NLL", "NLL with T", "T"]
    return markdown_table(header, lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    Places.add_arguments(parser, required=False)
    parser.add_argument("--tasks", "--task", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", "--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--tuned", action="store_true", help="fine-tune as well")
    args = parser.parse_args(arguments)
    if args.what == "table":
        print(table(read(args.results)))
        return 0
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places.of(args)
    for seed in args.seeds:
        for task in args.tasks:
            done = {row["stage"] for row in read(args.results) if (row["task"], row["seed"]) == (task, seed)}
            if len(done) < (3 if args.tuned else 2):
                add(args.results, run(task, seed, args.tuned, places))
    return 0


if __name__ == "__main__":
    sys.exit(main())
