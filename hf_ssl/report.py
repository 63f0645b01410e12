"""What a person reads of a run: the block at its start, the table, the results file and the curves."""

import inspect
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from . import __version__

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "timm", "torchvision", "torchaudio", "peft")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide over a result."""
    found = {"hf-ssl": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def settings_of(algorithm) -> dict:
    """The algorithm's own settings with the values in force, wherever in its parts they are kept."""
    values = {}
    for name in type(algorithm).settings():
        found = (getattr(part, name, None) for part in algorithm.modules())
        values[name] = next((value for value in found if isinstance(value, bool | int | float | str)), None)
    return {name: value for name, value in values.items() if value is not None}


def run_facts(trainer) -> dict[str, str]:
    """What a run is made of, in words: algorithm, sizes, batches, steps, learning rate, moving average, views."""
    # Tables are drawn without torch.
    from .optimization import describe_learning_rate

    args, data = trainer.args, trainer.data
    steps, processes = trainer.state.max_steps, args.world_size
    labeled = args.per_device_train_batch_size
    unlabeled = labeled * args.unlabeled_batch_ratio
    accumulated = args.gradient_accumulation_steps
    settings = ", ".join(f"{name}={value}" for name, value in settings_of(trainer.algorithm).items())
    counts = np.bincount(data.labels, minlength=len(data.label_names))
    per_class = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    evaluation = trainer.eval_dataset
    test = "none" if evaluation is None else f"{len(evaluation):,} examples" if hasattr(evaluation, "__len__") else "a stream"
    if isinstance(evaluation, dict):
        test = "several: " + ", ".join(evaluation)
    hidden = data.label_column in (getattr(trainer.unlabeled_dataset, "column_names", None) or ())
    passes = steps * unlabeled * accumulated * processes / len(trainer.unlabeled_dataset)
    ema = f"decay {args.ema_decay}, for {args.ema_role}" if args.ema_role != "none" else "none"
    if trainer.algorithm.uses_teacher and args.ema_role in ("none", "evaluation"):
        ema = f"decay {args.ema_decay}, for teacher" + (" and evaluation" if args.ema_role == "evaluation" else "")
    inputs = ", ".join(map(repr, data.model_inputs or data.input_columns))
    rows = {
        "algorithm": trainer.algorithm_name + (f" ({settings})" if settings else ""),
        "columns": f"{data.modality} in {inputs}, classes in {data.label_column!r}",
        "labeled": f"{len(trainer.train_dataset):,} examples, {len(data.label_names)} classes, {per_class} a class",
        "unlabeled": f"{len(trainer.unlabeled_dataset):,} examples"
        + (", with hidden labels (used for the accuracy of pseudo-labels only)" if hidden else ""),
        "evaluation": test,
        "batch": f"{labeled} labeled + {unlabeled} unlabeled a device and pass; x {accumulated} accumulated x {processes} "
        f"processes = {labeled * accumulated * processes} + {unlabeled * accumulated * processes} a step",
        "steps": f"{steps:,}, {passes:.1f} passes over the pool",
        "learning rate": describe_learning_rate(args, steps),
        "moving average": ema,
    }
    if trainer.duplicates is not None:
        rows["duplicates"] = trainer.duplicates.describe()
    described = trainer.views.describe()
    kinds = dict.fromkeys(["weak", *trainer.algorithm.views.values()])
    rows.update({f"{kind} view": described[kind] for kind in kinds if kind in described})
    return rows


def describe_run(trainer) -> str:
    """The block at the start of a training."""
    facts = run_facts(trainer)
    width = max(map(len, facts))
    return "\n".join(["Semi-supervised training", *(f"  {name:<{width}}  {text}" for name, text in facts.items())])


def describe_algorithm(name: str, algorithm) -> str:
    """One algorithm for `hf-ssl algorithms NAME`: its docstring, settings with defaults, and citation."""
    lines = [f"{name} ({algorithm.title}): {algorithm.summary}", "", inspect.getdoc(algorithm) or ""]
    settings = algorithm.settings()
    if settings:
        lines += ["", "Defaults: " + ", ".join(f"{key}={parameter.default!r}" for key, parameter in settings.items())]
    if algorithm.citation:
        lines += ["", algorithm.citation]
    return "\n".join(lines)


