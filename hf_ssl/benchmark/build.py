"""From a raw source to a repository of Parquet files: `build_task`."""

import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from .._version import __version__
from . import repository
from .cards import render_card
from .readers import RawSplit, open_source
from .splits import draw_labels, index_hash, split_first_rows, split_first_share, split_per_class
from .tasks import Task, get_task
from .writer import OPTIONS, SHARD_BYTES, ShardWriter, content_hash, to_table

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """Rows of a raw split that become a published split: its name, the raw split, and ascending indices or None for all."""

    split: str
    raw: RawSplit
    indices: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Class indices [n], int64."""
        return self.raw.labels if self.indices is None else self.raw.labels[self.indices]


class Draw(NamedTuple):
    """A draw of labels: their number, the seed, the labeled training indices in order, and the identity of the rest."""

    num_labeled: int
    seed: int
    labeled: np.ndarray
    rest_sha256: str


def build_task(
    task: Task | str,
    source: str | Path,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Build the repository of a task from its raw data, in constant memory.

    Everything is written to a hidden folder beside the target, which gets the target's name at the very end: a build
    that fails or is interrupted leaves no target, and starting it again ends as if it had run through.

    Args:
        task: the task, or its name.
        source: folder or archive of the raw files, in one of the forms that `task.readers` names; or a `datasets` id.
        output: the folder to make; `usb-<name>` by default.
        overwrite: replace an earlier build there.
        shard_bytes: content of one Parquet file, before compression.

    Returns:
        The folder.

    Raises:
        ValueError: for an unknown task, a source that no reader understands, damaged content (named with its file and
            row), or too few examples for any draw.
        FileExistsError: if there is something at `output` already.
    """
    task = get_task(task) if isinstance(task, str) else task
    output = Path(output or repository.repository_name(task))
    check_target(output, overwrite)
    with _workplace(output) as workplace:
        folder = workplace / "repository"
        for name in ("data", "labels"):
            (folder / name).mkdir(parents=True)
        checksum = check_archive(task, Path(source).expanduser())
        _build(task, open_source(task, source, workplace / "source"), folder, shard_bytes, checksum)
        if output.exists():
            output.rename(workplace / "replaced")
        folder.rename(output)
    return output


def check_target(output: Path, overwrite: bool) -> None:
    """Raise at once, and not after an hour, if `output` cannot be made."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / repository.RECORD).is_file():
        raise FileExistsError(f"{output} exists and is no built task; give another output folder")
    if not overwrite:
        raise FileExistsError(f"{output} exists; give another output folder, or --overwrite to build it again")


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A hidden folder beside the target, without leftovers of an interrupted build, held by one process at a time."""
    from filelock import FileLock, Timeout

    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = output.parent / f".{output.name}.incomplete"
    lock = FileLock(output.parent / f".{output.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileExistsError(
            f"another process builds {output} now; wait for it or give another output folder"
        ) from None
    try:
        if (workplace / "replaced").is_dir() and not output.exists():
            (workplace / "replaced").rename(output)
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir()
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def check_archive(task: Task, source: Path) -> str | None:
    """The checksum of the publisher's file, "md5:..." or "sha256:...", if that is the source or lies in it; else None.

    Another checksum than the stated one is a warning: the file may be damaged, but publishers also replace files.
    """
    if task.checksum is None:
        return None
    name = PurePosixPath(urlsplit(task.source_url).path).name
    path = source / name if source.is_dir() else source
    if path.name != name or not path.is_file():
        return None
    algorithm = task.checksum.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    found = f"{algorithm}:{digest.hexdigest()}"
    if found != task.checksum:
        logger.warning(
            "%s: %s has %s, stated is %s: it is damaged or another version", task.title, name, found, task.checksum
        )
    return found


