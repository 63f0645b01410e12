"""What a person reads of the evidence: the tables and the picture, from the results file alone."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from evidence_tasks import ALGORITHMS, OUTSIDE, TASKS

BASELINE = "supervised"
NAMES = {"supervised": "labeled only", "linear_probe": "linear probe", "setfit": "SetFit"}


class Gain(NamedTuple):
    """Difference to labeled-only training in percentage points: mean and standard error over the seeds.

    Fewer than three seeds have no error: two differences say nothing of their spread.
    """

    mean: float
    error: float | None

    @property
    def clear(self) -> bool:
        """Whether it is above two standard errors."""
        return self.error is not None and self.mean > 2 * self.error

    @property
    def loss(self) -> bool:
        """Whether it is below minus two standard errors."""
        return self.error is not None and -self.mean > 2 * self.error


def accuracies(rows: Sequence[dict[str, Any]], task: str, algorithm: str, labels: int) -> dict[int, float]:
    """Seed -> test accuracy in percent."""
    wanted = (task, algorithm, labels)
    return {r["seed"]: 100 * r["test_accuracy"] for r in rows if (r["task"], r["algorithm"], r["labels"]) == wanted}


def gain(rows: Sequence[dict[str, Any]], task: str, algorithm: str, labels: int) -> Gain | None:
    """The gain of an algorithm over the seeds that it shares with labeled-only training; None if there are none."""
    ours, base = (accuracies(rows, task, name, labels) for name in (algorithm, BASELINE))
    differences = [ours[seed] - base[seed] for seed in sorted(ours.keys() & base.keys())]
    if not differences:
        return None
    return Gain(mean(differences), stdev(differences) / sqrt(len(differences)) if len(differences) > 2 else None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each task its accuracies as mean ± standard deviation, gains, and minutes of a run."""
    return "\n\n".join(_task_table(rows, task) for task in TASKS if any(row["task"] == task for row in rows))


def _task_table(rows, task) -> str:
    mine = [row for row in rows if row["task"] == task]
    counts = sorted({row["labels"] for row in mine})
    present = [name for name in (*OUTSIDE, *ALGORITHMS) if any(row["algorithm"] == name for row in mine)]
    sizes = {(row["num_unlabeled"], row["test_examples"]) for row in mine if "num_unlabeled" in row}
    about = "; ".join(f"pool of {pool:,}, {test:,} test examples" for pool, test in sorted(sizes))
    header = ["", *(f"{count} labels" for count in counts), *(f"gain, {count}" for count in counts), "minutes"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name in present:
        cells, gains = [], []
        for count in counts:
            values = list(accuracies(mine, task, name, count).values())
            cells.append(_spread(values))
            difference = gain(mine, task, name, count)
            gains.append("" if name == BASELINE or difference is None else _signed(difference))
        minutes = mean(row["cpu_seconds"] for row in mine if row["algorithm"] == name) / 60
        lines.append([NAMES.get(name, f"`{name}`"), *cells, *gains, f"{minutes:.1f}"])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    head = f"### {TASKS[task].title}\n\n{about[0].upper()}{about[1:]}."
    return f"{head}\n\n{text}\n\n{_verdict(mine, task, counts, present)}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    return f"{mean(values):.1f} ± {stdev(values):.1f}" + ("" if len(values) == 3 else f" ({len(values)} seeds)")


def _signed(difference: Gain) -> str:
    text = f"{difference.mean:+.1f}" + ("" if difference.error is None else f" ± {difference.error:.1f}")
    return f"**{text}**" if difference.clear else text


def _verdict(rows, task, counts, present) -> str:
    """In words, which algorithms gain and which lose by more than two standard errors."""
    sentences = []
    for count in counts:
        found = {name: gain(rows, task, name, count) for name in present if name in ALGORITHMS and name != BASELINE}
        found = {name: value for name, value in found.items() if value is not None}
        if not found:
            continue
        better = [f"`{name}`" for name, value in found.items() if value.clear]
        worse = [f"`{name}`" for name, value in found.items() if value.loss]
        none = [f"`{name}`" for name, value in found.items() if not value.clear and not value.loss]
        parts = [f"clearly better than labeled only: {', '.join(better) or 'none'}"]
        parts += [f"clearly worse: {', '.join(worse)}"] * bool(worse)
        parts += [f"no clear difference: {', '.join(none)}"] * bool(none)
        sentences.append(f"- With {count} labels: {'; '.join(parts)}.")
    return "\n".join(sentences)


def machines(rows: Sequence[dict[str, Any]]) -> str:
    """The machines of the runs, in words."""
    found = {}
    for row in rows:
        m = row["machine"]
        name = f"{m['processor']}, {m['cores']} cores, " if "cores" in m else f"{m['processor']}, "
        name += f"{m['threads']} thread{'s' if m['threads'] > 1 else ''} for a run"
        found[name] = found.get(name, 0) + 1
    return "; ".join(f"{name} ({count} runs)" for name, count in found.items())


def picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw accuracies, a column of panels for each task and a panel for each number of labels, fewest on top.

    A large mark is a mean, and its bar is two standard errors of the gain: a bar that ends before the dashed line
    (labeled-only training) is a clear difference, which the color says, too. Small marks are the draws of labels.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    counts = {task: sorted({row["labels"] for row in rows if row["task"] == task}) for task in tasks}
    names = [name for name in (*ALGORITHMS, *OUTSIDE) if any(row["algorithm"] == name for row in rows)]
    height = max(map(len, counts.values()))
    size = (4.3 * len(tasks) + 1, height * (0.29 * len(names) + 0.9) + 0.6)
    figure, axes = plt.subplots(height, len(tasks), figsize=size, layout="constrained", squeeze=False, sharey=True)
    for column, task in enumerate(tasks):
        for place, axis in enumerate(axes[:, column]):
            if place < len(counts[task]):
                _panel(axis, rows, task, counts[task][place], names)
                axis.set_title(f"{TASKS[task].title}\n" * (place == 0) + f"{counts[task][place]} labels", fontsize=11)
            else:
                axis.set_visible(False)
        axes[len(counts[task]) - 1, column].set_xlabel("test accuracy")
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names])
    axes[0][0].invert_yaxis()
    handles = [plt.Line2D([], [], color=color, marker="o", linewidth=2) for color in COLORS.values()]
    handles.append(plt.Line2D([], [], color="black", linestyle="--", linewidth=0.8))
    labels = [*COLORS, "labeled only"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# By what a gain shows; the bars are two standard errors.
COLORS = {"better": "tab:blue", "no clear difference": "0.55", "worse": "tab:red"}


def _panel(axis, rows, task, labels, names) -> None:
    base = accuracies(rows, task, BASELINE, labels)
    if base:
        axis.axvline(mean(base.values()), color="black", linestyle="--", linewidth=0.8, zorder=1)
    for height, name in enumerate(names):
        found = accuracies(rows, task, name, labels)
        if not found:
            continue
        difference = gain(rows, task, name, labels) if name != BASELINE else None
        verdict = "no clear difference"
        if difference is not None and (difference.clear or difference.loss):
            verdict = "better" if difference.clear else "worse"
        color, value = "black" if name == BASELINE else COLORS[verdict], mean(found.values())
        axis.scatter(found.values(), [height] * len(found), s=12, color=color, alpha=0.5, linewidths=0, zorder=2)
        error = difference.error if difference is not None else None
        axis.errorbar(
            value, height, xerr=error and 2 * error, color=color, fmt="o", markersize=8, linewidth=2, zorder=3
        )
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axis.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
    axis.grid(axis="x", alpha=0.25)
    axis.margins(y=0.05)
