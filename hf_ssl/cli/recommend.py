"""Which algorithm to take: USB's published error rates (arXiv 2208.07204), by modality, number of labels and budget.

A setting is a task with a number of labels. Its numbers, in `benchmark/baselines.json`, are the mean and standard
deviation over three seeds of the best error rate in percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import isqrt
from statistics import mean

from ..algorithms import ALGORITHMS
from ..benchmark.baselines import tables
from ..benchmark.tasks import TASKS
from ..modality import MODALITIES
from ..report.tables import table

# Up to this many labels per class count as few.
FEW = 10
# Views beside the labeled examples' weak one that pass through the model in a step: roughly what a step costs.
ANY_NUMBER = 99
HEADER = (
    *("data", "labels per class", "measured at", "views", "take", "its error", "labeled only", "better in"),
    "next best",
)
BUDGETS = {"two views": 2, "any number": ANY_NUMBER}
_BASELINE = "supervised"
_ORDER = ("image", "text", "audio")
_NOTES = """\
Error rates are means over USB's settings with the labels per class that they
were measured at (arXiv 2208.07204; three seeds each, best over training,
pretrained transformers); another number of labels is in the row of the nearer
ones. The order is by mean rank over the settings. 'views' is the budget: two
are FixMatch's, and each further one is one more pass of a batch through the
model. Compare errors only within the same data and number of labels.

Better than labeled-only training in fewer than half of the settings:
{worse}

Always compare with the labeled examples alone: hf-ssl train --baseline."""


@dataclass
class Published:
    """The published numbers of a modality.

    Args:
        labels_per_class: setting -> labels per class, rounded.
        errors: algorithm -> setting -> [mean, standard deviation] of the error rate in percent.
    """

    labels_per_class: dict[str, int] = field(default_factory=dict)
    errors: dict[str, dict[str, list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """An algorithm in one cell: a modality, a number of labels and a budget.

    Args:
        algorithm: its name here.
        error: its mean error rate over the settings, in percent.
        rank: its mean place among the algorithms within the budget, 1 for the best; 0 where it was not ranked.
        wins: in how many settings it is better than labeled-only training.
    """

    algorithm: str
    error: float
    rank: float
    wins: int


@cache
def load_results() -> dict[str, Published]:
    """Modality -> its published numbers, in the order in which they are shown.

    Example:
        >>> load_results()["image"].labels_per_class["cifar100_200"]
        2
    """
    results = {modality: Published() for modality in _ORDER}
    for name, by_labels in tables().items():
        task = TASKS[name]
        found = results[task.modality]
        for labels, errors in by_labels.items():
            setting = f"{name}_{labels}"
            found.labels_per_class[setting] = round(int(labels) / len(task.class_names))
            for algorithm, error in errors.items():
                if error is not None:
                    found.errors.setdefault(algorithm, {})[setting] = error
    return results


def views_per_step(algorithm: str, modality: str) -> int:
    """Views in one step beside the weak one of the labeled examples; only images are rotated.

    Example:
        >>> views_per_step("fixmatch", "image")
        2
    """
    kinds = ALGORITHMS[algorithm].views.values()
    return sum(kind != "rotated" or modality == "image" for kind in kinds)


def rank(modality: str, few: bool, most_views: int = ANY_NUMBER) -> tuple[list[Choice], list[str]]:
    """The algorithms that were run in all settings of a modality with few (or more) labels, best mean rank first.

    Args:
        few: settings with at most `FEW` labels per class, or the others.
        most_views: the budget; algorithms with more `views_per_step` are left out.

    Returns:
        the choices, without labeled-only training; and the settings.
    """
    results = load_results()[modality]
    settings = [name for name, labels in results.labels_per_class.items() if (labels <= FEW) == few]
    errors = _complete(results, settings)
    baseline = errors.pop(_BASELINE)
    errors = {name: row for name, row in errors.items() if views_per_step(name, modality) <= most_views}
    choices = []
    for name, row in errors.items():
        places = [1 + sum(other[setting] < row[setting] for other in errors.values()) for setting in settings]
        wins = sum(row[setting] < baseline[setting] for setting in settings)
        choices.append(Choice(name, mean(row.values()), mean(places), wins))
    return sorted(choices, key=lambda choice: (choice.rank, choice.error)), settings


def _complete(results: Published, settings: Sequence[str]) -> dict[str, dict[str, float]]:
    """Algorithm -> setting -> mean error rate, for the algorithms of this package that were run in all settings."""
    return {
        name: {setting: row[setting][0] for setting in settings}
        for name, row in results.errors.items()
        if name in ALGORITHMS and all(setting in row for setting in settings)
    }


def rank_all(modality: str) -> list[Choice]:
    """The algorithms by how often they beat labeled-only training where they were run, worst first."""
    errors = load_results()[modality].errors
    baseline = errors[_BASELINE]
    choices = []
    for name, row in errors.items():
        if name in ALGORITHMS and name != _BASELINE:
            wins = sum(row[setting][0] < baseline[setting][0] for setting in row)
            choices.append(Choice(name, mean(error for error, _ in row.values()), 0.0, wins))
    return sorted(choices, key=lambda choice: choice.wins)


def recommendation() -> str:
    """The table, what it rests on, and which algorithms to keep away from."""
    rows = [
        _row(modality, few, budget, most)
        for modality in load_results()
        for few in (True, False)
        for budget, most in BUDGETS.items()
    ]
    worse = "\n".join(line for modality in load_results() if (line := _worse(modality)))
    return f"{table(HEADER, rows, left=True)}\n\n{_NOTES.format(worse=worse)}"


def _row(modality: str, few: bool, budget: str, most_views: int) -> list[str]:
    results = load_results()[modality]
    (first, second, *_), settings = rank(modality, few, most_views)
    baseline = mean(results.errors[_BASELINE][setting][0] for setting in settings)
    return [
        MODALITIES[modality].plural,
        f"up to {most_of_few(modality)}" if few else f"{most_of_few(modality) + 1} and more",
        _range([results.labels_per_class[setting] for setting in settings]),
        budget,
        first.algorithm,
        f"{first.error:.1f} %",
        f"{baseline:.1f} %",
        f"{first.wins} of {len(settings)}",
        f"{second.algorithm} ({second.error:.1f} %)",
    ]


def most_of_few(modality: str) -> int:
    """Up to how many labels per class the settings with few of them are the nearer ones, in proportion.

    Example:
        Texts were measured with 10 labels per class and with 50 and more; 22 is 2.2 times 10, and 50 is 2.3 times 22:

        >>> most_of_few("text")
        22
    """
    numbers = load_results()[modality].labels_per_class.values()
    return isqrt(max(n for n in numbers if n <= FEW) * min(n for n in numbers if n > FEW))


def _range(labels: Sequence[int]) -> str:
    return str(labels[0]) if len(set(labels)) == 1 else f"{min(labels)} to {max(labels)}"


def _worse(modality: str) -> str:
    """The line on algorithms that are better than labeled-only training in fewer than half of the settings, or ""."""
    settings = len(load_results()[modality].labels_per_class)
    worse = [choice for choice in rank_all(modality) if choice.wins * 2 < settings]
    names = ", ".join(f"{choice.algorithm} ({choice.wins} of {settings})" for choice in worse)
    return f"  {MODALITIES[modality].plural}: {names}" if names else ""
