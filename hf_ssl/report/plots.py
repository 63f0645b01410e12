"""Pictures: curves over training, and confusion matrices."""

from pathlib import Path
from statistics import mean

import numpy as np


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
            axis.fill_between(
                steps, [min(v) for v in values], [max(v) for v in values], color=colors.get(name), alpha=0.15
            )
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
