"""The views of single examples, each from its own seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from ..data.rows import fetch_rows
from ..errors import BrokenExampleError
from ..views.seeds import global_seeds
from .sampler import ExampleKey

# Numbers of the random streams of a draw that are not views: see `ExampleKey.generator`.
_REPLACEMENT, _TRANSFORM = 127, 126


# So many examples of the pool in a row that cannot be read are no accident.
_MOST_BROKEN = 20


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
