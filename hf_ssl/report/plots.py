"""Pictures: curves over training, confusion matrices, recall by class size, and calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from ..calibration import Bin
from ..class_sizes import size_groups
from ..files import atomic_write


class _Panel(NamedTuple):
    """How a number of the log is drawn: its title, whether it is a share, whether guessing a class has a level."""

    title: str
    is_share: bool = True
    has_chance: bool = False


# Key of a log line -> its panel.
_PANELS = {
    "eval_accuracy": _Panel("Test accuracy", has_chance=True),
    "eval_map": _Panel("Test mean average precision"),
    "eval_mae": _Panel("Test mean absolute error", is_share=False),
    "mask_ratio": _Panel("Share of the pool that takes part\n(mask ratio)"),
    "pseudo_label_accuracy": _Panel("Share of its pseudo-labels that are right", has_chance=True),
    "pseudo_label_f1": _Panel("Micro F1 of its pseudo-labels"),
    "pseudo_label_mae": _Panel("Mean absolute error of its pseudo-labels", is_share=False),
}
_BASELINE_COLOR = "#777777"
_GROUP_COLORS = {"many": "#0b6fb8", "medium": "#c77d0a", "few": "#d1495b"}
_COLORS = ("#0b6fb8", "#d1495b", "#3a7d44", "#8f4fa8", "#c77d0a", "#13818a")
# Of more points than these a curve needs no marks.
_MARKED = 20
# More classes than these have no numbers in their cells, and no shares below the numbers.
_NUMBERED, _SHARED = 20, 12
# More classes than these do not all have a name beside the picture; longer names are cut.
_NAMED, _LONGEST_NAME = 60, 24

History = Sequence[Mapping[str, Any]]


def draw_curves(
    path: Path, histories: Mapping[str, Sequence[History]], title: str, num_classes: int | None = None
) -> None:
    """Draw the main metric, mask ratio and how good pseudo-labels are over the steps, as far as they were logged.

    A line is the mean over the seeds of an algorithm, a band their range.

    Args:
        path: the picture's file; its suffix is the format.
        histories: algorithm -> one `log_history` of Trainer per seed.
        title: above the picture.
        num_classes: number of classes, for the level of guessing one of them; None draws none. It has no meaning for
            several labels and for numbers.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    # Not pyplot, which would choose a backend for the whole process.
    from matplotlib.figure import Figure

    rows = [row for seeds in histories.values() for history in seeds for row in history]
    # The pool's labels may be hidden, and nothing may have been evaluated.
    keys = [key for key in _PANELS if any(key in row for row in rows)] or [next(iter(_PANELS))]
    figure = Figure(figsize=(max(13 / 3 * len(keys), 6), 4.2 + 0.25 * len(histories)), layout="constrained")
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        _draw_panel(axis, key, histories, 100 / num_classes if num_classes and _PANELS[key].has_chance else None)
    figure.suptitle(title, fontsize=12)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_panel(axis: Any, key: str, histories: Mapping[str, Sequence[History]], chance: float | None) -> None:
    """Draw one number of all algorithms; shares and the level of chance are in percent."""
    panel = _PANELS[key]
    others = [name for name in histories if name != "supervised"]
    colors = {**dict(zip(others, _COLORS, strict=False)), "supervised": _BASELINE_COLOR}
    shown: list[float] = [0.0] if key == "mask_ratio" else []
    for name, seeds in histories.items():
        values = _values(seeds, key, 100 if panel.is_share else 1)
        if not values:
            continue
        steps, means, color = list(values), [mean(v) for v in values.values()], colors.get(name)
        lowest, highest = [min(v) for v in values.values()], [max(v) for v in values.values()]
        last = f"{means[-1]:.1f} %" if panel.is_share else f"{means[-1]:.4g}"
        label = f"{name}: {last}{_remark(key, lowest, highest)}"
        marker = "o" if len(steps) <= _MARKED else None
        axis.plot(steps, means, label=label, color=color, linewidth=2, marker=marker, markersize=4)
        axis.fill_between(steps, lowest, highest, color=color, alpha=0.15)
        shown += lowest
    if chance is not None:
        axis.axhline(chance, color="black", linewidth=1, linestyle=":", label=f"chance: {chance:.1f} %")
        shown.append(chance)
    axis.set_title(panel.title, fontsize=11)
    axis.set_xlabel("training step")
    axis.grid(alpha=0.25)
    axis.set_xlim(left=0)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if panel.is_share:
        # From 0 if the curves begin low, else from where their differences can be seen.
        axis.set_ylim(max(10 * ((min(shown, default=0.0) - 5) // 10), 0), 102)
        axis.yaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    if shown:
        # Below the panel, where no curve is.
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, ncols=1)


def _remark(key: str, lowest: Sequence[float], highest: Sequence[float]) -> str:
    """What a flat mask ratio means, which would look like success or like nothing."""
    if key != "mask_ratio":
        return ""
    if min(lowest) > 99.95:
        return "\n(all pseudo-labels used, right or wrong)"
    return "\n(no pseudo-label used)" if max(highest) < 0.05 else ""


def _values(seeds: Sequence[History], key: str, scale: float) -> dict[int, list[float]]:
    """Step -> what each seed logged there under `key`, times `scale`."""
    curves = [{row["step"]: scale * row[key] for row in history if key in row} for history in seeds]
    steps = sorted({step for curve in curves for step in curve})
    return {step: [curve[step] for curve in curves if step in curve] for step in steps}


def draw_class_recalls(
    path: Path,
    counts: Sequence[int] | np.ndarray,
    recalls: Sequence[float] | np.ndarray,
    names: Sequence[str],
    title: str = "",
) -> None:
    """Draw the recall of each class as a bar, from the class with the most labeled examples to that with the fewest.

    The color says whether a class has many, a medium number of or few labels (`hf_ssl.class_sizes`), a dashed line in
    it the mean of such classes; the solid line is the balanced accuracy.

    Args:
        path: the picture's file; its suffix is the format.
        counts: labeled examples [C].
        recalls: [C], in 0..1; NaN for classes without a test example, which have no bar.
        names: of the classes.
        title: above the picture.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    sizes, found = np.asarray(counts), 100 * np.asarray(recalls, dtype=np.float64)
    order = np.argsort(-sizes, kind="stable")
    rank = np.argsort(order)
    figure = Figure(figsize=(float(np.clip(2.6 + 0.42 * len(sizes), 6, 16)), 4.6), layout="constrained")
    axis = figure.subplots()
    for group, classes in size_groups(sizes).items():
        places, heights = rank[classes], found[classes]
        mean_recall = f": {np.nanmean(heights):.1f} %" if np.isfinite(heights).any() else ""
        axis.bar(
            places, heights, color=_GROUP_COLORS[group], alpha=0.7, label=f"{group} labels{mean_recall}", width=0.8
        )
        if mean_recall:
            ends = places.min() - 0.5, places.max() + 0.5
            axis.hlines(np.nanmean(heights), *ends, color=_GROUP_COLORS[group], linestyle="--", linewidth=2)
    if np.isfinite(found).any():
        balanced = float(np.nanmean(found))
        axis.axhline(balanced, color="black", linewidth=1, label=f"balanced accuracy: {balanced:.1f} %")
    ticks = range(0, len(sizes), -(-len(sizes) // _NAMED))
    shown = [f"{_cut(names[order[place]])} ({sizes[order[place]]:,})" for place in ticks]
    axis.set_xticks(ticks, shown, rotation=90 if len(sizes) > 4 else 0, fontsize=9 if len(sizes) <= _NUMBERED else 6)
    axis.set_xlabel("class (labeled examples)")
    axis.set_ylabel("recall")
    axis.set_ylim(0, 102)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axis.grid(axis="y", alpha=0.25)
    axis.set_title(title or "Recall by class size", fontsize=11)
    axis.margins(x=0.02)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_confusion(path: Path, counts: np.ndarray, names: Sequence[str], title: str | None = None) -> None:
    """Draw a confusion matrix: shades are shares of the true class, numbers (up to 20 classes) are counts.

    Args:
        path: the picture's file; its suffix is the format.
        counts: [C, C], row true class, column predicted class.
        names: of the classes.
        title: above the picture; the number of examples and how many are right if None.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    number = len(names)
    side = min(3.4 + 0.5 * number, 16.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if number <= _NUMBERED else 6
    places = range(0, number, -(-number // _NAMED)) if number else range(0)
    shown = [_cut(names[place]) for place in places]
    upright = number <= 6 and max(map(len, shown), default=0) <= 10
    axis.set_xticks(places, shown, rotation=0 if upright else 90, fontsize=size)
    axis.set_yticks(places, shown, fontsize=size)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(title or _confusion_title(counts), fontsize=11)
    if number <= _NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            share = f"\n{100 * shares[row, column]:.0f} %" if number <= _SHARED else ""
            text = f"{count:,}{share}" if count else ""
            axis.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.colorbar(picture, label="share of the true class", shrink=0.8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_reliability(path: Path, bins: Sequence[Bin], title: str | None = None) -> None:
    """Draw accuracy against confidence, and how many answers are how confident.

    Bars that end below the diagonal are answers that are right less often than their probabilities say.

    Args:
        path: the picture's file; its suffix is the format.
        bins: as `hf_ssl.calibration.reliability` returns them.
        title: above the picture; the number of answers and the calibration error if None.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    seen = [part for part in bins if part.count]
    total = sum(part.count for part in seen)
    places = [100 * (part.low + part.high) / 2 for part in seen]
    widths = [96 * (part.high - part.low) for part in seen]
    right = np.array([100 * (part.accuracy or 0.0) for part in seen])
    sure = np.array([100 * (part.confidence or 0.0) for part in seen])
    counts = np.array([part.count for part in seen])
    error = float((counts * abs(right - sure)).sum() / max(total, 1))
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, beside = figure.subplots(1, 2)
    left.bar(places, right, widths, color=_COLORS[0], alpha=0.8, label="accuracy")
    left.bar(
        places,
        sure - right,
        widths,
        bottom=right,
        color="none",
        edgecolor=_COLORS[1],
        hatch="///",
        label="gap to confidence",
    )
    left.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle="--", label="accuracy = confidence")
    left.set_ylabel("answers that are right")
    left.set_ylim(0, 102)
    left.set_title("Accuracy against confidence", fontsize=11)
    beside.bar(places, 100 * counts / max(total, 1), widths, color=_BASELINE_COLOR, alpha=0.8)
    if total:
        for value, name, color in (
            (float((counts * sure).sum() / total), "mean confidence", _COLORS[1]),
            (float((counts * right).sum() / total), "accuracy", _COLORS[0]),
        ):
            beside.axvline(value, color=color, linewidth=2, linestyle="--", label=f"{name}: {value:.1f} %")
    beside.set_ylabel("share of the answers")
    beside.set_title("How confident the answers are", fontsize=11)
    for axis in (left, beside):
        axis.set_xlabel("confidence (highest probability)")
        axis.set_xlim(0, 100)
        axis.grid(alpha=0.25)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        # Below the panel, where no bar is.
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, ncols=3, fontsize=9)
    figure.suptitle(title or f"{total:,} answer{'s' * (total != 1)}, expected calibration error {error:.1f} %")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _confusion_title(counts: np.ndarray) -> str:
    total, right = int(counts.sum()), int(counts.trace())
    share = f", {100 * right / total:.1f} % right" if total else ""
    return f"Confusion matrix: {total:,} example{'s' * (total != 1)}{share}"


def _cut(name: str) -> str:
    """A class name in one short line; a dollar sign would begin a formula."""
    name = " ".join(name.split()).replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
