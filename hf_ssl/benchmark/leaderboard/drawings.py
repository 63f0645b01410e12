"""The pictures of the page as inline SVG, in the colors of its theme: no more than text, and every name escaped."""

from collections.abc import Sequence

from ...report.pages.svg import Scale, line, svg, text
from .costs import Cost
from .ranking import Ranking

_WIDTH, _LINE = 760, 19
_LONGEST_NAME = 30
# About what a letter of the labels is wide.
_LETTER = 6.6


def ranks_svg(ranking: Ranking, name: str) -> str:
    """A critical-difference diagram (Demšar 2006): names at their mean ranks, bars over those that do not differ.

    Args:
        ranking: at least two algorithms.
        name: of the picture in the page, for its title.
    """
    shown = ranking.diagram
    number, bars, ranks = len(shown.algorithms), shown.bars, shown.ranks
    left = (number + 1) // 2
    first, last = 240, _WIDTH - 240
    scale = (last - first) / (shown.end - 1)
    axis = 58
    below = axis + 20 + 8 * len(bars)

    def x(rank: float) -> float:
        return first + (rank - 1) * scale

    parts = [line(first, axis, last, axis, "axis")]
    for tick in shown.ticks:
        parts += [line(x(tick), axis, x(tick), axis - 5, "axis"), text(x(tick), axis - 9, str(tick), "middle")]
    for place, (algorithm, rank) in enumerate(zip(shown.algorithms, ranks, strict=True)):
        is_left = place < left
        y = below + _LINE * (place if is_left else number - 1 - place)
        edge = first - 14 if is_left else last + 14
        parts.append(f'<path class="leader" d="M{x(rank):.1f} {axis}V{y:.1f}H{edge}"/>')
        words = [_short(algorithm), f"{rank:.2f}"]
        label = "  ".join(words if is_left else words[::-1])
        parts.append(text(edge - 5 if is_left else edge + 5, y + 4, label, "end" if is_left else "start"))
    for row, (start, end) in enumerate(bars):
        y = axis + 10 + 8 * row
        parts.append(line(x(ranks[start]) - 3, y, x(ranks[end]) + 3, y, "bar"))
    if ranking.difference is not None:
        wide = min(ranking.difference, shown.end - 1.0)
        parts.append(line(first, 30, x(1 + wide), 30, "bar thin"))
        parts.append(text(first, 22, f"critical difference {ranking.difference:.2f}", "start"))
    height = below + _LINE * left
    listed = ", ".join(f"{algorithm} {rank:.2f}" for algorithm, rank in zip(shown.algorithms, ranks, strict=True))
    return svg(name, "Mean ranks", f"Mean ranks, best first: {listed}.", _WIDTH, height, parts)


def costs_svg(found: Sequence[Cost], name: str) -> str:
    """Error against seconds per run; a line joins the algorithms that nothing faster is better than.

    Args:
        found: at least one algorithm.
        name: of the picture in the page, for its title.
    """
    height, left, right, top, bottom = 380, 56, _WIDTH - 190, 16, 330
    horizontal = Scale([cost.seconds for cost in found], left + 16, right)
    vertical = Scale([cost.error for cost in found], bottom - 16, top + 12)
    parts = [line(left, bottom, right + 12, bottom, "axis"), line(left, top, left, bottom, "axis")]
    for value in horizontal.ticks():
        at = horizontal(value)
        parts += [line(at, bottom, at, bottom + 5, "axis"), text(at, bottom + 19, f"{value:g}", "middle")]
    for value in vertical.ticks():
        at = vertical(value)
        parts += [line(left, at, right + 12, at, "grid"), text(left - 7, at + 4, f"{value:g}", "end")]
    parts.append(text((left + right) / 2, bottom + 40, "seconds per run", "middle"))
    parts.append(text(left, top - 4, "mean error (%)", "start"))
    best = [cost for cost in found if cost.is_best_value]
    steps = f"M{horizontal(best[0].seconds):.1f} {vertical(best[0].error):.1f}"
    steps += "".join(f"H{horizontal(c.seconds):.1f}V{vertical(c.error):.1f}" for c in best[1:])
    parts.append(f'<path class="front" d="{steps}"/>')
    points = [(horizontal(cost.seconds), vertical(cost.error)) for cost in found]
    widths = [_LETTER * len(_short(cost.algorithm)) + 10 for cost in found]
    for cost, (x, y), beside in zip(found, points, apart(points, widths, 14), strict=True):
        kind = "point best" if cost.is_best_value else "point"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
        if beside < y - 14:
            parts.append(line(x, y - 5, x + 4, beside, "leader"))
        parts.append(text(x + 5, beside - 3, _short(cost.algorithm), "start"))
    listed = "; ".join(f"{c.algorithm}: {c.error:.2f} % in {c.seconds:.1f} s" for c in found)
    return svg(name, "Error against time", f"{listed}.", _WIDTH, height, parts)


def apart(points: Sequence[tuple[float, float]], widths: Sequence[float], height: float) -> list[float]:
    """How far up labels, which begin above their points, must go so that none covers a point or another label.

    Args:
        points: x and y of each; y grows downward.
        widths: of the labels, to the right of their points.
        height: of a label.

    Returns:
        y of the lower edge of each label.

    Example:
        >>> apart([(0.0, 40.0), (5.0, 42.0), (500.0, 41.0)], [40.0, 40.0, 40.0], 14.0)
        [21.0, 35.0, 35.0]
    """
    gap = 6.0
    taken = [(x - gap, x + gap, y - gap + 1, y + gap) for x, y in points]
    found = [0.0] * len(points)
    # The lowest first: what is in the way is below.
    for i in sorted(range(len(points)), key=lambda i: -points[i][1]):
        x, bottom = points[i][0], points[i][1] - gap
        own = taken[i]
        while True:
            in_the_way = [
                box
                for box in taken
                if box is not own
                and box[0] < x + widths[i]
                and x < box[1]
                and box[2] < bottom
                and bottom - height < box[3]
            ]
            if not in_the_way:
                break
            bottom = min(box[2] for box in in_the_way)
        taken.append((x, x + widths[i], bottom - height, bottom))
        found[i] = bottom
    return found


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
