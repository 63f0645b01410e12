"""What one step is made of: which examples (JointBatchSampler), their views (ViewDataset), stacked (SSLCollator).

    labeled set   [0 .. L)   cycled, a fresh shuffle in each cycle   -> B  keys  \\
                                                                                one batch of B + mu*B keys
    unlabeled pool [0 .. U)  one shuffled pass makes an epoch        -> mu*B keys /

Both orders and all random draws of the views are functions of (seed, epoch, position) alone, so that neither workers, nor
prefetching, nor the number of processes, nor resuming in the middle can change them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from .packing import PackedBatch
from .views import BrokenExampleError
from .views.seeds import global_seeds

# Numbers of the random streams of a draw that are not views: see `ExampleKey.generator`.
_REPLACEMENT, _TRANSFORM = 127, 126
# So many examples of the pool in a row that cannot be read are no accident.
_MOST_BROKEN = 20


@dataclass
class SSLBatch:
    """One joint batch. B labeled and mu*B unlabeled examples.

    Args:
        labeled: model keywords of the labeled examples' weak view, each tensor [B, ...].
        labels: their classes, int64 [B].
        unlabeled: view name ("weak", "strong", "strong_2", "rotated") -> model keywords, each tensor [mu*B, ...].
        labeled_index: positions [B] in the labeled set.
        unlabeled_index: positions [mu*B] in the pool.
        labeled_strong: model keywords of a strong view of the labeled examples.
        rotation_labels: quarter turns [mu*B] of the "rotated" view, 0 to 3.
        mix_lambda, mix_permutation, perturbation: normally absent and drawn by the algorithm; given to fix its randomness.
    """

    labeled: dict[str, torch.Tensor]
    labels: torch.Tensor
    unlabeled: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    labeled_index: torch.Tensor | None = None
    unlabeled_index: torch.Tensor | None = None
    labeled_strong: dict[str, torch.Tensor] | None = None
    rotation_labels: torch.Tensor | None = None
    mix_lambda: torch.Tensor | None = None
    mix_permutation: torch.Tensor | None = None
    perturbation: torch.Tensor | None = None


class ExampleKey(NamedTuple):
    """One draw of one example: which set, which position, and when, from which its views' random numbers follow."""

    labeled: bool
    index: int
    epoch: int
    cycle: int

    def generator(self, seed: int, view: int) -> np.random.Generator:
        """The random numbers of one view of this draw.

        Philox is a counter-based generator: every key has a stream of its own, and making one costs microseconds. The key's
        128 bits are the six numbers side by side, so that no two draws share one.
        """
        key = 0
        for value, bits in ((seed, 32), (self.epoch, 24), (self.cycle, 24), (self.index, 40), (self.labeled, 1), (view, 7)):
            key = key << bits | int(value) & ((1 << bits) - 1)
        return np.random.Generator(np.random.Philox(key=key))


# Batches whose draws are sorted by length together, at most.
_MOST_GROUPED = 50


def _part(keys: list, number: int, size: int) -> list:
    return keys[number * size : (number + 1) * size]


