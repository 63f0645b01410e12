"""Joint batches whose unlabeled part comes from a stream: what is drawn, in which order, and how a run goes on.

    labeled set  [0 .. L)      cycled as for other pools                        -> B draws     \\
                                                                                                 one batch of B + mu*B
    stream       row, row, ... blocks of `stream_buffer_size` rows, each shuffled -> mu*B draws /

A stream that ends begins again. Order and views follow from (seed, pass, position in the pass): neither workers nor
prefetching can change them. The rows are read by the training process, where batches for workers are read ahead in
the threads that send them; workers make the views.

A block in use leads back to the state that the stream had before its first row. So what a checkpoint keeps is that
state and the number of rows drawn since: a resumed run reads this block once more, and draws on as if nothing had
happened. While a block is drawn from, the next one is read, one row for each draw: at most two blocks are in memory.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, overload

import numpy as np
from torch.utils.data import Sampler
from transformers.utils import logging

from ..data.streams import RowPreparer, StreamPart, row_mark
from ..errors import BrokenExampleError
from .dataset import REPLACEMENT, ViewDataset
from .sampler import GROUP, ExampleKey, KeyBatch, KeyGroup, LabeledDraws, UnreadableKeys, shuffled

logger = logging.get_logger(__name__)


class Draw(NamedTuple):
    """One draw of one example.

    Args:
        key: from which the random numbers of its views follow. Of the stream, "epoch" is the pass and "index" the
            position in it; with P processes these are the positions rank, rank + P, rank + 2 * P, ...
        row: the raw row of the stream; None for labeled examples, and if no view is made of the stream.
    """

    key: ExampleKey
    row: Mapping[str, Any] | None = None


class _Block(NamedTuple):
    """Rows that are shuffled together.

    Args:
        number: of the pass.
        place: number of the block in the pass.
        state: of the stream before the first row; None at the start of the pass.
        start: position of the first row in the pass.
        rows: those read so far.
    """

    number: int
    place: int
    state: dict[str, Any] | None
    start: int
    rows: list[Mapping[str, Any]]


class StreamReader:
    """Reads a process's part of a stream in batches, and says where to go on after any of the last ones.

    Args:
        part: what is read.
        batch_size: mu*B rows per batch.
        buffer_size: rows per block, which are shuffled together; 0 or 1 takes them as they come.
        seed: decides the order.
        rank, processes: of how many processes this is which; it makes positions unique.
        kept: for how many of the last batches `state_after` is known; at least those that are read ahead.

    Raises:
        ValueError: when it reads, if the part has no row at all.

    Note:
        The first block of a pass is shuffled like an epoch over a dataset of its size. So training on a stream that
        fits into `buffer_size` is, in its first pass, bit for bit the training on the same rows in memory.

    Example:
        >>> import datasets
        >>> stream = datasets.Dataset.from_dict({"n": range(5)}).to_iterable_dataset()
        >>> reader = StreamReader(StreamPart(stream), batch_size=4, buffer_size=0)
        >>> [(draw.key.epoch, draw.key.index, draw.row["n"]) for draw in reader.read(1)]
        [(0, 4, 4), (1, 0, 0), (1, 1, 1), (1, 2, 2)]
        >>> state = reader.state_after(1)
        >>> again = StreamReader(StreamPart(stream), batch_size=4, buffer_size=0)
        >>> again.load(state, batches=1)
        >>> [draw.row["n"] for draw in again.read(1)]
        [4, 0, 1, 2]
    """

    def __init__(
        self,
        part: StreamPart,
        batch_size: int,
        buffer_size: int,
        seed: int = 0,
        *,
        rank: int = 0,
        processes: int = 1,
        kept: int = 1,
    ):
        self.batch_size, self.block_size, self.kept = batch_size, max(buffer_size, 1), kept
        self._part, self._seed, self._rank, self._processes = part, seed, rank, processes
        self._rows: Iterator[Mapping[str, Any]] = iter(())
        # Threads that send batches to workers read as well; each batch is read by the first that asks for a later one.
        self._lock = threading.Lock()
        self._ready: dict[int, list[Draw]] = {}
        self._next = 0
        # The blocks of the last batches: number of the first draw in the run, and the block with its first row alone.
        self._used: deque[tuple[int, _Block]] = deque()
        self._loaded_mark = ""
        self._draws = self._drawn(None)

    def read(self, number: int) -> list[Draw]:
        """The draws of batch `number` of this process, which can be asked for once."""
        with self._lock:
            while self._next <= number:
                draws = list(islice(self._draws, self.batch_size))
                if len(draws) < self.batch_size:
                    # Draws have no end but this: without an error, a loader would take it for that of the training.
                    raise RuntimeError("the unlabeled stream was closed, or has failed before; train again")
                self._ready[self._next] = draws
                self._next += 1
                while len(self._used) > 1 and self._used[1][0] <= (self._next - self.kept) * self.batch_size:
                    self._used.popleft()
            return self._ready.pop(number)

    def state_after(self, batches: int) -> dict[str, Any] | None:
        """Where to go on after so many batches of this process: plain values for JSON; None before the first."""
        draws = batches * self.batch_size
        with self._lock:
            for first, block in reversed(self._used):
                if first <= draws:
                    return {
                        "block_size": self.block_size,
                        "pass": block.number,
                        "block": block.place,
                        "start": block.start,
                        "stream": block.state,
                        "first_row": row_mark(block.rows[0]) if block.rows else self._loaded_mark,
                        "drawn": draws - first,
                    }
        return None

    def load(self, state: Mapping[str, Any] | None, batches: int) -> None:
        """Go on where another reader was after `batches` batches, which are not read again.

        Raises:
            ValueError: if that one read blocks of another size.
        """
        if state is not None and state["block_size"] != self.block_size:
            raise ValueError(
                f"stream_buffer_size must be {state['block_size']}, as in the run that is resumed, got "
                f"{self.block_size}; set it, or start from scratch"
            )
        self._next, self._draws = batches, self._drawn(state)
        if state is not None:
            self._loaded_mark = state["first_row"]
            self._used.append((batches * self.batch_size - state["drawn"], _saved(state)))

    def close(self) -> None:
        """Let go of the stream and of the rows that were read ahead."""
        # A thread that waits for the stream has the lock, perhaps forever; it ends with the process.
        if self._lock.acquire(blocking=False):
            self._rows, self._draws = iter(()), iter(())
            self._ready.clear()
            self._lock.release()

    def _drawn(self, state: Mapping[str, Any] | None) -> Iterator[Draw]:
        """Draws without end, from the start or from a saved state on."""
        first = self._next * self.batch_size
        block, skipped = (_Block(0, 0, None, 0, []), 0) if state is None else (_saved(state), state["drawn"])
        block = self._open(block)
        first -= skipped
        while True:
            whole = self._read_into(block, self.block_size)
            if not block.rows:
                way_out = "use fewer processes, or a stream whose shards all hold rows"
                if self._processes == 1:
                    way_out = "use a stream that holds rows, and begins again whenever it is iterated over"
                raise ValueError(
                    f"the unlabeled stream gave no row in pass {block.number} to process {self._rank} of "
                    f"{self._processes}; {way_out}"
                )
            if self._used and self._used[-1][0] == first:
                self._warn_of_other_rows(block)
            else:
                self._used.append((first, block._replace(rows=block.rows[:1])))
            following = self._after(block) if whole else self._open(_Block(block.number + 1, 0, None, 0, []))
            for place in self._order(block)[skipped:]:
                self._read_into(following, len(following.rows) + 1)
                yield self._draw(block, int(place))
            first, skipped = first + len(block.rows), 0
            if not self._read_into(following, max(len(following.rows), 1)) and not following.rows:
                # The pass has ended with the last row of a block.
                following = self._open(_Block(block.number + 1, 0, None, 0, []))
            block = following

    def _warn_of_other_rows(self, block: _Block) -> None:
        """Warn if a block that is read again after resuming is another one than before."""
        if row_mark(block.rows[0]) != self._loaded_mark:
            logger.warning(
                f"the unlabeled stream gives another row {block.start} in pass {block.number} than before the "
                "interruption: the resumed training is not that of an uninterrupted one; for that, a stream must give "
                "the same rows in the same order"
            )

    def _open(self, block: _Block) -> _Block:
        self._rows = self._part.begin(block.number, block.state)
        return block

    def _after(self, block: _Block) -> _Block:
        """The block behind one that is whole, whose rows are those that the stream gives next."""
        return _Block(block.number, block.place + 1, self._part.state(), block.start + len(block.rows), [])

    def _read_into(self, block: _Block, size: int) -> bool:
        """Read until the block has `size` rows, but not more than fit; False if the stream has ended before."""
        while len(block.rows) < min(size, self.block_size):
            row = next(self._rows, None)
            if row is None:
                return False
            block.rows.append(row)
        return True

    def _order(self, block: _Block) -> np.ndarray:
        size = len(block.rows)
        if self.block_size == 1:
            return np.arange(size)
        return shuffled(self._seed, block.number, block.place, size, labeled=False)

    def _draw(self, block: _Block, place: int) -> Draw:
        position = (block.start + place) * self._processes + self._rank
        return Draw(ExampleKey(False, position, block.number, 0), block.rows[place])


def _saved(state: Mapping[str, Any]) -> _Block:
    """The block of a saved state, whose rows are yet to be read."""
    return _Block(state["pass"], state["block"], state["stream"], state["start"], [])


class StreamBatch(Sequence[Draw]):
    """The draws of one batch, B labeled ones and then mu*B of the stream, made when they are first asked for.

    A batch that belongs to another process, or was trained on before the run was resumed, is never read.
    """

    __slots__ = ("_draws", "_labeled", "_number", "_reader", "_size")

    def __init__(self, labeled: Sequence[ExampleKey], size: int, reader: StreamReader | None, number: int):
        self._labeled, self._size, self._reader, self._number = labeled, size, reader, number
        self._draws: list[Draw] | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Draw]:
        if self._draws is None:
            labeled = [Draw(key) for key in self._labeled]
            unread = Draw(ExampleKey(False, 0, 0, 0))
            others = (
                [unread] * (self._size - len(labeled)) if self._reader is None else self._reader.read(self._number)
            )
            self._draws = labeled + others
        return iter(self._draws)

    @overload
    def __getitem__(self, place: int) -> Draw: ...

    @overload
    def __getitem__(self, place: slice) -> list[Draw]: ...

    def __getitem__(self, place: int | slice) -> Draw | list[Draw]:
        return list(self)[place]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # As in `KeyBatch`: this runs in a thread of the loader, in which an error would be lost.
        try:
            return list, (list(self),)
        except Exception as error:
            return UnreadableKeys, (f"the unlabeled stream cannot be read: {type(error).__name__}: {error}",)


class StreamBatchSampler(Sampler[Sequence[Draw]]):
    """Yields B labeled draws and mu*B of a stream at a time; there is one epoch, the whole run.

    Args:
        num_labeled: size of the labeled set.
        labeled_batch_size, unlabeled_batch_size: B and mu*B of one process.
        batches: of the whole run and all processes, which get them in turn.
        reader: of this process; None if no view is made of the stream, which then is never read.
        processes: how many there are.
        seed: decides the order of the labeled set.
        classes: as in `JointBatchSampler`.
    """

    # accelerate reads these two; it drops every batch that is shorter than `batch_size`.
    drop_last = True

    def __init__(
        self,
        num_labeled: int,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        batches: int,
        reader: StreamReader | None,
        *,
        processes: int = 1,
        seed: int = 0,
        classes: np.ndarray | None = None,
    ):
        self.labeled = LabeledDraws(num_labeled, labeled_batch_size, seed, classes)
        self.num_labeled, self.labeled_batch_size = num_labeled, labeled_batch_size
        self.batch_size = labeled_batch_size + unlabeled_batch_size
        self.batches, self.reader, self.processes, self.seed = batches, reader, processes, seed

    def set_epoch(self, epoch: int) -> None:
        """Nothing: there is one epoch."""

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[StreamBatch]:
        size = self.labeled_batch_size
        for start in range(0, self.batches, GROUP):
            count = min(GROUP, self.batches - start)
            group = KeyGroup(0, size, size, partial(self.labeled.of_batches, 0, start, count))
            for place in range(count):
                yield StreamBatch(
                    KeyBatch(group, place), self.batch_size, self.reader, (start + place) // self.processes
                )


class StreamViews(ViewDataset):
    """As `ViewDataset`, of draws whose unlabeled rows come with them.

    Args:
        labeled, views, names, label_column, seed, skip_broken, classes: as in `ViewDataset`. Another example of the
            batch takes the place of one that cannot be read.
        prepare: makes prepared rows of raw ones.
    """

    def __init__(
        self,
        labeled: Any,
        prepare: RowPreparer,
        views: Any,
        names: Mapping[str, str],
        label_column: str,
        seed: int = 0,
        skip_broken: bool = False,
        classes: np.ndarray | None = None,
    ):
        super().__init__(labeled, (), views, names, label_column, seed, skip_broken, classes)
        self.prepare = prepare

    def __len__(self) -> int:
        raise TypeError("a stream has no length")

    def __getitems__(self, draws: Sequence[Any]) -> list[dict[str, Any]]:
        """The items of a whole batch of `Draw`s."""
        draws = list(draws)
        labeled = super().__getitems__([draw.key for draw in draws if draw.key.labeled])
        pool = [draw for draw in draws if not draw.key.labeled]
        return labeled + [self._pool_item(draw, pool) for draw in pool]

    def _pool_item(self, draw: Draw, others: Sequence[Draw]) -> dict[str, Any]:
        if not self.unlabeled_names:
            return {"key": draw.key}
        broken: list[int] = []
        for source in self._candidates(draw, others):
            assert source.row is not None, "a reader gives rows"
            try:
                row = self.prepare(source.row, source.key.index)
                item = self._views(draw.key, source.key, row)
                return {**item, "broken": broken} if broken else item
            except BrokenExampleError as error:
                problem = f"row {source.key.index} of the unlabeled stream: {error}"
                if not self.skip_broken:
                    raise BrokenExampleError(problem) from error
                broken.append(source.key.index)
        raise BrokenExampleError(f"none of the {len(others)} examples of a batch can be read; the last, {problem}")

    def _candidates(self, draw: Draw, others: Sequence[Draw]) -> Iterator[Draw]:
        """The draw itself; if it cannot be read, others of its batch in random order."""
        yield draw
        for place in draw.key.generator(self.seed, REPLACEMENT).permutation(len(others)):
            if others[place] is not draw:
                yield others[place]
