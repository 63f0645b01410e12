"""Pictures: curves over training, and confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from ..files import atomic_write

# Key of a log line -> title of its panel.
_PANELS = {
    "eval_accuracy": "Test accuracy",
    "mask_ratio": "Share of the pool that takes part\n(mask ratio)",
    "pseudo_label_accuracy": "Share of its pseudo-labels that are right",
}
_COLORS = ("#777777", "#0b6fb8", "#d1495b", "#3a7d44", "#8f4fa8")

History = Sequence[Mapping[str, Any]]


def draw_curves(path: Path, histories: Mapping[str, Sequence[History]], title: str) -> None:
    """Draw accuracy, mask ratio and pseudo-label accuracy over the steps, as far as they were logged.

    A line is the mean over the seeds of an algorithm, a band their range.

    Args:
        path: the picture's file; its suffix is the format.
        histories: algorithm -> one `log_history` of Trainer per seed.
        title: above the picture.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    # Not pyplot, which would choose a backend for the whole process.
    from matplotlib.figure import Figure

    rows = [row for seeds in histories.values() for history in seeds for row in history]
    # The pool's labels may be hidden, and nothing may have been evaluated.
    keys = [key for key in _PANELS if any(key in row for row in rows)] or [next(iter(_PANELS))]
    figure = Figure(figsize=(max(13 / 3 * len(keys), 6), 4.2), layout="constrained")
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        _draw_panel(axis, key, histories)
    figure.suptitle(title, fontsize=12)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_panel(axis: Any, key: str, histories: Mapping[str, Sequence[History]]) -> None:
    """Draw one number of all algorithms."""
    colors = dict(zip(histories, _COLORS, strict=False))
    shown: list[float] = []
    for name, seeds in histories.items():
        values = _percents(seeds, key)
        if not values:
            continue
        steps, means, color = list(values), [mean(v) for v in values.values()], colors.get(name)
        lowest, highest = [min(v) for v in values.values()], [max(v) for v in values.values()]
        axis.plot(steps, means, label=f"{name}: {means[-1]:.1f} %", color=color, linewidth=2)
        axis.fill_between(steps, lowest, highest, color=color, alpha=0.15)
        shown += lowest
    axis.set_title(_PANELS[key], fontsize=11)
    axis.set_xlabel("training step")
    # From 0 if the curves begin low, else from where their differences can be seen, with room for the legend below.
    axis.set_ylim(max(10 * ((min(shown, default=0.0) - 15) // 10), 0), 102)
    axis.grid(alpha=0.25)
    axis.yaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    if shown:
        axis.legend(loc="lower right", frameon=False)


def _percents(seeds: Sequence[History], key: str) -> dict[int, list[float]]:
    """Step -> what each seed logged there under `key`, in percent."""
    curves = [{row["step"]: 100 * row[key] for row in history if key in row} for history in seeds]
    steps = sorted({step for curve in curves for step in curve})
    return {step: [curve[step] for curve in curves if step in curve] for step in steps}


def draw_confusion(path: Path, counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix: shades are shares of the true class, numbers (up to 20 classes) are counts.

    Args:
        path: the picture's file; its suffix is the format.
        counts: [C, C], row true class, column predicted class.
        names: of the classes.

    Raises:
        ImportError: if matplotlib is not installed.
    """
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
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
