"""What it brings to choose the examples that are labeled: TypiClust, ProbCover and margin against random picks.

    python examples/benchmarks/picking.py --data DATA --image-model M --text-model M --output results/picking.json

Texts of AG News with all-MiniLM-L6-v2 and photographs of CIFAR-10 with a MobileNetV1-0.25, encoded as in features.py.
Each of the seeds 0 to 4 draws a pool of 2,000 rows from the training data and is the seed of the picks; what a pick
depends on beside that is the features alone. The picked rows get their true labels, a `FeatureClassifier` is fitted to
labels and pool, as by `hf-ssl train --algorithm features`, and is tested on rows that took no part. Ways to pick:

- random: any rows; random*: the same, trained as picked ones are, without a look at how often a class has a label;
- balanced: as many of each class, which nobody can who has no labels, for orientation;
- typical, cover: TypiClust and ProbCover with the labels of the step before them: 10, then 20, then 40 in all;
- margin: from 10 typical rows on, 10 more and then 20 more by margin.

`--validation` tests on held-out training rows instead (seeds 10 to 12). On these, from one draw of 3,000 texts, margin
was chosen: with 20 and 40 labels the least sure rows alone had 86.5 and 87.2 %, one of each cluster of the 5 n least
sure 87.5 and 87.6, and the same by a probe of the labels instead of the classifier 87.1 and 87.2 (76.0 with 40 labels
and without clusters).
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from evidence_tasks import TASKS, Places, hold_out, load, make_model
from features import CHANGES
from transformers.image_utils import PILImageResampling

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank, FeatureClassifier
from hf_ssl.features.picking import pick
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

LABELS = (10, 20, 40)
POOL = 2_000
SEEDS, TRIED_SEEDS = (0, 1, 2, 3, 4), (10, 11, 12)
WAYS = ("random", "random*", "balanced", "typical", "cover", "margin")


def encode(task: str, places: Places, validation: bool) -> tuple[FeatureBank, FeatureBank]:
    """The features of all training rows and of the rows that are tested on, from the cache if they are there."""
    data = load(TASKS[task], places)
    train, test = data["train"], data["test"]
    if validation:
        train, test = hold_out(train, TASKS[task].group)
    elif TASKS[task].test_examples:
        names = train.features["label"].num_classes
        index, _ = draw_labels(test["label"], num_classes=names, num_labeled=TASKS[task].test_examples, seed=0)
        test = test.select(np.sort(index))
    settings = TASKS[task].settings | CHANGES[task]
    views = {name: settings[name] for name in ("image_size", "max_length") if name in settings}
    names = train.features["label"].names
    model, processor = make_model(task, places, dict(TASKS[task].own), names, settings.get("image_size"), seed=0)
    if task == "images":
        processor.resample = PILImageResampling.BICUBIC
    args = SSLConfig("picking", use_cpu=not torch.cuda.is_available(), dataloader_num_workers=0, **views)
    banks = [FeatureBank.encode(model, rows, processor, args=args, disable_tqdm=True) for rows in (train, test)]
    return banks[0], banks[1]


def picks(way: str, features: np.ndarray, truth: np.ndarray, seed: int) -> list[tuple[np.ndarray, float]]:
    """For each number of labels the rows that have one, and the seconds that choosing the last of them took."""
    if way in ("random", "random*", "balanced"):
        return [(_drawn(way, truth, count, seed), 0.0) for count in LABELS]
    rows, found = np.empty(0, dtype=np.int64), []
    for count in LABELS:
        labels = np.full(len(truth), -1)
        labels[rows] = truth[rows]
        by = "typical" if way == "margin" and not len(rows) else way
        classes = len(np.unique(truth))
        start = time.process_time()
        rows = np.concatenate([rows, pick(features, count - len(rows), labels, by, num_classes=classes, seed=seed)])
        found.append((rows, time.process_time() - start))
    return found


def _drawn(way: str, truth: np.ndarray, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(truth))
    if way != "balanced":
        return order[:count]
    # The first of each class in turn: 10 labels of 4 classes are 3, 3, 2 and 2.
    ranks = np.empty(len(truth), dtype=int)
    for number in np.unique(truth):
        members = order[truth[order] == number]
        ranks[members] = np.arange(len(members))
    return order[np.argsort(ranks[order], kind="stable")][:count]


def measure(task: str, train: FeatureBank, test: FeatureBank, seed: int, ways: list[str]) -> list[dict[str, Any]]:
    """A row per way and number of labels."""
    assert train.labels is not None and test.labels is not None
    pool = np.sort(np.random.default_rng(seed).choice(len(train), POOL, replace=False))
    features, truth = np.asarray(train.features[pool]), train.labels[pool]
    found = []
    for way in ways:
        for count, (rows, seconds) in zip(LABELS, picks(way, features, truth, seed), strict=True):
            if way == "margin" and count == LABELS[0]:
                continue  # its first picks are typical's
            labels = np.full(POOL, -1)
            labels[rows] = truth[rows]
            classifier = FeatureClassifier(class_balance="auto" if way in ("random", "balanced") else "pool")
            predicted = classifier.fit(features, labels).predict(test.features)
            accuracy = float((predicted == test.labels).mean())
            row = {"task": task, "way": way, "labels": count, "seed": seed, "accuracy": accuracy}
            row |= {"classes": len(np.unique(truth[rows])), "seconds": round(seconds, 2)}
            found.append(row)
    return found


def show(rows: list[dict[str, Any]]) -> str:
    """Means and standard errors over the seeds, and how many classes have a label."""
    lines = []
    for task, count in dict.fromkeys((row["task"], row["labels"]) for row in rows):
        cells = []
        for way in WAYS:
            mine = [row for row in rows if (row["task"], row["labels"], row["way"]) == (task, count, way)]
            if not mine:
                cells.append("-")
                continue
            values = [100 * row["accuracy"] for row in mine]
            error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
            cells.append(f"{mean(values):.1f} ± {error:.1f} ({mean(row['classes'] for row in mine):.1f})")
        lines.append([task, str(count), *cells])
    return table(["task", "labels", *WAYS], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Places.add_arguments(parser)
    parser.add_argument("--tasks", nargs="+", default=["text", "images"], choices=["text", "images"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--validation", action="store_true", help="test on held-out training rows, seeds 10 to 12")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="JSON file with a row per way, labels and seed; the rows of other tasks and ways stay",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    places = Places.of(args)
    earlier = json.loads(args.output.read_text(encoding="utf-8"))["runs"] if args.output.exists() else []
    rows: list[dict[str, Any]] = [
        row for row in earlier if row["task"] not in args.tasks or row["way"] not in args.ways
    ]
    for task in args.tasks:
        train, test = encode(task, places, args.validation)
        for seed in TRIED_SEEDS if args.validation else SEEDS:
            rows += measure(task, train, test, seed, args.ways)
            print(show([row for row in rows if row["task"] == task]), flush=True)
    content = {"runs": rows, "versions": versions() | {"processor": platform.machine()}}
    with atomic_write(args.output) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
