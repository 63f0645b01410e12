"""The layout of a built task: a folder, or a Hub dataset repository, of Parquet files that configurations share.

    usb-cifar100/
      README.md                              the card; its YAML maps configurations to files
      benchmark.json                         what was built: counts, classes, the identity of each draw, overlaps
      data/train-00000-of-00002.parquet      every training example with its label
      data/unlabeled-*, validation-*, test-* if the task has them
      data/overlap-*                         unlabeled examples that equal a test example, if those are kept apart
      labels/200-seed0.parquet the 200 labeled examples that USB draws with seed 0, in the order of the draw
      labels/longtail*-seed0.parquet         those of the long-tailed settings, if the task has any (tails.py)

The configuration `labels200_seed0` has the splits labeled, unlabeled, validation and test; `full` has the data as it
is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ..documents import parse_json, read_text
from .tails import Tail, mark_columns, tail_name, tail_path, tails_of
from .tasks import Task

if TYPE_CHECKING:
    import datasets

RECORD = "benchmark.json"
CARD = "README.md"
SAMPLING_RATE = 16_000
AUGMENTATIONS = ("aug_0", "aug_1")


def repository_name(task: Task) -> str:
    """The name of the task's Hub repository, and of the folder it is built into by default."""
    return f"usb-{task.name}"


def config_name(num_labeled: int, seed: int, deduplicated: bool = False) -> str:
    """The name of a configuration.

    Example:
        >>> config_name(200, 0)
        'labels200_seed0'
    """
    return f"labels{num_labeled}_seed{seed}" + ("_deduplicated" if deduplicated else "")


def labels_path(num_labeled: int, seed: int) -> str:
    """The file of the labeled examples of one draw."""
    return f"labels/{num_labeled}-seed{seed}.parquet"


def draws_of(task: Task) -> list[tuple[int, int]]:
    """Every (number of labeled examples, seed) that the task offers."""
    return [(num_labeled, seed) for num_labeled in task.label_settings for seed in task.seeds]


def configurations(
    task: Task,
    splits: tuple[str, ...] | None = None,
    draws: list[tuple[int, int]] | None = None,
    tails: list[Tail] | None = None,
) -> dict[str, dict[str, list[str]]]:
    """The files of each split of each configuration, as glob patterns, `full` first.

    Args:
        task: the row of the table.
        splits: those that were built; all of the task's by default.
        draws: those that were built, as (number of labeled examples, seed); all of the task's by default.
        tails: the long tails that were built; all of the task's by default. Of their pools these are files of which
            not every row belongs to it (`tails.reading`).

    Example:
        >>> from hf_ssl.benchmark import TASKS
        >>> configurations(TASKS["semi_aves"])["labels3959_seed0"]["unlabeled"]
        ['data/unlabeled-*.parquet']
    """
    files = {split: [f"data/{split}-*.parquet"] for split in (task.sizes if splits is None else splits)}
    if task.deduplicate_pool:
        files["unlabeled"] = [*files["unlabeled"], "data/overlap-*.parquet"]
    evaluation: dict[str, list[str]] = {split: files[split] for split in ("validation", "test") if split in files}
    result = {"full": files}
    for num_labeled, seed in draws_of(task) if draws is None else draws:
        labeled = files["train"] if task.given_labels else [labels_path(num_labeled, seed)]
        pool = _pool(task, files, labeled)
        result[config_name(num_labeled, seed)] = {"labeled": labeled, "unlabeled": pool, **evaluation}
        if task.deduplicate_pool:
            pool = [pattern for pattern in pool if "overlap" not in pattern]
            result[config_name(num_labeled, seed, True)] = {"labeled": labeled, "unlabeled": pool, **evaluation}
    for tail in tails_of(task) if tails is None else tails:
        pool = files["unlabeled"] if tail[0].num_unlabeled is None else files["train"]
        result[tail_name(tail)] = {"labeled": [tail_path(tail)], "unlabeled": pool, **evaluation}
    return result


