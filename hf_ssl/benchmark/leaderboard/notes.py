"""How the numbers are to be read, and what of the results folder cannot be said."""

from collections import Counter
from collections.abc import Collection

from ..baselines import SOURCE
from ..tasks import TASKS
from .costs import machines
from .runs import ACCURACY, Results, Setting
from .tables import REPORTED, REPRODUCED, published
from .trainings import training_notes
from .words import counted, listed

# The schedule of the published recipes.
_PUBLISHED_SCHEDULE = "usb"
# Failed cells that are listed one by one.
MOST_FAILURES = 20


def table_notes(results: Results) -> list[str]:
    """What the tables of error rates show."""
    what = "100 % less the accuracy" if results.metric == ACCURACY else f"100 % less {results.metric}"
    notes = [
        f"Errors are {what} on the test set, in percent: mean and standard deviation over the seeds. A number in "
        "parentheses is that of the seeds, if others have more of them in the setting.",
        f"{REPRODUCED.capitalize()} numbers were measured here, at the end of each training (last), not at its best "
        "evaluation.",
    ]
    if reported := published(results):
        notes.append(f"{REPORTED.capitalize()} numbers are others': {SOURCE[0].lower()}{SOURCE[1:]}")
        notes += _pretrained({setting for entries in reported.values() for setting in entries})
    others = sorted({setting.schedule for setting in results.settings} - {_PUBLISHED_SCHEDULE})
    if others:
        notes.append(
            f"Settings with the schedule {listed(others)} are not trained as the published ones were; do not expect "
            "the same numbers."
        )
    return notes


def _pretrained(settings: Collection[Setting]) -> list[str]:
    """What the published numbers of these settings started from, and what ours did."""
    ours: dict[str, set[str]] = {}
    for setting in settings:
        if setting.task in TASKS:
            ours.setdefault(TASKS[setting.task].usb_backbone, set()).add(setting.backbone)
    pairs = [f"{theirs} (here {listed(sorted(ours[theirs]))})" for theirs in sorted(ours)]
    if not pairs:
        return []
    return [
        f"{REPORTED.capitalize()} numbers are of {listed(pairs)}; with another pretrained model or image size do not "
        "expect the same numbers."
    ]


def gap_notes(results: Results) -> list[str]:
    """What is missing, and what differs between runs that are compared."""
    notes = []
    pairs = [(setting, name) for setting in results.settings for name in results.algorithms]
    empty = sum(not results.errors(setting, name) for setting, name in pairs)
    if empty:
        notes.append(
            f"{empty:,} of {len(pairs):,} numbers (an algorithm in a setting) are missing; nothing was filled in."
        )
    single = sum(len(results.errors(setting, name)) == 1 for setting, name in pairs)
    if single:
        notes.append(f"Of a single seed, so without a standard deviation: {counted(single, 'number')}.")
    if results.failures:
        kinds = Counter(failure.kind for failure in results.failures)
        found = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common(5))
        notes.append(f"{counted(len(results.failures), 'cell')} failed ({found}).")
    versions = sorted({str(run.content["versions"].get("hf-ssl")) for run in results.runs})
    if len(versions) > 1:
        notes.append(f"The runs are of several versions of hf-ssl: {listed(versions)}.")
    return [*notes, *_revisions(results), *training_notes(results)]


def _revisions(results: Results) -> list[str]:
    found: dict[tuple[str, str], set[str]] = {}
    for run in results.runs:
        cell = run.content["cell"]
        for name in ("task", "backbone"):
            found.setdefault((name, str(cell[name])), set()).add(str(cell.get(f"{name}_revision")))
    several = [f"{name} {value}" for (name, value), revisions in found.items() if len(revisions) > 1]
    return [f"Runs that are compared have different revisions of: {listed(several)}."] if several else []


def cost_notes(results: Results) -> list[str]:
    """What the seconds are of."""
    found = machines(results)
    if len(found) > 1:
        return [f"The seconds are of {len(found)} different machines, so they compare only roughly."]
    return [f"Seconds of whole runs on one machine ({found[0]})."] if found else ["The files do not name the machine."]
