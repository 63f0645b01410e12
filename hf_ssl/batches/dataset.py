"""The views of single examples, each from its own seed.

ExampleKey(labeled, index, epoch, cycle)
    --index--> row --views(kind, row, key.generator(seed, number of the view))--> {"weak": item, "strong": item, ...}
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..data.opinions import OPINION
from ..data.rows import fetch_rows, may_be_random
from ..errors import BrokenExampleError
from ..views.base import as_views
from ..views.seeds import global_seeds
from .batch import LABELED_VIEWS
from .sampler import ExampleKey

# Numbers of the random streams of a draw that are not views: see `ExampleKey.generator`.
REPLACEMENT, _TRANSFORM, _BALANCED = 127, 126, 125
# This many consecutive unreadable examples of the pool cannot be a coincidence.
_MOST_BROKEN = 20


class ViewDataset(Dataset):
    """Turns keys into views: `dataset[key]` is a dict of what `SSLCollator` stacks.

    An item holds "key", "label" (the class or a list of numbers, or None) and one entry per view: "labeled" and those
    of `LABELED_VIEWS` of a labeled example, the names of the algorithm's views ("weak", "strong", ...) of one of the
    pool. A pool for which the algorithm has no view is never read. "opinion" is that of a larger model on one of the
    pool, if rows have one. The view "balanced_labeled" is of another labeled example, drawn at random with the same
    chance for each class; "balanced_label" is its class.

    Args:
        labeled, unlabeled: indexable; a row is a mapping of columns.
        views: makes a view of a row: `views(kind, row, rng)`; see `hf_ssl.views`.
        names: view name -> kind, from `algorithm.views`.
        label_column: column of `labeled` with the label; if `unlabeled` has it, too, it is read from there only to
            measure the accuracy of pseudo-labels.
        seed: decides all random draws.
        skip_broken: replace an example of the pool that cannot be read by another one, drawn at random. Its item says
            so: "key" is that of the other, "broken" lists the positions that could not be read.
        classes: classes [L] of the labeled examples, for "balanced_labeled"; without them all are equally likely.

    Raises:
        BrokenExampleError: for labeled examples that cannot be read, and for those of the pool unless `skip_broken`.

    Example:
        >>> from transformers import ViTImageProcessor
        >>> from hf_ssl.views.image import ImageViews
        >>> import numpy as np
        >>> rows = [{"image": np.full((8, 8, 3), 40 * i, np.uint8), "label": i % 2} for i in range(6)]
        >>> views = ImageViews(ViTImageProcessor(size={"height": 8, "width": 8}))
        >>> dataset = ViewDataset(rows[:2], rows, views, {"weak": "weak", "strong": "strong"}, "label", seed=1)
        >>> item = dataset[ExampleKey(labeled=False, index=3, epoch=0, cycle=0)]
        >>> sorted(item), item["weak"].unique().tolist()
        (['key', 'label', 'strong', 'weak'], [120])
    """

    def __init__(
        self,
        labeled: Any,
        unlabeled: Any,
        views: Any,
        names: Mapping[str, str],
        label_column: str,
        seed: int = 0,
        skip_broken: bool = False,
        classes: np.ndarray | None = None,
    ):
        self.labeled, self.unlabeled = labeled, unlabeled
        self.views = as_views(views)
        self.labeled_names = {"labeled": "weak", **{n: k for n, k in names.items() if n in LABELED_VIEWS}}
        self.unlabeled_names = {name: kind for name, kind in names.items() if name not in self.labeled_names}
        self.label_column = label_column
        self.seed = seed
        self.skip_broken = skip_broken
        found = np.zeros(len(labeled), dtype=np.int64) if classes is None else classes
        self.members = [np.flatnonzero(found == each) for each in np.unique(found)]

    def __len__(self) -> int:
        return len(self.labeled) + len(self.unlabeled)

    def __getitems__(self, keys: Sequence[ExampleKey]) -> list[dict[str, Any]]:
        """The items of a whole batch. Each set is asked once for all of its rows, at which `datasets` is fast."""
        keys = list(keys)
        rows: dict[int, Mapping[str, Any]] = {}
        for labeled, dataset, names in (
            (True, self.labeled, self.labeled_names),
            (False, self.unlabeled, self.unlabeled_names),
        ):
            # The baseline has no unlabeled views: its pool is never read, and costs nothing.
            fetched = bool(names) and not may_be_random(dataset)
            places = [place for place, key in enumerate(keys) if key.labeled is labeled] if fetched else []
            rows.update(zip(places, fetch_rows(dataset, [keys[place].index for place in places]), strict=True))
        return [self._item(key, rows.get(place)) for place, key in enumerate(keys)]

    def __getitem__(self, key: ExampleKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def _item(self, key: ExampleKey, row: Mapping[str, Any] | None) -> dict[str, Any]:
        if not (self.labeled_names if key.labeled else self.unlabeled_names):
            return {"key": key}
        try:
            return self._views(key, key, row)
        except BrokenExampleError as error:
            if key.labeled or not self.skip_broken:
                what = "labeled" if key.labeled else "unlabeled"
                raise BrokenExampleError(f"row {key.index} of the {what} dataset: {error}") from error
            return self._replacement(key, error)

    def _replacement(self, key: ExampleKey, first: BrokenExampleError) -> dict[str, Any]:
        """The item of another example of the pool, with the positions of those that cannot be read under "broken"."""
        broken = [key.index]
        generator = key.generator(self.seed, REPLACEMENT)
        while len(broken) < _MOST_BROKEN:
            source = key._replace(index=int(generator.integers(len(self.unlabeled))))
            try:
                return {**self._views(key, source, None), "broken": broken}
            except BrokenExampleError:
                broken.append(source.index)
        raise BrokenExampleError(
            f"{_MOST_BROKEN} examples of the unlabeled dataset in a row cannot be read; the first, row {key.index}: "
            f"{first}"
        ) from first

    def _views(self, key: ExampleKey, source: ExampleKey, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """The views of `source`, with the random numbers of `key`."""
        names, dataset = (self.labeled_names, self.labeled) if key.labeled else (self.unlabeled_names, self.unlabeled)
        row = self._row(dataset, source.index, key) if row is None else row
        item: dict[str, Any] = {"key": source, "label": row.get(self.label_column)}
        if not key.labeled and OPINION in row:
            item["opinion"] = row[OPINION]
        if len(names) > 1 and self.views.shares_decoding:
            row = self.views.example(row)
        for number, (name, kind) in enumerate(names.items()):
            generator = key.generator(self.seed, number)
            if name == "balanced_labeled":
                other = self._balanced_row(key)
                item[name], item["balanced_label"] = self.views(kind, other, generator), other[self.label_column]
            else:
                item[name] = self.views(kind, row, generator)
        return item

    def _balanced_row(self, key: ExampleKey) -> Mapping[str, Any]:
        """The row of another labeled example: first a class is drawn, and then one of its examples."""
        generator = key.generator(self.seed, _BALANCED)
        members = self.members[generator.integers(len(self.members))]
        return self._row(self.labeled, int(members[generator.integers(len(members))]), key)

    def _row(self, dataset: Any, index: int, key: ExampleKey) -> Mapping[str, Any]:
        if not may_be_random(dataset):
            return dataset[index]
        with global_seeds(key.generator(self.seed, _TRANSFORM)):
            return dataset[index]
