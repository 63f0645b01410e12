"""What label propagation costs as the pool grows, beside scikit-learn's LabelSpreading.

    python examples/benchmarks/features_scale.py --output results.json
    python examples/benchmarks/features_scale.py --sizes 1000000 --sklearn      # one million rows alone

One table, with a row per size of the pool (10,000, 100,000 and 1,000,000 vectors of 384 numbers in 50 clusters that
overlap, 5 per class; 10 labels per class):

- neighbors: seconds to find 15 neighbors of each row, all pairs compared up to 100,000 rows and FAISS above;
- recall: share of the true neighbors that FAISS found, of 500 rows;
- spreading: seconds to spread 10 classes over the graph in 40 steps, which is what new labels cost;
- memory: by how much the peak of the process's memory is above what it was before, the pages of the features included;
- accuracy: of the rows without a label;
- scikit-learn: the same for LabelSpreading(kernel="knn", n_neighbors=15), and the ratios to ours.

Seconds are CPU time of all threads, which other programs on the machine change less than time by the clock. Each
measurement runs in its own process, one after another.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_ssl.features import Graph, normalize
from hf_ssl.graph import neighbors
from hf_ssl.graph.spreading import normalize_graph, symmetric_weights
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

SIZES, SKLEARN_SIZES = [10_000, 100_000, 1_000_000], [10_000, 30_000]
WIDTH, LATENT, CLASSES, CLUSTERS, LABELS = 384, 24, 10, 50, 10
NEIGHBORS, ALPHA, STEPS = 15, 0.95, 40
RECALL_ROWS = 500


def write_features(folder: Path, size: int, chunk: int = 50_000) -> None:
    """features.npy [size, WIDTH], classes.npy and labels.npy [size] in a folder; features are made in chunks.

    Clusters live in `LATENT` dimensions, as features of encoders have far fewer degrees of freedom than numbers.
    """
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((CLUSTERS, LATENT), dtype=np.float32)
    directions = rng.standard_normal((LATENT, WIDTH), dtype=np.float32) / LATENT**0.5
    clusters = rng.integers(CLUSTERS, size=size)
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, (size, WIDTH))
    for start in range(0, size, chunk):
        part = clusters[start : start + chunk]
        latent = centers[part] + 0.9 * rng.standard_normal((len(part), LATENT), dtype=np.float32)
        noise = 0.1 * rng.standard_normal((len(part), WIDTH), dtype=np.float32)
        # All rows have a direction in common, as features of encoders do.
        features[start : start + len(part)] = latent @ directions + noise + 1.0
    features.flush()
    classes = clusters % CLASSES
    labels = np.full(size, -1)
    for number in range(CLASSES):
        labels[rng.choice(np.flatnonzero(classes == number), LABELS, replace=False)] = number
    np.save(folder / "classes.npy", classes)
    np.save(folder / "labels.npy", labels)


def memory_mb() -> float:
    """Peak of this process's memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, method: str) -> dict[str, float]:
    """Seconds, memory in MB and accuracy of one method ("ours" or "sklearn") on the features in a folder."""
    features = np.load(folder / "features.npy", mmap_mode="r")
    classes, labels = np.load(folder / "classes.npy"), np.load(folder / "labels.npy")
    before = memory_mb()
    clock, begin = time.perf_counter(), time.process_time()
    found: dict[str, float]
    if method == "sklearn":
        from sklearn.semi_supervised import LabelSpreading

        model = LabelSpreading(kernel="knn", n_neighbors=NEIGHBORS, alpha=ALPHA, max_iter=STEPS, tol=0.0)
        predicted = model.fit(normalize(features), labels).transduction_
        found = {"seconds": time.process_time() - begin}
    else:
        rows = normalize(features)
        indices, cosines = neighbors.nearest_neighbors(rows, NEIGHBORS)
        graph = Graph(normalize_graph(symmetric_weights(indices, cosines)))
        built = time.process_time()
        predicted = graph.propagate(labels, num_classes=CLASSES, alpha=ALPHA, steps=STEPS).argmax(axis=1)
        end = time.process_time()
        found = {"neighbors": built - begin, "spreading": end - built, "seconds": end - begin}
    found["by_the_clock"] = time.perf_counter() - clock
    found["memory_mb"] = memory_mb() - before
    found["accuracy"] = float((predicted == classes)[labels < 0].mean())
    if method == "ours" and len(features) > neighbors.EXACT_ROWS:
        found["recall"] = recall(rows, indices)
    return found


def recall(rows: np.ndarray, indices: np.ndarray) -> float:
    """Share of the true neighbors of some rows that were found."""
    chosen = np.random.default_rng(1).choice(len(rows), RECALL_ROWS, replace=False)
    cosines = torch.from_numpy(rows[chosen]) @ torch.from_numpy(rows).T
    cosines[torch.arange(RECALL_ROWS), torch.from_numpy(chosen)] = -1
    expected = cosines.topk(NEIGHBORS, dim=1).indices.numpy()
    pairs = zip(expected, indices[chosen], strict=True)
    return float(np.mean([len(set(a) & set(b)) / NEIGHBORS for a, b in pairs]))


def in_process(folder: Path, method: str) -> dict[str, float]:
    """`measure` in its own process, so that nothing else adds to its memory."""
    command = [sys.executable, __file__, "--measure", str(folder), method]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def shown(size: int, row: dict[str, dict[str, float]]) -> list[str]:
    ours, theirs = row["ours"], row.get("sklearn")
    cells = [
        f"{size:,}",
        f"{ours['neighbors']:.1f}",
        f"{ours['recall']:.3f}" if "recall" in ours else "exact",
        f"{ours['spreading']:.2f}",
        f"{ours['memory_mb']:,.0f}",
        f"{100 * ours['accuracy']:.1f} %",
    ]
    if theirs is None:
        return [*cells, "-", "-", "-"]
    ratios = [theirs[name] / ours[name] for name in ("seconds", "memory_mb")]
    units = (f"{theirs['seconds']:.1f} ({ratios[0]:.1f}x)", f"{theirs['memory_mb']:,.0f} ({ratios[1]:.1f}x)")
    return [*cells, *units, f"{100 * theirs['accuracy']:.1f} %"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="rows that label propagation is measured on"
    )
    parser.add_argument("--sklearn", type=int, nargs="*", default=SKLEARN_SIZES, help="rows for scikit-learn")
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "METHOD"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1])))
        return
    rows: dict[int, dict[str, Any]] = {}
    for size in sorted({*args.sizes, *args.sklearn}):
        with tempfile.TemporaryDirectory() as folder:
            write_features(Path(folder), size)
            methods = ["ours", "sklearn"] if size in args.sklearn else ["ours"]
            rows[size] = {method: in_process(Path(folder), method) for method in methods}
        print(f"{size:,} rows measured", file=sys.stderr)
    header = ["rows", "neighbors, s", "recall", "spreading, s", "memory, MB", "accuracy"]
    header += ["scikit-learn, s", "memory, MB", "accuracy"]
    print(table(header, [shown(size, row) for size, row in rows.items()]))
    if args.output:
        content = {"pools": rows, "threads": torch.get_num_threads(), "versions": versions()}
        args.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
