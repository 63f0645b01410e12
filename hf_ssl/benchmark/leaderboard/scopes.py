"""What is ranked together: everything, and each modality by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...modality import MODALITIES as KINDS
from .costs import Cost, costs
from .pairs import Pairs, compare_pairs
from .ranking import Ranking, rank
from .runs import Results, Setting
from .statistics import FEWEST_PAIRS
from .words import counted, listed, p_text

ALL = "all"


@dataclass(frozen=True)
class Scope:
    """A part of the results with its ranks, pairs and costs.

    Args:
        name: "all" or a modality.
        results: the part.
        ranking: None if no two algorithms have a setting in common.
        pairs: of the ranked algorithms, or None.
        costs: of the ranked algorithms, the fastest first.
    """

    name: str
    results: Results
    ranking: Ranking | None
    pairs: Pairs | None
    costs: Sequence[Cost]

    @property
    def title(self) -> str:
        """Such as "All settings" or "Texts"."""
        if self.name == ALL:
            return "All settings"
        return KINDS[self.name].plural.capitalize() if self.name in KINDS else self.name


def scopes(results: Results) -> list[Scope]:
    """The whole, and the modalities if there are several."""
    names = [None, *results.modalities] if len(results.modalities) > 1 else [None]
    return [_scope(name or ALL, results.of(name)) for name in names]


def _scope(name: str, results: Results) -> Scope:
    ranking = rank(results)
    if ranking is None:
        return Scope(name, results, None, None, ())
    return Scope(name, results, ranking, compare_pairs(results, ranking.algorithms), costs(results, ranking))


def rank_notes(scope: Scope, titles: dict[Setting, str]) -> list[str]:
    """What the ranks rest on, what was left out, and what the tests say; one sentence or two each."""
    ranking = scope.ranking
    if ranking is None:
        return ["No two algorithms have a run with the same setting and seed, so there is nothing to rank."]
    some, every = len(ranking.blocks), len(scope.results.settings)
    names, known = len(ranking.algorithms), len(scope.results.algorithms)
    notes = [
        f"Ranked: {names} of {known} algorithms over {some} of {every} settings (a task with a number of labels) "
        f"that all of them have, {counted(ranking.runs, 'run')} each, over the seeds that all of them have there."
    ]
    if ranking.left_out:
        lacking = [f"{name} ({counted(number, 'setting')})" for name, number in ranking.left_out.items()]
        notes.append(f"Not ranked, because they lack settings: {listed(lacking)}.")
    if ranking.incomplete:
        missing = [titles[setting] for setting in ranking.incomplete]
        notes.append(f"Not counted, because a ranked algorithm lacks them: {listed(missing)}.")
    return notes + _tests(ranking)


def _tests(ranking: Ranking) -> list[str]:
    if ranking.difference is None:
        return ["One setting is not enough for a test of ranks: another one may have another order."]
    notes = []
    if (test := ranking.test) is not None:
        verdict = "Some algorithms differ" if test.f_p_value < 0.05 else "No difference between algorithms is shown"
        f_text = f"{test.f_statistic:.2f}" if test.f_statistic < 1e6 else "infinite"
        notes.append(
            f"Friedman's test: chi square {test.statistic:.2f}, p {p_text(test.p_value)}; Iman and Davenport's F "
            f"{f_text}, p {p_text(test.f_p_value)}. {verdict} at the level 0.05."
        )
    notes.append(
        f"By Nemenyi's test two ranks differ if they are at least {ranking.difference:.2f} apart (level 0.05 over all "
        f"pairs)." + (" No ranks are." if ranking.difference > ranking.mean_ranks[-1] - ranking.mean_ranks[0] else "")
    )
    if len(drawn := ranking.diagram.algorithms) < len(ranking.algorithms):
        notes.append(f"The diagram shows the {len(drawn)} best.")
    return notes


def pair_notes(pairs: Pairs, algorithms: int) -> list[str]:
    """What the tests of pairs rest on."""
    notes = [
        "Differences are errors of the first less those of the second in points, with the standard error over the "
        "seeds: negative means that the first is better. p is of Wilcoxon's signed-rank test, Holm's is corrected for "
        f"all {counted(len(pairs.pairs), 'pair')}."
    ]
    if pairs.unit == "setting":
        notes.append("The test pairs settings, each the mean over the seeds that both have.")
    else:
        notes.append(
            f"The test pairs single runs, since some pair has fewer than {FEWEST_PAIRS} settings in common. Runs of "
            "one setting are alike, so p says nothing of other tasks"
            + (f", and no p below 0.05 is possible with fewer than {FEWEST_PAIRS} runs." if _few(pairs) else ".")
        )
    if algorithms > len(pairs.algorithms):
        notes.append(f"Pairs are those of the {len(pairs.algorithms)} best-ranked algorithms.")
    return notes


def _few(pairs: Pairs) -> bool:
    return any(pair.runs < FEWEST_PAIRS for pair in pairs.pairs)
