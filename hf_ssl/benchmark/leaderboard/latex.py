"""The tables as LaTeX, for papers: `\\input{tables.tex}` with the package booktabs."""

from .ranking import Ranking
from .runs import Results, Setting
from .tables import Entry, ErrorTable, error_table, rank_rows

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {letter: f"\\{letter}" for letter in "&%$#_"}


def escaped(text: object) -> str:
    r"""A name as LaTeX shows it letter by letter, without line breaks.

    Example:
        >>> print(escaped(r"a_b & \input{x}"))
        a\_b \& \textbackslash{}input\{x\}
    """
    kept = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return "".join(_SPECIAL.get(letter, letter) for letter in kept)


def latex_tables(results: Results, ranking: Ranking | None) -> str:
    """One table of error rates per modality, and the ranks."""
    parts = ["% Needs \\usepackage{booktabs}. Error rates in percent, mean and standard deviation over the seeds."]
    for modality in results.modalities:
        parts.append(_errors(modality, error_table(results.of(modality)), results.titles))
    if ranking is not None:
        parts.append(_ranks(ranking))
    return "\n\n".join(parts) + "\n"


def _errors(modality: str, errors: ErrorTable, titles: dict[Setting, str]) -> str:
    lines = []
    for row in errors.rows:
        cells = [_cell(row.entries.get(setting), errors.is_lowest(row, setting)) for setting in errors.settings]
        name = "" if row.is_reported else escaped(row.algorithm)
        lines.append(_line([name, escaped(row.origin), *cells]))
    header = _line(["algorithm", "origin", *(escaped(titles[setting]) for setting in errors.settings)])
    caption = f"Error rates in percent ({modality})"
    return _table(caption, "ll" + "r" * len(errors.settings), header, lines)


def _cell(entry: Entry | None, is_lowest: bool) -> str:
    if entry is None or entry.mean is None:
        return "--" if entry is None else escaped(entry).replace("-", "--")
    number = rf"\textbf{{{entry.mean:.2f}}}" if is_lowest else f"{entry.mean:.2f}"
    spread = "" if entry.spread is None else rf"\,$\pm$\,{entry.spread:.2f}"
    return number + spread + (rf" \textsuperscript{{{entry.seeds}}}" if entry.seeds < entry.expected else "")


def _ranks(ranking: Ranking) -> str:
    header, rows = rank_rows(ranking)
    caption = f"Ranks over {len(ranking.blocks)} settings"
    return _table(caption, "rlrrr", _line(header), [_line([escaped(cell) for cell in row]) for row in rows])


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _table(caption: str, columns: str, header: str, lines: list[str]) -> str:
    begin = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    end = [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*begin, r"\toprule", header, r"\midrule", *lines, *end])