class JointBatchSampler(Sampler[list[ExampleKey]]):
    """Yields B labeled and mu*B unlabeled keys at a time; an epoch is one pass over the unlabeled pool.

    The labeled set is cycled, shuffled afresh in each cycle. Examples of the pool that do not fill a last batch are left out
    of this epoch; a pool smaller than `min_batches` batches is cycled as well. With several processes accelerate hands whole
    batches out in turn, so that W processes with batch B see in one step what one process with batch W*B sees.

    Args:
        num_labeled, num_unlabeled: sizes of the two sets, at least 1.
        labeled_batch_size, unlabeled_batch_size: B and mu*B of one process.
        seed: with the epoch it decides the order.
        min_batches: batches an epoch has at least, the number of processes.
        lengths: of the labeled [L] and the unlabeled [U] examples, in any unit. Then batches are filled with examples of
            similar length, so that less is padding: the draws of `num_labeled / B` batches, at most 50, are sorted by
            length and handed out in random order. More at a time would put one labeled example into a batch several times.
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
        lengths: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        if num_labeled < 1 or num_unlabeled < 1:
            raise ValueError(f"there are {num_labeled} labeled and {num_unlabeled} unlabeled examples; each needs one at least")
        self.num_labeled, self.num_unlabeled = num_labeled, num_unlabeled
        self.labeled_batch_size, self.unlabeled_batch_size = labeled_batch_size, unlabeled_batch_size
        self.batch_size = labeled_batch_size + unlabeled_batch_size
        self.seed = seed
        self.min_batches = min_batches
        self.lengths = lengths
        self.grouped_batches = 1 if lengths is None else min(max(num_labeled // labeled_batch_size, 1), _MOST_GROUPED)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return max(self.num_unlabeled // self.unlabeled_batch_size, self.min_batches)

    def __iter__(self) -> Iterator[list[ExampleKey]]:
        epoch = self.epoch
        labeled = self._stream(epoch, labeled=True, size=self.num_labeled)
        unlabeled = self._stream(epoch, labeled=False, size=self.num_unlabeled)
        for start in range(0, len(self), self.grouped_batches):
            count = min(self.grouped_batches, len(self) - start)
            keys = [next(labeled) for _ in range(count * self.labeled_batch_size)]
            more = [next(unlabeled) for _ in range(count * self.unlabeled_batch_size)]
            order = range(count)
            if self.lengths is not None:
                keys.sort(key=lambda key: self.lengths[0][key.index])
                more.sort(key=lambda key: self.lengths[1][key.index])
                order = np.random.default_rng((self.seed, epoch, start, 2)).permutation(count)
            for i in order:
                yield _part(keys, i, self.labeled_batch_size) + _part(more, i, self.unlabeled_batch_size)

    def _stream(self, epoch: int, labeled: bool, size: int) -> Iterator[ExampleKey]:
        cycle = 0
        while True:
            order = np.random.default_rng((self.seed, epoch, cycle, int(labeled))).permutation(size)
            for index in order:
                yield ExampleKey(labeled, int(index), epoch, cycle)
            cycle += 1


class ViewDataset(Dataset):
    """Turns keys into views: `dataset[key]` is a dict of what `SSLCollator` stacks.

    Args:
        labeled, unlabeled: indexable; a row is a mapping of columns.
        views: makes a view of a row: `views(kind, row, rng)`; see `hf_ssl.views`.
        names: view name -> kind, from `algorithm.views`.
        label_column: column of `labeled` with the class; read from `unlabeled` too where it is there, only to measure the
            accuracy of pseudo-labels.
        seed: of all random draws.
        skip_broken: put another example of the pool, drawn at random, in the place of one that cannot be read. Its item says
            so: "key" is that of the other, "broken" lists the positions that could not be read.

    Raises:
        BrokenExampleError: for labeled examples that cannot be read, and for those of the pool unless `skip_broken`.
    """

    def __init__(
        self,
        labeled,
        unlabeled,
        views,
        names: Mapping[str, str],
        label_column: str,
        seed: int = 0,
        skip_broken: bool = False,
    ):
        self.labeled, self.unlabeled = labeled, unlabeled
        self.views = views
        self.labeled_names = {"labeled": "weak", **{n: k for n, k in names.items() if n == "labeled_strong"}}
        self.unlabeled_names = {name: kind for name, kind in names.items() if name not in self.labeled_names}
        self.label_column = label_column
        self.seed = seed
        self.skip_broken = skip_broken

    def __len__(self) -> int:
        return len(self.labeled) + len(self.unlabeled)

    def __getitems__(self, keys: Sequence[ExampleKey]) -> list[dict[str, Any]]:
        """The items of a whole batch: each set is asked once for all of its rows, which is what `datasets` is fast at."""
        rows: dict[int, Mapping[str, Any]] = {}
        for labeled, dataset, names in (
            (True, self.labeled, self.labeled_names),
            (False, self.unlabeled, self.unlabeled_names),
        ):
            # The baseline has no unlabeled views: its pool is never read, and costs nothing.
            fetched = bool(names) and not _is_random(dataset)
            places = [place for place, key in enumerate(keys) if key.labeled is labeled] if fetched else []
            rows.update(zip(places, fetch_rows(dataset, [keys[place].index for place in places]), strict=True))
        return [self._item(key, rows.get(place)) for place, key in enumerate(keys)]

    def __getitem__(self, key: ExampleKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def _item(self, key: ExampleKey, row: Mapping[str, Any] | None) -> dict[str, Any]:
        if not (self.labeled_names if key.labeled else self.unlabeled_names):
            return {"key": key}
        source, generator, first, broken = key, None, None, []
        while True:
            try:
                item = self._views(key, source, row)
            except BrokenExampleError as error:
                first = first or error
                broken.append(source.index)
                if key.labeled or not self.skip_broken:
                    what = "labeled" if key.labeled else "unlabeled"
                    raise BrokenExampleError(f"row {key.index} of the {what} dataset: {error}") from error
                if len(broken) == _MOST_BROKEN:
                    raise BrokenExampleError(
                        f"{_MOST_BROKEN} examples of the unlabeled dataset in a row cannot be read; the first, row "
                        f"{broken[0]}: {first}"
                    ) from first
                generator = generator or key.generator(self.seed, _REPLACEMENT)
                source, row = key._replace(index=int(generator.integers(len(self.unlabeled)))), None
            else:
                return {**item, "broken": broken} if broken else item

    def _views(self, key: ExampleKey, source: ExampleKey, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """The views of `source`, with the random numbers of `key`."""
        names, dataset = (self.labeled_names, self.labeled) if key.labeled else (self.unlabeled_names, self.unlabeled)
        if row is None and _is_random(dataset):
            with global_seeds(key.generator(self.seed, _TRANSFORM)):
                row = dataset[source.index]
        elif row is None:
            row = dataset[source.index]
        item: dict[str, Any] = {"key": source, "label": row.get(self.label_column)}
        if len(names) > 1 and getattr(self.views, "shares_decoding", False):
            # Reading the file can take longer than the views themselves.
            row = self.views.example(row)
        for number, (name, kind) in enumerate(names.items()):
            item[name] = self.views(kind, row, key.generator(self.seed, number))
        return item


def _is_random(dataset) -> bool:
    """Whether reading a row may draw random numbers, in a transform of the user's own."""
    return getattr(dataset, "transformed", False)


