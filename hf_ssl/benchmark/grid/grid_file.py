"""A grid file: YAML that names tasks, labels, seeds, algorithms, backbones and a schedule; all of them make the cells.

name: mine
schedule: short                         # usb, classic, short, or {base: short, training: {max_steps: 500}}
tasks:
  - digits                              # every label setting of the task
  - task: ag_news                       # or with its own labels, seeds, backbones, settings
    labels: [40]
    training: {max_length: 64}
seeds: [0, 1, 2]
algorithms:
  - fixmatch
  - algorithm: fixmatch                 # a variant
    name: low
    settings: {threshold: 0.8}
imbalance: [null, abc]                  # corrections for long tails; none by default
backbones: {text: google-bert/bert-base-uncased@COMMIT}     # by modality or task; the task's own by default
imports: [my_models.py]                 # Python files that register models or algorithms
budget: {cell: 30m, total: 8h}

Tasks may also be data of one's own: own_data.py. Files and folders are those of the current directory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from ...documents import parse_yaml, read_text
from ..tasks import Task
from .cells import Cell, short_hash
from .grid_names import (
    Names,
    algorithm_names,
    check_correction,
    check_model,
    check_options,
    check_settings,
    check_training,
    composing_problem,
    correction_names,
    known,
    listed,
    named,
    number,
    table,
)
from .hashes import model_hash
from .imports import import_files
from .own_data import OWN_KEYS, own_task
from .schedules import SCHEDULES, Settings, merged, scheduled
from .tasks import TASK_OPTIONS, AnyTask, OwnTask, grid_task, task_names, task_revision

_TOPICS = ("training", "model")
_KEYS = (
    "name",
    "description",
    "schedule",
    "tasks",
    "labels",
    "seeds",
    "algorithms",
    "imbalance",
    "backbones",
    "imports",
    "budget",
)
_TASK_KEYS = (
    "task",
    "name",
    "labels",
    "seeds",
    "backbones",
    *_TOPICS,
    *OWN_KEYS,
    *(key for key in TASK_OPTIONS if key != "base"),
)
_ALGORITHM_KEYS = ("algorithm", "name", "settings", "training", "imbalance", "imbalance_settings")
_SCHEDULE_KEYS = ("base", "name", *_TOPICS)
_BUDGET_KEYS = ("cell", "total")


@dataclass(frozen=True)
class Grid:
    """A grid: its cells, and what it may cost.

    Args:
        name: for people and trackers.
        cells: in the order in which they run: seed after seed, so that a grid that is cut short has whole tables.
        description: a sentence about it.
        budget: "cell" and "total": durations as they were written.
        places: backbone -> local folder, for those that the file gives as folders.
        data: task -> split -> place, for data of one's own.
        imports: Python files that are run wherever cells are.
    """

    name: str
    cells: tuple[Cell, ...]
    description: str = ""
    budget: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()


def ready_grids() -> list[str]:
    """The names of the grids that come with this package.

    Example:
        >>> "smoke" in ready_grids()
        True
    """
    folder = files(__package__) / "ready"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def load_grid(place: str | Path) -> Grid:
    """A grid from a YAML file, or a ready one by its name.

    Raises:
        ValueError: in one line, for an unknown key, task, algorithm or setting; it names the nearest known one.
        FileNotFoundError: if there is neither such a file nor such a ready grid.

    Example:
        >>> grid = load_grid("smoke")
        >>> len(grid.cells), grid.cells[0].task
        (36, 'digits')
    """
    path = Path(place)
    if path.is_file():
        return parse_grid(parse_yaml(read_text(path), str(place)), path.stem)
    if str(place) in ready_grids():
        text = (files(__package__) / "ready" / f"{place}.yaml").read_text(encoding="utf-8")
        return parse_grid(parse_yaml(text, str(place)), str(place))
    raise FileNotFoundError(f"a grid must be a file or one of {', '.join(ready_grids())}, got {place}; name one")


def parse_grid(content: Any, name: str) -> Grid:
    """A grid from what its file holds; errors as in `load_grid`.

    Args:
        content: plain lists and mappings.
        name: of the grid, if the content has none.

    Example:
        >>> content = {"schedule": "short", "tasks": ["digits"], "algorithms": ["fixmatch", "uda"], "labels": [40]}
        >>> [cell.title for cell in parse_grid(content | {"seeds": [0]}, "mine").cells]
        ['digits 40 fixmatch tiny-resnet seed 0', 'digits 40 uda tiny-resnet seed 0']
        >>> parse_grid(content | {"algoritms": []}, "mine")
        Traceback (most recent call last):
        ValueError: mine: unknown key 'algoritms', did you mean 'algorithms'?
    """
    where = Names(name)
    content = table(content, _KEYS, where)
    for key in ("tasks", "algorithms"):
        if not content.get(key):
            raise ValueError(f"{name}: {key} is missing; list at least one")
    budget = table(content.get("budget") or {}, _BUDGET_KEYS, where / "budget")
    reader = _Reader(content, where)
    cells = tuple(reader.cells())
    paths: dict[str, Cell] = {}
    for cell in cells:
        if (other := paths.setdefault(str(cell.path), cell)) is not cell:
            raise ValueError(
                f"{name}: two entries must not have one result, got {cell.title!r} twice; give one of them a name"
                if other.key != cell.key
                else f"{name}: {cell.title!r} is listed twice; leave one out"
            )
    texts = {key: str(value) for key, value in budget.items()}
    return Grid(
        str(content.get("name", name)),
        cells,
        str(content.get("description", "")),
        texts,
        reader.places,
        {name: dict(task.places) for name, task in reader.own.items()},
        tuple(map(str, reader.imports)),
    )


class _Reader:
    """Makes the cells of a grid file."""

    def __init__(self, content: Mapping[str, Any], where: Names):
        self.content, self.where = content, where
        self.imports = self._imports(content.get("imports"))
        self.content_of_imports = import_files(self.imports)
        self.own: dict[str, OwnTask] = {}
        self.hashes: dict[Path, str] = {}
        entries = content["tasks"] if isinstance(content["tasks"], list) else []
        self.own_names = [entry.get("task") for entry in entries if isinstance(entry, Mapping) and "data" in entry]
        self.schedule, self.base, self.changes = self._schedule(content.get("schedule", "short"))
        self.algorithms = [self._algorithm(entry) for entry in self._all(content["algorithms"], "algorithms")]
        self.places: dict[str, str] = {}
        self.checked: set[str] = set()
        self.settings: dict[tuple[Any, ...], Settings] = {}

    def _all(self, entries: Any, key: str) -> list[Any]:
        return list(algorithm_names()) if entries == "all" else listed(entries, self.where / key)

    def _imports(self, entry: Any) -> list[Path]:
        """The Python files of `imports`; they may bring algorithms that the grid names."""
        where = self.where / "imports"
        paths = [Path(str(each)).expanduser() for each in (listed(entry, where) if entry else [])]
        for path in paths:
            if path.suffix != ".py" or not path.is_file():
                raise ValueError(f"{where} must be Python files, got {path}; write the path of one")
        return [path.resolve() for path in paths]

    def _schedule(self, entry: Any) -> tuple[str, str, Settings]:
        """Name, base and changes of the schedule."""
        where = self.where / "schedule"
        if isinstance(entry, str):
            return known(entry, SCHEDULES, "schedule", where), entry, {}
        entry = table(entry, _SCHEDULE_KEYS, where)
        base = known(entry.get("base", "short"), SCHEDULES, "schedule", where)
        changes = check_settings({topic: entry[topic] for topic in _TOPICS if topic in entry}, where)
        name = str(entry.get("name", f"{base}, changed"))
        if name in SCHEDULES and (changes or name != base):
            raise ValueError(f"{where}: name must not be that of a ready schedule, got {name!r}; choose another")
        return name, base, changes

    def _algorithm(self, entry: Any) -> dict[str, Any]:
        """An entry of `algorithms` with all of its keys."""
        where = self.where / "algorithms"
        entry = {"algorithm": entry} if isinstance(entry, str) else table(entry, _ALGORITHM_KEYS, where)
        name = named(entry.get("algorithm"), algorithm_names(), "algorithm", where)
        settings = {"algorithm": entry.get("settings") or {}, "training": entry.get("training") or {}}
        changes = check_settings(settings, where / name, name)
        variant = entry.get("name")
        if changes and variant is None:
            variant = short_hash(changes, 8)
        corrections = self._corrections(name, entry.get("imbalance", self.content.get("imbalance")), where)
        own = entry.get("imbalance_settings") or {}
        for correction in filter(None, corrections) if own else ():
            check_correction(name, correction, own, where / name / "imbalance_settings")
        return {
            "name": name,
            "variant": variant,
            "changes": changes | ({"imbalance": own} if own else {}),
            "corrections": corrections,
        }

    def _corrections(self, algorithm: str, entry: Any, where: Names) -> list[str | None]:
        """The corrections of an algorithm; None stands for the plain algorithm."""
        if entry == "all":
            return [None, *(name for name in correction_names() if not composing_problem(algorithm, name))]
        found = entry if isinstance(entry, list) else [entry]
        if not found:
            raise ValueError(f"{where}: imbalance must name at least one correction, got []; write null for none")
        for name in filter(None, found):
            known(name, correction_names(), "correction", where)
            if problem := composing_problem(algorithm, name):
                raise ValueError(f"{where}: {algorithm} with {name}: {problem}")
        return list(found)

    def cells(self) -> Iterator[Cell]:
        """The cells: seed after seed, within a seed task after task."""
        entries = [self._task(entry) for entry in listed(self.content["tasks"], self.where / "tasks")]
        seeds = sorted({seed for entry in entries for seed in entry["seeds"]})
        for seed, entry in product(seeds, entries):
            if seed not in entry["seeds"]:
                continue
            for labels, backbone in product(entry["labels"], entry["backbones"]):
                for algorithm in self.algorithms:
                    for correction in algorithm["corrections"]:
                        yield self._cell(entry, labels, seed, backbone, algorithm, correction)

    def _task(self, entry: Any) -> dict[str, Any]:
        """An entry of `tasks` with all of its keys."""
        where = self.where / "tasks"
        entry = {"task": entry} if isinstance(entry, str) else table(entry, _TASK_KEYS, where)
        task = self._which(entry, where)
        name, where = task.name, where / task.name
        options = {key: entry[key] for key in TASK_OPTIONS if key in entry}
        check_options(options, where)
        label = str(entry.get("name", name))
        if label != name and label in task_names():
            raise ValueError(f"{where}: name must not be that of another task, got {label!r}; choose another")
        if label != name:
            options["base"] = name
        elif set(options) - {"test_examples"} and not isinstance(task, OwnTask):
            raise ValueError(f"{where}: a task with {', '.join(options)} must have its own name; add one")
        if isinstance(task, OwnTask):
            options |= task.options
        labels = entry.get("labels", self.content.get("labels"))
        # USB has no other draws of its tasks.
        free = "labeled_imbalance" in options or not isinstance(task, Task)
        labels = (
            list(task.label_settings) if labels is None else [number(each, where) for each in listed(labels, where)]
        )
        for each in () if free else labels:
            known(each, task.label_settings, "label setting", where)
        seeds = [
            number(each, where) for each in listed(entry.get("seeds", self.content.get("seeds", [0, 1, 2])), where)
        ]
        if isinstance(task, Task) and not free:
            for seed in seeds:
                known(seed, task.seeds, "seed", where)
        backbones = entry.get("backbones", self._backbones(name, task.modality))
        for key, value in {"labels": labels or None, "backbones": backbones or task.backbone}.items():
            if value is None:
                raise ValueError(f"{where}: {key} is missing, and the task has none of its own; list at least one")
        changes = check_settings({topic: entry[topic] for topic in _TOPICS if topic in entry}, where)
        return {
            **{"task": task, "label": label, "options": options, "labels": labels, "seeds": seeds},
            "backbones": [
                self._backbone(each) for each in ([task.backbone] if backbones is None else listed(backbones, where))
            ],
            "changes": changes,
        }

    def _which(self, entry: Mapping[str, Any], where: Names) -> AnyTask:
        """The task of an entry: one that has a name, or data of one's own."""
        if "data" not in entry:
            for key in OWN_KEYS:
                if key in entry:
                    raise ValueError(f"{where}: {key} is for data of your own; name them with data, or leave it out")
            return grid_task(known(entry.get("task"), task_names(), "task", where))
        task = own_task(entry, where, self.hashes)
        if (other := self.own.setdefault(task.name, task)) != task:
            raise ValueError(
                f"{where}: {task.name} must have the same data in every entry; give other data another name"
            )
        return other

    def _backbones(self, task: str, modality: str) -> Any:
        entry = self.content.get("backbones")
        if isinstance(entry, Mapping):
            keys = [*task_names(), *self.own_names, "image", "text", "audio"]
            for key in entry:
                known(key, keys, "task or modality", self.where / "backbones")
            return entry.get(task, entry.get(modality))
        return entry

    def _backbone(self, text: Any) -> tuple[str, str | None]:
        """Name and revision of a backbone, which is a small model, a Hub id with or without a commit, or a folder."""
        name, _, revision = str(text).partition("@")
        if (folder := Path(name).expanduser()).is_dir():
            place = folder.resolve()
            called = place.name if folder.name in ("", "..") else folder.name
            if (other := self.places.setdefault(called, str(place))) != str(place):
                raise ValueError(
                    f"{self.where / 'backbones'}: two folders must not have one name, got {other} and {place}; "
                    "rename one"
                )
            return called, model_hash(folder)
        return name, revision or None

    def _cell(
        self,
        entry: Mapping[str, Any],
        labels: int,
        seed: int,
        backbone: tuple[str, str | None],
        algorithm: Mapping[str, Any],
        correction: str | None,
    ) -> Cell:
        task, name = entry["task"], algorithm["name"]
        # Shared by all seeds: a grid may have thousands of cells.
        place = id(entry), labels, id(algorithm), correction
        if place not in self.settings:
            base = scheduled(self.base, task, labels, name)
            options = {"task": entry["options"], "imports": self.content_of_imports}
            self.settings[place] = merged(base, self.changes, entry["changes"], algorithm["changes"], options)
            if correction is None:
                self.settings[place].pop("imbalance", None)
            self._check(self.settings[place], self.where / entry["label"] / name)
        check_model(backbone[0], self.settings[place].get("model", {}), self.where / entry["label"] / "model")
        return Cell(
            task=entry["label"],
            num_labeled=labels,
            seed=seed,
            algorithm=name,
            backbone=backbone[0],
            settings=self.settings[place],
            imbalance=correction,
            variant=algorithm["variant"],
            backbone_revision=backbone[1],
            # Of data of one's own, what defines it is among the settings.
            task_revision=None if isinstance(task, OwnTask) else task_revision(task.name),
            modality=task.modality,
            # With settings of its own a task is no longer trained as the schedule says.
            schedule=f"{self.base}, changed" if entry["changes"] and self.schedule == self.base else self.schedule,
        )

    def _check(self, settings: Settings, where: Names) -> None:
        """Check the training of a cell, unless it is known."""
        training = settings.get("training", {})
        if (known_as := short_hash(training)) not in self.checked:
            check_training(training, where)
            self.checked.add(known_as)
