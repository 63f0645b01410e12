"""From a raw source to a repository of Parquet files: `build_task`."""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .._version import __version__
from . import repository
from .cards import render_card
from .plan import Draw, Part, draw_all, plan
from .readers import RawSplit, open_source
from .splits import index_hash
from .tails import draw_tails, marks, tail_name, tail_path
from .tasks import Task, get_task
from .writer import OPTIONS, SHARD_BYTES, ShardWriter, content_hash, to_table

logger = logging.getLogger(__name__)


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
    that fails or is interrupted leaves no target, and starting it again gives the same result as an undisturbed run.

    Args:
        task: the task, or its name.
        source: folder or archive of the raw files, in one of the forms that `task.readers` names; or a `datasets` id.
        output: the folder to make; `usb-<name>` by default.
        overwrite: replace an earlier build there.
        shard_bytes: content of one Parquet file, before compression.

    Returns:
        The folder; `repository.py` describes what it holds.

    Raises:
        ValueError: for an unknown task, a source that no reader understands, damaged content (named with its file and
            row), or too few examples for any draw.
        FileExistsError: if there is something at `output` already.

    Example:
        >>> import tempfile
        >>> from dataclasses import replace
        >>> folder = Path(tempfile.mkdtemp())
        >>> for split in ("train", "test"):
        ...     rows = (f'"{row % 4 + 1}","title","text {row}"' for row in range(12))
        ...     _ = (folder / f"{split}.csv").write_text("\\n".join(rows))
        >>> task = replace(get_task("ag_news"), label_settings=(4,), per_class=(2, 1))
        >>> built = build_task(task, folder, folder / "usb-ag_news")
        >>> sorted(path.name for path in built.rglob("*seed0*"))
        ['4-seed0.parquet']
        >>> shutil.rmtree(folder)
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
        raise FileExistsError(f"{output} exists and is not a built task; give another output folder")
    if not overwrite:
        raise FileExistsError(f"{output} exists; give another output folder, or --overwrite to build it again")


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A hidden folder beside the target, without leftovers of an interrupted build, held by one process at a time."""
    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = output.parent / f".{output.name}.incomplete"
    with repository.locked(output):
        try:
            if (workplace / "replaced").is_dir() and not output.exists():
                (workplace / "replaced").rename(output)
            shutil.rmtree(workplace, ignore_errors=True)
            workplace.mkdir()
            yield workplace
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def check_archive(task: Task, source: Path) -> str | None:
    """The checksum of the publisher's file, "md5:..." or "sha256:...", if `source` is or holds that file; else None.

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
    draws, long_tails = draw_all(task, parts["train"].labels), draw_tails(task, parts["train"].labels)
    tails = [draw.tail for draw in long_tails]
    augmented = task.modality == "text" and _has_augmentations(parts["train"])
    schema = repository.features(task, augmented, tails).arrow_schema
    drawn = [draw.labeled for draw in (*(() if task.given_labels else draws), *long_tails)]
    wanted = {int(index) for indices in drawn for index in indices}
    marked = marks(long_tails, len(parts["train"].labels))
    overlap, labeled_rows = _write_data(task, parts, folder / "data", schema, shard_bytes, wanted, marked)
    if task.given_labels:
        (folder / "labels").rmdir()
    else:
        for draw in draws:
            path = folder / repository.labels_path(draw.num_labeled, draw.seed)
            _write_labels(path, draw.labeled, labeled_rows, schema)
        for tail in long_tails:
            _write_labels(folder / tail_path(tail.tail), tail.labeled, labeled_rows, schema)
    record = {
        "task": task.name,
        "hf_ssl": __version__,
        "checksum": checksum,
        "augmented": augmented,
        "splits": {split: _counts(task, part) for split, part in parts.items()},
        "overlap_with_test": overlap,
        "draws": {repository.config_name(draw.num_labeled, draw.seed): _identity(draw) for draw in draws},
        **({"long_tails": {tail_name(tail.tail): tail.identity() for tail in long_tails}} if long_tails else {}),
    }
    repository.write_record(folder, record)
    (folder / repository.CARD).write_text(render_card(task, record), encoding="utf-8")


def _write_data(
    task: Task,
    parts: dict[str, Part],
    data: Path,
    schema: pa.Schema,
    shard_bytes: int,
    wanted: set[int],
    marked: Mapping[str, np.ndarray],
) -> tuple[dict[str, int], dict[int, dict[str, Any]]]:
    """Write the Parquet files of every split.

    Args:
        wanted: indices of the training examples that some draw takes.
        marked: columns that say of each training example whether it is in a long-tailed pool.

    Returns:
        split -> examples that equal a test example byte for byte; and the wanted training rows by their indices.
    """
    # The test split first: the hashes of its contents tell what overlaps with it.
    in_test: set[bytes] = set()
    with ShardWriter(data, "test", schema, shard_bytes) as writer:
        for row in _rows(task, parts["test"], marked):
            in_test.add(content_hash(row, task.modality))
            writer.write(row)
    if "validation" in parts:
        with ShardWriter(data, "validation", schema, shard_bytes) as writer:
            for row in _rows(task, parts["validation"], marked):
                writer.write(row)
    overlap, labeled_rows = {"train": 0}, {}
    with ShardWriter(data, "train", schema, shard_bytes) as writer:
        for index, row in enumerate(_rows(task, parts["train"])):
            overlap["train"] += content_hash(row, task.modality) in in_test
            writer.write(row | {column: bool(values[index]) for column, values in marked.items()})
            if index in wanted:
                labeled_rows[index] = row | dict.fromkeys(marked, True)
    if "unlabeled" in parts:
        overlap["unlabeled"] = _write_pool(task, parts["unlabeled"], data, schema, shard_bytes, in_test)
    return overlap, labeled_rows


def _write_pool(task: Task, part: Part, data: Path, schema: pa.Schema, shard_bytes: int, in_test: set[bytes]) -> int:
    """Write the unlabeled examples, apart those that equal a test example if the task asks so; returns how many."""
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


def _write_labels(path: Path, labeled: np.ndarray, rows: dict[int, dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(to_table([rows[int(index)] for index in labeled], schema), path, row_group_size=1_000, **OPTIONS)


def _has_augmentations(train: Part) -> bool:
    first = next(train.raw.rows(np.array([0]) if train.indices is None else train.indices[:1]))
    return all(first.get(name) is not None for name in repository.AUGMENTATIONS)


def _rows(task: Task, part: Part, marked: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """The part's rows as they are written: the label under the task's name for it, file names without folders.

    Outside of `train` every mark is true: a filter holds for all splits of a configuration.
    """
    from datasets.utils import tqdm

    rows = part.raw.rows(part.indices)
    for row in tqdm(rows, desc=f"{task.title}, {part.split}", total=len(part.labels), unit=" examples"):
        row[task.label_column] = row.pop("label")
        row |= dict.fromkeys(marked, True)
        media = row.get(task.modality)
        if isinstance(media, dict) and media.get("path"):
            row[task.modality] = {"bytes": media["bytes"], "path": Path(media["path"]).name}
        yield row


def _counts(task: Task, part: Part) -> dict[str, Any]:
    labels = part.labels[part.labels >= 0]
    return {"rows": len(part.labels), "classes": np.bincount(labels, minlength=len(task.class_names)).tolist()}


def _identity(draw: Draw) -> dict[str, Any]:
    return {
        "num_labeled": draw.num_labeled,
        "seed": draw.seed,
        "labeled": len(draw.labeled),
        "labeled_sha256": index_hash(draw.labeled),
        "rest_sha256": draw.rest_sha256,
    }
