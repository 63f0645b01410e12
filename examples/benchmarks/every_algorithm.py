"""Every algorithm beside labels alone: accuracies on real photographs, texts and recordings, in seconds a run.

    python examples/benchmarks/every_algorithm.py run --data DATA --image-model M --text-model M --cache features
    python examples/benchmarks/every_algorithm.py table

The encoder is frozen and its features of every view are cached (`frozen_views.py`); a residual adapter and a linear
head are trained on them, from the head that was fitted to the labels. What is compared are the algorithms with the
same labels, steps and settings: those of `long_tail.py`, which were chosen with FixMatch on held-out images, with
nothing tuned for one algorithm or data set. Rotated photographs are left out. Each finished run is added to
`results/every_algorithm.json`; a run that was stopped continues.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import torch
from evidence_results import add, identity, machine, read
from evidence_tasks import Places
from frozen_views import Encoded, draw, encode, fitted_head, make_model
from long_tail import TRAINING
from transformers import PrinterCallback
from transformers.utils import logging

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "every_algorithm.json"
FIELDS = ("task", "algorithm", "seed")
SEEDS = (0, 1, 2, 3, 4)
# Labels in all; the pool is all of the training data.
LABELS = {"images": 40, "text": 40, "audio": 50}
TITLES = {"images": "CIFAR-10, 40 labels", "text": "AG News, 40 labels", "audio": "Speech Commands, 50 labels"}
# What defaults for long runs become for 300 steps: the threshold of FixMatch and its descendants, and averages over
# about 50 steps instead of 1,000.
SHORT = {"threshold": (0.95, 0.8), "momentum": (0.999, 0.98), "ratio_momentum": (0.999, 0.98)}
# AdaMatch's threshold is relative to its confidence on the labels.
RELATIVE = ("adamatch",)


def settings_of(algorithm: str) -> dict[str, Any]:
    """The algorithm's own settings that differ from its defaults."""
    known = {name: parameter.default for name, parameter in ALGORITHMS[algorithm].settings().items()}
    settings: dict[str, Any] = {name: short for name, (long, short) in SHORT.items() if known.get(name) == long}
    if algorithm in RELATIVE:
        settings.pop("threshold")
    if "threshold_warmup" in known:
        # So few steps see each example a few times only.
        settings["threshold_warmup"] = False
    if "rotation_weight" in known:
        settings["rotation_weight"] = 0.0
    return settings


def run(
    task: str, algorithm: str, seed: int, data: Encoded, changes: dict[str, Any], *, validation: bool = False
) -> dict[str, Any]:
    """Train and test once.

    Args:
        data: the features of the task.
        changes: settings of the algorithm that differ from those of `settings_of`.
        validation: test on a part of the training data.
    """
    setting = {"num_labeled": LABELS[task], "num_unlabeled": None, "gamma": 1.0, "pool": "consistent"}
    drawn = draw(task, data, setting, seed, validation)
    settings = settings_of(algorithm) | changes
    started = time.process_time()
    model = make_model(data, seed)
    fitted_head(data, drawn, "head", model).write(model)
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            output_dir=folder,
            algorithm=algorithm,
            algorithm_kwargs=settings,
            seed=seed,
            eval_strategy="no",
            save_strategy="steps" if algorithm == "noisy_student" else "no",
            save_steps=TRAINING["max_steps"],
            report_to="none",
            disable_tqdm=True,
            duplicate_check_seconds=0,
            dataloader_num_workers=0,
            logging_steps=50,
            per_device_eval_batch_size=500,
            use_cpu=True,
            **TRAINING,
        )
        given = {"train_dataset": drawn.labeled, "unlabeled_dataset": drawn.pool, "eval_dataset": drawn.test}
        trainer = SSLTrainer(model, args, **given, views=drawn.views)
        trainer.remove_callback(PrinterCallback)
        before = trainer.evaluate()
        trainer.train()
        after = trainer.evaluate()
    logged = trainer.state.log_history
    last = {
        name: next((line[name] for line in reversed(logged) if name in line), None)
        for name in ("mask_ratio", "pseudo_label_accuracy")
    }
    return {
        **dict(zip(FIELDS, (task, algorithm, seed), strict=True)),
        "start_accuracy": before["eval_accuracy"],
        "accuracy": after["eval_accuracy"],
        **last,
        "settings": settings,
        "machine": machine(),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the gain of each algorithm over `supervised` in points, paired, and its standard error."""
    tasks = [task for task in TITLES if any(row["task"] == task for row in rows)]
    found = {tuple(row[name] for name in FIELDS): 100 * row["accuracy"] for row in rows}
    lines, gains = [], {}
    for algorithm in ALGORITHMS:
        cells = []
        for task in tasks:
            mine = {seed: found[task, algorithm, seed] for seed in SEEDS if (task, algorithm, seed) in found}
            if algorithm == "supervised" or not mine:
                cells.append(f"{mean(mine.values()):.1f} ± {stdev(mine.values()):.1f}" if len(mine) > 1 else "")
                continue
            pairs = [value - found[task, "supervised", seed] for seed, value in mine.items()]
            gains[task, algorithm] = mean(pairs)
            error = stdev(pairs) / len(pairs) ** 0.5 if len(pairs) > 2 else float("nan")
            text = f"{mean(pairs):+.1f} ± {error:.1f}"
            clear = abs(mean(pairs)) > 2 * error
            cells.append(f"**{text}**" if clear and mean(pairs) > 0 else f"*{text}* ▼" if clear else text)
        lines.append([f"`{algorithm}`", *cells])
    # Labels alone first, then by the mean gain.
    average = {line[0]: mean(gains.get((task, line[0].strip("`")), 0.0) for task in tasks) for line in lines}
    lines = lines[:1] + sorted(lines[1:], key=lambda line: -average[line[0]])
    return markdown_table(["", *(TITLES[task] for task in tasks)], lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--data", type=Path, help="folder with cifar10, ag_news and speech_commands")
    parser.add_argument("--image-model")
    parser.add_argument("--text-model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--cache", type=Path, default=Path("features"), help="folder of the features")
    parser.add_argument("--tasks", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--validation", action="store_true", help="test on training data, write nothing")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the algorithm")
    args = parser.parse_args(arguments)
    if args.command == "table":
        print(table(read(args.results)))
        return 0
    # One thread: a run takes the same time beside others, and its sums are added in the same order.
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    datasets.disable_progress_bars()
    places = Places(args.data, args.image_model, args.text_model)
    data = {task: encode(task, places, args.cache, {"medium": 2}) for task in args.tasks}
    changes = {name: json.loads(value) for name, _, value in (text.partition("=") for text in args.set)}
    for seed, task, algorithm in itertools.product(args.seeds, args.tasks, args.algorithms):
        # Read each time: another process may have finished it.
        done = {identity(row, FIELDS) for row in read(args.results)}
        if not args.validation and (task, algorithm, seed) in done:
            continue
        row = run(task, algorithm, seed, data[task], changes, validation=args.validation)
        if not args.validation:
            add(args.results, row, FIELDS)
        print(" ".join(str(value) for name, value in row.items() if name != "machine"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
