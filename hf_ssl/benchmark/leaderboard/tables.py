"""Tables like USB's: error rates over the seeds, per task and number of labels, one row per algorithm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev

from ...report.tables import table
from ..baselines import published_errors
from .pairs import Pair, Pairs
from .ranking import Ranking
from .runs import ACCURACY, Results, Setting
from .words import p_text

# Where a row's numbers are from: published with USB, or measured here.
REPORTED, REPRODUCED = "reported", "reproduced"
# A pair of algorithms: the second, how the first differs from it, and what the test says.
PAIR_HEADER = ("against", "difference", "better-equal-worse", "settings", "runs", "p", "p (Holm)")
# Columns of a screen.
_WIDTH = 110
# Of the matrix of wins on a screen.
MOST_COLUMNS = 16
_MISSING = "-"


@dataclass(frozen=True)
class Entry:
    """The number of one algorithm in one setting.

    Args:
        mean: error in percent; None if there is no finished run.
        spread: standard deviation over the seeds (n - 1); None for a single seed. As published for reported ones.
        seeds: number of them.
        expected: the most seeds that any algorithm has in the setting.
        failed: seeds that ended with an error.
        best: mean error at the evaluation that each run's best split chose, in percent, or None.
    """

    mean: float | None
    spread: float | None = None
    seeds: int = 0
    expected: int = 0
    failed: int = 0
    best: float | None = None

    def __str__(self) -> str:
        if self.mean is None:
            return "failed" if self.failed else _MISSING
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        return f"{self.mean:.2f}{spread}" + (f" ({self.seeds})" if self.seeds < self.expected else "")


@dataclass(frozen=True)
class Row:
    """An algorithm's numbers, measured or published."""

    algorithm: str
    origin: str
    entries: dict[Setting, Entry]

    @property
    def is_reported(self) -> bool:
        """Whether the numbers are the published ones."""
        return self.origin == REPORTED


@dataclass(frozen=True)
class ErrorTable:
    """Rows of algorithms, columns of settings; an algorithm's published numbers follow those measured here."""

    settings: tuple[Setting, ...]
    rows: Sequence[Row]

    @cached_property
    def lowest(self) -> dict[Setting, str]:
        """Setting -> the lowest measured number, as it is written: several rows may have it."""
        found = {}
        for setting in self.settings:
            entries = [row.entries[setting] for row in self.rows if not row.is_reported and setting in row.entries]
            numbers = [entry.mean for entry in entries if entry.mean is not None]
            if numbers:
                found[setting] = f"{min(numbers):.2f}"
        return found

    def is_lowest(self, row: Row, setting: Setting) -> bool:
        """Whether a measured number is the lowest of its column, to the digits that are shown."""
        entry = row.entries.get(setting)
        if row.is_reported or entry is None or entry.mean is None:
            return False
        return f"{entry.mean:.2f}" == self.lowest.get(setting)


def error_table(results: Results) -> ErrorTable:
    """The error rates of all settings; published rows for those algorithms that have a run, where USB has the setting.

    Args:
        results: of a folder, or a part of them. USB's numbers stand beside accuracies alone.
    """
    failed: dict[tuple[Setting, str], int] = {}
    for failure in results.failures:
        failed[failure.setting, failure.algorithm] = failed.get((failure.setting, failure.algorithm), 0) + 1
    expected = {
        setting: max((len(results.errors(setting, name)) for name in results.algorithms), default=0)
        for setting in results.settings
    }
    reported = published(results)
    rows = []
    for name in results.algorithms:
        entries = {s: _entry(results, s, name, expected[s], failed.get((s, name), 0)) for s in results.settings}
        rows.append(Row(name, REPRODUCED, entries))
        if name in reported:
            rows.append(Row(name, REPORTED, reported[name]))
    return ErrorTable(results.settings, rows)


def _entry(results: Results, setting: Setting, name: str, expected: int, failed: int) -> Entry:
    runs = results.cells.get((setting, name), {}).values()
    errors = [run.error for run in runs if run.error is not None]
    bests = [run.best_error for run in runs if run.best_error is not None]
    if not errors:
        return Entry(None, expected=expected, failed=failed)
    spread = stdev(errors) if len(errors) > 1 else None
    return Entry(mean(errors), spread, len(errors), expected, failed, mean(bests) if bests else None)