def _build(task: Task, raw: dict[str, RawSplit], folder: Path, shard_bytes: int, checksum: str | None) -> None:
    parts = plan(task, raw)
    train = parts["train"]
    _check_labels(task, parts)
    draws = draw_all(task, train.labels)
    augmented = task.modality == "text" and _has_augmentations(train)
    schema = repository.features(task, augmented).arrow_schema
    wanted = set() if task.given_labels else {int(index) for draw in draws for index in draw.labeled}

    data = folder / "data"
    # The test split first: what overlaps it is told by the hashes of its contents.
    in_test: set[bytes] = set()
    overlap: dict[str, int] = {}
    with ShardWriter(data, "test", schema, shard_bytes) as writer:
        for row in _rows(task, parts["test"]):
            in_test.add(content_hash(row, task.modality))
            writer.write(row)
    if "validation" in parts:
        with ShardWriter(data, "validation", schema, shard_bytes) as writer:
            for row in _rows(task, parts["validation"]):
                writer.write(row)
    labeled_rows: dict[int, dict[str, Any]] = {}
    with ShardWriter(data, "train", schema, shard_bytes) as writer:
        overlap["train"] = 0
        for index, row in enumerate(_rows(task, train)):
            overlap["train"] += content_hash(row, task.modality) in in_test
            writer.write(row)
            if index in wanted:
                labeled_rows[index] = row
    if "unlabeled" in parts:
        overlap["unlabeled"] = _write_pool(task, parts["unlabeled"], data, schema, shard_bytes, in_test)
    if task.given_labels:
        (folder / "labels").rmdir()
    else:
        for draw in draws:
            path = folder / repository.labels_path(draw.num_labeled, draw.seed)
            _write_labels(path, draw.labeled, labeled_rows, schema)

    record = {
        "task": task.name,
        "hf_ssl": __version__,
        "checksum": checksum,
        "augmented": augmented,
        "splits": {
            split: {"rows": len(part.labels), "classes": _class_counts(task, part.labels)}
            for split, part in parts.items()
        },
        "overlap_with_test": overlap,
        "draws": {
            repository.config_name(draw.num_labeled, draw.seed): {
                "num_labeled": draw.num_labeled,
                "seed": draw.seed,
                "labeled": len(draw.labeled),
                "labeled_sha256": index_hash(draw.labeled),
                "rest_sha256": draw.rest_sha256,
            }
            for draw in draws
        },
    }
    repository.write_record(folder, record)
    (folder / repository.CARD).write_text(render_card(task, record), encoding="utf-8")


def plan(task: Task, raw: dict[str, RawSplit]) -> dict[str, Part]:
    """Which raw rows become which published split, in the task's order of splits.

    Raises:
        ValueError: if the source lacks a split that cannot be made from the others.
    """
    if "train" not in raw:
        raise ValueError(f"the source of {task.title} has no training examples; it has {', '.join(raw) or 'nothing'}")
    classes = len(task.class_names)
    parts = {split: Part(split, raw[split]) for split in task.sizes if split in raw}
    train = raw["train"]
    if task.per_class and "validation" not in raw:
        indices, short = split_per_class(train.labels, task.per_class, num_classes=classes)
        if short:
            logger.warning(
                "%s: the source has fewer than the %s training rows of a class that USB takes (of %d classes, %r "
                "among them); all are taken, in the same proportion of train and validation. This is not USB's split.",
                task.title,
                f"{sum(task.per_class):,}",
                len(short),
                task.class_names[short[0]],
            )
        parts["train"], parts["validation"] = (
            Part(split, train, chosen) for split, chosen in zip(("train", "validation"), indices, strict=True)
        )
    if task.train_share and "test" not in raw:
        first, rest = split_first_share(train.labels, task.train_share, num_classes=classes)
        parts["train"], parts["test"] = Part("train", train, first), Part("test", train, rest)
    if task.test_per_class and "test" in raw and len(raw["test"].labels) > task.sizes["test"]:
        first, _ = split_first_rows(raw["test"].labels, task.test_per_class, num_classes=classes)
        parts["test"] = Part("test", raw["test"], first)
    missing = [split for split in task.sizes if split not in parts]
    if missing and missing != ["validation"]:
        raise ValueError(f"the source of {task.title} has no {missing[0]} examples; it has {', '.join(raw)}")
    if missing:
        logger.warning("%s: the source has no validation examples, so there is no validation split", task.title)
    for split, part in parts.items():
        if split in task.sizes and len(part.labels) != task.sizes[split]:
            logger.warning(
                "%s: %s has %s examples, USB %s", task.title, split, f"{len(part.labels):,}", f"{task.sizes[split]:,}"
            )
    return {split: parts[split] for split in task.sizes if split in parts}


