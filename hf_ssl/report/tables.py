"""Tables of text."""

from statistics import mean, stdev

import numpy as np


def table(header: list[str], rows: list[list[str]], left: bool = False) -> str:
    """Columns of text with aligned edges: the first column to the left, the others to the right unless `left`."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]

    def line(cells):
        sides = ["<" if left or i == 0 else ">" for i in range(len(cells))]
        return "  ".join(f"{c:{s}{w}}" for c, s, w in zip(cells, sides, widths, strict=True)).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def results_table(runs: list[dict]) -> str:
    """One row for each algorithm: mean and standard deviation over its seeds."""
    rows = []
    for name in dict.fromkeys(run["algorithm"] for run in runs):
        mine = [run for run in runs if run["algorithm"] == name]

        def percent(key, mine=mine):
            values = [100 * run[key] for run in mine if run[key] is not None]
            if not values:
                return "-"
            return f"{mean(values):.1f} %" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")

        seconds = f"{mean(run['seconds'] for run in mine):.0f}"
        columns = [percent(key) for key in ("test_accuracy", "mask_ratio", "pseudo_label_accuracy")]
        rows.append([name, str(len(mine)), columns[0], seconds, *columns[1:]])
    return table(
        ["algorithm", "seeds", "test accuracy", "seconds a seed", "mask ratio", "pseudo-label accuracy"], rows
    )


def class_table(counts: np.ndarray, names: list[str]) -> str:
    """Examples, recall, precision and F1 of each class, from a confusion matrix [C, C] (row true, column predicted)."""
    hits, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)

    def percent(part, whole):
        return f"{100 * part / whole:.1f} %" if whole else "-"

    rows = [
        [
            name,
            f"{true[i]:,}",
            percent(hits[i], true[i]),
            percent(hits[i], predicted[i]),
            percent(2 * hits[i], true[i] + predicted[i]),
        ]
        for i, name in enumerate(names)
    ]
    return table(["class", "examples", "recall", "precision", "F1"], rows)


def confusion_text(counts: np.ndarray, names: list[str], largest: int = 15) -> str:
    """The confusion matrix [C, C] as text; with more than `largest` classes the ten most frequent confusions instead."""
    if len(names) <= largest:
        short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
        rows = [[name, *(str(n) if n else "." for n in row)] for name, row in zip(short, counts, strict=True)]
        return "Confusion matrix (rows: true class, columns: predicted)\n" + table(["", *short], rows)
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
    rows = [[names[true], names[guess], f"{wrong[true, guess]:,} of {counts[true].sum():,}"] for true, guess in pairs]
    return "Most frequent confusions\n" + table(["true class", "predicted", "examples"], rows, left=True)
