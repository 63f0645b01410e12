"""Examples that are in more than one of the datasets, searched before training.

Two examples are the same if their text is, or their file byte by byte; a picture that was saved again is not
recognized. The labeled and the evaluation examples are all read and compared with each other. If a pool has more than
`SAMPLE` examples, only this many, drawn at random, are read, so that a training starts as fast with ten million as
with a thousand: evaluation data that was put into the pool is found, a few single examples are not, and the message
says how many were examined. After `duplicate_check_seconds` the search ends and says how far it came.
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

from ..limits import LARGEST_FILE, check_file
from .rows import fetch_rows, raw_part, tensor_part

logger = logging.get_logger(__name__)

BATCH = 256
# If 0.6 % of a pool are also evaluation examples, this many show at least one of them with a probability of 95 %.
SAMPLE = 500


@dataclass
class Overlap:
    """The examples of one dataset that are in another one, too.

    Args:
        name, other: the names of the two.
        size, other_size: how many examples they have.
        looked_at: how many examples of `other` were compared, all of them or a sample.
        places: position in `name` -> a position in `other` that holds the same example.
    """

    name: str
    other: str
    size: int
    other_size: int
    looked_at: int
    places: dict[int, int] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether only a sample of `other` was compared."""
        return self.looked_at < self.other_size

    @property
    def example(self) -> str:
        """The first common example, in words."""
        place = min(self.places)
        return f"{self.name} {place} = {self.other} {self.places[place]}"

    def describe(self) -> str:
        """How many, and of how many, in words."""
        if not self.sampled:
            return f"{len(self.places):,} of {self.size:,} {self.name} in {self.other}"
        same = len(set(self.places.values()))
        drawn = f"{self.looked_at:,} drawn from the {self.other_size:,} of the {self.other}"
        return f"{self.name} examples are {same:,} of {drawn}"


