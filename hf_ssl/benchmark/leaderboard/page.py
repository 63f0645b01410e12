"""One HTML page of all results: it needs no network and no other file, and its tables are there without its script.

How names of other people stay names: `hf_ssl.report.pages.assemble`.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ...modality import MODALITIES
from ...report.markdown import one_line
from ...report.pages.assemble import assemble
from .drawings import costs_svg, ranks_svg
from .notes import cost_notes, gap_notes, table_notes
from .page_data import page_data
from .pairs import Pair, Pairs
from .runs import Results, Setting
from .scopes import ALL, Scope, pair_notes, rank_notes
from .tables import PAIR_HEADER, ErrorTable, Row, error_table, pair_rows, rank_rows
from .words import counted, p_text

TITLE = "Semi-supervised learning: results of the benchmark"
# Failed cells that the page lists one by one.
_MOST_FAILURES = 200
_LEVEL = 0.05


def render_page(results: Results, scopes: Sequence[Scope], title: str = TITLE, runs_at: str | None = None) -> str:
    """The page as HTML.

    Args:
        results: all of them.
        scopes: their ranks, see `hf_ssl.benchmark.leaderboard.scopes.scopes`.
        title: of the page.
        runs_at: where the files of the cells are, as the beginning of their addresses: "../" if the page lies in a
            folder of the results folder, or such as "https://huggingface.co/datasets/you/results/blob/main/". Files
            are named without links if None.

    Raises:
        ValueError: if `runs_at` is neither relative nor https.
    """
    if runs_at is not None and not runs_at.startswith(("../", "./", "https://")):
        raise ValueError(f"runs_at must begin with ../, ./ or https://, got {runs_at!r}; give such an address")
    data, numbers = page_data(results)
    tables = {modality: error_table(results.of(modality)) for modality in results.modalities}
    return assemble(
        __package__,
        ["page.js"],
        data,
        title=one_line(title),
        summary=_summary(results),
        runs_at=runs_at or "",
        sections=[_section(modality, errors, results, numbers) for modality, errors in tables.items()],
        modalities=results.modalities,
        tasks=list(dict.fromkeys(setting.task for setting in results.settings)),
        labels=sorted({setting.num_labeled for setting in results.settings}),
        scopes=[_scope(place, scope, results) for place, scope in enumerate(scopes)] if results.settings else [],
        failures=[_failure(failure, results) for failure in results.failures[:_MOST_FAILURES]],
        more_failures=max(len(results.failures) - _MOST_FAILURES, 0),
        notes=[*table_notes(results), *gap_notes(results)],
    )


def _summary(results: Results) -> str:
    seeds = {run.seed for run in results.runs}
    found = [
        (len(results.runs), "run"),
        (len(results.algorithms), "algorithm"),
        (len({setting.task for setting in results.settings}), "task"),
        (len(results.settings), "setting"),
        (len(seeds), "seed"),
    ]
    return ", ".join(counted(number, noun) for number, noun in found) + "."


# ---- Tables ----


def _section(
    modality: str, errors: ErrorTable, results: Results, numbers: dict[tuple[Setting, str], int]
) -> dict[str, Any]:
    settings = [
        {
            "task": setting.task,
            "num_labeled": setting.num_labeled,
            "more": results.titles[setting].removeprefix(str(setting)),
        }
        for setting in errors.settings
    ]
    rows = [
        {
            "algorithm": row.algorithm,
            "origin": row.origin,
            "cells": [_cell(row, setting, errors, numbers) for setting in errors.settings],
        }
        for row in errors.rows
    ]
    title = MODALITIES[modality].plural if modality in MODALITIES else modality
    return {"modality": modality, "title": title, "settings": settings, "rows": rows}


def _cell(row: Row, setting: Setting, errors: ErrorTable, numbers: dict[tuple[Setting, str], int]) -> dict[str, Any]:
    entry = row.entries.get(setting)
    if entry is None or entry.mean is None:
        return {"number": None, "mean": "", "why": "-" if entry is None else str(entry)}
    return {
        "number": None if row.is_reported else numbers[setting, row.algorithm],
        "mean": f"{entry.mean:.2f}",
        "spread": "" if entry.spread is None else f"{entry.spread:.2f}",
        "few": entry.seeds if entry.seeds < entry.expected else 0,
        "is_lowest": errors.is_lowest(row, setting),
    }


def _failure(failure: Any, results: Results) -> dict[str, Any]:
    names = {name: getattr(failure, name) for name in ("algorithm", "seed", "kind", "message")}
    return {"setting": results.titles[failure.setting], **names}


# ---- Ranks, pairs, costs ----


def _scope(place: int, scope: Scope, results: Results) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "title": scope.title,
        "modality": "" if scope.name == ALL else scope.name,
        "notes": rank_notes(scope, results.titles),
        "ranks": [],
        "wins": [],
        "costs_svg": "",
    }
    if scope.ranking is None or scope.pairs is None:
        return shown
    header, rows = rank_rows(scope.ranking)
    shown |= {"rank_header": header, "ranks": rows}
    shown["ranks_svg"] = Markup(ranks_svg(scope.ranking, f"ranks-{place}"))
    shown |= {"win_names": scope.pairs.algorithms, "wins": _wins(scope.pairs)}
    shown |= {"pair_header": PAIR_HEADER, "pair_rows": pair_rows(scope.pairs)}
    shown["pair_notes"] = pair_notes(scope.pairs, len(scope.ranking.algorithms))
    if scope.costs:
        shown["costs_svg"] = Markup(costs_svg(scope.costs, f"costs-{place}"))
        shown["cost_notes"] = cost_notes(scope.results)
    return shown


def _wins(pairs: Pairs) -> list[dict[str, Any]]:
    found = {(pair.first, pair.second): pair for pair in pairs.pairs}
    rows = []
    for name in pairs.algorithms:
        cells = [_win(name, column, found) for column in pairs.algorithms]
        rows.append({"name": name, "cells": cells})
    return rows


def _win(row: str, column: str, found: dict[tuple[str, str], Pair]) -> dict[str, str]:
    pair = found.get((row, column)) or found.get((column, row))
    if pair is None:
        return {"text": "" if row == column else "-", "shade": "none", "title": ""}
    is_first = pair.first == row
    better, worse = (pair.wins, pair.losses) if is_first else (pair.losses, pair.wins)
    share = (better + pair.ties / 2) / pair.settings
    difference = pair.difference if is_first else -pair.difference
    title = (
        f"better {better}, equal {pair.ties}, worse {worse} of {pair.settings}; error {difference:+.2f} points; "
        f"p {p_text(pair.p_value)}, Holm {p_text(pair.corrected)}"
    )
    star = "*" if pair.corrected < _LEVEL else ""
    return {"text": f"{better}{star}", "shade": f"w{round(10 * share)}", "title": title}
