"""The tables as CSV: every run, the error rates, the ranks and the pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...report.spreadsheets import write_csv
from .runs import Results, Setting
from .scopes import Scope
from .tables import error_table

_SETTING = ("modality", "task", "num_labeled", "backbone", "schedule")
# Of a run's row, as it is in its file.
_OF_ROW = ("best_split", "steps", "mask_ratio", "pseudo_label_accuracy", "num_unlabeled", "num_test", "seconds")


def write_tables(folder: Path, results: Results, scopes: Sequence[Scope]) -> list[Path]:
    """Write runs.csv, errors.csv, ranks.csv and pairs.csv; their paths. A table without rows has its header alone."""
    tables = {
        "runs.csv": (_RUNS, _runs(results)),
        "errors.csv": (_ERRORS, _errors(results)),
        "ranks.csv": (_RANKS, _ranks(scopes)),
        "pairs.csv": (_PAIRS, _pairs(scopes)),
    }
    for name, (header, rows) in tables.items():
        write_csv(folder / name, header, (["" if value is None else _text(value) for value in row] for row in rows))
    return [folder / name for name in tables]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _of(setting: Setting) -> list[object]:
    return [getattr(setting, name) for name in _SETTING]


_RUNS = [*_SETTING, "algorithm", "seed", "error", "best_error", *_OF_ROW, "key", "file"]


def _runs(results: Results) -> Iterator[Sequence[object]]:
    for run in sorted(results.runs, key=lambda run: (run.setting.order, run.algorithm, run.seed)):
        of_row = [run.row.get(name) for name in _OF_ROW]
        numbers = [run.seed, run.error, run.best_error, *of_row]
        yield [*_of(run.setting), run.algorithm, *numbers, run.content["key"], run.path]


_ERRORS = [*_SETTING, "algorithm", "origin", "error", "standard_deviation", "seeds", "best_error", "failed"]


def _errors(results: Results) -> Iterator[Sequence[object]]:
    for row in error_table(results).rows:
        for setting, entry in row.entries.items():
            numbers = [entry.mean, entry.spread, entry.seeds or None, entry.best, entry.failed]
            yield [*_of(setting), row.algorithm, row.origin, *numbers]


_RANKS = ["scope", "algorithm", "friedman_rank", "mean_rank_of_runs", "mean_error", "settings", "runs"]


def _ranks(scopes: Sequence[Scope]) -> Iterator[Sequence[object]]:
    for scope in scopes:
        if (ranking := scope.ranking) is None:
            continue
        numbers = zip(ranking.mean_ranks, ranking.run_ranks, ranking.mean_errors, strict=True)
        for name, row in zip(ranking.algorithms, numbers, strict=True):
            yield [scope.name, name, *map(float, row), len(ranking.blocks), ranking.runs]


_PAIRS = [
    *("scope", "first", "second", "difference", "standard_error", "wins", "ties", "losses"),
    *("settings", "runs", "unit", "p", "p_holm"),
]


def _pairs(scopes: Sequence[Scope]) -> Iterator[Sequence[object]]:
    for scope in scopes:
        if (pairs := scope.pairs) is None:
            continue
        for pair in pairs.pairs:
            differs = [pair.difference, pair.standard_error, pair.wins, pair.ties, pair.losses]
            tested = [pair.settings, pair.runs, pairs.unit, pair.p_value, pair.corrected]
            yield [scope.name, pair.first, pair.second, *differs, *tested]
