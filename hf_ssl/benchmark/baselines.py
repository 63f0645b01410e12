"""The numbers to compare with: what was published with USB, error rates and, on long tails, accuracies."""

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from .tasks.task import LongTail

SOURCE = (
    "Error rate in %, mean and standard deviation over the seeds 0, 1 and 2, each run's best over its training, as "
    "published with USB (arXiv 2208.07204; later algorithms in the tables of its code). For tasks without a "
    "validation split, the test set chose that best."
)


@cache
def tables() -> dict[str, dict[str, dict[str, list[float] | None]]]:
    """Task -> number of labels -> algorithm -> [mean, standard deviation], or None if the run was not published."""
    return json.loads((files(__package__) / "baselines.json").read_text(encoding="utf-8"))


def published_errors(task: str, num_labeled: int) -> dict[str, tuple[float, float] | None]:
    """The test error rates that were published with USB (arXiv 2208.07204) for one setting of a task.

    Args:
        task: name of the task.
        num_labeled: number of labeled examples.

    Returns:
        Algorithm -> (mean, standard deviation) in %, or None for a run that was not published. `fully_supervised`
        trains on all labels and `supervised` on the drawn ones alone. Empty if USB's tables do not have the setting.

    Example:
        >>> published_errors("cifar100", 200)["fixmatch"]
        (29.6, 0.9)
    """
    rows = tables().get(task, {}).get(str(num_labeled), {})
    return {name: None if value is None else (value[0], value[1]) for name, value in rows.items()}


LONG_TAIL_SOURCE = (
    "Reported: top-1 accuracy in % on the balanced test set, mean and standard deviation over 3 seeds, each run's "
    "best over its training as chosen on that test set, as published in the tables of USB's code "
    "(results/classic_cv_imb.csv). Wide ResNet 28-2 from scratch, 256 x 1,024 steps of 64 labeled images. There are "
    "no numbers for TRAS, SimiS and CDMAD, nor for Adsh around ReMixMatch."
)
# What is to be known of the rows of a correction: where USB's code does something else than its paper.
LONG_TAIL_NOTES = {
    "debiaspl": "In USB's code DebiasPL changes nothing: the mean prediction is one number instead of one per class, "
    "and cancels. This row is the plain algorithm within its noise.",
    "cossl": "In USB's code CoSSL never mixes features: the class is looked up in an integer label, which gives a "
    "probability of 0. This row is a class-balanced classifier on averaged features.",
    "daso": "In USB's code DASO blends the similarities of the previous batch into the pseudo-labels of a batch.",
    "crest": "USB's CReST takes the class index for the rank of the class: classes must be sorted by size.",
    "crest_plus": "As CReST: the class index is taken for the rank of the class.",
    "saw": "SAW around ReMixMatch collapses in USB's own table (11 to 30 % on CIFAR-100).",
    "adsh": "USB's Adsh takes class 0 for the largest one.",
}


class ReportedAccuracy(NamedTuple):
    """A published mean and standard deviation in %, and what is to be known of it ("" for nothing)."""

    mean: float
    deviation: float
    note: str = ""


@cache
def _long_tail_tables() -> dict[str, dict[LongTail, dict[str, ReportedAccuracy | None]]]:
    content = json.loads((files(__package__) / "long_tail_baselines.json").read_text(encoding="utf-8"))
    tables: dict[str, dict[LongTail, dict[str, ReportedAccuracy | None]]] = {}
    for place, (task, *setting) in enumerate(content["settings"]):
        column = tables.setdefault(task, {}).setdefault(LongTail(*setting), {})
        for name, values in content["runs"].items():
            note = LONG_TAIL_NOTES.get(name.partition("_")[2], "")
            found = values[place]
            column[name] = None if found is None else ReportedAccuracy(found[0], found[1], note)
    return tables


def published_long_tails(task: str) -> dict[LongTail, dict[str, ReportedAccuracy | None]]:
    """The test accuracies that were published with USB's code for the long tails of a task (`LONG_TAIL_SOURCE`).

    Args:
        task: name of the task.

    Returns:
        setting -> algorithm, with its correction after an underscore ("fixmatch_abc") -> what was reported, or None
        for a run that was not published. Empty for tasks without long tails.

    Example:
        >>> reported = published_long_tails("cifar10")[LongTail(1500, 3000, 100, 100)]
        >>> reported["fixmatch_abc"].mean, reported["fixmatch_debiaspl"].note.partition(":")[0]
        (83.88, "In USB's code DebiasPL changes nothing")
    """
    return {setting: dict(column) for setting, column in _long_tail_tables().get(task, {}).items()}