def _pool(task: Task, files: dict[str, list[str]], labeled: list[str]) -> list[str]:
    """The files that make up the unlabeled pool, as in USB: with the labeled examples, unless these are given."""
    if "unlabeled" not in files:
        return files["train"]
    return files["unlabeled"] if task.given_labels else [*labeled, *files["unlabeled"], *files["train"]]


def features(task: Task, augmented: bool = False, tails: Sequence[Tail] = ()) -> "datasets.Features":
    """The features of every file of the task; `augmented` adds the two augmentations of a text task.

    Args:
        task: the row of the table.
        augmented: whether a text task has its augmentations.
        tails: the long tails that were built, whose pools are marked in columns.
    """
    import datasets

    if task.modality == "image":
        columns: dict[str, Any] = {"image": datasets.Image()}
    elif task.modality == "audio":
        columns = {"audio": datasets.Audio(sampling_rate=SAMPLING_RATE)}
    else:
        columns = {name: datasets.Value("string") for name in ("text", *(AUGMENTATIONS if augmented else ()))}
    columns[task.label_column] = datasets.ClassLabel(names=list(task.class_names))
    columns |= dict.fromkeys(mark_columns(tails), datasets.Value("bool"))
    return datasets.Features(columns)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time build or change this folder, which need not exist yet.

    Raises:
        FileExistsError: if another process is at it.
    """
    lock = FileLock(folder.absolute().parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileExistsError(
            f"another process works on {folder} now; wait for it, or give another output folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def read_record(folder: Path) -> dict[str, Any]:
    """What the build of this folder wrote down: see `build_task`.

    Raises:
        ValueError: if the folder was not built by this package, or the file is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ValueError(f"{folder} is not a built task: it has no {RECORD}; make one with `hf-ssl benchmark build`")
    try:
        # Earlier builds called the number of labeled examples of a draw num_labels.
        record = parse_json(read_text(path).replace('"num_labels"', '"num_labeled"'), RECORD)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); build the task again") from error
    if not _is_record(record):
        raise ValueError(f"{path} lacks the task, its splits or its draws; build the task again")
    return record


def _is_record(record: Any) -> bool:
    """Whether everything is there that is read from it: a record from the Hub may hold anything."""
    try:
        splits, draws = list(record["splits"].values()), list(record["draws"].values())
        numbers = [number for split in splits for number in (split["rows"], *split["classes"])]
        numbers += [draw[key] for draw in draws for key in ("num_labeled", "seed")]
        words = [record["task"], *(draw[key] for draw in draws for key in ("labeled_sha256", "rest_sha256"))]
        complete = {"train", "test"} <= set(record["splits"])
    except (KeyError, TypeError, AttributeError):
        return False
    counts = all(isinstance(number, int) and number >= 0 for number in numbers)
    return complete and counts and all(isinstance(word, str) for word in words)


def draws_in(record: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The draws of a record as (number of labeled examples, seed)."""
    return [(draw["num_labeled"], draw["seed"]) for draw in record["draws"].values()]


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """The counterpart of `read_record`."""
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def files_of(folder: Path, patterns: list[str]) -> list[Path]:
    """The files that the patterns of one split match, in the order in which `datasets` reads them."""
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def read_rows(files: list[Path], columns: list[str] | None = None, batch_size: int = 256) -> Iterator[dict[str, Any]]:
    """The rows of Parquet files. In memory are one row group at a time, and a batch of its rows as Python objects."""
    import pyarrow.parquet as pq

    for path in files:
        with pq.ParquetFile(path) as file:
            # Not `iter_batches` over the whole file: it reads ahead without limit.
            for group in range(file.num_row_groups):
                for batch in file.read_row_group(group, columns=columns).to_batches(max_chunksize=batch_size):
                    yield from batch.to_pylist()
