"""What one step is made of: which examples (JointBatchSampler), their views (ViewDataset), stacked (SSLCollator)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import Dataset

from .packing import PackedBatch
from .sampler import ExampleKey, JointBatchSampler  # noqa: F401
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
        keys = list(keys)
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