@dataclass
class Duplicates:
    """What `find_duplicates` found.

    Args:
        overlaps: one for each pair of datasets that were compared.
        seconds: duration of the search.
        share: how much of what was to be read was read in time, in 0..1.
        unreadable: number of examples that could not be read.
        streams: names of the datasets that cannot be searched because they are streams.
    """

    overlaps: list[Overlap]
    seconds: float = 0.0
    share: float = 1.0
    unreadable: int = 0
    streams: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line for the block at the start of a training."""
        found = [overlap.describe() for overlap in self.overlaps]
        partly = f", {self.share:.0%} of them looked at" if self.share < 1 else ""
        partly += f", {self.unreadable:,} examples could not be read" if self.unreadable else ""
        searched = [f"{'; '.join(found)} (by content, {self.seconds:.1f} s{partly})"] if found else []
        return "; ".join(searched + [f"{name} not searched, it is a stream" for name in self.streams])


def find_duplicates(
    labeled: Any,
    pool: Any,
    evaluation: Mapping[str, Any],
    columns: Sequence[str],
    max_seconds: float,
    sample: int = SAMPLE,
    files: bool = False,
) -> Duplicates:
    """Find the labeled examples that are in the pool, and the evaluation examples that are in either.

    Args:
        labeled, pool: datasets; a pool of None is left out.
        evaluation: evaluation datasets by the names that reports use.
        columns: the input columns; two for pairs of texts, which are the same if both are.
        max_seconds: when to end the search.
        sample: how many examples of the pool are read at most; the same ones each time.
        files: whether texts in the columns are names of files, which are what is compared then.

    Example:
        >>> texts = [datasets.Dataset.from_dict({"text": list(letters)}) for letters in ("ab", "bcd", "xd")]
        >>> found = find_duplicates(texts[0], texts[1], {"evaluation": texts[2]}, ["text"], max_seconds=60)
        >>> [(overlap.describe(), overlap.places) for overlap in found.overlaps if overlap.places]
        [('1 of 2 labeled in pool', {1: 0}), ('1 of 2 evaluation in pool', {1: 2})]
    """
    start = time.monotonic()
    given = {"pool": pool, "labeled": labeled, **evaluation}
    known = {name: dataset for name, dataset in given.items() if dataset is not None}
    streams = [name for name, dataset in known.items() if not hasattr(dataset, "__len__")]
    sets = {name: dataset for name, dataset in known.items() if name not in streams}
    read = {name: _places(len(dataset), sample if name == "pool" else None) for name, dataset in sets.items()}
    pairs = [("labeled", "pool"), *((name, other) for name in evaluation for other in ("labeled", "pool"))]
    overlaps = [
        Overlap(name, other, len(sets[name]), len(sets[other]), len(read[other]))
        for name, other in pairs
        if name in sets and other in sets
    ]
    result = Duplicates(overlaps, streams=streams)
    compared = {name for overlap in overlaps for name in (overlap.name, overlap.other)}
    read = {name: places for name, places in read.items() if name in compared}
    seen = _compare(result, sets, read, columns, start + max_seconds, files)
    total = sum(map(len, read.values()))
    result.share = seen / total if total else 1.0
    result.seconds = time.monotonic() - start
    return result


def _places(size: int, sample: int | None) -> Sequence[int]:
    """The positions that are read of a dataset: all, or a sample if it has more examples."""
    if sample is None or size <= sample:
        return range(size)
    return np.sort(np.random.default_rng(0).choice(size, sample, replace=False)).tolist()


def _compare(
    result: Duplicates,
    sets: Mapping[str, Any],
    read: Mapping[str, Sequence[int]],
    columns: Sequence[str],
    deadline: float,
    files: bool,
) -> int:
    """Fill in the overlaps of `result`, until the deadline on the monotonic clock; the number of examples read.

    Each dataset is compared with those before it, whose digests are remembered: pool, labeled, evaluation.
    """
    known: dict[str, dict[bytes, int]] = {"labeled": {}, "pool": {}}
    seen = 0
    for name, places in read.items():
        for place, found in zip(places, _digests(sets[name], columns, places, files), strict=False):
            if time.monotonic() > deadline:
                break
            seen += 1
            if found is None:
                result.unreadable += 1
                continue
            if name in known:
                known[name].setdefault(found, place)
            for overlap in result.overlaps:
                if overlap.name == name and found in known[overlap.other]:
                    overlap.places[place] = known[overlap.other][found]
    return seen


def warn_of_duplicates(duplicates: Duplicates, max_seconds: float) -> None:
    """Warn of evaluation examples that are also trained on, and of a search that was cut short."""
    for overlap in duplicates.overlaps:
        if not overlap.places or overlap.name == "labeled":
            continue
        count = f"{len(overlap.places):,} of {overlap.size:,} examples of the {overlap.name} dataset are also"
        if overlap.other == "labeled":
            logger.warning(
                f"{count} among the labeled ones ({overlap.example}): the measured accuracy will be too high; take "
                "them out of one of the two"
            )
            continue
        count = f"{count} in the unlabeled pool ({overlap.example})"
        if overlap.sampled:
            same = len(set(overlap.places.values()))
            count = (
                f"{same:,} of {overlap.looked_at:,} examples drawn at random from the {overlap.other_size:,} of the "
                f"unlabeled pool, the only ones of it looked at, are also in the {overlap.name} dataset "
                f"({overlap.example})"
            )
        logger.warning(
            f"{count}: training sees them, without their labels, which makes this transductive learning; take them "
            "out of the pool, or say so beside the result"
        )
    if duplicates.share < 1:
        logger.warning(
            f"the search for duplicates looked at {duplicates.share:.0%} of what it would in the {max_seconds:g} s "
            "that duplicate_check_seconds allows; raise it to look at all of that, or set it to 0 to look at none"
        )


def _stored(dataset: Any, columns: Sequence[str]) -> Any:
    """The dataset that stores these columns, as they are: the given one, or one of the two that `Rows` joins."""
    for part in (raw_part(dataset), tensor_part(dataset)):
        if isinstance(part, datasets.Dataset) and set(columns) <= set(part.column_names):
            return part.with_format(None)
    return dataset


def _digests(dataset: Any, columns: Sequence[str], places: Sequence[int], files: bool) -> Iterator[bytes | None]:
    """The digests of the examples at `places`, in order."""
    dataset = _stored(dataset, columns)
    arrow = isinstance(dataset, datasets.Dataset)
    if arrow:
        # Arrow's own values: nothing is decoded, and no transform is run.
        dataset = dataset.select_columns(list(columns)).with_format("arrow")
    for start in range(0, len(places), BATCH):
        part = places[start : start + BATCH]
        if arrow:
            table = dataset[part]
            cells = ([digest(cell, files) for cell in table[name].to_pylist()] for name in columns)
            yield from map(_joint, zip(*cells, strict=True))
        else:
            rows = fetch_rows(dataset, part)
            yield from (_joint([digest(row[name], files) for name in columns]) for row in rows)


def _joint(digests: Sequence[bytes | None]) -> bytes | None:
    """One digest of the columns' digests; None if one of them could not be read."""
    parts = [part for part in digests if part is not None]
    if len(parts) < len(digests):
        return None
    return parts[0] if len(parts) == 1 else hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def digest(value: Any, files: bool = False) -> bytes | None:
    """16 bytes that tell an example's content from others; None if it cannot be read (its view will say why).

    Args:
        value: a text, an image, an array, or a file as {"bytes", "path"}.
        files: whether a text is the name of a file, as in tables of pictures or recordings.
    """
    hashed = hashlib.blake2b(digest_size=16)
    try:
        if isinstance(value, Mapping):
            if value.get("bytes") is not None:
                hashed.update(value["bytes"])
            elif value.get("path") is not None:
                _read_into(hashed, value["path"])
            else:
                _array_into(hashed, value["array"])
        elif isinstance(value, str) and files:
            _read_into(hashed, value)
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


def _read_into(hashed: Any, path: str) -> None:
    check_file(path, LARGEST_FILE)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hashed.update(chunk)


def _array_into(hashed: Any, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError("not an array of numbers")
    hashed.update(repr((array.shape, array.dtype.str)).encode())
    hashed.update(np.ascontiguousarray(array).tobytes())
