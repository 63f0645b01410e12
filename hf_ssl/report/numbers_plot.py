"""A picture of predicted numbers against the true ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import atomic_write

# More points than these are drawn as a sample; more numbers than these have no panel.
_POINTS, _PANELS = 5_000, 12
_COLUMN = 3


def draw_numbers(path: Path, predicted: np.ndarray, true: np.ndarray, names: Sequence[str]) -> None:
    """Draw predicted numbers over true ones, a panel for each, with the line on which both are equal.

    Args:
        path: the picture's file; its suffix is the format.
        predicted, true: [N, K]. Of more than 5,000 examples a sample is drawn.
        names: of the K numbers, of which the first 12 are drawn.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    # Not pyplot, which would choose a backend for the whole process.
    from matplotlib.figure import Figure

    count = min(len(names), _PANELS)
    columns = min(count, _COLUMN)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.4 * columns, 4.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    chosen = np.random.default_rng(0).permutation(len(true))[:_POINTS]
    for place, axis in enumerate(axes):
        if place >= count:
            axis.set_axis_off()
            continue
        guesses, known = predicted[chosen, place], true[chosen, place]
        ends = [min(guesses.min(), known.min()), max(guesses.max(), known.max())]
        axis.plot(ends, ends, color="#777777", linewidth=1)
        axis.scatter(known, guesses, s=9, alpha=0.5, color="#0b6fb8", linewidths=0)
        axis.set_xlabel("true")
        axis.set_ylabel("predicted")
        axis.set_title(names[place][:24], fontsize=11)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
