"""Checking a built task: `verify_task` derives everything again from the Parquet files and compares."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..audio_files import read_file
from ..documents import parse_yaml, read_text
from . import repository
from .cards import declared
from .plan import make_draw
from .readers.base import image_bytes, library
from .splits import index_hash
from .tails import Tail, make_tail, marks, tail_name, tail_path, tails_of
from .tasks import Task, get_task
from .writer import HASH_BYTES, content_hash


class Check(NamedTuple):
    """One line of the report.

    Args:
        name: what was checked.
        passed: whether it is as it should be.
        found: what was found, in words.
        of_source: whether the result depends on the raw data (is it all that USB has, are test examples among the
            others) and not on the build, which must handle any source correctly.
    """

    name: str
    passed: bool
    found: str
    of_source: bool = False


def verify_task(source: str | Path, task: Task | None = None) -> list[Check]:
    """Check a built folder, or a repository on the Hub, which is fetched first.

    Checked are the features of every file; the counts of each split against USB's; the classes of each split against
    the record of the build; the examples of each draw, drawn again from the training labels and compared by content;
    the overlap with the test set, counted again; the decoding of one example per split; and the files that the card
    declares.

    Args:
        source: folder, or id of a Hub dataset repository.
        task: its row of the table; by default found by the name that the build wrote down.

    Returns:
        One `Check` per line of the report. If files are missing or wrong, nothing else is checked.

    Raises:
        ValueError: if this is not a built task.
        OSError: if the Hub cannot be reached.

    Example:
        With a folder that `hf-ssl benchmark build` made::

            failed = [check for check in verify_task("usb-cifar100") if not check.passed]
    """
    folder = local_folder(source)
    record = repository.read_record(folder)
    task = get_task(record["task"]) if task is None else task
    if missing := _missing_files(task, folder, record):
        return [Check("files", False, f"missing: {', '.join(missing)}")]
    if wrong := [*_wrong_features(task, folder, record), *_wrong_card(task, folder, record)]:
        return [Check("files and features", False, "; ".join(wrong))]
    checks = [Check("files and features", True, f"{len(list(folder.rglob('*.parquet')))} Parquet files")]
    splits = {split: _read_labels(task, folder, split) for split in record["splits"]}
    checks += [_check_count(task, split, splits) for split in task.sizes]
    checks += [_check_classes(task, split, labels, record) for split, labels in splits.items()]
    checks += _check_contents(task, folder, record, splits["train"])
    checks.append(_check_decoding(task, folder, record))
    return checks


def local_folder(source: str | Path) -> Path:
    """The folder itself, or a copy of the Hub repository in the cache."""
    if Path(source).is_dir():
        return Path(source)
    if str(source).count("/") != 1 or str(source).startswith((".", "/", "~")):
        raise ValueError(f"{source} is neither a folder nor the id of a Hub repository (namespace/name)")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(source), repo_type="dataset"))


def _configurations(task: Task, record: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    tails = tails_of(task, record)
    return repository.configurations(task, tuple(record["splits"]), repository.draws_in(record), tails)


def _missing_files(task: Task, folder: Path, record: dict[str, Any]) -> list[str]:
    configurations = _configurations(task, record)
    patterns = {pattern for files in configurations.values() for paths in files.values() for pattern in paths}
    missing = sorted(pattern for pattern in patterns if not repository.files_of(folder, [pattern]))
    for first in folder.glob("data/*-00000-of-*.parquet"):
        count = int(first.stem.rpartition("-")[2])
        split = first.name.partition("-")[0]
        names = [f"data/{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
        missing += [name for name in names if not (folder / name).is_file()]
    return missing


def _wrong_features(task: Task, folder: Path, record: dict[str, Any]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = repository.features(task, record.get("augmented", False), tails_of(task, record)).arrow_schema
    wrong = []
    for path in sorted(folder.rglob("*.parquet")):
        name = path.relative_to(folder).as_posix()
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            wrong.append(f"{name} cannot be read ({error})")
            continue
        if not schema.equals(expected, check_metadata=True):
            wrong.append(f"{name} has other columns or features")
    return wrong


def _wrong_card(task: Task, folder: Path, record: dict[str, Any]) -> list[str]:
    card = folder / repository.CARD
    if not card.is_file():
        return [f"there is no {repository.CARD}"]
    try:
        metadata = parse_yaml(read_text(card).split("---\n")[1], repository.CARD)
        found = {entry["config_name"]: entry for entry in metadata["configs"]}
    except (IndexError, KeyError, TypeError, ValueError):
        return [f"the metadata of {repository.CARD} cannot be read"]
    return [
        f"{repository.CARD} does not declare {name} as it should"
        for name, files in _configurations(task, record).items()
        if found.get(name) != declared(task, name, files, tails_of(task, record))
    ]


def _files(task: Task, folder: Path, split: str) -> list[Path]:
    patterns = [f"data/{split}-*.parquet"]
    if split == "unlabeled" and task.deduplicate_pool:
        patterns.append("data/overlap-*.parquet")
    return repository.files_of(folder, patterns)


def _read_labels(task: Task, folder: Path, split: str) -> np.ndarray:
    import pyarrow.parquet as pq

    files = _files(task, folder, split)
    return np.concatenate([pq.read_table(path, columns=[task.label_column])[0].to_numpy() for path in files])


def _check_count(task: Task, split: str, splits: dict[str, np.ndarray]) -> Check:
    count, expected = len(splits.get(split, ())), task.sizes[split]
    found = f"{count:,}" + ("" if count == expected else f", USB has {expected:,}")
    return Check(f"{split}: count", count == expected, found, of_source=True)


def _check_classes(task: Task, split: str, labels: np.ndarray, record: dict[str, Any]) -> Check:
    lowest = -1 if split == "unlabeled" else 0
    if len(labels) and (labels.min() < lowest or labels.max() >= len(task.class_names)):
        return Check(f"{split}: classes", False, f"labels from {labels.min()} to {labels.max()}")
    counts = np.bincount(labels[labels >= 0], minlength=len(task.class_names))
    recorded = record["splits"][split]["classes"]
    balance = f"{_per_class(counts)} per class" if counts.any() else "no labels"
    passed = counts.tolist() == recorded and (split == "unlabeled" or bool(counts.all()))
    return Check(
        f"{split}: classes", passed, balance + ("" if counts.tolist() == recorded else ", not what was built")
    )


def _check_contents(task: Task, folder: Path, record: dict[str, Any], labels: np.ndarray) -> list[Check]:
    """Draws and overlaps: both compare examples by the hash of their content."""
    in_test = set(_hashes(task, folder, "test"))
    train, overlap = bytearray(), {"train": 0}
    for content in _hashes(task, folder, "train"):
        train += content
        overlap["train"] += content in in_test
    checks = [_check_draw(task, folder, name, draw, labels, train) for name, draw in record["draws"].items()]
    checks += [_check_tail(task, folder, tail, record, labels, train) for tail in tails_of(task, record)]
    if "unlabeled" in record["splits"]:
        overlap["unlabeled"] = _count_in(in_test, _hashes(task, folder, "unlabeled"))
        if task.deduplicate_pool:
            found = f"{overlap['unlabeled']:,} examples of the test set"
            checks.append(Check("deduplicated pool", not overlap["unlabeled"], found))
            overlap["unlabeled"] += _count_in(in_test, _hashes(task, folder, "overlap"))
    return checks + [_check_overlap(task, split, count, record) for split, count in overlap.items()]


def _hashes(task: Task, folder: Path, files: str) -> Iterator[bytes]:
    """The hash of each row's content, in order, of `data/<files>-*.parquet`."""
    paths = repository.files_of(folder, [f"data/{files}-*.parquet"])
    return (content_hash(row, task.modality) for row in repository.read_rows(paths, [task.modality]))


