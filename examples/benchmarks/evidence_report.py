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
    """Difference to labeled-only training, in percentage points: mean and standard error of the differences seed by seed.

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
    """The gain of an algorithm over the seeds that it and labeled-only training have both; None where there is none."""
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
    return f"**{TASKS[task].title}** ({about})\n\n{text}\n\n{_verdict(mine, task, counts, present)}"


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
        parts = [f"better than labeled only by more than two standard errors: {', '.join(better) or 'none'}"]
        parts += [f"worse by as much: {', '.join(worse)}"] * bool(worse)
        parts += [f"no clear difference: {', '.join(none)}"] * bool(none)
        sentences.append(f"With {count} labels {'; '.join(parts)}.")
    return " ".join(sentences)


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
    """Draw accuracy against labels, a panel for each task: means, and a thin line for each draw of labels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.8 * len(tasks), 5.2), layout="constrained", squeeze=False)
    colors = plt.get_cmap("tab10").colors
    order = [name for name in (*ALGORITHMS, *OUTSIDE) if any(row["algorithm"] == name for row in rows)]
    handles: dict[str, Any] = {}
    for axis, task in zip(axes[0], tasks, strict=True):
        counts = sorted({row["labels"] for row in rows if row["task"] == task})
        for place, count in enumerate(counts):
            found = {name: accuracies(rows, task, name, count) for name in order}
            # Side by side, in the order of the legend.
            x = {name: place + 0.8 * ((order.index(name) + 0.5) / len(order) - 0.5) for name in order if found[name]}
            for seed in sorted({seed for values in found.values() for seed in values}):
                there = [name for name in x if seed in found[name]]
                points = [found[name][seed] for name in there]
                axis.plot([x[name] for name in there], points, color="0.75", linewidth=1, marker=".", zorder=1)
            for name, position in x.items():
                color = "black" if name == BASELINE else colors[order.index(name) % 10]
                marker = "s" if name == BASELINE else "^" if name in OUTSIDE else "o"
                height = mean(found[name].values())
                handles[name] = axis.scatter(position, height, s=90, color=color, marker=marker, zorder=3)
                if name == BASELINE:
                    axis.hlines(height, place - 0.42, place + 0.42, color="black", linewidth=0.8, linestyle="--", zorder=2)
        axis.set_xticks(range(len(counts)), [str(count) for count in counts])
        axis.set_xlim(-0.5, len(counts) - 0.5)
        axis.set_title(TASKS[task].title, fontsize=11)
        axis.set_xlabel("labels in all")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("test accuracy (large: mean; grey: each draw of labels)")
    shown = {NAMES.get(name, name): handles[name] for name in order if name in handles}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
