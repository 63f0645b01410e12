"""Which algorithm to take: USB's published error rates (arXiv 2208.07204), by modality, number of labels and budget.

A setting is a task with a number of labels; its numbers, in `benchmark/baselines.json`, are the mean and standard deviation
over three seeds of the best error rate in percent.
"""

from dataclasses import dataclass
from statistics import mean

from ..algorithms import ALGORITHMS
from ..report.tables import table
from .baselines import tables
from .tasks import TASKS

# Up to so many labels a class count as few.
FEW = 10
NAMES = {"image": "images", "text": "texts", "audio": "recordings"}
# Views beside the labeled examples' weak one that pass through the model in a step: what a step costs, roughly.
BUDGETS = {"two views": 2, "any number": 99}


@dataclass(frozen=True)
class Choice:
    """One cell: the best algorithm of a modality, number of labels and budget.

    Args:
        algorithm: its name here.
        error: its mean error rate over the settings, %.
        rank: its mean place among the algorithms within the budget, 1 the best.
        wins: in how many settings it is better than labeled-only training.
    """

    algorithm: str
    error: float
    rank: float
    wins: int


def load_results() -> dict[str, dict]:
    """Modality -> {"settings": {setting: labels a class}, "errors": {algorithm: {setting: [mean, standard deviation]}}}."""
    results = {modality: {"settings": {}, "errors": {}} for modality in NAMES}
    for task, by_labels in tables().items():
        found = results[TASKS[task].modality]
        for labels, errors in by_labels.items():
            setting = f"{task}_{labels}"
            found["settings"][setting] = round(int(labels) / len(TASKS[task].class_names))
            for algorithm, error in errors.items():
                if error is not None:
                    found["errors"].setdefault(algorithm, {})[setting] = error
    return results


def views_per_step(algorithm: str, modality: str) -> int:
    """Views in one step beside the weak one of the labeled examples; only images are rotated."""
    kinds = ALGORITHMS[algorithm].views.values()
    return sum(kind != "rotated" or modality == "image" for kind in kinds)


def rank(modality: str, few: bool, most_views: int = 99) -> tuple[list[Choice], list[str]]:
    """The algorithms that were run in all settings of a modality with few (or more) labels, best mean rank first.

    Returns:
        the choices, without labeled-only training; and the settings.
    """
    results = load_results()[modality]
    settings = [name for name, labels in results["settings"].items() if (labels <= FEW) == few]
    errors = {
        name: {setting: row[setting][0] for setting in settings}
        for name, row in results["errors"].items()
        if name in ALGORITHMS and all(setting in row for setting in settings)
    }
    baseline = errors.pop("supervised")
    errors = {name: row for name, row in errors.items() if views_per_step(name, modality) <= most_views}
    choices = []
    for name, row in errors.items():
        places = [1 + sum(other[setting] < row[setting] for other in errors.values()) for setting in settings]
        wins = sum(row[setting] < baseline[setting] for setting in settings)
        choices.append(Choice(name, mean(row.values()), mean(places), wins))
    return sorted(choices, key=lambda choice: (choice.rank, choice.error)), settings


def recommendation() -> str:
    """The table, what it rests on, and what to keep away from."""
    rows, notes = [], []
    for modality, results in load_results().items():
        for few in (True, False):
            settings = rank(modality, few)[1]
            baseline = mean(results["errors"]["supervised"][setting][0] for setting in settings)
            labels = [results["settings"][setting] for setting in settings]
            for budget, most in BUDGETS.items():
                first, second, *_ = rank(modality, few, most)[0]
                rows.append(
                    [
                        NAMES[modality],
                        f"{min(labels)} to {max(labels)}" if len(set(labels)) > 1 else str(labels[0]),
                        budget,
                        first.algorithm,
                        f"{first.error:.1f} %",
                        f"{baseline:.1f} %",
                        f"{first.wins} of {len(settings)}",
                        f"{second.algorithm} ({second.error:.1f} %)",
                    ]
                )
        worse = [choice for choice in rank_all(modality) if choice.wins * 2 < len(results["settings"])]
        if worse:
            names = ", ".join(f"{choice.algorithm} ({choice.wins} of {len(results['settings'])})" for choice in worse)
            notes.append(f"  {NAMES[modality]}: {names}")
    header = ["data", "labels a class", "views", "take", "its error", "labeled only", "better in", "next best"]
    return "\n".join(
        [
            table(header, rows, left=True),
            "",
            "Error rates: means over USB's settings with so many labels a class (arXiv 2208.07204; three seeds each, best over",
            "training, pretrained transformers); order by mean rank over the settings. 'views' is the budget: two are those of",
            "FixMatch, and each more is one more pass of a batch through the model. Errors compare within the same data and",
            "number of labels alone.",
            "",
            "Better than labeled-only training in fewer than half of the settings:",
            *notes,
            "",
            "Whatever you take, compare it with the labeled examples alone: hf-ssl train --baseline.",
        ]
    )


def rank_all(modality: str) -> list[Choice]:
    """The algorithms by how often they beat labeled-only training over all settings of a modality in which they were run."""
    results = load_results()[modality]
    baseline = results["errors"]["supervised"]
    choices = []
    for name, row in results["errors"].items():
        if name in ALGORITHMS and name != "supervised":
            wins = sum(row[setting][0] < baseline[setting][0] for setting in row)
            choices.append(Choice(name, mean(error for error, _ in row.values()), 0.0, wins))
    return sorted(choices, key=lambda choice: choice.wins)
