"""Which examples each step takes: keys, from which the examples and the random numbers of their views follow.

    labeled set   [0 .. L)   cycled, a fresh shuffle in each cycle   -> B  keys  \\
                                                                                one batch of B + mu*B keys
    unlabeled pool [0 .. U)  one shuffled pass makes an epoch        -> mu*B keys /

Both orders and all random draws of the views are functions of (seed, epoch, position) alone, so that neither workers,
nor prefetching, nor the number of processes, nor resuming in the middle can change them.

With the classes of the labeled examples each class is cycled by itself, and all classes are drawn equally often.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from torch.utils.data import Sampler

# Batches whose examples are found together, and sorted by length together.
GROUP = 50


class Lengths(Protocol):
    """Lengths of examples, such as an array [N] or `TextLengths`: positions [M] -> lengths [M]."""

    def __getitem__(self, positions: np.ndarray, /) -> np.ndarray: ...


class ExampleKey(NamedTuple):
    """One draw of one example, from which the random numbers of its views follow.

    Args:
        labeled: whether it is from the labeled set, and not from the pool.
        index: position in that set.
        epoch: passes over the pool before it.
        cycle: passes over its own set in this epoch before it.

    Example:
        >>> key = ExampleKey(labeled=False, index=7, epoch=2, cycle=0)
        >>> [key.generator(seed=1, view=view).integers(1000, size=2).tolist() for view in (0, 0, 1)]
        [[824, 638], [824, 638], [74, 658]]
    """

    labeled: bool
    index: int  # type: ignore[assignment]  # hides tuple.index, which no key needs
    epoch: int
    cycle: int

    def generator(self, seed: int, view: int) -> np.random.Generator:
        """The random numbers of one view of this draw.

        Note:
            Philox is a counter-based generator: every key has its own stream, and making one costs microseconds. The
            key's 128 bits are the six numbers side by side, so that no two draws share one.
        """
        key = 0
        for value, bits in (
            (seed, 32),
            (self.epoch, 24),
            (self.cycle, 24),
            (self.index, 40),
            (self.labeled, 1),
            (view, 7),
        ):
            key = key << bits | int(value) & ((1 << bits) - 1)
        return np.random.Generator(np.random.Philox(key=key))


class KeyBatch(Sequence[ExampleKey]):
    """The keys of one batch, B labeled ones and then mu*B unlabeled ones, each made when it is read.

    A batch that is skipped when a training is resumed, or that belongs to another process, is never read and costs
    next to nothing.
    """

    __slots__ = ("_group", "_place")

    def __init__(self, group: "KeyGroup", place: int):
        self._group, self._place = group, place

    def __len__(self) -> int:
        return self._group.size

    def __iter__(self) -> Iterator[ExampleKey]:
        index, cycle = (rows[self._place].tolist() for rows in self._group.rows)
        for place, (i, c) in enumerate(zip(index, cycle, strict=True)):
            yield ExampleKey(place < self._group.num_labeled, i, self._group.epoch, c)

    @overload
    def __getitem__(self, place: int) -> ExampleKey: ...

    @overload
    def __getitem__(self, place: slice) -> list[ExampleKey]: ...

    def __getitem__(self, place: int | slice) -> ExampleKey | list[ExampleKey]:
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # Only the keys go to a worker. An error in the loader's thread would be lost, and the loader would wait
        # forever.
        try:
            return list, (list(self),)
        except Exception as error:
            return UnreadableKeys, (f"the examples of a batch were not found: {type(error).__name__}: {error}",)


class UnreadableKeys:
    """Takes the place of the keys of a batch: an error, raised by the worker that wants to read them."""

    def __init__(self, message: str):
        self.message = message

    def __iter__(self) -> Iterator[ExampleKey]:
        raise RuntimeError(self.message)


class KeyGroup:
    """Some consecutive batches: which examples they hold, found when the first of them is read.

    Args:
        epoch: of all keys.
        num_labeled: B.
        size: B + mu*B, or B if the group holds labeled examples alone.
        find: gives `rows`.

    Threads of the DataLoader read the batches for workers. The rows depend on nothing that changes, so that two
    threads that both ask first find the same.
    """

    def __init__(self, epoch: int, num_labeled: int, size: int, find: Callable[[], np.ndarray]):
        self.epoch, self.num_labeled, self.size, self._find = epoch, num_labeled, size, find

    @cached_property
    def rows(self) -> np.ndarray:
        """Positions and cycles [2, batches, size]."""
        return self._find()


class JointBatchSampler(Sampler[Sequence[ExampleKey]]):
    """Yields B labeled and mu*B unlabeled keys at a time; an epoch is one pass over the unlabeled pool.

    The labeled set is cycled and shuffled again in each cycle. Examples of the pool that do not fill a last batch are
    left out of this epoch; a pool smaller than `min_batches` batches is cycled as well. With several processes
    accelerate hands out whole batches in turn, so that W processes with batch B see in one step what one process with
    batch W*B sees.

    Args:
        num_labeled, num_unlabeled: sizes of the two sets, at least 1.
        labeled_batch_size, unlabeled_batch_size: B and mu*B of one process.
        seed: together with the epoch it decides the order.
        min_batches: how many batches an epoch has at least: the number of processes.
        lengths: lengths of the labeled [L] and the unlabeled [U] examples, in any unit: two arrays, or objects such as
            `TextLengths`. Batches are then filled with examples of similar length, so that less is padding.
        classes: classes [L] of the labeled examples, whole numbers from 0, if each class is to be drawn equally often;
            None if each example is.
        drawn: positions [U'] in the pool of the examples that are drawn, if others are left out; `num_unlabeled` then
            becomes their number. None for all.

    Raises:
        ValueError: if one of the two sets is empty.

    Note:
        An epoch keeps four bytes for each example of the pool, and takes a tenth of a microsecond for each to start; a
        batch costs the same for a pool of any size.

        With `lengths` the unlabeled draws of 50 batches are sorted by length, and so are the labeled ones of each
        `num_labeled / B` batches (more at a time would put one labeled example into a batch several times); the batch
        with the longest labeled examples gets the longest unlabeled ones, and so on down. The 50 are handed out in
        random order.

    Example:
        >>> sampler = JointBatchSampler(num_labeled=3, num_unlabeled=8, labeled_batch_size=1, unlabeled_batch_size=4)
        >>> batches = [[(key.labeled, key.index) for key in batch] for batch in sampler]
        >>> [len(batch) for batch in batches], [sum(labeled for labeled, _ in batch) for batch in batches]
        ([5, 5], [1, 1])
        >>> sorted(index for batch in batches for labeled, index in batch if not labeled)
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    # accelerate reads these two; it drops every batch that is shorter than `batch_size`.
    drop_last = True

    def __init__(
        self,
        num_labeled: int,
        num_unlabeled: int,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        seed: int = 0,
        min_batches: int = 1,
        lengths: tuple[Lengths, Lengths] | None = None,
        classes: np.ndarray | None = None,
        drawn: np.ndarray | None = None,
    ):
        num_unlabeled = num_unlabeled if drawn is None else len(drawn)
        if num_labeled < 1 or num_unlabeled < 1:
            raise ValueError(
                f"both sets must have at least one example, got {num_labeled} labeled and {num_unlabeled} unlabeled "
                "ones"
            )
        self.num_labeled, self.num_unlabeled = num_labeled, num_unlabeled
        self.labeled_batch_size, self.unlabeled_batch_size = labeled_batch_size, unlabeled_batch_size
        self.batch_size = labeled_batch_size + unlabeled_batch_size
        self.seed = seed
        self.min_batches = min_batches
        self.lengths = lengths
        self.drawn = drawn
        self.labeled = LabeledDraws(num_labeled, labeled_batch_size, seed, classes)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0; accelerate calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(self.num_unlabeled // self.unlabeled_batch_size, self.min_batches)

    def __iter__(self) -> Iterator[KeyBatch]:
        epoch = self.epoch
        pool = self._shuffled(epoch, 0)
        for start in range(0, len(self), GROUP):
            count = min(GROUP, len(self) - start)
            group = KeyGroup(
                epoch, self.labeled_batch_size, self.batch_size, partial(self._rows, epoch, pool, start, count)
            )
            for place in range(count):
                yield KeyBatch(group, place)

    def _rows(self, epoch: int, pool: np.ndarray, start: int, count: int) -> np.ndarray:
        """Positions and cycles [2, count, B + mu*B] of `count` batches from batch `start` on."""
        labeled = self.labeled.of_batches(epoch, start, count)
        unlabeled = self._draws(epoch, start, count, pool)
        if self.lengths is not None:
            labeled = self._by_length(labeled, self.lengths[0], max(self.labeled.apart // self.labeled_batch_size, 1))
            unlabeled = self._by_length(unlabeled, self.lengths[1], count)
            order = np.random.default_rng((self.seed, epoch, start, 2)).permutation(count)
            labeled, unlabeled = labeled[:, order], unlabeled[:, order]
        return np.concatenate([labeled, unlabeled], axis=2)

    def _draws(self, epoch: int, start: int, count: int, first_cycle: np.ndarray) -> np.ndarray:
        """Positions in the pool and their cycles [2, count, mu*B]; `first_cycle`: the order in cycle 0."""

        def order(cycle: int) -> np.ndarray:
            return first_cycle if cycle == 0 else self._shuffled(epoch, cycle)

        draws = _cycled(order, self.num_unlabeled, self.unlabeled_batch_size, start, count)
        if self.drawn is not None:
            draws[0] = self.drawn[draws[0]]
        return draws

    @staticmethod
    def _by_length(draws: np.ndarray, lengths: Lengths, together: int) -> np.ndarray:
        """The draws [2, count, batch], each `together` batches sorted by length, then all by their longest example."""
        batch = draws.shape[2]
        flat = draws.reshape(2, -1)
        size = lengths[flat[0]]
        order = np.lexsort((size, np.arange(len(size)) // (together * batch)))
        longest = size[order].reshape(-1, batch)[:, -1]
        return flat[:, order].reshape(draws.shape)[:, np.argsort(longest, kind="stable")]

    def _shuffled(self, epoch: int, cycle: int) -> np.ndarray:
        return shuffled(self.seed, epoch, cycle, self.num_unlabeled, labeled=False)


def shuffled(seed: int, epoch: int, cycle: int, size: int, labeled: bool) -> np.ndarray:
    """The order of all positions [size] of one of the two sets in one cycle of an epoch."""
    # The same order as that of `permutation(size)`, whose int64 takes twice the memory.
    order = np.arange(size, dtype=np.int32 if size <= np.iinfo(np.int32).max else np.int64)
    np.random.default_rng((seed, epoch, cycle, int(labeled))).shuffle(order)
    return order


class LabeledDraws:
    """Which labeled examples each batch takes: all of them in turn, or the classes in turn.

    With `classes` the draws come in blocks that hold each class once, in random order, and the draws of one class are
    its examples in turn, shuffled again in each cycle of its own. So within a class nothing is drawn twice before all
    of it was drawn once, and an example of a class of n has the chance 1 / (C n).

    Args:
        size: of the labeled set.
        batch: B of one process.
        seed: together with the epoch it decides the order.
        classes: classes [size] of the examples, or None to draw every example equally often.

    Attributes:
        apart: number of draws in a row in which about none comes twice.

    Example:
        >>> draws = LabeledDraws(5, batch=4, classes=np.array([0, 0, 0, 0, 1]))
        >>> positions, cycles = draws.of_batches(epoch=0, start=0, count=2)
        >>> sorted(positions.flatten().tolist()), sorted(cycles.flatten().tolist())
        ([0, 1, 2, 3, 4, 4, 4, 4], [0, 0, 0, 0, 0, 1, 2, 3])
    """

    def __init__(self, size: int, batch: int, seed: int = 0, classes: np.ndarray | None = None):
        self.size, self.batch, self.seed = size, batch, seed
        self.apart = size
        # Classes without an example are left out.
        found = () if classes is None else np.unique(classes)
        self._members = [np.flatnonzero(classes == each) for each in found]
        if self._members:
            self.apart = len(self._members) * min(map(len, self._members))

    def of_batches(self, epoch: int, start: int, count: int) -> np.ndarray:
        """Positions in the labeled set and their cycles [2, count, batch] of `count` batches from batch `start` on."""
        if not self._members:

            def order(cycle: int) -> np.ndarray:
                return shuffled(self.seed, epoch, cycle, self.size, labeled=True)

            return _cycled(order, self.size, self.batch, start, count)
        classes, blocks = _cycled(partial(self._block, epoch), len(self._members), self.batch, start, count)
        positions, cycles = np.empty_like(classes), np.empty_like(classes)
        for each in np.unique(classes):
            members, mine = self._members[each], classes == each
            # The draws of a class are numbered by the blocks.
            cycles[mine], places = np.divmod(blocks[mine], len(members))
            orders = {cycle: self._order(epoch, int(cycle), int(each)) for cycle in np.unique(cycles[mine])}
            drawn = zip(cycles[mine], places, strict=True)
            positions[mine] = [members[orders[cycle][place]] for cycle, place in drawn]
        return np.stack([positions, cycles])

    def _block(self, epoch: int, number: int) -> np.ndarray:
        """The order of the classes in one block."""
        return np.random.default_rng((self.seed, epoch, number, 3)).permutation(len(self._members))

    def _order(self, epoch: int, cycle: int, number: int) -> np.ndarray:
        """The order of a class's examples in one of its cycles."""
        size = len(self._members[number])
        return np.random.default_rng((self.seed, epoch, cycle, 4, number)).permutation(size)


def _cycled(order: Callable[[int], np.ndarray], size: int, batch: int, start: int, count: int) -> np.ndarray:
    """What `order` gives for one cycle after the other, cut into batches, with the cycles: [2, count, batch]."""
    begin, end = start * batch, (start + count) * batch
    parts = []
    for cycle in range(begin // size, (end - 1) // size + 1):
        part = order(cycle)[max(begin - cycle * size, 0) : end - cycle * size]
        parts.append(np.stack([part, np.full_like(part, cycle)]))
    return np.concatenate(parts, axis=1).reshape(2, count, batch)
