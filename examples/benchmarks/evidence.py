"""Evidence that semi-supervised training makes real models better: accuracies on real data, over several seeds.

    python examples/benchmarks/evidence.py run --task text --algorithm adamatch --labels 40 --seed 0 \
        --data data --image-model models/mobilenetv1_025_imagenet_transformers
    python examples/benchmarks/evidence.py grid --data ... --image-model ...      # every row that is missing
    python examples/benchmarks/evidence.py table
    python examples/benchmarks/evidence.py picture

`--data` is a folder with `cifar10`, `ag_news` and `speech_commands` (each with the splits train and test, as
`load_dataset` reads them). Each finished run is written to `results/evidence.json` at once, with its settings,
versions, machine and the hash of its draw of labels. A grid that was killed continues where it stopped, and a row
whose settings have changed runs again. Two runs of a row on one machine give the same numbers. The encoder of the
recordings comes with a package (`evidence_audio.py` says how to install it); row `setfit` needs the package of that
name, in a separate environment.

The labels are drawn by `hf_ssl.benchmark.splits` with the seed, equally many per class; all of the training data is
the pool. The last weights are tested on the whole test set (for AG News on 2,000 of the 7,600 texts, 500 per class,
always the same).

`--validation` tests on a held-out part of the training data instead (about 1,000 examples; for recordings, whole
speakers), prints the result and writes nothing. `--set NAME=VALUE` changes a setting (`algorithm.threshold=0.9` one of
the algorithm's, `own.frozen_layers=2` one of this script's). This is how the settings were chosen; `evidence_tasks.py`
lists them, and what was compared.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import torch
from evidence_outside import linear_probe, setfit
from evidence_report import machines, picture, table
from evidence_results import add, find, machine, read
from evidence_tasks import (
    ALGORITHMS,
    OUTSIDE,
    SEEDS,
    SETFIT_LABELS,
    TASKS,
    Draw,
    Places,
    draw,
    load,
    make_model,
    resolved,
)
from transformers import PrinterCallback
from transformers.utils import logging

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.report.results import result_of, versions

RESULTS = Path(__file__).parent / "results" / "evidence.json"
# What decides first whether the unlabeled pool helps at all.
FIRST = ("supervised", "fixmatch", "softmatch", "adamatch")


def run(
    row: dict[str, Any], places: Places, *, changes: dict[str, Any], validation: bool, workers: int
) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "task", "algorithm", "labels" and "seed".
        changes: settings that differ from the task's.
        workers: processes that make views.

    Returns:
        the row with its settings and results.
    """
    task, algorithm = row["task"], row["algorithm"]
    settings = resolved(task, algorithm, changes)
    data = load(TASKS[task], places)
    drawn = draw(TASKS[task], data, row["labels"], row["seed"], validation)
    start, start_cpu = time.perf_counter(), time.process_time()
    if algorithm in OUTSIDE:
        compete = {"linear_probe": linear_probe, "setfit": setfit}[algorithm]
        length = settings["settings"]["max_length"]
        result = {"test_accuracy": compete(drawn.labeled, drawn.test, places.text_model, length, row["seed"])}
    else:
        result = _train(row, settings, drawn, places, workers)
    return {
        **row,
        **result,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - start_cpu, 1),
        "draw_hash": drawn.hash,
        "test_examples": len(drawn.test),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
    }


def _train(row: dict[str, Any], settings: dict[str, Any], drawn: Draw, places: Places, workers: int) -> dict[str, Any]:
    names = drawn.pool.features["label"].names
    own, chosen = settings["own"], settings["settings"]
    model, processor = make_model(row["task"], places, own, names, chosen.get("image_size"), row["seed"])
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            output_dir=folder,
            algorithm=row["algorithm"],
            algorithm_kwargs=settings["algorithm_settings"] or None,
            seed=row["seed"],
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=max(chosen["max_steps"] // 5, 1),
            dataloader_num_workers=workers,
            **chosen,
        )
        trainer = SSLTrainer(
            model,
            args,
            train_dataset=drawn.labeled,
            unlabeled_dataset=drawn.pool,
            eval_dataset=drawn.test,
            processing_class=processor,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.evaluate()
        found = result_of(trainer.run_facts(), 0.0)
        kept = ("test_accuracy", "mask_ratio", "pseudo_label_accuracy", "num_unlabeled", "steps")
        return {name: found[name] for name in kept} | {
            "algorithm_in_force": _defaults(trainer.algorithm) | settings["algorithm_settings"],
            "history": _history(trainer.state.log_history),
        }


def _defaults(algorithm) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in type(algorithm).settings().items()}


