"""The whole report of a results folder: text, CSV, LaTeX, pictures and one page."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...files import atomic_write
from ...report.tables import table
from ..grid.cells import safe_name
from .csv_tables import write_tables
from .latex import latex_tables
from .notes import MOST_FAILURES, cost_notes, gap_notes, table_notes
from .page import render_page
from .pictures import draw_costs, draw_ranks, draw_wins
from .runs import ACCURACY, MODALITIES, Results, load_results
from .scopes import Scope, pair_notes, rank_notes, scopes
from .tables import MOST_COLUMNS, PAIR_HEADER, error_table, error_text, pair_rows, rank_text, win_text
from .words import counted

FOLDER = "report"
PAGE = "index.html"


@dataclass(frozen=True)
class Report:
    """What was written.

    Args:
        text: the tables for a screen.
        folder: of the files.
        files: their paths.
        without_pictures: whether matplotlib is missing.
    """

    text: str
    folder: Path
    files: Sequence[Path]
    without_pictures: bool


def write_report(results_folder: str | Path, output_dir: str | Path | None = None, metric: str = ACCURACY) -> Report:
    """Write the report of a results folder.

    report.txt, errors.csv, runs.csv, ranks.csv, pairs.csv, tables.tex, ranks.png, wins.png, costs.png, index.html.
    A report of before is replaced file by file. A folder without a finished cell has a report that says so.

    Args:
        results_folder: that `hf-ssl benchmark run` writes to.
        output_dir: `RESULTS/report` if None; made if it does not exist.
        metric: "accuracy", or another one that the cells have, such as "balanced_accuracy".

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: in one line, if no cell has the metric.
    """
    results_folder = Path(results_folder)
    results = load_results(results_folder, metric)
    folder = results_folder / FOLDER if output_dir is None else Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    parts = scopes(results)
    text = report_text(results, parts)
    linked = folder.absolute().parent == results_folder.absolute()
    files = write_tables(folder, results, parts)
    texts = {
        "report.txt": text + "\n",
        "tables.tex": latex_tables(results, parts[0].ranking),
        PAGE: render_page(results, parts, runs_at="../" if linked else None),
    }
    for name, content in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8", errors="backslashreplace")
        files.append(folder / name)
    try:
        pictures = _draw(folder, parts)
    except ImportError:
        return Report(text, folder, files, without_pictures=True)
    return Report(text, folder, files + pictures, without_pictures=False)


def _draw(folder: Path, parts: Sequence[Scope]) -> list[Path]:
    """The pictures of all settings, and the ranks of each modality; those of an earlier report that are not true any
    more are removed."""
    wanted: dict[str, Callable[[Path], None]] = {}
    for scope in parts:
        if scope.ranking is not None:
            name = "ranks.png" if scope is parts[0] else f"ranks_{safe_name(scope.name)}.png"
            wanted[name] = partial(draw_ranks, ranking=scope.ranking)
    if parts[0].pairs is not None:
        wanted["wins.png"] = partial(draw_wins, pairs=parts[0].pairs)
    if parts[0].costs:
        wanted["costs.png"] = partial(draw_costs, found=parts[0].costs)
    for name, draw in wanted.items():
        draw(folder / name)
    for name in ("ranks.png", "wins.png", "costs.png", *(f"ranks_{modality}.png" for modality in MODALITIES)):
        if name not in wanted:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in wanted]


def report_text(results: Results, parts: Sequence[Scope]) -> str:
    """The tables for a screen, with what they rest on."""
    if not results.runs and not results.failures:
        return "There is no finished cell yet, so there is nothing to report. `hf-ssl benchmark run` writes them."
    parts_of = [(results.runs, "run"), (results.algorithms, "algorithm"), (results.settings, "setting")]
    blocks = [", ".join(counted(len(found), noun) for found, noun in parts_of)]
    for modality in results.modalities:
        part = results.of(modality)
        errors = error_table(part)
        blocks += [_heading(f"Error rates: {modality}"), error_text(errors, results.titles)]
    blocks += [_wrapped(table_notes(results)), _wrapped(gap_notes(results))]
    for scope in parts:
        blocks += [_heading(f"Ranks: {scope.title.lower()}")]
        if scope.ranking is not None:
            blocks.append(rank_text(scope.ranking))
        blocks.append(_wrapped(rank_notes(scope, results.titles)))
    blocks += _pairs_and_costs(parts[0])
    blocks += _failures(results)
    return "\n\n".join(block for block in blocks if block)


def _pairs_and_costs(scope: Scope) -> list[str]:
    blocks = []
    if scope.pairs is not None and scope.ranking is not None:
        best = scope.pairs.algorithms[0]
        blocks += [
            _heading(f"The best by rank, {best}, against the others"),
            table(PAIR_HEADER, pair_rows(scope.pairs)),
        ]
        blocks.append(_wrapped(pair_notes(scope.pairs, len(scope.ranking.algorithms))))
        few = f" (the {MOST_COLUMNS} best)" if len(scope.pairs.algorithms) > MOST_COLUMNS else ""
        blocks += [_heading(f"In how many settings the row is better than the column{few}"), win_text(scope.pairs)]
    if scope.costs:
        rows = [
            [c.algorithm, f"{c.seconds:.1f}", f"{c.error:.2f}", "yes" if c.is_best_value else ""] for c in scope.costs
        ]
        header = ["algorithm", "seconds per run", "mean error", "nothing faster is better"]
        blocks += [_heading("Error against time"), table(header, rows), _wrapped(cost_notes(scope.results))]
    return blocks


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    lines = [
        f"{results.titles[f.setting]} {f.algorithm} seed {f.seed}: {f.kind}: {_short(f.message)}"
        for f in results.failures[:MOST_FAILURES]
    ]
    more = len(results.failures) - MOST_FAILURES
    return [_heading("Failed cells"), "\n".join(lines + ([f"and {more:,} more"] if more > 0 else []))]


def _short(message: str) -> str:
    return textwrap.shorten(message, 160, placeholder=" …")


def _heading(title: str) -> str:
    return f"{title}\n{'=' * len(title)}"


def _wrapped(notes: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(note, 110, subsequent_indent="  ", initial_indent="- ") for note in notes)
