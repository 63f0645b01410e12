"""What can be done about a pool with classes that nobody labeled, on CIFAR-10: six known classes, four foreign ones.

    python examples/benchmarks/open_set.py grid --data data --image-model M --cache features
    python examples/benchmarks/open_set.py run fixmatch drop 4 10 --validation --data ...
    python examples/benchmarks/open_set.py table

Known are the animals, foreign the vehicles, all of them in the pool. The encoder is frozen and its features are cached
(`frozen_views.py`). A row of the results is one method with 4 or 25 labels per known class and one draw of these. It
has the accuracy on test images of the known classes, and three areas under the ROC curve for telling foreign test
images from known ones: by their distance to the labeled classes in the features of the trained model
(`hf_ssl.features.foreignness`), by the confidence of the prediction, and, for IOMatch and OpenMatch, by their own
one-vs-all classifiers.

Settings are those of `long_tail.py`, with 200 steps and a pool of 5,000 images; IOMatch averages its predictions over
32 batches instead of 128, since the runs are short. Nothing else was tuned. `--validation` tests on a held-out part of
the training images instead and writes nothing.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from evidence_results import add, machine, read
from evidence_tasks import Places
from frozen_views import AdaptedFeatures, Encoded, StoredViews, encode, make_model
from long_tail import ALGORITHM_SETTINGS, TRAINING
from short_runs import QUIET, add_commands, be_quiet, parsed_settings, standard_error
from transformers import PrinterCallback

from hf_ssl import ModelForward, SSLConfig, SSLTrainer
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features.foreignness import Foreignness, find_foreign
from hf_ssl.features.reading import LinearHead, Reading
from hf_ssl.features.start import classifier_head, probe_head
from hf_ssl.metrics import foreign_auroc
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "open_set.json"
FIELDS = ("method", "open_set", "labels", "seed")
KNOWN = ("bird", "cat", "deer", "dog", "frog", "horse")
# Method -> what is done about foreign examples by `SSLConfig.open_set`.
METHODS = (
    ("supervised", "none"),
    ("fixmatch", "none"),
    ("fixmatch", "drop"),
    ("freematch", "none"),
    ("openmatch", "none"),
    ("iomatch", "none"),
    ("features", "none"),
    ("features", "drop"),
)
LABELS, SEEDS = (4, 25), (0, 1, 2, 3, 4)
SETTINGS: dict[str, dict[str, Any]] = {**ALGORITHM_SETTINGS, "iomatch": {"alignment_queue_size": 32}}
_HELD_OUT, _POOL, _STEPS = 2_000, 5_000, 200
_MEASURES = ("accuracy", "auroc", "confidence_auroc", "own_auroc")


class Data:
    """The images, as features: which are labeled, in the pool, and tested.

    Args:
        encoded: all of them.
        labels: per known class.
        seed: of the draw.
        validation: test on a part of the training images, which then is neither labeled nor in the pool.
    """

    def __init__(self, encoded: Encoded, labels: int, seed: int, validation: bool):
        self.known = np.array([encoded.names.index(name) for name in KNOWN])
        # Positions among the known classes, -1 for foreign ones.
        self.place = np.full(len(encoded.names), -1)
        self.place[self.known] = np.arange(len(self.known))
        truth = self.place[np.concatenate([encoded.labels, encoded.test_labels])]
        rows = np.arange(len(encoded.labels))
        held, _ = draw_labels(encoded.labels, num_classes=len(encoded.names), num_labeled=_HELD_OUT, seed=12_345)
        rows = np.setdiff1d(rows, held) if validation else rows
        candidates = rows[truth[rows] >= 0]
        count = labels * len(self.known)
        chosen, _ = draw_labels(truth[candidates], num_classes=len(self.known), num_labeled=count, seed=seed)
        self.labeled, others = candidates[chosen], np.setdiff1d(rows, candidates[chosen])
        self.pool = np.sort(np.random.default_rng(seed).choice(others, _POOL, replace=False))
        self.test = held if validation else np.arange(len(encoded.labels), len(truth))
        self.truth = truth
        self.plain = np.concatenate([encoded.train["plain"][0], encoded.test])
        stored = {**encoded.train, "plain": self.plain[None]}
        self.views = StoredViews("image", stored, encoded.empty, "pixel_values")

    def rows_of(self, index: np.ndarray, names: list[str]) -> datasets.Dataset:
        """Rows that hold numbers of examples, with labels as texts."""
        labels = [names[place] for place in self.truth[index]]
        return datasets.Dataset.from_dict({"pixel_values": index[:, None].tolist(), "label": labels})

    def reading(self, features: np.ndarray, head_features: np.ndarray) -> Reading:
        """Labels and pool, of features of all examples."""
        rows = np.concatenate([self.labeled, self.pool])
        labels = np.concatenate([self.truth[self.labeled], np.full(len(self.pool), -1)])
        return Reading(features[rows], head_features[rows], labels, len(self.known), np.arange(len(self.pool)))


def run(row: dict[str, Any], encoded: Encoded, changes: dict[str, Any], *, validation: bool = False) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "method", "open_set", "labels" and "seed".
        encoded: the features.
        changes: settings of `SSLConfig`, or of the algorithm with the prefix "algorithm.", that differ.
        validation: test on a part of the training images.
    """
    data = Data(encoded, row["labels"], row["seed"], validation)
    started = time.process_time()
    model = make_model(replace(encoded, names=list(KNOWN)), row["seed"])
    with torch.no_grad():
        scaled = model.scaled(torch.from_numpy(data.plain)).numpy()
    reading = data.reading(data.plain, scaled)
    dropped = np.empty(0, dtype=np.int64)
    if row["open_set"] == "drop":
        _, _, dropped = find_foreign(reading)
        reading = reading.without_pool_rows(dropped)
    # As with `SSLConfig(start="head")` or `"features"`, which would fit the head again for every run.
    head = (classifier_head if row["method"] == "features" else probe_head)(reading)[0]
    head.write(model)
    own: dict[str, float] = {}
    if row["method"] != "features":
        own = _train(row, model, head, data, data.pool[reading.pool_rows], changes)
    found = _measure(model, data) | own
    foreign = data.truth[data.pool[dropped]] < 0
    shares = {
        "foreign_dropped": float(foreign.sum() / (data.truth[data.pool] < 0).sum()),
        "known_dropped": float((~foreign).sum() / (data.truth[data.pool] >= 0).sum()),
    }
    return {**row, **found, **shares, "cpu_seconds": round(time.process_time() - started, 1)}


