"""What a teacher brings: trainings with and without its opinions, 40 labels on texts and photographs, frozen views.

    python examples/benchmarks/teachers.py grid --data DATA --image-model M --text-model M --cache features
    python examples/benchmarks/teachers.py choose --data ...    # on held-out training data
    python examples/benchmarks/teachers.py table

Encoders, views and the model on top of them are those of `long_tail.py`: features of two weak and six strong views of
each example, encoded once, and a residual adapter with a head that starts fitted to the labels. Classes are of one
size here. No weights of a model that writes text, of CLIP or of one of entailment were at hand, so the teachers are

- texts: the same sentence encoder, zero-shot: the cosine between a text and `TEMPLATE` with the name of each class,
  with the temperature that is best on the 40 labels;
- photographs: an outside classifier, a `FeatureClassifier` of the same features that has seen 250 labels of its own,
  none of which is among the 40.

Every student has 40 labels. `supervised` with a teacher is plain distillation beside the labels. Results are added to
`results/teachers.json`; a grid that was stopped continues.

`choose` tests on a held-out part of the training data and writes nothing. So schedule and weight were compared,
with FreeMatch and labels of seed 10, one run each, by accuracies in percent:

    images: no teacher 48.6; falling 48.0, constant 49.1, rising 47.9, falling with weight 3 49.0
    texts:  no teacher 81.0; falling 84.4, constant 84.1, rising 83.9, falling with weight 3 81.9

These are differences of a point or less but for one, so both kept the package's defaults, falling and 1. `TEMPLATE`,
`start="teacher"` and the rest were not chosen by any run.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import datasets
import numpy as np
import torch
from evidence_results import add, identity, machine, read
from evidence_tasks import Places
from frozen_views import AdaptedFeatures, Draw, Encoded, draw, encode, fitted_head, make_model
from long_tail import ALGORITHM_SETTINGS, TRAINING
from short_runs import QUIET, be_quiet, standard_error
from transformers import AutoTokenizer, BertModel, PrinterCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank, FeatureClassifier
from hf_ssl.features.reading import LinearHead, Reading
from hf_ssl.features.start import teacher_head
from hf_ssl.report.results import versions
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "teachers.json"
FIELDS = ("task", "algorithm", "teacher", "start", "seed")
ALGORITHMS = ("supervised", "freematch")
# With a teacher or without, and from which head.
WAYS = ((False, "head"), (True, "head"), (True, "teacher"))
SEEDS = (0, 1, 2, 3, 4)
# Examples, as many of each class.
TASKS: dict[str, dict[str, Any]] = {
    "images": {"num_labeled": 40, "num_unlabeled": 5_000, "gamma": 1, "pool": "consistent"},
    "text": {"num_labeled": 40, "num_unlabeled": 2_400, "gamma": 1, "pool": "consistent"},
}
TITLES = {"images": "CIFAR-10, a classifier of 250 labels", "text": "AG News, class names"}
OUTSIDE_LABELS = 250
TEMPLATE = "This text is about {}."
# As a person would write them out.
_NAMES = {"Sci/Tech": "science and technology", "World": "world politics"}
# Half of the steps of `long_tail.py`, as a shared CPU affords.
SETTINGS = TRAINING | {"max_steps": 150}
# What is compared by `choose`.
CHOICES: tuple[dict[str, Any], ...] = (
    {"teacher_schedule": "falling"},
    {"teacher_schedule": "constant"},
    {"teacher_schedule": "rising"},
    {"teacher_schedule": "falling", "teacher_weight": 3.0},
)
_TEMPERATURES = np.geomspace(0.005, 1.0, 40)


def opinions(task: str, data: Encoded, drawn: Draw, places: Places, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher says of the pool and of the test examples: two arrays of probabilities [N, C]."""
    plain = drawn.views.features["plain"][0]
    pool, test, labeled = drawn.split.pool, drawn.split.tested, drawn.split.labeled
    if task == "images":
        return _outside_classifier(data, plain, pool, test, labeled, seed)
    logits = _unit(plain) @ _unit(_class_features(data.names, places)).T
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


def _class_features(names: list[str], places: Places) -> np.ndarray:
    phrases = [TEMPLATE.format(_NAMES.get(name, name.lower())) for name in names]
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


@dataclass(frozen=True)
class Given:
    """A draw of labels, and what the teacher says of its pool and its test examples."""

    drawn: Draw
    of_pool: np.ndarray
    of_test: np.ndarray


def given(task: str, data: Encoded, places: Places, seed: int, validation: bool) -> Given:
    """What the runs of a task and seed share."""
    drawn = draw(task, data, TASKS[task], seed, validation)
    return Given(drawn, *opinions(task, data, drawn, places, seed))


