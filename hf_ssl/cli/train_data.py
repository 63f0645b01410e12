"""The datasets of `hf-ssl train`, loaded and put together; SSLTrainer matches their columns and classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np

from ..data.columns import DataSummary, inspect_data, usual_label
from ..data.labels import missing_labels
from ..data.prepare import empty_row
from ..data.sources import count, load_source
from ..modality import MODALITIES
from ..problem_types import SINGLE_LABEL
from .places import is_hub_id, public_name
from .train_options import TrainArguments


@dataclass
class TrainData:
    """What a training needs to know of its data.

    Args:
        labeled, unlabeled, test: as they were found; None if there are none.
        summary: modality, columns and classes of the labeled examples.
        name: what the labeled data are called: a file or folder without its path, a Hub id, or a task.
        hub_id: their Hub id; None if they are local.
        notes: what a person should know, a sentence each.
    """

    labeled: datasets.Dataset
    unlabeled: datasets.Dataset | None
    test: datasets.Dataset | None
    summary: DataSummary
    name: str
    hub_id: str | None = None
    notes: list[str] = field(default_factory=list)


def load_train_data(
    arguments: TrainArguments, settings: Mapping[str, Any], modality: str | None, processor: Any
) -> TrainData:
    """Load what the arguments name.

    Args:
        arguments: the command's own arguments.
        settings: keywords of SSLConfig.
        modality, processor: of the model, if it has one modality only; else None.

    Raises:
        ValueError: in one line, if something is missing or does not fit together.
        OSError: if a source cannot be read or downloaded.
    """
    _check_choice(arguments)
    _check_fraction(arguments)
    notes: list[str] = []
    pool = test = None
    if arguments.task is not None:
        labeled, pool, test = _load_task(arguments, settings["seed"])
    else:
        because = f"{arguments.model} is {MODALITIES[modality].model}" if modality else ""
        names = settings["input_column"], settings["label_column"]
        labeled = _load(str(arguments.labeled), "labeled", modality, *names, notes, because)
    labeled, rest, found = _inspect(labeled, arguments, settings, processor)
    if arguments.unlabeled is not None:
        pool = _load(arguments.unlabeled, "unlabeled", *_names(found), notes)
    if rest is not None:
        pool = _with_rest(pool, rest, list(found.input_columns), settings["teacher_column"], arguments)
        joins = "joins" if len(rest) == 1 else "join"
        notes.append(f"{arguments.labeled}: {count(len(rest), 'row')} without a label {joins} the pool")
    if arguments.test is not None:
        test = _load(arguments.test, "test", *_names(found), notes)
    if arguments.test_fraction is not None:
        labeled, test = _split_off(labeled, found, arguments.test_fraction, settings["seed"])
    if pool is None and settings["algorithm"] != "supervised":
        raise ValueError(
            "--unlabeled is missing: the pool to learn from; `hf-ssl train --algorithm supervised` needs none"
        )
    name = arguments.task or public_name(str(arguments.labeled))
    hub_id = name if arguments.task is None and is_hub_id(str(arguments.labeled)) else None
    return TrainData(labeled, pool, test, found, name, hub_id, notes)


def _load_task(
    arguments: TrainArguments, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset | None, datasets.Dataset | None]:
    from ..benchmark import load_task

    assert arguments.task is not None and arguments.num_labeled is not None, "_check_choice comes first"
    task = load_task(arguments.task, num_labeled=arguments.num_labeled, seed=seed, source=arguments.source)
    return task["labeled"], task["unlabeled"], task["test"]


def _names(found: DataSummary) -> tuple[str, str | None, str]:
    return found.modality, found.input_column, found.label_column


def _load(
    source: str,
    role: str,
    modality: str | None,
    column: str | None,
    label: str | None,
    notes: list[str],
    because: str = "",
) -> datasets.Dataset:
    """The dataset that a source names; what a person should know about how it was read joins `notes`."""
    found = load_source(source, role, modality=modality, input_column=column, label_column=label, because=because)
    notes += found.notes
    return found.dataset


def _inspect(
    labeled: datasets.Dataset, arguments: TrainArguments, settings: Mapping[str, Any], processor: Any
) -> tuple[datasets.Dataset, datasets.Dataset | None, DataSummary]:
    """The rows with a label, those without one (None if there are none), and what the former contain."""
    whole, rest = labeled, None
    columns = settings.get("label_columns") or [settings["label_column"] or usual_label(labeled)]
    present = [column for column in columns if column in labeled.column_names]
    # Of several columns some may be empty by mistake, which `inspect_data` says.
    empty = [missing_labels(labeled, column) for column in present]
    missing = np.all(empty, axis=0) if present else np.zeros(len(labeled), dtype=bool)
    if missing.any():
        labeled, rest = whole.select(np.flatnonzero(~missing)), whole.select(np.flatnonzero(missing))
    if len(labeled) == 0:
        raise ValueError(
            f"--labeled must hold labels, but in {arguments.labeled} no row has a label in column {columns[0]!r}; "
            "add some with `hf-ssl label`, or name another --label-column"
        )
    pair = settings["text_pair_column"]
    found = inspect_data(
        labeled,
        settings["input_column"],
        None if settings.get("label_columns") else columns[0],
        text_pair_column=pair,
        processor=processor,
        **{name: settings.get(name) for name in ("label_columns", "label_separator", "problem_type")},
    )
    if not found.model_inputs:
        _check_inputs(whole, found, np.flatnonzero(~missing), arguments)
    return labeled, rest, found


def _check_inputs(whole: datasets.Dataset, found: DataSummary, kept: np.ndarray, arguments: TrainArguments) -> None:
    """Raise a ValueError that names the row of the file if a row that is kept has a label and nothing else."""
    row = empty_row(whole.select(kept), found.input_columns)
    if row is not None:
        raise ValueError(
            f"row {kept[row]} of {arguments.labeled} has a label and no {found.modality} (column "
            f"{found.input_column!r}); give it one, or leave the row out"
        )


def _check_choice(arguments: TrainArguments) -> None:
    """Raise a ValueError unless the options say where the data are, once."""
    if arguments.task is not None:
        given = [f"--{name}" for name in ("labeled", "unlabeled", "test") if getattr(arguments, name) is not None]
        if given:
            raise ValueError(f"--task brings its own data; leave {', '.join(given)} out")
        if arguments.num_labeled is None:
            raise ValueError(
                "--num-labeled is missing: the number of labeled examples for --task; `hf-ssl benchmark list` shows "
                "the numbers that each task has"
            )
    elif arguments.labeled is None:
        raise ValueError(
            "--labeled is missing: a file, a folder or a Hub dataset with labeled examples (or give --task)"
        )
    elif arguments.num_labeled is not None or arguments.source is not None:
        raise ValueError("--num-labeled and --source belong to --task; leave them out, or give --task")


def _check_fraction(arguments: TrainArguments) -> None:
    """Raise a ValueError unless a share of the labeled examples can become the test set, if it is to."""
    if arguments.test_fraction is None:
        return
    if arguments.test is not None or arguments.task is not None:
        raise ValueError(
            "--test-fraction turns labeled examples into a test set, and there is one already; leave it out"
        )
    if not 0 < arguments.test_fraction < 1:
        raise ValueError(f"--test-fraction must be between 0 and 1, got {arguments.test_fraction}")


def _with_rest(
    pool: datasets.Dataset | None,
    rest: datasets.Dataset,
    columns: list[str],
    teacher: str | None,
    arguments: TrainArguments,
) -> datasets.Dataset:
    """The pool with the rows of the labeled data that have no label; `teacher` is the column of opinions."""
    said = [name for name in rest.column_names if name == teacher]
    rest = rest.select_columns([*columns, *said])
    if pool is None:
        return rest
    missing = [name for name in columns if name not in pool.column_names]
    if missing:
        raise ValueError(
            f"--unlabeled must have the column {missing[0]!r}, since rows of {arguments.labeled} without a label join "
            f"the pool, but {arguments.unlabeled} has the columns {', '.join(pool.column_names)}; rename one, or "
            "leave those rows out"
        )
    opinions = [name for name in pool.column_names if name == teacher]
    pool, rest = pool.select_columns([*columns, *opinions]), rest.select_columns(columns)
    # Those rows have no opinion.
    same = datasets.Features({name: pool.features[name] for name in columns})
    return datasets.concatenate_datasets([pool, rest.cast(same)])


def _split_off(
    labeled: datasets.Dataset, found: DataSummary, fraction: float, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The labeled examples without a share of each class (of all, without classes), and that share, in their order."""
    if found.problem_type != SINGLE_LABEL:
        places = np.random.default_rng(seed).permutation(len(labeled))
        size = max(round(fraction * len(labeled)), 1)
        return labeled.select(np.sort(places[size:])), labeled.select(np.sort(places[:size]))
    names, codes = np.unique([str(value) for value in labeled[found.label_column][:]], return_inverse=True)
    coded = datasets.Dataset.from_dict({"class": codes, "row": list(range(len(codes)))})
    coded = coded.cast_column("class", datasets.ClassLabel(names=names.tolist()))
    try:
        parts = coded.train_test_split(test_size=fraction, stratify_by_column="class", seed=seed)
    except ValueError:
        counts = np.bincount(codes)
        raise ValueError(
            f"--test-fraction {fraction:g} of {count(len(labeled), 'labeled example')} must leave each of the "
            f"{count(len(names), 'class', 'classes')} one to train and one to test, and the smallest is "
            f"{str(names[counts.argmin()])!r} with {counts.min():,}; label more, or choose another fraction"
        ) from None
    return labeled.select(sorted(parts["train"]["row"])), labeled.select(sorted(parts["test"]["row"]))