def _history(log: list[dict[str, float]]) -> dict[str, list[float]]:
    """Five means over training of each term and metric, to see how a run went."""
    names = ("supervised", "unsupervised", "mask_ratio", "pseudo_label_accuracy")
    return {name: values for name in names if (values := [round(line[name], 4) for line in log if name in line])}


def grid(tasks: list[str], algorithms: list[str], labels: list[int] | None, seeds: list[int]) -> list[dict[str, Any]]:
    """The rows in the order of their value: at the first number of labels, the first algorithms, over all seeds."""
    rows = []
    for task in tasks:
        for place, count in enumerate(TASKS[task].labels):
            for algorithm in [name for name in algorithms if name in ALGORITHMS or task == "text"]:
                wanted = (labels is None or count in labels) and (algorithm != "setfit" or count <= SETFIT_LABELS)
                for seed in seeds if wanted else []:
                    rows.append((place, algorithm not in FIRST, seed, task, algorithm, count))
    names = [*ALGORITHMS, *OUTSIDE]
    rows.sort(key=lambda r: (*r[:3], tasks.index(r[3]), names.index(r[4])))
    return [{"task": r[3], "algorithm": r[4], "labels": r[5], "seed": r[2]} for r in rows]


def _line(row: dict[str, Any]) -> str:
    text = f"{row['task']} {row['algorithm']} {row['labels']} labels, seed {row['seed']}: "
    text += f"{100 * row['test_accuracy']:.2f} %"
    shares = [
        f"{name} {row[name]:.3f}" for name in ("mask_ratio", "pseudo_label_accuracy") if row.get(name) is not None
    ]
    return ", ".join([text, *shares, f"{row['cpu_seconds']:.0f} s"])


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*ALGORITHMS, *OUTSIDE]
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("run", "one row"),
        ("grid", "all rows that are missing, in the order of their value"),
        ("table", "markdown of the results"),
        ("picture", "accuracy against labels, beside the results"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--results", type=Path, default=RESULTS, help="the results file (default: results/evidence.json)"
        )
        if name in ("table", "picture"):
            continue
        command.add_argument("--data", required=True, help="folder with cifar10, ag_news and speech_commands")
        command.add_argument("--image-model", required=True, help="folder or Hub id of the image model")
        command.add_argument(
            "--text-model", default="sentence-transformers/all-MiniLM-L6-v2", help="of the text encoder"
        )
        command.add_argument("--threads", type=int, default=1, help="of torch")
        command.add_argument(
            "--workers", type=int, default=0, help="processes that make views; results do not depend on it"
        )
        if name == "run":
            command.add_argument("--task", required=True, choices=list(TASKS))
            command.add_argument("--algorithm", required=True, choices=names)
            command.add_argument("--labels", required=True, type=int, help="labeled examples in all")
            command.add_argument(
                "--seed", type=int, default=0, help="of the draw of labels, the new weights and the views"
            )
            command.add_argument(
                "--validation", action="store_true", help="test on a part of the training data; not saved"
            )
            command.add_argument(
                "--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings; not saved"
            )
        else:
            command.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
            command.add_argument("--algorithms", nargs="+", default=names, choices=names, metavar="NAME")
            command.add_argument("--labels", nargs="+", type=int, help="only these numbers of labels")
            command.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
            command.set_defaults(validation=False, set=[])
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.command == "table":
        rows = read(args.results)
        print(f"{table(rows)}\n\nMachine: {machines(rows)}.")
        return 0
    if args.command == "picture":
        picture(read(args.results), args.results.with_suffix(".png"))
        return 0
    # One thread: a row takes the same time beside others, and its sums are added in the same order.
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places(Path(args.data), args.image_model, args.text_model)
    changes = dict(_setting(text) for text in args.set)
    options = {"changes": changes, "validation": args.validation, "workers": args.workers}
    if args.command == "run":
        row = run({name: getattr(args, name) for name in ("task", "algorithm", "labels", "seed")}, places, **options)
        print(_line(row), row.get("history", ""), sep="\n")
        if not args.validation and not changes:
            add(args.results, row)
        return 0
    failed = 0
    for row in grid(args.tasks, args.algorithms, args.labels, args.seeds):
        if find(args.results, row | {"settings": resolved(row["task"], row["algorithm"])}) is not None:
            continue
        try:
            finished = run(row, places, **options)
        except Exception as error:  # the other rows do not depend on this one
            failed += 1
            print(f"{' '.join(map(str, row.values()))}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        add(args.results, finished)
        print(_line(finished), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
