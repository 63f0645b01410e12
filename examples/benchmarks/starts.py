"""Does a training gain from a head that was fitted to the features? Runs paired with the same ones from random heads.

    python examples/benchmarks/starts.py run --data DATA --image-model M --text-model M
    python examples/benchmarks/starts.py table

The runs are those of `evidence.py`, with `start="features"` and nothing else changed: the same labels, steps, batches
and settings, which were chosen for random heads. Results are added to `results/starts.json`; those of the random heads
are read from `results/evidence.json`. `below_head` is the share of the learning rate with which the weights below a
fitted head learned: 1 in versions before `hf_ssl.training.optimization.BELOW_FITTED_HEAD`.

`--validation` tests on a held-out part of the training data instead, prints the result and writes nothing.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import torch
from evidence import RESULTS as RANDOM
from evidence import run
from evidence_results import IDENTITY, add, identity, read
from evidence_tasks import ALGORITHMS, TASKS, Places
from transformers.utils import logging

from hf_ssl.report.tables import markdown_table
from hf_ssl.training.optimization import BELOW_FITTED_HEAD

RESULTS = RANDOM.parent / "starts.json"
# First what people use most; images are left out, since their random rows are older than the present views.
LABELS = {"audio": 50, "text": 40}
FIRST = ("freematch", "softmatch", "adamatch", "fixmatch")
# What tells a row from others here: the same run was made with two rates.
NAMES = (*IDENTITY, "below_head")
KIND = ("task", "algorithm", "labels", "below_head")


def table(fitted: list[dict[str, Any]], random: list[dict[str, Any]]) -> str:
    """Markdown: both accuracies, and their paired difference with its standard error."""
    before = {identity(row): row for row in random}
    lines = []
    kinds = dict.fromkeys(identity(row, KIND) for row in sorted(fitted, key=lambda row: identity(row, KIND)))
    for task, algorithm, labels, below in kinds:
        pairs = [
            (100 * before[identity(row)]["test_accuracy"], 100 * row["test_accuracy"])
            for row in fitted
            if identity(row, KIND) == (task, algorithm, labels, below) and identity(row) in before
        ]
        gains = [after - start for start, after in pairs]
        error = f" ± {stdev(gains) / len(gains) ** 0.5:.1f}" if len(gains) > 1 else ""
        lines.append(
            [
                TASKS[task].title,
                f"`{algorithm}`",
                str(labels),
                f"{below:.2g}",
                f"{mean(start for start, _ in pairs):.1f} (at least {min(start for start, _ in pairs):.1f})",
                f"{mean(after for _, after in pairs):.1f} (at least {min(after for _, after in pairs):.1f})",
                f"{mean(gains):+.1f}{error}",
                str(len(pairs)),
            ]
        )
    return markdown_table(
        ["data", "algorithm", "labels", "rate below", "random head", "features' head", "gain", "draws"], lines
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--data", help="folder with ag_news and speech_commands")
    parser.add_argument("--image-model", default="", help="not used by these tasks")
    parser.add_argument("--text-model", help="all-MiniLM-L6-v2")
    parser.add_argument("--tasks", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--algorithms", nargs="+", default=list(FIRST), choices=list(ALGORITHMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--validation", action="store_true", help="test on a part of the training data; not saved")
    args = parser.parse_args(arguments)
    if args.what == "table":
        print(table(read(args.results), read(RANDOM)))
        return 0
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places(Path(args.data), args.image_model, args.text_model)
    for seed in args.seeds:
        for task in args.tasks:
            for algorithm in args.algorithms:
                row = {"task": task, "algorithm": algorithm, "labels": LABELS[task], "seed": seed}
                row["below_head"] = round(BELOW_FITTED_HEAD, 3)
                done = {identity(old, NAMES) for old in read(args.results)}
                if identity(row, NAMES) in done and not args.validation:
                    continue
                found = run(row, places, changes={"start": "features"}, validation=args.validation, workers=0)
                if not args.validation:
                    add(args.results, found, NAMES)
                print(
                    *row.values(), f"{100 * found['test_accuracy']:.1f}", f"{found['cpu_seconds']:.0f} s", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