def draw_all(task: Task, labels: np.ndarray) -> list[Draw]:
    """Every draw of the task that its training examples allow.

    Raises:
        ValueError: if they allow none.
    """
    draws: list[Draw] = []
    problem = None
    for num_labeled, seed in repository.draws_of(task):
        try:
            draws.append(make_draw(task, labels, num_labeled, seed))
        except ValueError as error:
            found = f"no {num_labeled:,} labels can be drawn: {error}"
            problem = problem or found
            if seed == task.seeds[0]:
                logger.warning("%s: %s; these configurations are left out", task.title, found)
    if not draws:
        raise ValueError(f"{task.title}: {problem}")
    return draws


def make_draw(task: Task, labels: np.ndarray, num_labeled: int, seed: int) -> Draw:
    """One draw out of the training examples, or all of them where the labeled set is given; errors as in `draw_labels`."""
    if task.given_labels:
        given = np.arange(len(labels), dtype=np.int64)
        return Draw(num_labeled, seed, given, index_hash(given[:0]))
    labeled, rest = draw_labels(
        labels, num_classes=len(task.class_names), num_labeled=num_labeled, seed=seed, shuffle_first=task.shuffle_first
    )
    return Draw(num_labeled, seed, labeled, index_hash(rest))


def _check_labels(task: Task, parts: dict[str, Part]) -> None:
    for split, part in parts.items():
        lowest = -1 if split == "unlabeled" else 0
        wrong = np.flatnonzero((part.labels < lowest) | (part.labels >= len(task.class_names)))
        if len(wrong):
            raise ValueError(
                f"{task.title}: example {wrong[0] + 1:,} of {split} has the label {part.labels[wrong[0]]}; "
                f"they are {lowest} to {len(task.class_names) - 1}"
            )
        if len(part.labels) == 0:
            raise ValueError(f"{task.title}: the source has no example for {split}")


def _has_augmentations(train: Part) -> bool:
    first = next(train.raw.rows(np.array([0]) if train.indices is None else train.indices[:1]))
    return all(first.get(name) is not None for name in repository.AUGMENTATIONS)


def _rows(task: Task, part: Part) -> Iterator[dict[str, Any]]:
    """The part's rows as they are written: the label under the task's name for it, file names without their folders."""
    from datasets.utils import tqdm

    rows = part.raw.rows(part.indices)
    for row in tqdm(rows, desc=f"{task.title}, {part.split}", total=len(part.labels), unit=" examples"):
        row[task.label_column] = row.pop("label")
        media = row.get(task.modality)
        if isinstance(media, dict) and media.get("path"):
            row[task.modality] = {"bytes": media["bytes"], "path": Path(media["path"]).name}
        yield row


def _write_pool(task: Task, part: Part, data: Path, schema, shard_bytes: int, in_test: set[bytes]) -> int:
    """Write the unlabeled examples, those that equal a test example apart if the task asks so; returns their number."""
    overlapping = 0
    with ExitStack() as stack:
        pool = apart = stack.enter_context(ShardWriter(data, "unlabeled", schema, shard_bytes))
        if task.deduplicate_pool:
            apart = stack.enter_context(ShardWriter(data, "overlap", schema, shard_bytes))
        for row in _rows(task, part):
            found = content_hash(row, task.modality) in in_test
            overlapping += found
            (apart if found else pool).write(row)
    return overlapping


def _write_labels(path: Path, labeled: np.ndarray, rows: dict[int, dict[str, Any]], schema) -> None:
    import pyarrow.parquet as pq

    pq.write_table(to_table([rows[int(index)] for index in labeled], schema), path, row_group_size=1_000, **OPTIONS)


def _class_counts(task: Task, labels: np.ndarray) -> list[int]:
    return np.bincount(labels[labels >= 0], minlength=len(task.class_names)).tolist()
