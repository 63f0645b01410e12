"""Two algorithms of a results folder, or the same algorithms in two folders, run by run."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from ...report.tables import table
from .pairs import combined, run_differences
from .runs import ACCURACY, Results, Run, Setting, algorithm_order, load_results
from .statistics import FEWEST_PAIRS, mean_and_error, signed_rank_p
from .trainings import pair_training_note, training_notes
from .words import counted, p_text

# A difference of more standard errors than this is called one.
_CLEAR = 2.0
# What both have: name of a row -> seed -> error in percent.
Errors = Mapping[tuple[str, ...], Mapping[int, float]]


@dataclass(frozen=True)
class Difference:
    """One setting (and, of two folders, one algorithm), over the seeds that both have.

    Args:
        name: such as ("ag_news 40",) or ("ag_news 40", "fixmatch").
        runs: number of these seeds.
        first, second: mean errors in percent.
        difference: first less second, in points: negative if the first is better.
        standard_error: of the difference; None for one seed.
    """

    name: tuple[str, ...]
    runs: int
    first: float
    second: float
    difference: float
    standard_error: float | None


@dataclass(frozen=True)
class Comparison:
    """Two sides, and what they differ by.

    Args:
        first, second: what is compared.
        rows: per setting (and algorithm), those that both have.
        difference: mean over the rows, in points; standard_error: of it, or None.
        p_value: of Wilcoxon's signed-rank test over the rows; None for fewer than six.
        only_first, only_second: runs without a partner.
        note: what else differs between the sides, or "".
    """

    first: str
    second: str
    rows: Sequence[Difference]
    difference: float
    standard_error: float | None
    p_value: float | None
    only_first: int
    only_second: int
    note: str = ""

    @property
    def verdict(self) -> str:
        """One line: which side is better, by how much, and how sure that is."""
        one, other = (self.first, self.second) if self.difference <= 0 else (self.second, self.first)
        noun = "setting" if len(self.rows[0].name) == 1 else "number"
        pairs = counted(sum(row.runs for row in self.rows), "pair")
        where = f"over {counted(len(self.rows), noun)} ({pairs} of runs)"
        if all(row.difference == 0 and not row.standard_error for row in self.rows):
            return f"{self.first} and {self.second} have the same errors {where}."
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        amount = f"lower by {abs(self.difference):.2f}{error} points {where}"
        if self.standard_error is None:
            return f"Not to be judged with a single seed: the error of {one} is {amount} than that of {other}."
        if abs(self.difference) <= _CLEAR * self.standard_error:
            return f"No difference is shown: the error of {one} is {amount} than that of {other}."
        wins = sum((row.difference < 0) == (one == self.first) and row.difference != 0 for row in self.rows)
        verdict = f"{one} is better than {other}: its error is {amount}, lower in {wins:,} of them"
        if self.p_value is None:
            return f"{verdict}."
        if self.p_value >= 0.05:
            return f"{verdict}, so not consistently (Wilcoxon p {p_text(self.p_value)})."
        return f"{verdict} (Wilcoxon p {p_text(self.p_value)})."

    def __str__(self) -> str:
        header = ["setting", "algorithm"][: len(self.rows[0].name)]
        header += ["runs", self.first, self.second, "difference", "standard error"]
        rows = [
            [
                *row.name,
                str(row.runs),
                f"{row.first:.2f}",
                f"{row.second:.2f}",
                f"{row.difference:+.2f}",
                "-" if row.standard_error is None else f"{row.standard_error:.2f}",
            ]
            for row in self.rows
        ]
        notes = [self.note] if self.note else []
        for side, number in ((self.first, self.only_first), (self.second, self.only_second)):
            if number:
                notes.append(f"{counted(number, 'run')} of {side} without a partner: not counted.")
        return "\n".join([table(header, rows), "", *notes, self.verdict])


def compare(first: str, second: str, results: str | Path = "results", metric: str = ACCURACY) -> Comparison:
    """Compare two algorithms of one results folder, or two results folders.

    Args:
        first, second: two folders, or two algorithms with their corrections and variants, such as "fixmatch+abc".
        results: the folder of the algorithms.
        metric: whose complement is the error.

    Raises:
        ValueError: in one line, for an unknown algorithm, or if the two have no run in common.
        FileNotFoundError: if there is no such folder.
    """
    folders = [Path(name).is_dir() for name in (first, second)]
    if all(folders):
        return _of_folders(first, second, metric)
    if any(folders):
        raise ValueError(
            f"A and B must be two folders or two algorithms, got {first} and {second}; give two of a kind"
        )
    found = load_results(results, metric)
    for name in (first, second):
        if name not in found.algorithms:
            near = difflib.get_close_matches(name, found.algorithms, n=1)
            known = f"did you mean {near[0]}?" if near else f"it has {', '.join(found.algorithms[:30]) or 'no run'}"
            raise ValueError(f"A and B must be folders or algorithms of {results}, got {name!r}; {known}")
    titles = found.titles
    one: Errors = {(titles[s],): found.errors(s, first) for s in found.settings}
    other: Errors = {(titles[s],): found.errors(s, second) for s in found.settings}
    return _compared(first, second, one, other, note=" ".join(training_notes(found, [first, second])))


def _of_folders(first: str, second: str, metric: str) -> Comparison:
    sides = [load_results(name, metric) for name in (first, second)]
    name, other_name = Path(first).name, Path(second).name
    if name == other_name or not name or not other_name:
        name, other_name = first, second
    for differing in ((), ("schedule",), ("backbone",), ("schedule", "backbone")):
        one, other = (_without(side, differing) for side in sides)
        partners = [
            (f"{key[1]} in {key[0]}", run, other[key][seed])
            for key in one
            if key in other
            for seed, run in one[key].items()
            if seed in other[key]
        ]
        if partners:
            note = f"The sides differ in {' and '.join(differing)}." if differing else ""
            if "schedule" not in differing:
                note = f"{note} {pair_training_note(partners)}".strip()
            alike = Counter((str(setting), algorithm) for setting, algorithm in one.keys() | other.keys())
            return _compared(name, other_name, _named(one, alike), _named(other, alike), note=note)
    raise ValueError(
        f"A and B must have runs with the same task, labels, algorithm and seed, got {first} and {second} without any;"
        " run the same cells in both"
    )


def _without(results: Results, fields: Sequence[str]) -> dict[tuple[Setting, str], dict[int, Run]]:
    """The runs by setting, less some fields of it, and algorithm; what these fields alone tell apart is left out."""
    found: dict[tuple[Setting, str], list[dict[int, Run]]] = {}
    for (setting, algorithm), runs in results.cells.items():
        if with_errors := {seed: run for seed, run in runs.items() if run.error is not None}:
            key = replace(
                setting,
                backbone="" if "backbone" in fields else setting.backbone,
                schedule="" if "schedule" in fields else setting.schedule,
            )
            found.setdefault((key, algorithm), []).append(with_errors)
    ordered = sorted(found, key=lambda key: (key[0].order, algorithm_order(key[1])))
    return {key: found[key][0] for key in ordered if len(found[key]) == 1}


def _named(runs: Mapping[tuple[Setting, str], Mapping[int, Run]], alike: Counter[tuple[str, str]]) -> Errors:
    """Their errors by names: the setting with its pretrained model and schedule only if they tell rows apart."""
    named: dict[tuple[str, ...], Mapping[int, float]] = {}
    for (setting, algorithm), found in runs.items():
        more = [setting.backbone, setting.schedule] if alike[str(setting), algorithm] > 1 else []
        name = ", ".join(part for part in [str(setting), *more] if part)
        named[name, algorithm] = {seed: run.error for seed, run in found.items() if run.error is not None}
    return named


def _compared(first: str, second: str, one: Errors, other: Errors, note: str = "") -> Comparison:
    rows, of_rows, paired = [], [], 0
    for name in one:
        runs = run_differences(one[name], other.get(name, {}))
        if not runs:
            continue
        shared = [seed for seed in one[name] if seed in other[name]]
        means = mean(one[name][seed] for seed in shared), mean(other[name][seed] for seed in shared)
        rows.append(Difference(name, len(runs), *means, *mean_and_error(runs)))
        of_rows.append(runs)
        paired += len(runs)
    if not rows:
        raise ValueError(
            f"A and B must have runs with the same setting and seed, got {first} and {second} without any; run them"
        )
    p_value = signed_rank_p([row.difference for row in rows]) if len(rows) >= FEWEST_PAIRS else None
    only = sum(map(len, one.values())) - paired, sum(map(len, other.values())) - paired
    return Comparison(first, second, rows, *combined(of_rows), p_value, *only, note=note)
