"""By what foreign images are told best, on frozen features of CIFAR-10 with few labels of six classes.

    python examples/benchmarks/open_set_scores.py --data data --image-model M --cache features

Areas under the ROC curve for telling training images of the four other classes from those of the six, over draws of
labels: by the distance to the class means as `hf_ssl.features.foreignness` has it, by that to the k nearest labeled
images, and by the energy of a probe's logits (arXiv 2010.03759). Known are the animals, or six classes that are drawn
with the labels. It takes 20 seconds, looks at no test image, and writes `results/open_set_scores.json`.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence_results import add, machine, read
from evidence_tasks import Places
from frozen_views import encode
from scipy.special import logsumexp
from short_runs import standard_error

from hf_ssl.features.foreignness import Foreignness
from hf_ssl.features.reading import Reading
from hf_ssl.features.start import probe_head
from hf_ssl.graph.normalization import normalize, pool_mean
from hf_ssl.metrics import foreign_auroc
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "open_set_scores.json"
FIELDS = ("known", "labels", "seed")
KNOWN, LABELS, SEEDS, NEIGHBORS = ("animals", "random"), (4, 25), (0, 1, 2, 3, 4), (1, 5, 10)
_ANIMALS, _EXAMPLES = np.array([2, 3, 4, 5, 6, 7]), 6_000


def measure(features: np.ndarray, classes: np.ndarray, row: dict[str, Any]) -> dict[str, float | None]:
    """The areas of one draw, by the name of the score.

    Args:
        features: [N, D].
        classes: true ones [N].
        row: "known", "labels" and "seed".
    """
    rng = np.random.default_rng(row["seed"])
    known = _ANIMALS if row["known"] == "animals" else np.sort(rng.permutation(10)[:6])
    labeled = [rng.choice(np.flatnonzero(classes == c), row["labels"], replace=False) for c in known]
    labels = np.full(len(classes), -1)
    for number, places in enumerate(labeled):
        labels[places] = number
    pool = np.flatnonzero(labels < 0)
    foreign = ~np.isin(classes[pool], known)
    scores = {"class means": Foreignness.fit(features, labels).scores(features[pool])}
    rows = normalize(features, pool_mean(features))
    cosines = np.sort(rows[pool] @ rows[labels >= 0].T, axis=1)
    scores |= {f"{k} nearest": -cosines[:, -k:].mean(axis=1) for k in NEIGHBORS}
    head, _ = probe_head(Reading(features, rows, labels, len(known), np.arange(len(pool))))
    scores["energy"] = -logsumexp(head.logits(rows[pool]), axis=1)
    return {name: foreign_auroc(values, foreign) for name, values in scores.items()}


def table(found: list[dict[str, Any]]) -> str:
    """Means and standard errors in percent, in Markdown."""
    names = ["class means", *(f"{k} nearest" for k in NEIGHBORS), "energy"]
    lines = []
    for known in KNOWN:
        for labels in LABELS:
            mine = [row for row in found if (row["known"], row["labels"]) == (known, labels)]
            lines.append([f"{known}, {labels}", *(_mean([100 * row[name] for row in mine]) for name in names)])
    return markdown_table(["known classes, labels per class", *names], lines)


def _mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {standard_error(values):.1f}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with cifar10")
    parser.add_argument("--image-model", required=True)
    parser.add_argument("--cache", type=Path, default=Path("features"), help="folder of the features")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = encode("images", Places(args.data, args.image_model, ""), args.cache)
    some = np.random.default_rng(0).permutation(len(data.labels))[:_EXAMPLES]
    for known in KNOWN:
        for labels in LABELS:
            for seed in SEEDS:
                row = dict(zip(FIELDS, (known, labels, seed), strict=True))
                found = measure(np.array(data.train["plain"][0][some]), data.labels[some], row)
                add(RESULTS, {**row, **found, "machine": machine()}, FIELDS)
    print(table(read(RESULTS)))


if __name__ == "__main__":
    main()
