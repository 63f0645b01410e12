"""What a teacher brings: trainings with and without its opinions, 40 labels on texts and photographs, frozen views.

    python examples/benchmarks/teachers.py grid --data DATA --image-model M --text-model M --cache features
    python examples/benchmarks/teachers.py run text freematch 0 --validation --data ...
    python examples/benchmarks/teachers.py table

Encoders, views and the model on top of them are those of `long_tail.py`: features of a weak and two strong views of
each example, encoded once, and a residual adapter with a head that starts fitted to the labels. Classes are of one
size here. No weights of a model that writes text, of CLIP or of one of entailment were at hand, so the teachers are

- texts: the same sentence encoder, zero-shot: the cosine between a text and `TEMPLATE` with the name of each class,
  with the temperature that is best on the 40 labels;
- photographs: an outside classifier, a `FeatureClassifier` of the same features that has seen 250 labels of its own,
  none of which is among the 40.

Every student has 40 labels. `supervised` with a teacher is plain distillation beside the labels. Results are added to
`results/teachers.json`; a grid that was stopped continues.

`--validation` tests on a held-out part of the training data and writes nothing. So the schedule, the weight and the
template were chosen, with FreeMatch and labels of seed 10, by accuracies in percent:

    VALIDATION
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import numpy as np
import torch
from evidence_results import add, identity, machine, read
from evidence_tasks import Places
from long_tail import ALGORITHM_SETTINGS, TRAINING
from long_tail_data import Draw, Encoded, draw, encode, fitted_head, make_model
from transformers import AutoTokenizer, BertModel, PrinterCallback
from transformers.utils import logging

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank, FeatureClassifier
from hf_ssl.report.results import versions
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "teachers.json"
FIELDS = ("task", "algorithm", "teacher", "seed")
ALGORITHMS = ("supervised", "fixmatch", "freematch")
SEEDS = (0, 1, 2, 3, 4)
# Examples of each class.
TASKS: dict[str, dict[str, Any]] = {
    "images": {"num_labeled": 4, "num_unlabeled": 350, "gamma": 1, "pool": "consistent"},
    "text": {"num_labeled": 10, "num_unlabeled": 450, "gamma": 1, "pool": "consistent"},
}
# What is encoded: views, and the first training and test examples.
VIEWS = {"weak": 1, "strong": 2}
SIZES = {"images": (6_000, 2_000), "text": (2_900, 2_000)}
TITLES = {"images": "CIFAR-10, a classifier of 250 labels", "text": "AG News, class names"}
OUTSIDE_LABELS = 250
TEMPLATE = "This text is about {}."
# As a person would write them out.
_NAMES = {"Sci/Tech": "science and technology", "World": "world politics"}
_TEMPERATURES = np.geomspace(0.005, 1.0, 40)


def opinions(
    task: str, data: Encoded, drawn: Draw, places: Places, template: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher says of the pool and of the test examples: two arrays of probabilities [N, C]."""
    plain = drawn.views.features["plain"][0]
    pool, test, labeled = (
        np.asarray(rows[drawn.views.column])[:, 0] for rows in (drawn.pool, drawn.test, drawn.labeled)
    )
    if task == "images":
        return _outside_classifier(data, plain, pool, test, labeled, seed)
    logits = _unit(plain) @ _unit(_class_features(data.names, places, template)).T
    known = np.asarray(drawn.labeled["label"])
    losses = [-np.log(_softmax(logits[labeled] / t)[np.arange(len(known)), known]).mean() for t in _TEMPERATURES]
    probabilities = _softmax(logits / _TEMPERATURES[int(np.argmin(losses))])
    return probabilities[pool], probabilities[test]


