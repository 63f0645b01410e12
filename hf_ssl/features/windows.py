"""The rows of a dataset in windows: what is read, batched and encoded together.

    rows  ...|0 1 2 3 4 5 6 7|8 9 ...      a window, in the order of the dataset
              3 6 1 4|0 7 5 2              texts sorted by length: batches with little padding
              0 1 2 3 4 5 6 7              every result in its place again

Where windows begin and how they are batched depends on the settings alone, so a resumed pass gives the same numbers,
bit for bit, as one that was never stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..batches.sampler import ExampleKey
from ..data.rows import fetch_rows
from ..errors import BrokenExampleError
from ..views.seeds import global_seeds
from .inputs import label_rows

# Texts of this many batches are sorted together. Padding then costs little, and a window is encoded in seconds.
_SORTED_BATCHES = 16
# Number of the random stream of transforms; those of views are 0, 1, ...
_TRANSFORM = 127


@dataclass
class Window:
    """What is encoded together.

    Args:
        start: position of its first row in the dataset.
        size: W, its number of rows.
        views: per view the batches: model keywords, and the places [n] of their rows in the window.
        labels: classes [W], int64, -1 without one; or float32 [W, `label_size`], NaN without.
        broken: places of the rows that cannot be read.
    """

    start: int
    size: int
    views: list[list[tuple[dict[str, torch.Tensor], np.ndarray]]]
    labels: np.ndarray
    broken: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class WindowMaker:
    """Turns rows into a `Window`. Picklable, since workers get a copy.

    Args:
        views: the view maker.
        label_column: its name.
        batch_size: examples per batch.
        label_size: see `hf_ssl.features.inputs.label_size`.
        by_length: whether rows are sorted by their length, as texts are.
        kinds: kinds of the views beside the evaluation view: ("weak", "weak") for two weak ones.
        seed: of their random numbers.
        skip_broken: leave out rows that cannot be read, instead of raising.
    """

    views: Any
    label_column: str
    batch_size: int
    label_size: int | None = None
    by_length: bool = False
    kinds: tuple[str, ...] = ()
    seed: int = 0
    skip_broken: bool = False

    @property
    def rows(self) -> int:
        """W, rows per window."""
        return self.batch_size * (_SORTED_BATCHES if self.by_length else 1)

    def __call__(self, start: int, rows: Sequence[Mapping[str, Any] | BrokenExampleError]) -> Window:
        """The window of these rows; an error takes the place of a row that could not be read."""
        items: list[list[Any]] = [[] for _ in range(1 + len(self.kinds))]
        places: list[int] = []
        broken: list[int] = []
        for place, row in enumerate(rows):
            try:
                made = self._items(start + place, row)
            except BrokenExampleError as error:
                if not self.skip_broken:
                    raise BrokenExampleError(f"row {start + place} of the dataset: {error}") from error
                broken.append(place)
                continue
            places.append(place)
            for item, view in zip(made, items, strict=True):
                view.append(item)
        cells = [None if isinstance(row, BrokenExampleError) else row.get(self.label_column) for row in rows]
        if self.label_size is None:
            labels = np.asarray([-1 if cell is None else int(cell) for cell in cells], dtype=np.int64)
        else:
            labels = label_rows(cells, self.label_size)
        batches = [list(self._batches(view, np.asarray(places, dtype=np.int64))) for view in items]
        return Window(start, len(rows), batches, labels, broken)

    def _items(self, index: int, row: Mapping[str, Any] | BrokenExampleError) -> list[Any]:
        if isinstance(row, BrokenExampleError):
            raise row
        key = ExampleKey(labeled=False, index=index, epoch=0, cycle=0)
        if self.kinds and getattr(self.views, "shares_decoding", False):
            row = self.views.example(row)
        views = [self.views(kind, row, key.generator(self.seed, view)) for view, kind in enumerate(self.kinds)]
        return [self.views.evaluation(row), *views]

    def _batches(self, items: list[Any], places: np.ndarray) -> Iterator[tuple[dict[str, torch.Tensor], np.ndarray]]:
        lengths = np.asarray([_length(item) for item in items])
        order = np.argsort(-lengths, kind="stable") if len(items) else np.zeros(0, dtype=np.int64)
        for first in range(0, len(order), self.batch_size):
            chosen = order[first : first + self.batch_size]
            yield dict(self.views.collate([items[place] for place in chosen])), places[chosen]


class _Windows(Dataset):
    """Windows of indexable rows by their number."""

    def __init__(self, rows: Any, maker: WindowMaker):
        self.rows, self.maker = rows, maker

    def __len__(self) -> int:
        return -(-len(self.rows) // self.maker.rows)

    def __getitem__(self, number: int) -> Window:
        start = number * self.maker.rows
        positions = range(start, min(start + self.maker.rows, len(self.rows)))
        return self.maker(start, self._read(positions))

    def _read(self, positions: Sequence[int]) -> list[Mapping[str, Any] | BrokenExampleError]:
        if not getattr(self.rows, "transformed", False):
            try:
                return list(fetch_rows(self.rows, positions))
            except BrokenExampleError:
                pass  # one of them; found below
        return [self._read_one(position) for position in positions]

    def _read_one(self, position: int) -> Mapping[str, Any] | BrokenExampleError:
        key = ExampleKey(labeled=False, index=position, epoch=0, cycle=0)
        try:
            with global_seeds(key.generator(self.maker.seed, _TRANSFORM)):
                return self.rows[position]
        except BrokenExampleError as error:
            return error


def iterate(
    rows: Any, maker: WindowMaker, *, skip: int = 0, rank: int = 0, processes: int = 1, workers: int = 0
) -> Iterator[Window]:
    """The windows of one process in their order: numbers `rank`, `rank` + `processes`, ...

    Args:
        rows: a prepared dataset, or a stream of rows, which every process reads.
        maker: of the windows.
        skip: windows of this process that are done.
        rank, processes: of how many processes this is which.
        workers: processes that read ahead; a stream is read in this one.
    """
    if hasattr(rows, "__len__"):
        windows = _Windows(rows, maker)
        numbers = range(rank, len(windows), processes)[skip:]
        yield from DataLoader(windows, batch_size=None, sampler=numbers, num_workers=workers)
        return
    stream = iter(rows)
    number = 0
    while part := list(islice(stream, maker.rows)):
        if number % processes == rank and number // processes >= skip:
            yield maker(number * maker.rows, part)
        number += 1


def _length(item: Any) -> int:
    """Tokens of a text; 0 for what has one size."""
    return len(item["input_ids"]) if isinstance(item, Mapping) and "input_ids" in item else 0