def fetch_rows(dataset, indices: Sequence[int]) -> list[Mapping[str, Any]]:
    """Rows of a dataset, in one request where it knows how to (`datasets.Dataset` does)."""
    if not indices:
        return []
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(list(indices))
    return [dataset[index] for index in indices]


class SSLCollator:
    """Stacks the items of `ViewDataset` into nested dicts of tensors; `to_batch` makes the `SSLBatch` of them.

    Args:
        views: its `collate(list)` stacks the views of one name into model keywords; where it has `stack(list)` and
            `finish(view)`, the first does so here, and the second in `to_batch`.

    Raises:
        ValueError: if the views of one batch are images of different sizes.
    """

    _NO_VIEWS = ("key", "label", "broken")

    def __init__(self, views):
        self.views = views

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        labeled = [item for item in items if item["key"].labeled]
        unlabeled = [item for item in items if not item["key"].labeled]
        batch: dict[str, Any] = {
            "labels": torch.tensor([int(item["label"]) for item in labeled]),
            "labeled_index": torch.tensor([item["key"].index for item in labeled]),
            "unlabeled_index": torch.tensor([item["key"].index for item in unlabeled]),
            "labeled": {name: self._stack(labeled, name) for name in labeled[0] if name not in self._NO_VIEWS},
            "unlabeled": {name: self._stack(unlabeled, name) for name in unlabeled[0] if name not in self._NO_VIEWS},
        }
        hidden = [item.get("label") for item in unlabeled]
        if all(label is not None for label in hidden):
            batch["hidden_labels"] = torch.tensor([int(label) for label in hidden])
        if "rotated" in unlabeled[0]:
            turns = [item["rotated"][1] for item in unlabeled]
            batch["rotation_labels"] = torch.tensor(turns)
        broken = [index for item in unlabeled for index in item.get("broken", ())]
        if broken:
            batch["broken_index"] = torch.tensor(broken)
        self._check_sizes({**batch["labeled"], **batch["unlabeled"]})
        return PackedBatch(batch)

    @staticmethod
    def _check_sizes(views: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        # Sequences are padded to one length; images of two sizes would fail deep inside the model.
        images = {name: view.get("pixel_bytes", view.get("pixel_values")) for name, view in views.items()}
        sizes = {name: tuple(pixels.shape[1:]) for name, pixels in images.items() if pixels is not None}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {' x '.join(map(str, size))}" for name, size in sizes.items())
            raise ValueError(f"the views of one batch are images of different sizes: {shown}; make them equal (image_size)")

    def _stack(self, items, name):
        values = [item[name] for item in items]
        stack = getattr(self.views, "stack", self.views.collate)
        return stack([value[0] for value in values] if name == "rotated" else values)

    def to_batch(self, inputs: Mapping[str, Any]) -> SSLBatch:
        """The algorithm's batch. Hidden labels are left out here, so that no algorithm can train on them.

        Args:
            inputs: what a call has returned, on the device by now: there the views are finished.
        """
        finish = getattr(self.views, "finish", dict)
        labeled = {name: finish(view) for name, view in inputs["labeled"].items()}
        return SSLBatch(
            labeled=labeled.pop("labeled"),
            labels=inputs["labels"],
            unlabeled={name: finish(view) for name, view in inputs["unlabeled"].items()},
            labeled_index=inputs["labeled_index"],
            unlabeled_index=inputs["unlabeled_index"],
            labeled_strong=labeled.pop("labeled_strong", None),
            rotation_labels=inputs.get("rotation_labels"),
        )


class EvaluationCollator:
    """Rows of an evaluation dataset -> model keywords, with "labels" where the rows have them. Picklable.

    Raises:
        BrokenExampleError: if a row cannot be read.
    """

    def __init__(self, views, label_column: str):
        self.views, self.label_column = views, label_column

    def __call__(self, rows: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        try:
            batch = self.views.collate([self.views.evaluation(row) for row in rows])
        except BrokenExampleError as error:
            raise BrokenExampleError(f"in the evaluation dataset: {error}") from error
        if rows[0].get(self.label_column) is not None:
            batch["labels"] = torch.tensor([int(row[self.label_column]) for row in rows])
        return PackedBatch(batch)