def _outside_classifier(
    data: Encoded, plain: np.ndarray, pool: np.ndarray, test: np.ndarray, labeled: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    others = np.setdiff1d(pool, labeled)
    chosen, _ = draw_labels(
        data.labels[others], num_classes=len(data.names), num_labeled=OUTSIDE_LABELS, seed=1_000 + seed
    )
    labels = np.full(len(pool), -1)
    known = np.isin(pool, others[chosen])
    labels[known] = data.labels[pool[known]]
    classifier = FeatureClassifier().fit(plain[pool], labels)
    return classifier.predict_proba(plain[pool]), classifier.predict_proba(plain[test])


def _class_features(names: list[str], places: Places, template: str) -> np.ndarray:
    phrases = [template.format(_NAMES.get(name, name.lower())) for name in names]
    rows = datasets.Dataset.from_dict({"text": phrases, "label": list(range(len(names)))})
    model, tokenizer = BertModel.from_pretrained(places.text_model), AutoTokenizer.from_pretrained(places.text_model)
    args = SSLConfig("unused", max_length=64, report_to="none", dataloader_num_workers=0, disable_tqdm=True)
    with tempfile.TemporaryDirectory() as cache:
        return np.array(
            FeatureBank.encode(model, rows, tokenizer, args=args, cache_dir=cache, pooling="mean").features
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def run(
    row: dict[str, Any], data: Encoded, places: Places, changes: dict[str, Any], validation: bool
) -> dict[str, Any]:
    """Train and test once; `changes` are settings of `SSLConfig`, or the "template"."""
    drawn = draw(row["task"], data, TASKS[row["task"]], row["seed"], validation)
    template = changes.pop("template", TEMPLATE)
    of_pool, of_test = opinions(row["task"], data, drawn, places, template, row["seed"])
    pool, settings = drawn.pool, {}
    if row["teacher"]:
        pool = pool.add_column("opinions", of_pool.astype(float).tolist())
        settings = {"teacher_column": "opinions"}
    started = time.process_time()
    model = make_model(data, row["seed"])
    fitted_head(data, drawn, "head", model).write(model)
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            folder,
            algorithm=row["algorithm"],
            algorithm_kwargs=ALGORITHM_SETTINGS.get(row["algorithm"], {}),
            seed=row["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            duplicate_check_seconds=0,
            dataloader_num_workers=0,
            logging_steps=50,
            per_device_eval_batch_size=500,
            use_cpu=True,
            **TRAINING | settings | changes,
        )
        given = {"train_dataset": drawn.labeled, "unlabeled_dataset": pool, "eval_dataset": drawn.test}
        trainer = SSLTrainer(model, args, views=drawn.views, **given)
        trainer.remove_callback(PrinterCallback)
        before = trainer.evaluate()["eval_accuracy"]
        trainer.train()
        after = trainer.evaluate()["eval_accuracy"]
    return {
        **row,
        "start_accuracy": before,
        "teacher_accuracy": _accuracy(of_test, drawn.test),
        "teacher_pool_accuracy": _accuracy(of_pool, drawn.pool),
        "accuracy": after,
        "cpu_seconds": round(time.process_time() - started, 1),
        "machine": machine(),
        "versions": versions(),
    }


def _accuracy(probabilities: np.ndarray, rows: datasets.Dataset) -> float:
    return float((probabilities.argmax(axis=1) == np.asarray(rows["label"])).mean())


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: accuracies in percent with standard errors over the seeds, and the paired gain of the teacher."""
    known = {identity(row, FIELDS): row for row in rows}
    lines = []
    for task in TASKS:
        own = [known[task, "supervised", True, seed] for seed in SEEDS if (task, "supervised", True, seed) in known]
        if own:
            lines.append([TITLES[task], "teacher alone", _mean([row["teacher_accuracy"] for row in own]), "", ""])
            lines.append(
                [TITLES[task], "fitted head, no training", _mean([row["start_accuracy"] for row in own]), "", ""]
            )
        for algorithm in ALGORITHMS:
            pairs = [
                tuple(known[task, algorithm, teacher, seed]["accuracy"] for teacher in (False, True))
                for seed in SEEDS
                if all((task, algorithm, teacher, seed) in known for teacher in (False, True))
            ]
            if pairs:
                without, with_one = (list(each) for each in zip(*pairs, strict=True))
                gain = _mean([after - start for start, after in pairs], signed=True)
                lines.append([TITLES[task], f"`{algorithm}`", _mean(without), _mean(with_one), gain])
    return markdown_table(["data, teacher", "training", "without teacher", "with teacher", "gain"], lines)


def _mean(values: list[float], signed: bool = False) -> str:
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{100 * mean(values):{'+' if signed else ''}.1f} ± {100 * error:.1f}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table")
    grid, one = commands.add_parser("grid"), commands.add_parser("run")
    one.add_argument("task", choices=list(TASKS))
    one.add_argument("algorithm", choices=ALGORITHMS)
    one.add_argument("seed", type=int)
    one.add_argument("--without-teacher", action="store_true")
    one.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting that differs")
    one.add_argument("--validation", action="store_true", help="test on held-out training data, and write nothing")
    for command in (grid, one):
        Places.add_arguments(command)
        command.add_argument("--cache", type=Path, required=True, help="folder of features")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.what == "table":
        print(table(read(RESULTS)))
        return 0
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places.of(args)
    if args.what == "run":
        rows = [(args.task, args.algorithm, not args.without_teacher, args.seed)]
        changes = {name: json.loads(value) for name, value in (each.split("=", 1) for each in args.set)}
    else:
        rows = [
            (task, name, teacher, seed)
            for task in TASKS
            for seed in SEEDS
            for name in ALGORITHMS
            for teacher in (False, True)
        ]
        changes = {}
    known = {identity(row, FIELDS) for row in read(RESULTS)} if args.what == "grid" else set()
    encoded: dict[str, Encoded] = {}
    for values in rows:
        if values in known:
            continue
        row = dict(zip(FIELDS, values, strict=True))
        if row["task"] not in encoded:
            encoded = {row["task"]: encode(row["task"], places, args.cache, VIEWS, SIZES[row["task"]])}
        found = run(row, encoded[row["task"]], places, dict(changes), args.what == "run" and args.validation)
        if args.what == "grid" or not args.validation:
            add(RESULTS, found, FIELDS)
        shown = {name: f"{100 * found[name]:.1f}" for name in ("start_accuracy", "teacher_accuracy", "accuracy")}
        print(*values, changes, shown, f"{found['cpu_seconds']} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
