"""Numbers from 50 and 250 labels: labels alone against every algorithm that predicts numbers, on two real tasks.

    python examples/benchmarks/regression.py grid --data data --text-model M --cache features
    python examples/benchmarks/regression.py run letters rankup 50 10 --validation --set algorithm.threshold=0.9 ...
    python examples/benchmarks/regression.py table

The tasks are in `regression_data.py`. The encoder is frozen and its features are cached, so that a run takes seconds;
what is trained is a residual adapter and a head. Beside it stand what is fitted to the same features without training:
ridge regression (scikit-learn, its strength cross-validated) of the labels alone, and `FeatureRegressor` of labels and
pool. Finished runs are skipped; settings were chosen with
`--validation`, on held-out training examples and draws of seeds 10 and 11, never on test rows: the learning rate and
the number of steps, by labels alone; the algorithms have their published settings.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from evidence_results import add, identity, machine, read
from evidence_tasks import Places
from regression_data import TASKS, Encoded, draw, encode, make_model
from short_runs import QUIET, add_commands, be_quiet, parsed_settings, standard_error
from sklearn.linear_model import RidgeCV
from transformers import PrinterCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.features import FeatureRegressor
from hf_ssl.metrics import regression_metrics
from hf_ssl.problem_types import REGRESSION_METRICS
from hf_ssl.report.tables import table as markdown

RESULTS = Path(__file__).parent / "results" / "regression.json"
FIELDS = ("task", "algorithm", "labels", "seed")
SEEDS, LABELS = (0, 1, 2, 3, 4), (50, 250)
TRAINING: dict[str, Any] = {
    "max_steps": 100,
    "per_device_train_batch_size": 16,
    "unlabeled_batch_ratio": 4,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "cosine",
    "weight_decay": 5e-4,
    "ema_role": "evaluation",
    "ema_decay": 0.98,
}
# The digits have no encoder: their adapter needs longer.
TASK_SETTINGS: dict[str, dict[str, Any]] = {"letters": {}, "sum": {"max_steps": 600, "learning_rate": 3e-3}}
# Rows of the table -> the algorithm's name, and its settings; those of `SSLConfig` without a prefix.
ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "pi_model": ("pi_model", {}),
    "mean_teacher": ("mean_teacher", {}),
    # Its weight in RankUp's comparison.
    "ucvme": ("ucvme", {"unsupervised_weight": 0.05}),
    "rankup": ("rankup", {}),
    "rankup+rda": ("rankup", {"algorithm.distribution_alignment": True}),
}
# Without a training: ridge regression of the labels alone, and `FeatureRegressor` of labels and pool.
FITTED = ("ridge", "features")


def run(row: dict[str, Any], data: Encoded, changes: dict[str, Any], *, validation: bool = False) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "task", "algorithm", "labels" and "seed".
        data: the features.
        changes: settings of `SSLConfig`, or with the prefix "algorithm." of the algorithm, that differ.
        validation: test on a part of the pool.
    """
    drawn = draw(data, row["labels"], row["seed"], validation)
    started = time.process_time()
    if row["algorithm"] in FITTED:
        scores = _fitted(row["algorithm"], data, row["seed"], drawn.index)
    else:
        scores = _trained(row, data, drawn, changes)
    return {
        **row,
        **{name: round(value, 5) for name, value in scores.items()},
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def _fitted(name: str, data: Encoded, seed: int, index: dict[str, np.ndarray]) -> dict[str, float]:
    with torch.no_grad():
        features = make_model(data, seed).scaled(torch.from_numpy(data.views["plain"][0])).numpy()
    given, asked = index["labeled"], index["test"]
    if name == "ridge":
        fitted = RidgeCV(np.logspace(-1, 5, 13)).fit(features[given], data.numbers[given])
    else:
        known = np.full(len(data.numbers), np.nan)
        known[given] = data.numbers[given]
        fitted = FeatureRegressor().fit(features[index["pool"]], known[index["pool"]])
    return regression_metrics(fitted.predict(features[asked]), data.numbers[asked])


def _trained(row: dict[str, Any], data: Encoded, drawn: Any, changes: dict[str, Any]) -> dict[str, float]:
    algorithm, own = ALGORITHMS[row["algorithm"]]
    settings = TRAINING | TASK_SETTINGS[row["task"]] | own | changes
    prefix = "algorithm."
    kwargs = {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            output_dir=folder,
            algorithm=algorithm,
            algorithm_kwargs=kwargs,
            seed=row["seed"],
            problem_type="regression",
            label_column="number",
            **QUIET | {name: value for name, value in settings.items() if not name.startswith(prefix)},
        )
        trainer = SSLTrainer(
            make_model(data, row["seed"]),
            args,
            train_dataset=drawn.labeled,
            unlabeled_dataset=drawn.pool,
            eval_dataset=drawn.test,
            views=drawn.views,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found = trainer.evaluate()
    return {name: found[f"eval_{name}"] for name in REGRESSION_METRICS}


def rows(tasks: list[str], seeds: list[int], counts: list[int]) -> Any:
    """All runs, the seeds outermost, so that a part is a table, too."""
    for values in itertools.product(seeds, tasks, (*FITTED, *ALGORITHMS), counts):
        seed, task, algorithm, labels = values
        yield {"task": task, "algorithm": algorithm, "labels": labels, "seed": seed}


def table(found: list[dict[str, Any]]) -> str:
    """Mean and standard error of MAE and R2 over the seeds."""
    lines, columns = [], [each for each in itertools.product(TASKS, LABELS) if _runs(found, each)]
    for algorithm in (*FITTED, *ALGORITHMS):
        cells = [algorithm]
        for column in columns:
            mine = _runs(found, column, algorithm)
            cells.append(" / ".join(_cell([row[name] for row in mine]) for name in ("mae", "r2")) if mine else "")
        lines.append(cells)
    return markdown(["", *(f"{task}, {labels}" for task, labels in columns)], lines)


def _runs(found: list[dict[str, Any]], column: tuple[str, int], algorithm: str | None = None) -> list[dict[str, Any]]:
    mine = [row for row in found if (row["task"], row["labels"]) == column]
    return [row for row in mine if algorithm in (None, row["algorithm"])]


def _cell(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {standard_error(values):.3f}"


def _line(row: dict[str, Any]) -> str:
    words = " ".join(str(row[name]) for name in FIELDS)
    scores = ", ".join(f"{name} {row[name]:.3f}" for name in REGRESSION_METRICS)
    return f"{words}: {scores}, {row['cpu_seconds']:.1f} s"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = add_commands(parser, RESULTS, ["run", "grid"])
    for command in commands.values():
        command.add_argument("--data", required=True, type=Path, help="folder with ag_news")
        command.add_argument("--text-model", default="sentence-transformers/all-MiniLM-L6-v2")
        command.add_argument("--validation", action="store_true")
    commands["run"].add_argument("row", nargs=len(FIELDS), metavar=" ".join(FIELDS).upper())
    commands["run"].add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    commands["grid"].add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    commands["grid"].add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    commands["grid"].add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.command == "table":
        print(table(read(args.results)))
        return 0
    be_quiet()
    places = Places(args.data, "", args.text_model)
    if args.command == "run":
        row = dict(zip(FIELDS, (*args.row[:2], *map(int, args.row[2:])), strict=True))
        changes = parsed_settings(args.set)
        print(_line(run(row, encode(row["task"], places, args.cache), changes, validation=args.validation)))
        return 0
    encoded = {task: encode(task, places, args.cache) for task in args.tasks}
    facts = {"machine": machine(), "settings": TRAINING, "task_settings": TASK_SETTINGS}
    for row in rows(args.tasks, args.seeds, args.labels):
        # Read each time: another process may have finished it.
        if identity(row, FIELDS) in {identity(old, FIELDS) for old in read(args.results)}:
            continue
        finished = run(row, encoded[row["task"]], {}, validation=args.validation)
        if not args.validation:
            add(args.results, {**finished, **facts}, FIELDS)
        print(_line(finished), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
