"""What is looked at before training: examples that are in more than one of the datasets.

Two examples are the same if their text is, or their file byte by byte; a picture that was stored anew is not recognised. The
labeled and the evaluation examples are remembered by a 16-byte hash, the pool streams past them: memory does not grow with
the pool, and the time is that of reading it once (on one CPU core about 1 s for 50,000 CIFAR images or 100,000 texts, 3 s for
50,000 small files). After `duplicate_check_seconds` the search ends and says how far it came.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from PIL import Image
from transformers.utils import logging

from .batches import fetch_rows

logger = logging.get_logger(__name__)

ID_COLUMNS = ("index", "idx", "id", "guid", "uid", "file_name", "filename")
BATCH = 256


@dataclass
class Overlap:
    """How many examples of one dataset are in another one too.

    Args:
        name, other: which two.
        size: examples of `name`.
        places: position in `name` -> a position in `other` that holds the same example.
        by: "content", or the column whose values were compared.
    """

    name: str
    other: str
    size: int
    places: dict[int, int] = field(default_factory=dict)
    by: str = "content"

    @property
    def example(self) -> str:
        """The first common example, in words."""
        place = min(self.places)
        return f"{self.name} {place} = {self.other} {self.places[place]}"


@dataclass
class Duplicates:
    """What `find_duplicates` found: overlaps, seconds, share of the examples that it looked at, number of unreadable ones, and
    the datasets that cannot be searched because they are streams."""

    overlaps: list[Overlap]
    seconds: float = 0.0
    share: float = 1.0
    unreadable: int = 0
    streams: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line for the block at the start of a training."""
        found = [f"{len(o.places):,} of {o.size:,} {o.name} in {o.other}" for o in self.overlaps]
        by = " and ".join(dict.fromkeys(o.by for o in self.overlaps))
        partly = f", {self.share:.0%} of the examples looked at" if self.share < 1 else ""
        partly += f", {self.unreadable:,} examples could not be read" if self.unreadable else ""
        searched = [f"{'; '.join(found)} (by {by}, {self.seconds:.1f} s{partly})"] if found else []
        return "; ".join(searched + [f"{name} not searched, it is a stream" for name in self.streams])


def check_run(trainer) -> Duplicates | None:
    """What is looked at when a training starts, on the main process: duplicates."""
    evaluation, seconds = trainer.eval_dataset, trainer.args.duplicate_check_seconds
    if seconds == 0:
        return None
    if not isinstance(evaluation, dict):
        evaluation = {} if evaluation is None else {"evaluation": evaluation}
    else:
        evaluation = {f"evaluation {name}": dataset for name, dataset in evaluation.items()}
    # An algorithm without unlabeled views never reads the pool.
    uses_pool = any(name != "labeled_strong" for name in trainer.algorithm.views)
    pool = trainer.unlabeled_dataset if uses_pool else None
    data = trainer.data
    columns = data.input_columns or data.model_inputs[:1]
    if not data.input_columns and getattr(trainer.train_dataset, "transformed", False):
        return None  # what a transform returns may be random, and says nothing of the example
    duplicates = find_duplicates(trainer.train_dataset, pool, evaluation, columns, seconds)
    warn_of_duplicates(duplicates, seconds)
    return duplicates if duplicates.overlaps or duplicates.streams else None


def find_duplicates(
    labeled: Any, pool: Any, evaluation: Mapping[str, Any], columns: Sequence[str], max_seconds: float
) -> Duplicates:
    """Count the labeled examples that are in the pool, and the evaluation examples that are among either.

    Where both of two datasets have one of the columns `ID_COLUMNS`, its values decide, if some are equal and equal ones stand
    for equal examples (numbers that start at 0 in each split do not); otherwise contents do.

    Args:
        labeled, pool: datasets; a pool of None is left out.
        evaluation: evaluation datasets by the names that reports use.
        columns: the input columns; two for pairs of texts, which are the same if both are.
        max_seconds: when to end the search.
    """
    start = time.monotonic()
    sets = {"labeled": labeled, "pool": pool, **evaluation}
    streams = [name for name, dataset in sets.items() if dataset is not None and not hasattr(dataset, "__len__")]
    sets = {name: dataset for name, dataset in sets.items() if dataset is not None and name not in streams}
    pairs = [("labeled", "pool"), *((name, other) for name in evaluation for other in ("labeled", "pool"))]
    overlaps = [Overlap(name, other, len(sets[name])) for name, other in pairs if name in sets and other in sets]
    result = Duplicates(overlaps, streams=streams)
    for overlap in overlaps:
        by = _by_ids(sets[overlap.name], sets[overlap.other], columns)
        if by is not None:
            overlap.by, overlap.places = by
    open_pairs = [overlap for overlap in overlaps if overlap.by == "content"]
    known: dict[str, dict[bytes, list[int]]] = {}
    # The small sets first: what the pool is compared with has to be known by then.
    order = [*evaluation, "labeled", "pool"]
    order = [name for name in order if any(name in (overlap.name, overlap.other) for overlap in open_pairs)]
    seen = 0
    for name in order:
        remembered = known.setdefault(name, {})
        compared = [overlap for overlap in open_pairs if overlap.other == name]
        remembers = any(overlap.name == name for overlap in open_pairs)
        for place, digest in enumerate(_digests(sets[name], columns)):
            if time.monotonic() - start > max_seconds:
                break
            seen += 1
            if digest is None:
                result.unreadable += 1
                continue
            for overlap in compared:
                for same in known[overlap.name].get(digest, ()):
                    overlap.places.setdefault(same, place)
            if remembers:
                remembered.setdefault(digest, []).append(place)
    total = sum(len(sets[name]) for name in order)
    result.share = seen / total if total else 1.0
    result.seconds = time.monotonic() - start
    return result


