"""Whether runs that are compared were trained alike: a schedule's name does not tell what a grid changed in it."""

from collections.abc import Iterable, Mapping, Sequence

from ...report.markdown import one_line
from .runs import Results, Run, Setting
from .words import listed

# Settings of the training that algorithms must share to be compared. Others, such as the learning rate or the ratio
# of unlabeled examples, are part of an algorithm's published recipe.
_ALIKE = (
    *("max_steps", "num_train_epochs", "start"),
    *("global_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps"),
)
# Characters; files of others may hold anything.
_LONGEST_NAME = 60


def training_notes(results: Results, algorithms: Sequence[str] | None = None) -> list[str]:
    """What runs that are compared differ in, although their setting has one name; nothing if they were trained alike.

    Args:
        results: of a folder.
        algorithms: those that are compared; None for all.
    """
    of_setting: dict[Setting, list[Run]] = {}
    of_algorithm: dict[tuple[Setting, str], list[Run]] = {}
    for run in results.runs:
        if algorithms is None or run.algorithm in algorithms:
            of_setting.setdefault(run.setting, []).append(run)
            of_algorithm.setdefault((run.setting, run.algorithm), []).append(run)
    notes = []
    titles = results.titles
    apart = [(titles[setting], names) for setting, runs in of_setting.items() if (names := differing(runs, True))]
    if apart:
        notes.append(
            f"Runs that are compared were not trained alike: {_listed(apart)}. Their errors tell of that, too, not of "
            "the algorithms alone."
        )
    within = [
        (f"{name} in {titles[setting]}", names)
        for (setting, name), runs in of_algorithm.items()
        if (names := differing(runs))
    ]
    if within:
        notes.append(f"Seeds of one algorithm were trained with different settings: {_listed(within)}.")
    return notes


def pair_training_note(pairs: Iterable[tuple[str, Run, Run]]) -> str:
    """The same for runs of two folders, each with its partner, by the name of their row; "" if all are alike."""
    found: dict[str, set[str]] = {}
    for name, first, second in pairs:
        found.setdefault(name, set()).update(differing([first, second]))
    apart = [(name, sorted(names)) for name, names in found.items() if names]
    return f"The sides were not trained alike: {_listed(apart)}." if apart else ""


def differing(runs: Sequence[Run], across_algorithms: bool = False) -> list[str]:
    """Names of the settings in which the runs differ, sorted.

    Args:
        runs: with their files' content.
        across_algorithms: leave out what an algorithm's recipe may have of its own.
    """
    every = [_settings(run, across_algorithms) for run in runs]
    names = {name for settings in every for name in settings}
    return sorted(name for name in names if len({settings.get(name) for settings in every}) > 1)


def _settings(run: Run, across_algorithms: bool) -> dict[str, str]:
    """Name -> value, as a text, since values may be lists."""
    found: dict[str, str] = {}
    for block, values in run.content.get("settings", {}).items():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if not across_algorithms or block == "task" or (block == "training" and name in _ALIKE):
                found[one_line(name)[:_LONGEST_NAME]] = repr(value)
    return found


def _listed(apart: Sequence[tuple[str, Sequence[str]]]) -> str:
    return listed([f"{name} ({listed(names)})" for name, names in apart])
