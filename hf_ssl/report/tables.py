"""Tables of text."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from statistics import mean
from typing import Any

import numpy as np

from ..confusion import Confusion
from ..problem_types import SINGLE_LABEL
from .measures import MEASURES, Measure, measure_of

# How shares are shown beside the measure of the results.
_SHARE = MEASURES[SINGLE_LABEL]


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], left: bool = False) -> str:
    """Columns of text with aligned edges: the first column to the left, the others to the right unless `left`.

    Example:
        >>> print(table(["algorithm", "accuracy"], [["fixmatch", "91.5 %"], ["supervised", "80 %"]]))
        algorithm   accuracy
        ----------  --------
        fixmatch      91.5 %
        supervised      80 %
    """
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[Any]) -> str:
        sides = ["<" if left or i == 0 else ">" for i in range(len(cells))]
        return "  ".join(f"{c:{s}{w}}" for c, s, w in zip(cells, sides, widths, strict=True)).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def wrapped_table(header: Sequence[str], rows: Sequence[Sequence[str]], widest: Mapping[str, int]) -> str:
    """A table, all columns to the left, in which long cells go on in the next line.

    Args:
        header: names of the columns.
        rows: their cells.
        widest: name of a column -> characters after which its cells are wrapped; the other columns are not.

    Example:
        >>> rows = [["vat", "predictions withstand noise"]]
        >>> print(wrapped_table(["name", "what it does"], rows, {"what it does": 21}))
        name  what it does
        ----  ---------------------
        vat   predictions withstand
              noise
    """
    lines: list[tuple[str, ...]] = []
    for row in rows:
        cells = [
            textwrap.wrap(cell, widest[name], break_long_words=False, break_on_hyphens=False)
            if name in widest
            else [cell]
            for name, cell in zip(header, row, strict=True)
        ]
        lines += zip_longest(*cells, fillvalue="")
    return table(header, lines, left=True)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as a table of Markdown, whose cells must not contain line breaks.

    Example:
        >>> print(markdown_table(["step", "accuracy"], [["600", "0.9150"]]))
        | step | accuracy |
        | --- | --- |
        | 600 | 0.9150 |
    """
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])


def results_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The runs of `results.json`, one row per algorithm: mean and standard deviation over its seeds.

    If labels were imbalanced, there is a column of the balanced accuracy.
    """
    rows = []
    measure = measure_of(runs)
    main = f"test_{measure.name}"
    measures = {main: f"test {measure.title}", "balanced_accuracy": "balanced accuracy"}
    shown = [key for key in measures if key == main or any(run.get(key) is not None for run in runs)]
    for name in dict.fromkeys(run["algorithm"] for run in runs):
        seeds = [run for run in runs if run["algorithm"] == name]
        measured = [_text_of(seeds, key, measure if key == main else _SHARE) for key in shown]
        used = [_text_of(seeds, "mask_ratio"), _text_of(seeds, measure.pseudo, measure)]
        seconds = f"{mean(run['seconds'] for run in seeds):.0f}"
        rows.append([name, str(len(seeds)), *measured, seconds, *used])
    header = [
        "algorithm",
        "seeds",
        *(measures[key] for key in shown),
        "seconds per seed",
        "mask ratio",
        measure.pseudo_title,
    ]
    return table(header, rows)


def _text_of(runs: Sequence[Mapping[str, Any]], key: str, measure: Measure = _SHARE) -> str:
    return measure.text([run[key] for run in runs if run.get(key) is not None])


def class_table(confusion: Confusion, names: Sequence[str], most: int = 100) -> str:
    """Examples, recall, precision and F1 of each class; of more than `most` classes, those with the most errors.

    Args:
        confusion: which classes are taken for which.
        names: of the classes.
        most: number of classes up to which all are shown.
    """
    hits, true, predicted = confusion.hits, confusion.examples, confusion.guesses

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f} %" if whole else "-"

    rows = [
        [
            names[i],
            f"{true[i]:,}",
            percent(hits[i], true[i]),
            percent(hits[i], predicted[i]),
            percent(2 * hits[i], true[i] + predicted[i]),
        ]
        for i in confusion.hardest(most)
    ]
    listed = table(["class", "examples", "recall", "precision", "F1"], rows)
    more = len(names) - len(rows)
    return listed + (f"\n{more:,} more classes, with fewer errors, are not listed" if more else "")


def confusion_text(confusion: Confusion, names: Sequence[str], largest: int = 15) -> str:
    """A confusion matrix as text; with more than `largest` classes the ten most frequent confusions instead.

    Args:
        confusion: which classes are taken for which.
        names: of the classes.
        largest: number of classes up to which the whole matrix is shown.
    """
    if len(names) <= largest:
        short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
        counts = confusion.matrix(range(len(names)))
        rows = [[name, *(str(n) if n else "." for n in row)] for name, row in zip(short, counts, strict=True)]
        return "Confusion matrix (rows: true class, columns: predicted)\n" + table(["", *short], rows)
    examples = confusion.examples
    wrong = np.flatnonzero(confusion.true != confusion.predicted)
    order = wrong[np.argsort(-confusion.counts[wrong], kind="stable")[:10]]
    pairs = zip(confusion.true[order], confusion.predicted[order], confusion.counts[order], strict=True)
    rows = [[names[true], names[guess], f"{number:,} of {examples[true]:,}"] for true, guess, number in pairs]
    return "Most frequent confusions\n" + table(["true class", "predicted", "examples"], rows, left=True)
