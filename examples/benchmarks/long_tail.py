"""What corrections for long tails bring on real data: balanced accuracies, paired with the plain algorithm's.

    python examples/benchmarks/long_tail.py grid --data data --image-model M --text-model M --cache features
    python examples/benchmarks/long_tail.py run images reversed head fixmatch abc 10 --validation --data ...
    python examples/benchmarks/long_tail.py table
    python examples/benchmarks/long_tail.py picture

`--data` is a folder with `cifar10` and `ag_news` (each with the splits train and test, as `load_dataset` reads them).
The encoder is frozen and its features are cached (`frozen_views.py`), so that a run takes seconds. Finished runs are
added to `results/long_tail.json` at once; a grid that was stopped continues, and runs what the table of corrections
has gained since.

`--validation` tests on a held-out part of the training data instead and writes nothing. So the settings below were
chosen, with plain FixMatch and labels of seed 10, by balanced accuracies in percent:

    images, gamma 50, 280 labels, 300 steps of 16, pool consistent / reversed
        learning rate 2e-3: 45.7 / 48.1, labels alone 44.2; 280 labels as many per class, labels alone: 62.6
        learning rate 5e-4: 42.5 / 42.5, labels alone 44.1; threshold 0.95 instead of 0.8: 42.1 / 43.1
        learning rate 1e-3 with 5 unlabeled images for each labeled one: 44.3 / 43.9, labels alone 44.1

The other algorithms, the texts and the corrections were not tuned. A correction has its defaults, but for what is
meant for long runs: averages over about 1,000 steps are over 50, and CReST trains three generations of 300 steps, and
not six. (Its rows therefore take three times the steps of the others.)
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from evidence_results import machine
from evidence_tasks import Places
from filelock import FileLock
from frozen_views import AdaptedFeatures, Draw, Encoded, draw, encode, fitted_head, make_model
from long_tail_report import PLAIN, picture, table
from short_runs import QUIET, add_commands, be_quiet, parsed_settings
from transformers import PrinterCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import get_algorithm
from hf_ssl.algorithms.imbalance import IMBALANCE
from hf_ssl.report.results import versions

RESULTS = Path(__file__).parent / "results" / "long_tail.json"
FIELDS = ("task", "pool", "start", "algorithm", "imbalance", "seed")
ALGORITHMS = ("fixmatch", "freematch", "adamatch")
POOLS = ("consistent", "reversed")
SEEDS = (0, 1, 2, 3, 4)
# "num_labeled" and "num_unlabeled" are those of the most frequent class.
TASKS: dict[str, dict[str, Any]] = {
    "images": {"num_labeled": 100, "num_unlabeled": 1_000, "gamma": 50},
    "text": {"num_labeled": 40, "num_unlabeled": 600, "gamma": 20},
}
TRAINING: dict[str, Any] = {
    "max_steps": 300,
    "per_device_train_batch_size": 16,
    "unlabeled_batch_ratio": 3,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "weight_decay": 5e-4,
    # Of corrections with a teacher: the default average, over 1,000 steps, would be the first head for all of the run.
    "ema_decay": 0.98,
}
ALGORITHM_SETTINGS: dict[str, dict[str, Any]] = {
    "fixmatch": {"threshold": 0.8},
    "freematch": {"momentum": 0.98},
    "adamatch": {"momentum": 0.98},
}
# Of corrections: what their defaults mean for longer runs.
IMBALANCE_SETTINGS: dict[str, dict[str, Any]] = {
    "debiaspl": {"momentum": 0.98},
    "crest": {"generations": 3, "momentum": 0.98},
    "crest_plus": {"generations": 3, "momentum": 0.98},
}
_LOGGED = ("mask_ratio", "pseudo_label_accuracy")


def run(row: dict[str, Any], data: Encoded, changes: dict[str, Any], *, validation: bool = False) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "task", "pool", "start", "algorithm", "imbalance" and "seed".
        data: the features.
        changes: settings of `SSLConfig`, or with a prefix "algorithm.", "imbalance." or "task.", that differ.
        validation: test on a part of the training data.
    """
    setting = TASKS[row["task"]] | {"pool": row["pool"]} | _part(changes, "task.")
    drawn = draw(row["task"], data, setting, row["seed"], validation)
    started = time.process_time()
    model = make_model(data, row["seed"])
    head = fitted_head(data, drawn.split, row["start"], model)
    head.write(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(row, model, drawn, changes, folder)
        trainer.remove_callback(PrinterCallback)
        # As with `SSLConfig(start="head")` or `"features"`, which would fit the head again for every run.
        trainer.algorithm.correction.begin_with(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
        before = trainer.evaluate()
        trainer.train()
        after = trainer.evaluate()
    logged = trainer.state.log_history
    return {
        **row,
        "start_accuracy": before["eval_balanced_accuracy"],
        "balanced_accuracy": after["eval_balanced_accuracy"],
        "accuracy": after["eval_accuracy"],
        **{name: next((line[name] for line in reversed(logged) if name in line), None) for name in _LOGGED},
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def _part(changes: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in changes.items() if name.startswith(prefix)}


def _trainer(
    row: dict[str, Any], model: AdaptedFeatures, drawn: Draw, changes: dict[str, Any], folder: str
) -> SSLTrainer:
    own = ALGORITHM_SETTINGS.get(row["algorithm"], {}) | _part(changes, "algorithm.")
    settings = TRAINING | {name: value for name, value in changes.items() if "." not in name}
    if row["imbalance"] != PLAIN:
        chosen = IMBALANCE_SETTINGS.get(row["imbalance"], {}) | _part(changes, "imbalance.")
        settings |= {"imbalance": row["imbalance"], "imbalance_kwargs": chosen}
        settings["max_steps"] *= chosen.get("generations", 1)
    args = SSLConfig(
        output_dir=folder,
        algorithm=row["algorithm"],
        algorithm_kwargs=own,
        seed=row["seed"],
        **QUIET | settings,
    )
    return SSLTrainer(
        model,
        args,
        train_dataset=drawn.labeled,
        unlabeled_dataset=drawn.pool,
        eval_dataset=drawn.test,
        views=drawn.views,
    )


def rows(tasks: list[str], seeds: list[int], starts: list[str]) -> Iterator[dict[str, Any]]:
    """All runs: FixMatch first, then the others, each with the seeds outermost, so that a part is a table, too."""
    for start in starts:
        # From the features of labels and pool, FixMatch alone.
        for algorithms in (ALGORITHMS[:1], ALGORITHMS[1:] if start == "head" else ()):
            for seed, task, pool, algorithm in itertools.product(seeds, tasks, POOLS, algorithms):
                for imbalance in (PLAIN, *(name for name in IMBALANCE if not _refuses(algorithm, name))):
                    yield dict(zip(FIELDS, (task, pool, start, algorithm, imbalance, seed), strict=True))


def _refuses(algorithm: str, imbalance: str) -> bool:
    """Whether a correction cannot be put around an algorithm."""
    sizes = {"num_labeled": 9, "num_unlabeled": 9, "labeled_batch_size": 2, "unlabeled_batch_size": 2}
    return IMBALANCE[imbalance].refusal(get_algorithm(algorithm, num_classes=2, feature_size=2, **sizes)) is not None


def read(path: Path) -> list[dict[str, Any]]:
    """The finished runs, one a line of the file; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []


def identity(row: dict[str, Any]) -> tuple:
    """What tells a run from others."""
    return tuple(row[name] for name in FIELDS)


def add(path: Path, row: dict[str, Any]) -> None:
    """Add a run, or replace the one of the same identity; the file is written whole or not at all."""
    with FileLock(f"{path}.lock"):
        found = {identity(old): old for old in read(path)} | {identity(row): row}
        lines = ",\n".join(json.dumps(found[key]) for key in sorted(found))
        facts = {"machine": machine(), "versions": versions(), "tasks": TASKS, "training": TRAINING}
        facts |= {"algorithms": ALGORITHM_SETTINGS, "corrections": IMBALANCE_SETTINGS}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(f'{{"settings": {json.dumps(facts)},\n"runs": [\n{lines}\n]}}\n', encoding="utf-8")
        temporary.replace(path)


def _line(row: dict[str, Any]) -> str:
    words = " ".join(str(row[name]) for name in FIELDS)
    pseudo = row["pseudo_label_accuracy"]
    right = (
        "" if pseudo is None else f", pseudo-labels {100 * pseudo:.0f} % right, {100 * row['mask_ratio']:.0f} % used"
    )
    accuracies = f"{100 * row['start_accuracy']:.1f} -> {100 * row['balanced_accuracy']:.1f} % balanced accuracy"
    return f"{words}: {accuracies}{right}, {row['cpu_seconds']:.1f} s"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = add_commands(parser, RESULTS, ["run", "grid"], ["table", "picture"])
    for command in commands.values():
        command.add_argument("--data", required=True, type=Path, help="folder with cifar10 and ag_news")
        command.add_argument("--image-model", required=True)
        command.add_argument("--text-model", default="sentence-transformers/all-MiniLM-L6-v2")
        command.add_argument("--validation", action="store_true")
    commands["run"].add_argument("row", nargs=len(FIELDS), metavar=" ".join(FIELDS).upper())
    commands["run"].add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    commands["grid"].add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    commands["grid"].add_argument("--starts", nargs="+", default=["head", "features"], choices=["head", "features"])
    commands["grid"].add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.command == "table":
        print(table(read(args.results)))
        return 0
    if args.command == "picture":
        picture(read(args.results), args.results.with_suffix(".png"))
        return 0
    be_quiet()
    places = Places(args.data, args.image_model, args.text_model)
    if args.command == "run":
        row = dict(zip(FIELDS, (*args.row[:-1], int(args.row[-1])), strict=True))
        changes = parsed_settings(args.set)
        row = run(row, encode(row["task"], places, args.cache), changes, validation=args.validation)
        print(_line(row))
        return 0
    return _run_grid(args, places)


def _run_grid(args: argparse.Namespace, places: Places) -> int:
    data = {task: encode(task, places, args.cache) for task in args.tasks}
    failed = 0
    for row in rows(args.tasks, args.seeds, args.starts):
        # Read each time: another process may have finished it.
        if identity(row) in map(identity, read(args.results)):
            continue
        try:
            finished = run(row, data[row["task"]], {}, validation=args.validation)
        except Exception as error:  # the other runs do not depend on this one
            failed += 1
            print(f"{' '.join(map(str, row.values()))}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        if not args.validation:
            add(args.results, finished)
        print(_line(finished), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