def _count_in(in_test: set[bytes], hashes: Iterator[bytes]) -> int:
    return sum(content in in_test for content in hashes)


def _check_overlap(task: Task, split: str, count: int, record: dict[str, Any]) -> Check:
    recorded = record.get("overlap_with_test", {}).get(split)
    # Published datasets hold a few duplicates; a split gone wrong holds many. STL-10's pool is known for them.
    known = split == "unlabeled" and task.deduplicate_pool
    few = known or count <= 0.01 * record["splits"]["test"]["rows"]
    found = f"{count:,} of the same content"
    if count != recorded:
        found += f", the build found {recorded}"
    elif not few:
        found += ", more than 1% of the test set"
    return Check(f"{split} and test", count == recorded and few, found, of_source=count == recorded)


def _check_draw(
    task: Task, folder: Path, name: str, draw: dict[str, Any], labels: np.ndarray, train: bytearray
) -> Check:
    try:
        again = make_draw(task, labels, draw["num_labeled"], draw["seed"])
    except ValueError as error:
        return Check(name, False, str(error))
    if index_hash(again.labeled) != draw["labeled_sha256"] or again.rest_sha256 != draw["rest_sha256"]:
        return Check(name, False, "the training labels give another draw than the build wrote down")
    if not task.given_labels:
        path = repository.labels_path(draw["num_labeled"], draw["seed"])
        if not _holds(task, folder / path, again.labeled, labels, train):
            return Check(name, False, f"{path} does not hold the drawn examples")
    counts = np.bincount(labels[again.labeled], minlength=len(task.class_names))
    found = f"{len(again.labeled):,} labels, {_per_class(counts)} per class, sha256 {draw['labeled_sha256'][:12]}"
    return Check(name, True, found)