def published(results: Results) -> dict[str, dict[Setting, Entry]]:
    """Algorithm of these results -> setting -> what was published with USB.

    Nothing for another metric, or for a task that is not as it was published, such as one with a smaller test set.
    """
    found: dict[str, dict[Setting, Entry]] = {}
    changed = {run.setting for run in results.runs if run.is_changed_task}
    for setting in results.settings if results.metric == ACCURACY else ():
        if setting in changed:
            continue
        for name, value in published_errors(setting.task, setting.num_labeled).items():
            if value is not None and name in results.algorithms:
                found.setdefault(name, {})[setting] = Entry(*value)
    return found


# ---- As text ----


def error_text(errors: ErrorTable, titles: dict[Setting, str]) -> str:
    """The table for a screen, in as many parts as its columns need; `*` marks the lowest measured number."""
    names = [[row.algorithm, row.origin] for row in errors.rows]
    first = max((len(name) + len(origin) + 2 for name, origin in names), default=0)
    parts: list[str] = []
    columns: list[Setting] = []
    width = first
    for setting in errors.settings:
        needed = 2 + max(len(titles[setting]), *(len(_starred(errors, row, setting)) for row in errors.rows))
        if columns and width + needed > _WIDTH:
            parts.append(_part(errors, names, columns, titles))
            columns, width = [], first
        columns.append(setting)
        width += needed
    if columns:
        parts.append(_part(errors, names, columns, titles))
    return "\n\n".join(parts)


def _starred(errors: ErrorTable, row: Row, setting: Setting) -> str:
    entry = row.entries.get(setting)
    if entry is None:
        return _MISSING
    return f"{entry}*" if errors.is_lowest(row, setting) else str(entry)


def _part(
    errors: ErrorTable, names: Sequence[Sequence[str]], columns: Sequence[Setting], titles: dict[Setting, str]
) -> str:
    header = ["algorithm", "origin", *(titles[setting] for setting in columns)]
    rows = []
    for row, name in zip(errors.rows, names, strict=True):
        # Published numbers of other columns are in another part.
        if not row.is_reported or any(setting in row.entries for setting in columns):
            rows.append([*name, *(_starred(errors, row, setting) for setting in columns)])
    return table(header, rows)


def rank_rows(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table of ranks."""
    header = ["place", "algorithm", "Friedman rank", "mean rank of runs", "mean error"]
    numbers = zip(ranking.algorithms, ranking.mean_ranks, ranking.run_ranks, ranking.mean_errors, strict=True)
    ranks = [round(float(rank), 6) for rank in ranking.mean_ranks]
    rows = [
        # The same rank is the same place.
        [str(1 + ranks.index(round(float(rank), 6))), name, f"{rank:.2f}", f"{of_runs:.2f}", f"{error:.2f}"]
        for name, rank, of_runs, error in numbers
    ]
    return header, rows


def rank_text(ranking: Ranking) -> str:
    """The table of ranks for a screen."""
    header, rows = rank_rows(ranking)
    return table(header[1:2] + header[:1] + header[2:], [[row[1], row[0], *row[2:]] for row in rows])


def _pair_cells(pair: Pair) -> list[str]:
    error = "" if pair.standard_error is None else f" ± {pair.standard_error:.2f}"
    return [
        pair.second,
        f"{pair.difference:+.2f}{error}",
        f"{pair.wins}-{pair.ties}-{pair.losses}",
        str(pair.settings),
        str(pair.runs),
        p_text(pair.p_value),
        p_text(pair.corrected),
    ]


def pair_rows(pairs: Pairs) -> list[list[str]]:
    """The cells of the best-ranked algorithm against each other one, under `PAIR_HEADER`."""
    return [_pair_cells(pair) for pair in pairs.pairs if pair.first == pairs.algorithms[0]]


def win_text(pairs: Pairs) -> str:
    """The matrix of wins for a screen: in how many settings the row is better than the column of that number."""
    wins, names = pairs.wins(), pairs.algorithms[:MOST_COLUMNS]

    def cell(row: str, column: str) -> str:
        return "." if row == column else str(wins[row, column][0]) if (row, column) in wins else _MISSING

    numbers = [str(number) for number in range(1, len(names) + 1)]
    rows = [
        [f"{number:>2} {row}", *(cell(row, column) for column in names)]
        for number, row in zip(numbers, names, strict=True)
    ]
    return table(["better than", *numbers], rows)
