"""How many of the wrong labels among 40, 100 and 250 are found, and how many right ones are accused.

    python examples/benchmarks/label_errors.py --data DATA --image-model M --text-model M --output FILE.json

Encoders and pools are those of features.py. Of the labels that a seed draws, one in ten is replaced by another class,
drawn at random. `find_label_errors` sees these labels, and once more, on 10 seeds, the right ones. cleanlab
(`pip install cleanlab`), for comparison, is given the probabilities of a probe for labels held out in five parts, with
its default filter and with `low_normalized_margin`, its best one on other draws. A `FeatureClassifier` of the labels
and 2,000 examples of the pool, with and without the accused labels, is tested on these, whose labels it never sees.

The rule and its settings (the graph instead of or beside a probe, alpha, the priors, three rounds with doubtful labels
counting less, the threshold) were chosen with seeds from 100 on.
"""

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from evidence_tasks import TASKS, Places, load, make_model
from features import CHANGES, POOL
from sklearn.model_selection import StratifiedKFold
from transformers.image_utils import PILImageResampling

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank, FeatureClassifier, normalize
from hf_ssl.features.label_errors import find_label_errors
from hf_ssl.features.probe import FREE, fit_probe, one_hot
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

LABELS = (40, 100, 250)
SEEDS, CLEAN_SEEDS = range(5), range(10)
WRONG, TESTED = 0.1, 2_000
FILTERS = ("prune_by_noise_rate", "low_normalized_margin")


def encoder_of(task: str, places: Places) -> tuple[Any, Any, SSLConfig]:
    """The model, its processor, and how examples are read."""
    names = load(TASKS[task], places)["train"].features["label"].names
    settings = TASKS[task].settings | CHANGES[task]
    views = {name: settings[name] for name in ("image_size", "max_length", "max_length_seconds") if name in settings}
    model, processor = make_model(task, places, dict(TASKS[task].own), names, settings.get("image_size"), seed=0)
    if task == "images":
        processor.resample = PILImageResampling.BICUBIC
    return (
        model,
        processor,
        SSLConfig("features", use_cpu=not torch.cuda.is_available(), dataloader_num_workers=0, **views),
    )


def encode(task: str, places: Places) -> FeatureBank:
    """The features of the pool, cached under HF_HOME."""
    data = load(TASKS[task], places)["train"]
    model, processor, args = encoder_of(task, places)
    pool = data.select(range(min(POOL.get(task, len(data)), len(data))))
    bank = FeatureBank.encode(model, pool, processor, args=args, disable_tqdm=True)
    return replace(bank, features=np.array(bank.features))


