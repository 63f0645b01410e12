"""What the pool brings without any training: labels alone, label propagation, and the feature classifier.

    python examples/benchmarks/features.py --data DATA --image-model M --text-model M --output results/features.json

The three tasks, encoders and test sets are those of evidence_tasks.py (images at 128 pixels and enlarged by cubic
interpolation, texts of 64 tokens, pools of 5,000 photographs, all texts and all recordings); labels are drawn by
`hf_ssl.benchmark.splits` with seeds 0 to 4. One pass of the frozen encoder gives the features of pool and test set;
test rows are only ever predicted. Columns:

- probe: softmax regression on the labeled features alone;
- propagation: the classes that the labels reach over the graph of nearest neighbors, and a probe on them;
- classifier: `FeatureClassifier()` as it is;
- fit seconds: CPU seconds of the classifier.

All settings are the package's defaults. They were chosen on held-out parts of the training data with other draws: the
mean of graph and self-training against each alone, five ways to join them, three strengths of the last fit, what makes
class shares other than uniform, and when clusters take part. So was the interpolation: a probe of 250 photographs has
66.0 % on held-out ones with the processor's own linear one, which is made for pictures that get smaller, 68.0 with the
cubic one and 69.0 with Lanczos's. No setting was chosen on the test rows.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from evidence_tasks import TASKS, Places, load, make_model
from transformers.image_utils import PILImageResampling

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels, index_hash
from hf_ssl.features import FeatureBank, FeatureClassifier, Graph, normalize, pool_mean
from hf_ssl.features.probe import FREE, fit_probe, one_hot
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

SEEDS = (0, 1, 2, 3, 4)
PER_CLASS = (1, 4, 10, 25)
# Settings of the views beside the evidence's, and examples of the pool.
CHANGES: dict[str, dict[str, Any]] = {"images": {"image_size": 128}, "text": {"max_length": 64}, "audio": {}}
POOL = {"images": 5_000}


def encode(task: str, places: Places) -> tuple[FeatureBank, FeatureBank, float]:
    """The features of the pool and of the test set, and the CPU seconds that they took."""
    data = load(TASKS[task], places)
    names = data["train"].features["label"].names
    pool = data["train"].select(range(min(POOL.get(task, len(data["train"])), len(data["train"]))))
    settings = TASKS[task].settings | CHANGES[task]
    views = {name: settings[name] for name in ("image_size", "max_length", "max_length_seconds") if name in settings}
    model, processor = make_model(task, places, dict(TASKS[task].own), names, settings.get("image_size"), seed=0)
    if task == "images":
        processor.resample = PILImageResampling.BICUBIC
    args = SSLConfig("features", use_cpu=not torch.cuda.is_available(), dataloader_num_workers=0, **views)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as cache:
        options = {"args": args, "cache_dir": cache, "disable_tqdm": True}
        banks = [FeatureBank.encode(model, rows, processor, **options) for rows in (pool, data["test"])]
        # Into memory, since the folder goes.
        banks = [replace(bank, features=np.array(bank.features)) for bank in banks]
    return banks[0], banks[1], time.process_time() - start


def compare(pool: FeatureBank, test: FeatureBank, per_class: int, seed: int) -> dict[str, Any]:
    """One row: the accuracy of each way on the test set."""
    assert pool.labels is not None and test.labels is not None
    count = len(pool.label_names)
    index, _ = draw_labels(pool.labels, num_classes=count, num_labeled=per_class * count, seed=seed)
    labels = np.full(len(pool), -1)
    labels[index] = pool.labels[index]
    x, z = normalize(pool.features), normalize(test.features, pool_mean(pool.features))
    probe = fit_probe(x[index], one_hot(labels[index], count), regularization=FREE)
    spread = Graph.build(pool.features).propagate(labels, num_classes=count).argmax(axis=1)
    reached = fit_probe(x, one_hot(np.where(labels >= 0, labels, spread), count))
    start = time.process_time()
    classifier = FeatureClassifier().fit(pool.features, labels)
    seconds = time.process_time() - start
    return {
        "per_class": per_class,
        "seed": seed,
        "draw": index_hash(index)[:16],
        "probe": float((probe.logits(z).argmax(axis=1) == test.labels).mean()),
        "propagation": float((reached.logits(z).argmax(axis=1) == test.labels).mean()),
        "classifier": float((classifier.predict(test.features) == test.labels).mean()),
        "fit_seconds": round(seconds, 2),
    }


def show(rows: list[dict[str, Any]]) -> str:
    """Means and standard deviations over the seeds."""
    lines = []
    for task, per_class in dict.fromkeys((row["task"], row["per_class"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["per_class"]) == (task, per_class)]
        ways = [[100 * row[way] for row in mine] for way in ("probe", "propagation", "classifier")]
        cells = [f"{mean(values):.1f} ± {stdev(values):.1f}" for values in ways]
        lines.append([task, str(per_class), *cells, f"{mean(row['fit_seconds'] for row in mine):.1f}"])
    return table(["task", "labels per class", "probe", "propagation", "classifier", "fit seconds"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Places.add_arguments(parser)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON file with a row per task, label count and seed"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    places = Places.of(args)
    rows: list[dict[str, Any]] = []
    encoding = {}
    for task in args.tasks:
        pool, test, encoding[task] = encode(task, places)
        rows += [{"task": task, **compare(pool, test, n, seed)} for n in PER_CLASS for seed in SEEDS]
    content = {
        "runs": rows,
        "encode_cpu_seconds": {task: round(seconds, 1) for task, seconds in encoding.items()},
        "versions": versions() | {"processor": platform.machine()},
    }
    with atomic_write(args.output) as temporary:
        lines = json.dumps(content, indent=1)
        temporary.write_text(lines + "\n", encoding="utf-8")
    print(show(rows))


if __name__ == "__main__":
    main()
