"""Pieces of pictures as inline SVG, in the colors of the page's theme: no more than text, and every name escaped."""

from collections.abc import Sequence
from html import escape


class Scale:
    """From values to places in a picture, with round numbers as ticks.

    Args:
        values: at least one; the scale holds all of them with some room, and does not go below 0 if none does.
        start, end: places of the lowest and the highest value.

    Example:
        >>> scale = Scale([0.0, 100.0], 0.0, 210.0)
        >>> scale(100.0), scale.ticks()
        (200.0, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0])
    """

    def __init__(self, values: Sequence[float], start: float, end: float):
        low, high = min(values), max(values)
        pad = (high - low) * 0.05 or max(abs(high) * 0.1, 0.5)
        self.low = low - pad if low < 0 else max(low - pad, 0.0)
        self.high, self.start, self.end = high + pad, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """About `most` round numbers within the scale."""
        rough = (self.high - self.low) / most
        power = 10.0 ** _floor_log10(rough)
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
        first = int(self.low // step) + (self.low % step > 0)
        return [round(k * step, 9) for k in range(first, int(self.high / step + 1e-9) + 1)]


def svg(name: str, title: str, description: str, width: float, height: float, parts: Sequence[str]) -> str:
    """A picture of such pieces with what a screen reader says of it.

    Args:
        name: of the picture in the page, for the ids of its title.
        title, description: what it shows.
        width, height: in the units of its pieces.
        parts: markup of its pieces.
    """
    name = escape(name, quote=True)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-about">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-about">{escape(description)}</desc>'
        + "".join(parts)
        + "</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; `kind` is its class in the styles."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, anchor: str) -> str:
    """A text that starts at, ends at or is centered on x ("start", "end", "middle")."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A filled rectangle; `kind` is its class in the styles."""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
