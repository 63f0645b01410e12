"""Does a training gain from a head that was fitted to the features? Runs paired with the same ones from random heads.

    python examples/benchmarks/starts.py run --data DATA --image-model M --text-model M
    python examples/benchmarks/starts.py table

The runs are those of `evidence.py`, with `start="features"` and nothing else changed: the same labels, steps, batches
and settings, which were chosen for random heads. Results are added to `results/starts.json`; those of the random heads
are read from `results/evidence.json`.
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
from evidence_results import add, identity, read
from evidence_tasks import ALGORITHMS, TASKS, Places
from transformers.utils import logging

from hf_ssl.report.tables import markdown_table

RESULTS = RANDOM.parent / "starts.json"
# First what people use most; images are left out, since their random rows are older than the present views.
LABELS = {"audio": 50, "text": 40}
FIRST = ("freematch", "softmatch", "adamatch", "fixmatch")


def table(fitted: list[dict[str, Any]], random: list[dict[str, Any]]) -> str:
    """Markdown: both accuracies, and their paired difference with its standard error."""
    before = {identity(row): row for row in random}
    lines = []
    for task, algorithm, labels in dict.fromkeys((row["task"], row["algorithm"], row["labels"]) for row in fitted):
        pairs = [
            (100 * before[identity(row)]["test_accuracy"], 100 * row["test_accuracy"])
            for row in fitted
            if (row["task"], row["algorithm"], row["labels"]) == (task, algorithm, labels) and identity(row) in before
        ]
        gains = [after - start for start, after in pairs]
        error = f" ± {stdev(gains) / len(gains) ** 0.5:.1f}" if len(gains) > 1 else ""
        lines.append(
            [
                TASKS[task].title,
                f"`{algorithm}`",
                str(labels),
                f"{mean(start for start, _ in pairs):.1f} (at least {min(start for start, _ in pairs):.1f})",
                f"{mean(after for _, after in pairs):.1f} (at least {min(after for _, after in pairs):.1f})",
                f"{mean(gains):+.1f}{error}",
                str(len(pairs)),
            ]
        )
    return markdown_table(["data", "algorithm", "labels", "random head", "features' head", "gain", "draws"], lines)


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
                if any(identity(row) == identity(old) for old in read(args.results)):
                    continue
                found = run(row, places, changes={"start": "features"}, validation=False, workers=0)
                add(args.results, found)
                print(
                    *row.values(), f"{100 * found['test_accuracy']:.1f}", f"{found['cpu_seconds']:.0f} s", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