def warn_of_duplicates(duplicates: Duplicates, max_seconds: float) -> None:
    """Warn of evaluation examples that were trained on, and of a search that was cut short."""
    for overlap in duplicates.overlaps:
        if not overlap.places or overlap.name == "labeled":
            continue
        count = f"{len(overlap.places):,} of {overlap.size:,} examples of the {overlap.name} dataset are also"
        if overlap.other == "labeled":
            logger.warning(
                f"{count} among the labeled ones ({overlap.example}): the measured accuracy will be too high; take them out of "
                "one of the two"
            )
        else:
            logger.warning(
                f"{count} in the unlabeled pool ({overlap.example}): training sees them, without their labels, which makes "
                "this transductive learning; take them out of the pool, or say so beside the result"
            )
    if duplicates.share < 1:
        logger.warning(
            f"the search for duplicates looked at {duplicates.share:.0%} of the examples in the {max_seconds:g} s that "
            "duplicate_check_seconds allows; raise it to look at all of them, or set it to 0 to look at none"
        )


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _by_ids(first: Any, second: Any, columns: Sequence[str]) -> tuple[str, dict[int, int]] | None:
    """The id column and the places of equal ids; None if there is no id that means the same in both datasets."""
    shared = [set(getattr(dataset, "column_names", None) or ()) for dataset in (first, second)]
    for name in ID_COLUMNS:
        if name not in shared[0] or name not in shared[1] or name in columns:
            continue
        ids, others = (list(_stored(dataset, [name])[name][:]) for dataset in (first, second))
        at = {value: place for place, value in enumerate(others)}
        places = {place: at[value] for place, value in enumerate(ids) if value in at}
        unique = len(at) == len(others) and len(set(ids)) == len(ids)
        probes = [*places.items()][:: max(len(places) // 16, 1)]
        if unique and probes and all(_same(first, second, pair, columns) for pair in probes):
            return name, places
    return None


def _same(first: Any, second: Any, pair: tuple[int, int], columns: Sequence[str]) -> bool:
    rows = [fetch_rows(_stored(dataset, columns), [place])[0] for dataset, place in zip((first, second), pair, strict=True)]
    digests = [_joint([digest(row[name]) for name in columns]) for row in rows]
    return digests[0] is not None and digests[0] == digests[1]


def _stored(dataset: Any, columns: Sequence[str]) -> Any:
    """Where these columns are stored, as they are: the dataset, or the one of the two that `Rows` joins."""
    for part in (dataset, getattr(dataset, "raw", None), getattr(dataset, "tensors", None)):
        if isinstance(part, datasets.Dataset) and set(columns) <= set(part.column_names):
            return part.with_format(None)
    return dataset


def _digests(dataset: Any, columns: Sequence[str]) -> Iterator[bytes | None]:
    """The digest of each example, in order."""
    dataset = _stored(dataset, columns)
    if isinstance(dataset, datasets.Dataset):
        # Arrow's own values: nothing is decoded, and no transform is run.
        for table in dataset.select_columns(list(columns)).with_format("arrow").iter(BATCH):
            yield from map(_joint, zip(*(map(digest, table[name].to_pylist()) for name in columns), strict=True))
    else:
        for start in range(0, len(dataset), BATCH):
            rows = fetch_rows(dataset, range(start, min(start + BATCH, len(dataset))))
            yield from (_joint([digest(row[name]) for name in columns]) for row in rows)


def _joint(digests: Sequence[bytes | None]) -> bytes | None:
    """One digest of the columns' digests: None if one could not be read."""
    if any(part is None for part in digests):
        return None
    return digests[0] if len(digests) == 1 else hashlib.blake2b(b"".join(digests), digest_size=16).digest()


def digest(value: Any) -> bytes | None:
    """16 bytes that tell an example's content from others; None where it cannot be read (its view will say why)."""
    hashed = hashlib.blake2b(digest_size=16)
    try:
        if isinstance(value, Mapping):
            if value.get("bytes") is not None:
                hashed.update(value["bytes"])
            elif value.get("path") is not None:
                _read_into(hashed, value["path"])
            else:
                _array_into(hashed, value["array"])
        elif isinstance(value, str):
            hashed.update(value.encode("utf-8", "surrogatepass"))
        elif isinstance(value, bytes):
            hashed.update(value)
        elif isinstance(value, Image.Image):
            hashed.update(repr((value.mode, value.size)).encode())
            hashed.update(value.tobytes())
        else:
            _array_into(hashed, value)
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return hashed.digest()


def _read_into(hashed, path: str) -> None:
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hashed.update(chunk)


def _array_into(hashed, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError("no array of numbers")
    hashed.update(repr((array.shape, array.dtype.str)).encode())
    hashed.update(np.ascontiguousarray(array).tobytes())
