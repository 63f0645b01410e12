"""Pictures of the comparison: critical differences, wins, and accuracy against time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import atomic_write
from .costs import Cost
from .drawings import apart
from .pairs import Pairs
from .ranking import Ranking

_BEST, _OTHER = "#0b6fb8", "#777777"
# More algorithms than this have no numbers in the matrix of wins.
_NUMBERED = 24
_LONGEST_NAME = 28
# About what the inside of the picture of costs measures, in points.
_INSIDE = 590.0, 345.0


def draw_ranks(path: Path, ranking: Ranking) -> None:
    """Draw a critical-difference diagram (Demšar 2006): mean ranks, and bars over those that do not differ.

    Args:
        path: the picture's file; its suffix is the format.
        ranking: what is drawn; without a critical difference (a single setting) there are no bars.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    shown = ranking.diagram
    number, ranks, wide = len(shown.algorithms), shown.ranks, shown.end - 1
    left = (number + 1) // 2
    figure = Figure(figsize=(9, 1.6 + 0.22 * len(shown.bars) + 0.26 * left), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(1 - 0.42 * wide, shown.end + 0.42 * wide)
    below = 0.55 + 0.5 * len(shown.bars)
    axis.set_ylim(below + 0.6 * left + 0.2, -1.6)
    axis.axis("off")
    axis.plot([1, shown.end], [0, 0], color="black", linewidth=1)
    for tick in shown.ticks:
        axis.plot([tick, tick], [0, -0.18], color="black", linewidth=1)
        axis.text(tick, -0.28, str(tick), ha="center", va="bottom", fontsize=9)
    for place, (name, rank) in enumerate(zip(shown.algorithms, ranks, strict=True)):
        is_left = place < left
        y = below + 0.6 * (place if is_left else number - 1 - place)
        edge = 1 - 0.04 * wide if is_left else shown.end + 0.04 * wide
        axis.plot([rank, rank, edge], [0, y, y], color=_OTHER, linewidth=0.8)
        side = "right" if is_left else "left"
        text = f"{_name(name)}  {rank:.2f}" if is_left else f"{rank:.2f}  {_name(name)}"
        axis.text(edge, y, f"{text} " if is_left else f" {text}", ha=side, va="center", fontsize=9)
    for row, (first, last) in enumerate(shown.bars):
        axis.plot([ranks[first], ranks[last]], [0.35 + 0.5 * row] * 2, color=_BEST, linewidth=4, solid_capstyle="butt")
    if ranking.difference is not None:
        length = min(ranking.difference, wide)
        axis.plot([1, 1 + length], [-1.15, -1.15], color=_BEST, linewidth=2)
        axis.text(
            1 + length / 2,
            -1.25,
            f"critical difference {ranking.difference:.2f}",
            ha="center",
            va="bottom",
            fontsize=9,
        )
    _save(figure, path)


def draw_wins(path: Path, pairs: Pairs) -> None:
    """Draw the matrix of wins: the share of the settings of both in which the row is better than the column.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    names, wins = pairs.algorithms, pairs.wins()
    number = len(names)
    shares = np.full((number, number), np.nan)
    side = 3.2 + 0.42 * number
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            if (row, column) in wins:
                better, equal, worse = wins[row, column]
                shares[i, j] = (better + equal / 2) / (better + equal + worse)
                if number <= _NUMBERED:
                    axis.text(j, i, str(better), ha="center", va="center", fontsize=8)
    # A pale middle part of the colors, on which numbers can be read.
    colors = ListedColormap(colormaps["RdBu"](np.linspace(0.2, 0.8, 101)))
    picture = axis.imshow(shares, cmap=colors, vmin=0, vmax=1)
    shown = [_name(name) for name in names]
    axis.set_xticks(range(number), shown, rotation=90, fontsize=8)
    axis.set_yticks(range(number), shown, fontsize=8)
    axis.set_title("In how many settings the row is better than the column", fontsize=11)
    figure.colorbar(picture, label="share of the settings", shrink=0.8)
    _save(figure, path)


def draw_costs(path: Path, found: Sequence[Cost]) -> None:
    """Draw error against seconds per run; a line joins the algorithms that nothing faster is better than.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axis = figure.subplots()
    best = [cost for cost in found if cost.is_best_value]
    axis.plot([c.seconds for c in best], [c.error for c in best], color=_BEST, linewidth=1, drawstyle="steps-post")
    sides = [_limits([cost.seconds for cost in found]), _limits([cost.error for cost in found])]
    axis.set_xlim(sides[0])
    axis.set_ylim(sides[1])
    points = [
        (
            _INSIDE[0] * (cost.seconds - sides[0][0]) / (sides[0][1] - sides[0][0]),
            _INSIDE[1] * (sides[1][1] - cost.error) / (sides[1][1] - sides[1][0]),
        )
        for cost in found
    ]
    widths = [5.0 * len(_name(cost.algorithm)) + 8 for cost in found]
    for cost, (_, y), lower in zip(found, points, apart(points, widths, 10), strict=True):
        color = _BEST if cost.is_best_value else _OTHER
        axis.plot([cost.seconds], [cost.error], "o", color=color, markersize=6)
        place = (cost.seconds, cost.error)
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "relpos": (0, 0)} if y - lower > 12 else None
        shift = (4, y - lower)
        axis.annotate(
            _name(cost.algorithm), place, shift, textcoords="offset points", fontsize=8, color=color, arrowprops=arrow
        )
    axis.set_xlabel("seconds per run")
    axis.set_ylabel("mean error (%)")
    axis.set_title("Error against time, over the settings that count for the ranks", fontsize=11)
    axis.grid(alpha=0.25)
    _save(figure, path)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.12 * (high - low) or max(0.1 * abs(high), 0.5)
    return low - pad, high + pad


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _name(name: str) -> str:
    """A name in one short line; a dollar sign would begin a formula."""
    name = " ".join(name.split()).replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