def table(header: list[str], rows: list[list[str]], left: bool = False) -> str:
    """Columns of text with aligned edges: the first column to the left, the others to the right unless `left`."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]

    def line(cells):
        sides = ["<" if left or i == 0 else ">" for i in range(len(cells))]
        return "  ".join(f"{c:{s}{w}}" for c, s, w in zip(cells, sides, widths, strict=True)).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def results_table(runs: list[dict]) -> str:
    """One row for each algorithm: mean and standard deviation over its seeds."""
    rows = []
    for name in dict.fromkeys(run["algorithm"] for run in runs):
        mine = [run for run in runs if run["algorithm"] == name]

        def percent(key, mine=mine):
            values = [100 * run[key] for run in mine if run[key] is not None]
            if not values:
                return "-"
            return f"{mean(values):.1f} %" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")

        seconds = f"{mean(run['seconds'] for run in mine):.0f}"
        columns = [percent(key) for key in ("test_accuracy", "mask_ratio", "pseudo_label_accuracy")]
        rows.append([name, str(len(mine)), columns[0], seconds, *columns[1:]])
    return table(["algorithm", "seeds", "test accuracy", "seconds a seed", "mask ratio", "pseudo-label accuracy"], rows)


def result_of(trainer, seconds: float, best_split: str = "test") -> dict:
    """The row of a finished training for `results.json`.

    Accuracies are shares in 0..1: `test_accuracy` of the last evaluation, `best_accuracy` of the best one, which `best_split`
    chose. What was not measured is None.
    """
    history = trainer.state.log_history
    accuracies = [row["eval_accuracy"] for row in history if "eval_accuracy" in row]

    def last(key):
        return next((row[key] for row in reversed(history) if key in row), None)

    return {
        "algorithm": trainer.algorithm_name,
        "seed": trainer.args.seed,
        "test_accuracy": accuracies[-1] if accuracies else None,
        "best_accuracy": max(accuracies, default=None),
        "best_split": best_split if accuracies else None,
        "num_labeled": len(trainer.train_dataset),
        "num_unlabeled": len(trainer.unlabeled_dataset),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),
        "mask_ratio": last("mask_ratio"),
        "pseudo_label_accuracy": last("pseudo_label_accuracy"),
    }


def write_results(folder: Path, runs: list[dict], settings: dict) -> Path:
    """Write `results.json`: {"runs", "settings", "versions"}; whole or not at all."""
    path = folder / "results.json"
    temporary = path.with_suffix(".tmp")
    content = {"runs": runs, "settings": settings, "versions": versions()}
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def draw_curves(path: Path, histories: dict[str, list[list[dict]]], title: str) -> None:
    """Draw what was logged of accuracy, mask ratio and pseudo-label accuracy over steps; a line is a mean over seeds, a band
    their range.

    Args:
        histories: algorithm -> one `log_history` of Trainer for each seed.
    """
    # Not pyplot, which would choose a backend for the whole process.
    from matplotlib.figure import Figure

    panels = [
        ("eval_accuracy", "Test accuracy"),
        ("mask_ratio", "Share of the pool that takes part\n(mask ratio)"),
        ("pseudo_label_accuracy", "Share of its pseudo-labels that are right"),
    ]
    rows = [row for seeds in histories.values() for history in seeds for row in history]
    # The pool's labels may be hidden, and nothing may have been evaluated.
    panels = [(key, label) for key, label in panels if any(key in row for row in rows)] or panels[:1]
    figure = Figure(figsize=(max(13 / 3 * len(panels), 6), 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colors = dict(zip(histories, ("#777777", "#0b6fb8", "#d1495b", "#3a7d44", "#8f4fa8"), strict=False))
    for axis, (key, label) in zip(axes, panels, strict=True):
        shown: list[float] = []
        for name, seeds in histories.items():
            curves = [{row["step"]: row[key] for row in history if key in row} for history in seeds]
            steps = sorted(set.union(*map(set, curves))) if curves else []
            if not steps:
                continue
            values = [[100 * curve[step] for curve in curves if step in curve] for step in steps]
            means = [mean(v) for v in values]
            axis.plot(steps, means, label=f"{name}: {means[-1]:.1f} %", color=colors.get(name), linewidth=2)
            axis.fill_between(steps, [min(v) for v in values], [max(v) for v in values], color=colors.get(name), alpha=0.15)
            shown += [value for step in values for value in step]
        axis.set_title(label, fontsize=11)
        axis.set_xlabel("training step")
        # From 0 where curves begin low, else from where their differences can be seen; room for the legend below them.
        axis.set_ylim(max(10 * ((min(shown, default=0.0) - 15) // 10), 0), 102)
        axis.grid(alpha=0.25)
        axis.yaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        if shown:
            axis.legend(loc="lower right", frameon=False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=110)


def class_table(counts: np.ndarray, names: list[str]) -> str:
    """Examples, recall, precision and F1 of each class, from a confusion matrix [C, C] (row true, column predicted)."""
    hits, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)

    def percent(part, whole):
        return f"{100 * part / whole:.1f} %" if whole else "-"

    rows = [
        [
            name,
            f"{true[i]:,}",
            percent(hits[i], true[i]),
            percent(hits[i], predicted[i]),
            percent(2 * hits[i], true[i] + predicted[i]),
        ]
        for i, name in enumerate(names)
    ]
    return table(["class", "examples", "recall", "precision", "F1"], rows)


def confusion_text(counts: np.ndarray, names: list[str], largest: int = 15) -> str:
    """The confusion matrix [C, C] as text; with more than `largest` classes the ten most frequent confusions instead."""
    if len(names) <= largest:
        short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
        rows = [[name, *(str(n) if n else "." for n in row)] for name, row in zip(short, counts, strict=True)]
        return "Confusion matrix (rows: true class, columns: predicted)\n" + table(["", *short], rows)
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
    rows = [[names[true], names[guess], f"{wrong[true, guess]:,} of {counts[true].sum():,}"] for true, guess in pairs]
    return "Most frequent confusions\n" + table(["true class", "predicted", "examples"], rows, left=True)


def draw_confusion(path: Path, counts: np.ndarray, names: list[str]) -> None:
    """Draw the confusion matrix [C, C]: shades are shares of the true class, numbers (up to 20 classes) are counts."""
    from matplotlib.figure import Figure

    side = min(3.0 + 0.42 * len(names), 16.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(names) <= 20 else 5
    axis.set_xticks(range(len(names)), names, rotation=90 if len(names) > 6 else 0, fontsize=size)
    axis.set_yticks(range(len(names)), names, fontsize=size)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    if len(names) <= 20:
        for (row, column), number in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{number:,}" if number else "", ha="center", va="center", color=color, fontsize=8)
    figure.colorbar(picture, label="share of the true class", shrink=0.8)
    figure.savefig(path, dpi=110)
