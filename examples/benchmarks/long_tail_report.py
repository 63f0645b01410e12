"""What a person reads of the evidence on long tails: tables and the picture, from the results file alone."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from hf_ssl.report.tables import markdown_table

PLAIN = "none"
TITLES = {"images": "CIFAR-10, gamma 50", "text": "AG News, gamma 20"}
# By what a gain shows; the bars are two standard errors.
COLORS = {"better": "tab:blue", "no clear difference": "0.55", "worse": "tab:red"}


class Gain(NamedTuple):
    """Difference to the plain algorithm in percentage points: mean and standard error over the seeds.

    Fewer than three seeds have no error: two differences say nothing of their spread.
    """

    mean: float
    error: float | None

    @property
    def verdict(self) -> str:
        """One of `COLORS`: a difference is clear beyond two standard errors."""
        if self.error is None or abs(self.mean) <= 2 * self.error:
            return "no clear difference"
        return "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        text = f"{self.mean:+.1f}" + ("" if self.error is None else f" ± {self.error:.1f}")
        return {"better": f"**{text}**", "worse": f"*{text}* ▼"}.get(self.verdict, text)


def accuracies(rows: Sequence[dict[str, Any]], **wanted: Any) -> dict[int, float]:
    """Seed -> balanced accuracy in percent, of the runs with these fields."""
    kept = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
    return {row["seed"]: 100 * row["balanced_accuracy"] for row in kept}


def gain(rows: Sequence[dict[str, Any]], imbalance: str, **wanted: Any) -> Gain | None:
    """The gain of a correction over the seeds that it shares with the plain algorithm; None if there are none."""
    ours, plain = (accuracies(rows, imbalance=name, **wanted) for name in (imbalance, PLAIN))
    found = [ours[seed] - plain[seed] for seed in sorted(ours.keys() & plain.keys())]
    if not found:
        return None
    return Gain(mean(found), stdev(found) / len(found) ** 0.5 if len(found) > 2 else None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a table for each data set and start, with a column for each algorithm and pool."""
    settings = dict.fromkeys((row["task"], row["start"]) for row in rows)
    return "\n\n".join(
        _table([row for row in rows if (row["task"], row["start"]) == each], *each) for each in settings
    )


def _table(rows: Sequence[dict[str, Any]], task: str, start: str) -> str:
    columns = list(dict.fromkeys((row["pool"], row["algorithm"]) for row in sorted(rows, key=_order)))
    names = _names(rows)
    lines = []
    for name in names:
        cells = []
        for pool, algorithm in columns:
            if name == PLAIN:
                values = list(accuracies(rows, imbalance=name, pool=pool, algorithm=algorithm).values())
                cells.append(_spread(values))
            else:
                cells.append(str(gain(rows, name, pool=pool, algorithm=algorithm) or ""))
        lines.append([f"`{name}`" if name != PLAIN else "plain, accuracy", *cells])
    seeds = sorted({row["seed"] for row in rows})
    head = f"{TITLES[task]}, from the head of {'labels alone' if start == 'head' else 'labels and pool'}"
    header = ["", *(f"{algorithm}, {pool}" for pool, algorithm in columns)]
    return f"#### {head} ({len(seeds)} {'draws' if len(seeds) > 1 else 'draw'})\n\n{markdown_table(header, lines)}"


def _order(row: dict[str, Any]) -> tuple[int, int]:
    return ("consistent", "reversed").index(row["pool"]), ("fixmatch", "freematch", "adamatch").index(row["algorithm"])


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The corrections, the plain algorithm first, the others as their mean gain falls."""
    found = {row["imbalance"] for row in rows} - {PLAIN}
    places = dict.fromkeys((row["pool"], row["algorithm"]) for row in rows)

    def mean_gain(name: str) -> float:
        gains = [gain(rows, name, pool=pool, algorithm=algorithm) for pool, algorithm in places]
        return mean(each.mean for each in gains if each is not None)

    return [PLAIN, *sorted(found, key=mean_gain, reverse=True)]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the gains from the head of labels alone: a row of panels for each data set, a panel for each pool."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["start"] == "head"]
    tasks = [task for task in TITLES if any(row["task"] == task for row in rows)]
    names = [name for name in _names([row for row in rows if row["task"] == tasks[0]]) if name != PLAIN]
    figure = Figure(figsize=(11, len(tasks) * (0.42 * len(names) + 1.2) + 0.5), layout="constrained")
    axes = figure.subplots(len(tasks), 2, squeeze=False, sharey=True)
    for line, task in zip(axes, tasks, strict=True):
        for axis, pool in zip(line, ("consistent", "reversed"), strict=True):
            _panel(axis, [row for row in rows if (row["task"], row["pool"]) == (task, pool)], names)
            axis.set_title(f"{TITLES[task]}, pool {pool}", fontsize=11)
        line[0].set_yticks(range(len(names)), names)
        line[0].set_ylim(len(names) - 0.5, -0.5)
    for axis in axes[-1]:
        axis.set_xlabel("gain in balanced accuracy over the plain algorithm, points")
    marks = _marks(figure)
    figure.legend(*marks, loc="outside lower center", ncols=len(marks[0]), frameon=False)
    figure.savefig(path, dpi=110)


_MARKERS = {"fixmatch": ("o", -0.22), "freematch": ("s", 0.0), "adamatch": ("^", 0.22)}


def _panel(axis: Any, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    axis.axvline(0, color="black", linewidth=0.8, linestyle="--")
    for height, name in enumerate(names):
        for algorithm, (marker, shift) in _MARKERS.items():
            found = gain(rows, name, algorithm=algorithm)
            if found is not None:
                color, error = COLORS[found.verdict], None if found.error is None else 2 * found.error
                place = height + shift
                axis.errorbar(found.mean, place, xerr=error, color=color, fmt=marker, markersize=5, linewidth=1.5)
    axis.grid(axis="x", alpha=0.25)


def _marks(figure: Any) -> tuple[list[Any], list[str]]:
    """Handles and labels of the legend: colors, then algorithms."""
    from matplotlib.lines import Line2D

    colors = {name: Line2D([], [], color=color, linewidth=3) for name, color in COLORS.items()}
    shapes = {
        name: Line2D([], [], color="black", marker=marker, linestyle="") for name, (marker, _) in _MARKERS.items()
    }
    found = colors | shapes
    return list(found.values()), list(found)