def _train(
    row: dict[str, Any],
    model: AdaptedFeatures,
    head: LinearHead,
    data: Data,
    pool: np.ndarray,
    changes: dict[str, Any],
) -> dict[str, float]:
    """Train; what the algorithm's own classifiers tell of the test images, and what was logged.

    The pool is given without what `open_set` leaves out, which is what training with it draws from.
    """
    given = SETTINGS.get(row["method"], {}) | {
        name.removeprefix("algorithm."): value for name, value in changes.items() if name.startswith("algorithm.")
    }
    settings = (
        TRAINING
        | {"max_steps": _STEPS}
        | {name: value for name, value in changes.items() if not name.startswith("algorithm.")}
    )
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            output_dir=folder,
            algorithm=row["method"],
            algorithm_kwargs=given,
            seed=row["seed"],
            **QUIET | settings,
        )
        pools = data.rows_of(pool, [*KNOWN, "foreign"])
        labeled = data.rows_of(data.labeled, list(KNOWN))
        trainer = SSLTrainer(model, args, train_dataset=labeled, unlabeled_dataset=pools, views=data.views)
        trainer.remove_callback(PrinterCallback)
        trainer.algorithm.correction.begin_with(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
        trainer.train()
    logged = trainer.state.log_history
    names = ("mask_ratio", "pseudo_label_accuracy")
    found = {name: next((line[name] for line in reversed(logged) if name in line), None) for name in names}
    known = getattr(trainer.algorithm, "known", None)
    if known is not None:
        answer = ModelForward(model).evaluated({"features": torch.from_numpy(data.plain[data.test])})
        with torch.no_grad():
            one_vs_all, probs = known(answer.features), answer.logits.softmax(-1)
            if row["method"] == "iomatch":
                outlier = (probs * (1 - one_vs_all)).sum(-1)
            else:
                outlier = 1 - one_vs_all.gather(-1, probs.argmax(-1, keepdim=True))[:, 0]
        found["own_auroc"] = foreign_auroc(outlier.numpy(), data.truth[data.test] < 0)
    return found


def _measure(model: AdaptedFeatures, data: Data) -> dict[str, float | None]:
    """Accuracy on known test images, and how well foreign ones are told from them."""
    answer = ModelForward(model).evaluated({"features": torch.from_numpy(data.plain)})
    features, logits = answer.features.numpy(), answer.logits[data.test].numpy()
    truth, foreign = data.truth[data.test], data.truth[data.test] < 0
    foreignness = Foreignness.fit(
        *(getattr(data.reading(features, features), name) for name in ("features", "labels"))
    )
    probs = torch.from_numpy(logits).softmax(-1).numpy()
    return {
        "accuracy": float((logits.argmax(1) == truth)[~foreign].mean()),
        "auroc": foreign_auroc(foreignness.scores(features[data.test]), foreign),
        "confidence_auroc": foreign_auroc(-probs.max(1), foreign),
    }


def rows() -> Iterator[dict[str, Any]]:
    """All runs, the seeds outermost, so that a part is a table, too."""
    for seed, labels, (method, open_set) in itertools.product(SEEDS, LABELS, METHODS):
        yield dict(zip(FIELDS, (method, open_set, labels, seed), strict=True))


def summary(found: list[dict[str, Any]], labels: int) -> list[list[str]]:
    """A line per method: means and standard errors in percent, over the draws of labels."""
    lines = []
    for method, open_set in METHODS:
        mine = [row for row in found if (row["method"], row["open_set"], row["labels"]) == (method, open_set, labels)]
        if mine:
            name = f"`{method}`" + (' with `open_set="drop"`' if open_set == "drop" else "")
            lines.append([name, *(_mean([row.get(measure) for row in mine]) for measure in _MEASURES)])
    return lines


def _mean(values: list[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if len(known) < 2:
        return "" if not known else f"{known[0]:.1f}"
    return f"{statistics.mean(known):.1f} ± {standard_error(known):.1f}"


def table(found: list[dict[str, Any]]) -> str:
    """Both tables, in Markdown."""
    head = ["method", "accuracy on known", "AUROC, distance", "AUROC, confidence", "AUROC, own"]
    parts = [f"{labels} labels per class:\n\n{markdown_table(head, summary(found, labels))}" for labels in LABELS]
    return "\n\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Run one method, all of them, or show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = add_commands(parser, RESULTS, ["run", "grid"])
    for command in commands.values():
        command.add_argument("--data", required=True, type=Path, help="folder with cifar10")
        command.add_argument("--image-model", required=True)
    commands["run"].add_argument("method")
    commands["run"].add_argument("open_set", choices=("none", "drop"))
    commands["run"].add_argument("labels", type=int)
    commands["run"].add_argument("seed", type=int)
    commands["run"].add_argument("--validation", action="store_true")
    commands["run"].add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args(arguments)
    if args.command == "table":
        print(table(read(args.results)))
        return
    be_quiet()
    encoded = encode("images", Places(args.data, args.image_model, ""), args.cache)
    if args.command == "run":
        changes = parsed_settings(args.set)
        row = {"method": args.method, "open_set": args.open_set, "labels": args.labels, "seed": args.seed}
        print(run(row, encoded, changes, validation=args.validation))
        return
    done = {tuple(row[name] for name in FIELDS) for row in read(args.results)}
    for row in rows():
        if tuple(row.values()) not in done:
            found = run(row, encoded, {}) | {"machine": machine()}
            add(args.results, found, FIELDS)
            print(
                *row.values(),
                *(f"{name} {found.get(name) or 0:.3f}" for name in _MEASURES),
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