def _holds(task: Task, path: Path, indices: np.ndarray, labels: np.ndarray, train: bytearray) -> bool:
    """Whether a file has these training examples, in this order."""
    drawn = [(bytes(train[HASH_BYTES * i : HASH_BYTES * (i + 1)]), labels[i]) for i in indices]
    rows = repository.read_rows([path], [task.modality, task.label_column])
    return [(content_hash(row, task.modality), row[task.label_column]) for row in rows] == drawn


def _check_tail(
    task: Task, folder: Path, tail: Tail, record: dict[str, Any], labels: np.ndarray, train: bytearray
) -> Check:
    """A long-tailed draw, drawn again, and the column that marks its pool."""
    name = tail_name(tail)
    try:
        again = make_tail(task, labels, tail)
    except ValueError as error:
        return Check(name, False, str(error))
    if again.identity() != record["long_tails"][name]:
        return Check(name, False, "the training labels give another draw than the build wrote down")
    if not _holds(task, folder / tail_path(tail), again.labeled, labels, train):
        return Check(name, False, f"{tail_path(tail)} does not hold the drawn examples")
    for column, expected in marks([again], len(labels)).items():
        rows = repository.read_rows(_files(task, folder, "train"), [column])
        if [row[column] for row in rows] != expected.tolist():
            return Check(name, False, f"column {column} of data/train-* does not mark the drawn pool")
    counts = np.bincount(labels[again.labeled], minlength=len(task.class_names))
    pool = f"{len(again.pool):,} of train" if len(again.pool) else "the unlabeled examples"
    return Check(name, True, f"{len(again.labeled):,} labels, {_per_class(counts)} per class; pool: {pool}")


def _per_class(counts: np.ndarray) -> str:
    return f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"


def _check_decoding(task: Task, folder: Path, record: dict[str, Any]) -> Check:
    for split in record["splits"]:
        row = next(repository.read_rows(_files(task, folder, split), batch_size=1))
        try:
            if task.modality == "image":
                image_bytes(row["image"]["bytes"], None, "", "the image")
            elif task.modality == "audio":
                _check_wave(row["audio"]["bytes"])
            elif not row["text"].strip():
                raise ValueError("the text is empty")
        except ValueError as error:
            return Check("decoding", False, f"first example of {split}: {error}")
    return Check("decoding", True, f"the first example of {', '.join(record['splits'])}")


def _check_wave(data: bytes) -> None:
    wave, sampling_rate = read_file(io.BytesIO(data), "the recording")
    channels = library("soundfile", "hf-ssl[audio]").info(io.BytesIO(data)).channels
    if sampling_rate != repository.SAMPLING_RATE or channels != 1 or len(wave) == 0:
        raise ValueError(
            f"the recording must be mono at 16,000 Hz, got {len(wave):,} samples, {channels} channels and "
            f"{sampling_rate:,} Hz"
        )
