"""The two pictures of what each stage brings: accuracy against the number of labels, and against seconds."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter

TITLES = {
    "text": "AG News, MiniLM",
    "images": "CIFAR-10, MobileNetV1-0.25",
    "audio": "Speech Commands, speech embedding",
}
# The stages in the order in which a reader should meet them.
NAMES = {
    "probe": "probe",
    "supervised": "fine-tuned",
    "supervised_lora": "LoRA",
    "setfit": "SetFit",
    "features": "features and pool",
    "tuned": "and fine-tuned",
}
BASELINES = ("supervised", "supervised_lora")
LABELS = {
    "probe": "labels alone: probe",
    "supervised": "labels alone: fine-tuning",
    "supervised_lora": "labels alone: LoRA",
    "setfit": "labels alone: SetFit",
    "features": "labels and pool: features",
    "tuned": "labels and pool: features, then fine-tuning",
}
# Gray and warm without the pool, blue with it (the colors of Okabe and Ito, told apart by the color-blind).
STYLES = {
    "probe": {"color": "#555555", "marker": "o", "linestyle": ":"},
    "supervised": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "supervised_lora": {"color": "#E69F00", "marker": "^", "linestyle": "--"},
    "setfit": {"color": "#CC79A7", "marker": "D", "linestyle": "--"},
    "features": {"color": "#56B4E9", "marker": "o", "linestyle": "-"},
    "tuned": {"color": "#0072B2", "marker": "s", "linestyle": "-"},
}
# Of the examples that `features.py` encodes, those of the pool; the others are its test set.
_POOL_SHARE = {"text": 4_000 / 11_600, "images": 5_000 / 9_000, "audio": 3_156 / 3_953}
# Labels per class at which seconds are compared.
_AT = 10


def pictures(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write stages_labels.png and stages_seconds.png."""
    tasks = [task for task in TITLES if any(row["task"] == task for row in rows)]
    _labels(rows, tasks, folder / "stages_labels.png")
    encoding = json.loads((folder / "features.json").read_text(encoding="utf-8"))["encode_cpu_seconds"]
    _seconds(rows, tasks, encoding, folder / "stages_seconds.png")


def with_photographs(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The rows with those of `features.py` for photographs, whose model the command fine-tunes as a baseline only.

    Other draws of photographs stay as the command gave them.
    """
    tuned = {
        (row["per_class"], row["seed"]): {name: row["stages"][name] for name in BASELINES if name in row["stages"]}
        for row in rows
        if row["task"] == "images"
    }
    found = json.loads((folder / "features.json").read_text(encoding="utf-8"))["runs"]
    added = []
    for run in found:
        if run["task"] == "images":
            features = {"test_accuracy": run["classifier"], "seconds": run["fit_seconds"], "kept": True}
            stages = {"probe": {"test_accuracy": run["probe"], "seconds": 0.1}, "features": features}
            stages |= tuned.get((run["per_class"], run["seed"]), {})
            added.append({"task": "images", "per_class": run["per_class"], "seed": run["seed"], "stages": stages})
    seen = {(row["per_class"], row["seed"]) for row in added}
    kept = [row for row in rows if row["task"] != "images" or (row["per_class"], row["seed"]) not in seen]
    return sorted(kept + added, key=lambda row: (row["task"], row["per_class"], row["seed"]))


def _values(rows: list[dict[str, Any]], task: str, per_class: int, name: str, what: str) -> list[float]:
    mine = [row["stages"] for row in rows if row["task"] == task and row["per_class"] == per_class]
    return [stages[name][what] for stages in mine if name in stages]


def _labels(rows: list[dict[str, Any]], tasks: list[str], path: Path) -> None:
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.9), layout="constrained", squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        counts = sorted({row["per_class"] for row in rows if row["task"] == task})
        for name, style in STYLES.items():
            found = {n: v for n in counts if (v := _values(rows, task, n, name, "test_accuracy"))}
            if found:
                heights = [100 * mean(values) for values in found.values()]
                bars = [100 * stdev(values) if len(values) > 1 else 0 for values in found.values()]
                axis.errorbar(list(found), heights, bars, label=LABELS[name], markersize=5, capsize=2, **style)
        axis.set_xscale("log")
        axis.set_xticks(counts)
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set(title=TITLES[task], xlabel="labels per class")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("test accuracy, %")
    _legend(figure, axes[0])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _seconds(rows: list[dict[str, Any]], tasks: list[str], encoding: dict[str, float], path: Path) -> None:
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.9), layout="constrained", squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        spent = {name: _values(rows, task, _AT, name, "seconds") for name in STYLES}
        # With the pool, it begins with the encoding; and fine-tuning from there with the features' stage.
        encoded = _POOL_SHARE[task] * encoding[task]
        before = {"features": encoded, "tuned": encoded + mean(spent["features"])}
        for name, style in STYLES.items():
            right = _values(rows, task, _AT, name, "test_accuracy")
            if right:
                time = before.get(name, 0) + mean(spent[name])
                bar = 100 * stdev(right) if len(right) > 1 else 0
                point = {key: value for key, value in style.items() if key != "linestyle"}
                axis.errorbar([time], [100 * mean(right)], bar, label=LABELS[name], linestyle="", capsize=2, **point)
                axis.margins(x=0.1)
        # A little below 0, where the probe's mark is.
        axis.set_xlim(left=-0.03 * axis.get_xlim()[1])
        axis.set(title=TITLES[task], xlabel=f"CPU seconds on one core, {_AT} labels per class")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("test accuracy, %")
    _legend(figure, axes[0])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _legend(figure: Any, axes: Any) -> None:
    """One legend below all panels, with the stages of all of them."""
    found = {}
    for axis in axes:
        found |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3, frameon=False)
