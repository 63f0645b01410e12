"""The pictures that the page has without its scripts: learning curves and a reliability diagram, as inline SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..markdown import one_line
from ..pages.svg import Scale, line, rectangle, svg, text
from .page_data import finite

_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "mask_ratio": "Share of the pool that takes part (mask ratio)",
    "pseudo_label_accuracy": "Share of its pseudo-labels that are right",
    "pseudo_label_f1": "Micro F1 of its pseudo-labels",
    "pseudo_label_mae": "Mean absolute error of its pseudo-labels",
}
# Endings of the names of curves whose values are shares, shown in percent.
_SHARES = ("accuracy", "precision", "ratio", "recall", "f1", "agreement")
# Colors in the styles; further lines repeat them with dashes.
_COLORS = 6
# Most points of a line.
_MOST_POINTS = 300

Curve = Sequence[Sequence[Any]]


def curve_methods(curves: Mapping[str, Mapping[str, Curve]]) -> list[dict[str, Any]]:
    """Whose curves there are, with the class of their lines in the styles."""
    names = list(dict.fromkeys(method for lines in curves.values() for method in lines))
    return [{"name": one_line(name), "style": _style(place)} for place, name in enumerate(names)]


def curve_figures(curves: Mapping[str, Mapping[str, Curve]]) -> list[dict[str, Any]]:
    """Title and picture of each curve with two points or more: a line per method, in the colors of `curve_methods`."""
    styles = {method["name"]: method["style"] for method in curve_methods(curves)}
    figures = []
    for place, (key, found) in enumerate(curves.items()):
        is_share = key.endswith(_SHARES)
        lines = {one_line(name): _points(curve, is_share) for name, curve in found.items()}
        lines = {name: points for name, points in lines.items() if any(value is not None for _, value in points)}
        # A single evaluation is in the table of stages, and no curve.
        if any(sum(value is not None for _, value in points) > 1 for points in lines.values()):
            words = one_line(key).replace("_", " ")
            title = _TITLES.get(key.removeprefix("eval_"), words[:1].upper() + words[1:])
            figures.append({"title": title, "svg": _curve(f"curve-{place}", title, lines, styles, is_share)})
    return figures


def _style(place: int) -> str:
    return f"s{place % _COLORS} d{place // _COLORS % 3}"


def _points(curve: Curve, is_share: bool) -> list[tuple[float, float | None]]:
    """Steps and values, thinned; a value that is not finite is a gap."""
    step = -(-len(curve) // _MOST_POINTS) or 1
    kept = [*curve[:-1:step], *curve[-1:]]
    values = [(float(at), finite(value)) for at, value in kept]
    return [(at, 100 * value if is_share and value is not None else value) for at, value in values]


def _curve(
    name: str,
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float | None]]],
    styles: Mapping[str, str],
    is_share: bool,
) -> Markup:
    width, height, left, right, top, bottom = 400, 230, 52, 388, 10, 192
    unit = " %" if is_share else ""
    values = [value for points in lines.values() for _, value in points if value is not None]
    last = max(max(at for points in lines.values() for at, _ in points), 1.0)
    vertical = Scale(values, bottom, top)

    def x(step: float) -> float:
        return left + (right - left) * step / last

    parts = [line(left, bottom, right, bottom, "axis")]
    for value in vertical.ticks(5):
        if not (is_share and value > 100):
            parts.append(line(left, vertical(value), right, vertical(value), "grid"))
            parts.append(text(left - 6, vertical(value) + 4, f"{value:g}{unit}", "end"))
    parts += [text(left, bottom + 17, "0", "middle"), text(right, bottom + 17, f"{last:,.0f}", "end")]
    parts.append(text((left + right) / 2, bottom + 32, "training step", "middle"))
    told = []
    for method, points in lines.items():
        parts.append(
            _path([(x(at), None if value is None else vertical(value)) for at, value in points], styles[method])
        )
        known = [(at, value) for at, value in points if value is not None]
        ends = [f"{value:.3g}{unit} at step {at:,.0f}" for at, value in (known[0], known[-1])]
        told.append(f"{method}: {' to '.join(dict.fromkeys(ends))}")
    return Markup(svg(name, title, "; ".join(told) + ".", width, height, parts))


def _path(places: Sequence[tuple[float, float | None]], style: str) -> str:
    """A line with a gap where there is no value; a value between two gaps is a short stroke."""
    commands, is_gap = [], True
    for place, (x, y) in enumerate(places):
        if y is None:
            is_gap = True
            continue
        commands.append(f"{'M' if is_gap else 'L'}{x:.1f} {y:.1f}")
        if is_gap and (place + 1 == len(places) or places[place + 1][1] is None):
            commands.append("h3")
        is_gap = False
    return f'<path class="{style}" d="{"".join(commands)}"/>'


def reliability_svg(bins: Sequence[Sequence[Any]]) -> Markup:
    """How often predictions of a confidence are right, as bars beside the diagonal; below, how many there are.

    Args:
        bins: (low, high, count, confidence, accuracy) of each, confidence and accuracy in 0..1 or None.
    """
    width, height, left, side, top = 400, 440, 56, 320, 12
    bottom, most = top + side, max((count for _, _, count, _, _ in bins), default=0) or 1
    parts = []
    for tick in range(0, 101, 20):
        at = bottom - side * tick / 100
        parts += [line(left, at, left + side, at, "grid"), text(left - 6, at + 4, f"{tick} %", "end")]
        parts.append(text(left + side * tick / 100, bottom + 80, f"{tick}", "middle"))
    for low, high, count, _, accuracy in bins:
        start, wide = left + side * low + 1, side * (high - low) - 2
        if count and (share := finite(accuracy)) is not None:
            parts.append(rectangle(start, bottom - side * share, wide, side * share, "hit"))
        parts.append(rectangle(start, bottom + 64 - 52 * count / most, wide, 52 * count / most, "amount"))
    parts += [
        line(left, bottom, left + side, bottom, "axis"),
        line(left, bottom + 64, left + side, bottom + 64, "axis"),
    ]
    parts.append(line(left, bottom, left + side, top, "ideal"))
    parts.append(text(left + side / 2, bottom + 98, "confidence (%)", "middle"))
    parts.append(text(left + 6, top + 14, "share that is right", "start"))
    parts.append(text(left + 6, bottom + 18, "examples", "start"))
    told = [
        f"{100 * confidence:.0f} % sure: {100 * accuracy:.0f} % right ({count:,})"
        for _, _, count, confidence, accuracy in bins
        if count and finite(confidence) is not None and finite(accuracy) is not None
    ]
    return Markup(svg("reliability", "Reliability", "; ".join(told) + ".", width, height, parts))
