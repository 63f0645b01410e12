"""What the pool brings when examples have several labels: mean average precision and F1 with 5 % of the labels.

    python examples/benchmarks/multi_label.py grid --data data --image-model M --text-model M --cache features
    python examples/benchmarks/multi_label.py run topics cap 10 --validation --data ... [--set learning_rate=1e-3]
    python examples/benchmarks/multi_label.py table

`--data` is a folder with `cifar10` and `ag_news`; `multi_label_data.py` builds the two data sets from them. Features
are those of a frozen encoder, below a small network that `SSLTrainer` trains: a run takes seconds. Finished runs are
added to `results/multi_label.json` at once, and a grid that was stopped continues. `--validation` tests on a held-out
part of the training data instead and writes nothing. The settings of the training are those of `long_tail.py`, which
were chosen there for one class per example; algorithms have their defaults. Nothing was tuned here.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from evidence_results import add, identity, machine, read
from evidence_tasks import Places
from frozen_views import Encoded, make_model
from multi_label_data import draw, encode
from short_runs import QUIET, add_commands, be_quiet, parsed_settings, standard_error
from transformers import PrinterCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "multi_label.json"
FIELDS = ("task", "algorithm", "seed")
TASKS, SEEDS = ("topics", "collages"), (0, 1, 2, 3, 4)
# 5 % of 2,000.
LABELED = 100
TRAINING: dict[str, Any] = {
    "max_steps": 300,
    "per_device_train_batch_size": 16,
    "unlabeled_batch_ratio": 3,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "weight_decay": 5e-4,
    "ema_decay": 0.98,
}
# Rows: the algorithm, its settings, and those of `SSLConfig` that differ.
ASYMMETRIC = {"gamma_negative": 4.0, "clip": 0.05}
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "supervised": ("supervised", {}, {}),
    "supervised, asymmetric": ("supervised", ASYMMETRIC, {}),
    "pseudo_label": ("pseudo_label", {}, {}),
    "mean_teacher": ("mean_teacher", {}, {}),
    "fixmatch": ("fixmatch", {}, {}),
    "cap": ("cap", {}, {}),
}
METRICS = {"map": "mAP", "macro_f1": "macro F1", "micro_f1": "micro F1", "subset_accuracy": "all labels right"}
_LOGGED = ("mask_ratio", "pseudo_label_f1")


def run(
    row: dict[str, Any], data: Encoded, changes: dict[str, Any], own: dict[str, Any], validation: bool = False
) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "task", "algorithm" (a name of `ROWS`) and "seed".
        data: the features.
        changes: settings of `SSLConfig` that differ.
        own: settings of the algorithm that differ.
        validation: test on a part of the training data.
    """
    name, settings, different = ROWS[row["algorithm"]]
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            output_dir=folder,
            algorithm=name,
            algorithm_kwargs={**settings, **own},
            seed=row["seed"],
            **{**QUIET, **TRAINING, **different, **changes},
        )
        drawn = draw(row["task"], data, LABELED, row["seed"], validation)
        trainer = SSLTrainer(make_model(data, row["seed"]), args, **drawn)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found = trainer.evaluate()
    logged = trainer.state.log_history
    return {
        **row,
        **{metric: round(found[f"eval_{metric}"], 5) for metric in METRICS},
        **{key: next((line[key] for line in reversed(logged) if key in line), None) for key in _LOGGED},
        "cpu_seconds": round(time.process_time() - started, 1),
        "settings": {"algorithm": {**settings, **own}, "training": {**TRAINING, **different, **changes}},
        "machine": machine(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Means and standard errors over the seeds, in percent, and gains over labels alone with the same labels."""
    parts = []
    for task in TASKS:
        mine = [row for row in rows if row["task"] == task]
        if not mine:
            continue
        alone = {row["seed"]: row["map"] for row in mine if row["algorithm"] == "supervised"}
        lines = []
        for name in ROWS:
            seeds = [row for row in mine if row["algorithm"] == name]
            if not seeds:
                continue
            gains = [row["map"] - alone[row["seed"]] for row in seeds if row["seed"] in alone]
            gain = "" if name == "supervised" else _percent(gains, "+")
            lines.append([f"`{name}`", *(_percent([row[metric] for row in seeds]) for metric in METRICS), gain])
        parts.append(f"{task}, {LABELED} labeled\n\n" + markdown_table(["", *METRICS.values(), "mAP gained"], lines))
    return "\n\n".join(parts)


def _percent(values: list[float], sign: str = "") -> str:
    error = f" ± {100 * standard_error(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):{sign}.1f}{error}"


def _line(row: dict[str, Any]) -> str:
    measured = ", ".join(f"{title} {100 * row[metric]:.1f}" for metric, title in METRICS.items())
    logged = ", ".join(f"{key} {row[key]:.2f}" for key in _LOGGED if row[key] is not None)
    return f"{row['task']} {row['algorithm']} {row['seed']}: {measured}; {logged or 'no pool'}; {row['cpu_seconds']} s"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = add_commands(parser, RESULTS, ["run", "grid"])
    for command in commands.values():
        Places.add_arguments(command)
    commands["run"].add_argument("row", nargs=len(FIELDS), metavar=" ".join(FIELDS).upper())
    commands["run"].add_argument("--validation", action="store_true")
    commands["run"].add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    commands["run"].add_argument("--set-algorithm", nargs="+", default=[], metavar="NAME=VALUE")
    commands["grid"].add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.command == "table":
        print(table(read(args.results)))
        return 0
    be_quiet()
    places = Places(args.data, args.image_model, args.text_model)
    if args.command == "run":
        row = dict(zip(FIELDS, (*args.row[:-1], int(args.row[-1])), strict=True))
        changes, own = parsed_settings(args.set), parsed_settings(args.set_algorithm)
        print(_line(run(row, encode(row["task"], places, args.cache), changes, own, args.validation)))
        return 0
    data = {task: encode(task, places, args.cache) for task in args.tasks}
    for seed, task, name in itertools.product(SEEDS, args.tasks, ROWS):
        row = dict(zip(FIELDS, (task, name, seed), strict=True))
        if identity(row, FIELDS) not in {identity(old, FIELDS) for old in read(args.results)}:
            finished = run(row, data[row["task"]], {}, {})
            add(args.results, finished, FIELDS)
            print(_line(finished), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