def run(row: dict[str, Any], data: Encoded, shared: Given, changes: dict[str, Any]) -> dict[str, Any]:
    """Train and test once; `changes` are settings of `SSLConfig` that differ."""
    drawn, pool, settings = shared.drawn, shared.drawn.pool, {}
    if row["teacher"]:
        pool = pool.add_column("opinions", shared.of_pool.astype(float).tolist())
        settings = {"teacher_column": "opinions"}
    started = time.process_time()
    model = make_model(data, row["seed"])
    _head(row["start"], data, shared, model).write(model)
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            folder,
            algorithm=row["algorithm"],
            algorithm_kwargs=ALGORITHM_SETTINGS.get(row["algorithm"], {}),
            seed=row["seed"],
            **QUIET | SETTINGS | settings | changes,
        )
        rows = {"train_dataset": drawn.labeled, "unlabeled_dataset": pool, "eval_dataset": drawn.test}
        trainer = SSLTrainer(model, args, views=drawn.views, **rows)
        trainer.remove_callback(PrinterCallback)
        before = trainer.evaluate()["eval_accuracy"]
        trainer.train()
        after = trainer.evaluate()["eval_accuracy"]
    return {
        **row,
        "start_accuracy": before,
        "teacher_accuracy": _accuracy(shared.of_test, drawn.test),
        "teacher_pool_accuracy": _accuracy(shared.of_pool, drawn.pool),
        "accuracy": after,
        "cpu_seconds": round(time.process_time() - started, 1),
        "machine": machine(),
        "versions": versions(),
    }


def _head(start: str, data: Encoded, shared: Given, model: AdaptedFeatures) -> LinearHead:
    """The head with which `SSLConfig(start="head")` or `"teacher"` would begin, fitted to the features at hand."""
    if start == "head":
        return fitted_head(data, shared.drawn.split, start, model)
    rows = shared.drawn.split.labeled, shared.drawn.split.pool
    features = data.train["plain"][0][np.concatenate(rows)]
    with torch.no_grad():
        read = model.scaled(torch.from_numpy(features)).numpy()
    labels = np.concatenate([data.labels[rows[0]], np.full(len(rows[1]), -1)])
    reading = Reading(features, read, labels, len(data.names), np.arange(len(rows[1])))
    return teacher_head(reading, shared.of_pool)[0]


def _accuracy(probabilities: np.ndarray, rows: datasets.Dataset) -> float:
    return float((probabilities.argmax(axis=1) == np.asarray(rows["label"])).mean())


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: accuracies in percent with standard errors over the seeds, and paired gains over no teacher."""
    known = {identity(row, FIELDS): row for row in rows}
    lines = []
    for task in TASKS:
        wanted = [(algorithm, *way) for algorithm in ALGORITHMS for way in WAYS]
        seeds = [seed for seed in SEEDS if all((task, *each, seed) in known for each in wanted)]
        if not seeds:
            continue
        ways = {each: [known[(task, *each, seed)] for seed in seeds] for each in wanted}
        first = ways["supervised", True, "teacher"]
        labels = _mean([row["start_accuracy"] for row in ways["supervised", False, "head"]])
        distilled = _mean([row["start_accuracy"] for row in first])
        lines.append(
            [TITLES[task], "the teacher itself", "", _mean([row["teacher_accuracy"] for row in first]), "", ""]
        )
        lines.append([TITLES[task], "none: the fitted head", labels, "", distilled, ""])
        for algorithm in ALGORITHMS:
            without, *with_one = ([row["accuracy"] for row in ways[(algorithm, *way)]] for way in WAYS)
            gains = [[after - before for after, before in zip(each, without, strict=True)] for each in with_one]
            cells = [f"{_mean(each)} ({_mean(gain, True)})" for each, gain in zip(with_one, gains, strict=True)]
            lines.append([TITLES[task], f"`{algorithm}`", _mean(without), *cells, str(len(seeds))])
    titles = ["data, teacher", "training", "no teacher", "teacher", "teacher, its head first", "draws"]
    return markdown_table(titles, lines)


def _mean(values: list[float], signed: bool = False) -> str:
    return f"{100 * mean(values):{'+' if signed else ''}.1f} ± {100 * standard_error(values):.1f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table")
    for command in (commands.add_parser("grid"), commands.add_parser("choose")):
        Places.add_arguments(command)
        command.add_argument("--cache", type=Path, required=True, help="folder of features")
        command.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    args = parser.parse_args(arguments)
    if args.what == "table":
        print(table(read(RESULTS)))
        return 0
    be_quiet()
    for task in args.tasks:
        (_grid if args.what == "grid" else _choose)(task, Places.of(args), args.cache)
    return 0


def _choose(task: str, places: Places, cache: Path) -> None:
    data = encode(task, places, cache)
    shared = given(task, data, places, 10, validation=True)
    row = {"task": task, "algorithm": "freematch", "start": "head", "seed": 10}
    for teacher, changes in ((False, {}), *((True, each) for each in CHOICES)):
        _show(run({**row, "teacher": teacher}, data, shared, changes), changes)


def _grid(task: str, places: Places, cache: Path) -> None:
    known, data = {identity(row, FIELDS) for row in read(RESULTS)}, encode(task, places, cache)
    for seed in SEEDS:
        rows = [(task, algorithm, *way, seed) for algorithm in ALGORITHMS for way in WAYS]
        if missing := [row for row in rows if row not in known]:
            shared = given(task, data, places, seed, validation=False)
            for values in missing:
                found = run(dict(zip(FIELDS, values, strict=True)), data, shared, {})
                add(RESULTS, found, FIELDS)
                _show(found, {})


def _show(found: dict[str, Any], changes: dict[str, Any]) -> None:
    shown = [f"{name} {100 * found[name]:.1f}" for name in ("start_accuracy", "teacher_accuracy", "accuracy")]
    print(*(found[name] for name in FIELDS), changes or "", *shown, f"{found['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