def draw(truth: np.ndarray, num_classes: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The labeled rows of a seed, and their classes with one in ten wrong."""
    count = labels // num_classes * num_classes
    rows, _ = draw_labels(truth, num_classes=num_classes, num_labeled=count, seed=seed)
    random = np.random.default_rng(seed)
    given = truth[rows].copy()
    wrong = random.permutation(count)[: round(WRONG * count)]
    given[wrong] = (given[wrong] + random.integers(1, num_classes, len(wrong))) % num_classes
    return rows, given


def accused_by_cleanlab(features: np.ndarray, given: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """Which labels [L] each of cleanlab's filters calls issues."""
    probabilities = np.zeros((len(given), num_classes))
    parts = StratifiedKFold(min(5, np.bincount(given).max()), shuffle=True, random_state=0)
    for kept, out in parts.split(features, given):
        probe = fit_probe(features[kept], one_hot(given[kept], num_classes), regularization=FREE)
        probabilities[out] = probe.probabilities(features[out])
    return {name: find_label_issues(given, probabilities, filter_by=name, n_jobs=1) for name in FILTERS}


def measure(bank: FeatureBank, labels: int, seed: int) -> dict[str, Any]:
    """One row: the labels of a seed with wrong ones among them, and without."""
    truth, features, count = bank.labels, bank.features, len(bank.label_names)
    assert truth is not None
    rows, given = draw(truth, count, labels, seed)
    all_given = np.full(len(truth), -1)
    all_given[rows] = truth[rows]
    row: dict[str, Any] = {"labels": len(rows), "seed": seed}
    row["clean_accused"] = len(find_label_errors(features, all_given, count))
    if seed not in SEEDS:
        return row
    all_given[rows] = given
    wrong = given != truth[rows]
    accused = np.isin(rows, [error.row for error in find_label_errors(features, all_given, count)])
    row |= {"wrong": int(wrong.sum()), "accused": int(accused.sum()), "found": int((accused & wrong).sum())}
    normalized = normalize(features)[rows]
    clean = accused_by_cleanlab(normalized, truth[rows], count)
    for name, issues in accused_by_cleanlab(normalized, given, count).items():
        row[f"cleanlab_{name}"] = [int(issues.sum()), int((issues & wrong).sum()), int(clean[name].sum())]
    row["accuracy_gain"] = gain(bank, all_given, rows[accused]) if accused.any() else 0.0
    return row


def gain(bank: FeatureBank, labels: np.ndarray, accused: np.ndarray) -> float:
    """By how much a classifier is right more often, in 0..1, without the accused labels."""
    others = np.random.default_rng(0).permutation(np.flatnonzero(labels < 0))[:TESTED]
    taken = np.concatenate([others, np.flatnonzero(labels >= 0)])
    fewer = labels.copy()
    fewer[accused] = -1
    right = []
    for given in (labels, fewer):
        classifier = FeatureClassifier().fit(bank.features[taken], given[taken])
        right.append((classifier.transduction_ == bank.labels[taken])[: len(others)].mean())
    return float(right[1] - right[0])


def show(runs: list[dict[str, Any]]) -> str:
    """A line per task and number of labels: counts of all seeds together, means and standard errors."""
    lines = []
    for task, labels in dict.fromkeys((row["task"], row["labels"]) for row in runs):
        mine = [row for row in runs if (row["task"], row["labels"]) == (task, labels)]
        mixed = [row for row in mine if "wrong" in row]
        cleanlab = [row[f"cleanlab_{FILTERS[1]}"] for row in mixed]
        lines.append(
            [
                task,
                str(labels),
                _share(sum(row["found"] for row in mixed), sum(row["accused"] for row in mixed)),
                _spread([100 * row["found"] / row["wrong"] for row in mixed]),
                f"{100 * sum(row['clean_accused'] for row in mine) / (labels * len(mine)):.1f}",
                _share(sum(row["clean_accused"] > 0 for row in mine), len(mine)),
                _share(sum(found for _, found, _ in cleanlab), sum(accused for accused, _, _ in cleanlab)),
                _spread([100 * found / row["wrong"] for (_, found, _), row in zip(cleanlab, mixed, strict=True)]),
                f"{100 * sum(accused for _, _, accused in cleanlab) / (labels * len(mixed)):.1f}",
                _spread([100 * row["accuracy_gain"] for row in mixed], "+"),
            ]
        )
    head = ["task", "labels", "right of accused", "found %", "accused % of right labels", "runs with such"]
    head += [
        "cleanlab: right of accused",
        "found %",
        "accused % of right labels",
        "accuracy points without the accused",
    ]
    return table(head, lines)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _spread(values: list[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.1f} ± {stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Places.add_arguments(parser)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--output", type=Path, required=True, help="JSON file with a row per task, label count, seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    places = Places.of(args)
    runs: list[dict[str, Any]] = []
    for task in args.tasks:
        bank = encode(task, places)
        runs += [{"task": task, **measure(bank, labels, seed)} for labels in LABELS for seed in CLEAN_SEEDS]
    content = {"runs": runs, "versions": versions() | {"processor": platform.machine()}}
    with atomic_write(args.output) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(show(runs))


if __name__ == "__main__":
    main()
