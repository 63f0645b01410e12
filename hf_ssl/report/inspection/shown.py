"""The examples on the map: which of a run's they are, their numbers, and what is seen or heard of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...data.sources import count
from ...errors import BrokenExampleError
from ...features.near_duplicates import near_duplicates
from .examples import disagreement, distance, first_shown, foreign_ranks, places_of
from .media import file_name, medium
from .parts import Part, value_of
from .projection import project
from .record import PARTS
from .subject import Subject

# Bytes of all media together, and examples at the top of each sorting that get one before others do.
_MEDIA_BYTES = 2_800_000
_TOP = {"image": 100, "text": 500, "audio": 12}
# Pairs of near duplicates that are listed.
_MOST_PAIRS = 200
# The cosine of an example with itself, encoded in another batch.
_SAME = 0.99999


@dataclass
class Shown:
    """The examples on the map.

    Args:
        subject: the run.
        places: part -> which of the examples of `subject.parts` are shown.
        parts: these examples.
        features: [N, D] of all of them; None without.
        xy: on the map, [N, 2]; None without features.
        map_means: in words.
    """

    subject: Subject
    places: dict[str, np.ndarray]
    parts: dict[str, Part]
    features: np.ndarray | None
    xy: np.ndarray | None
    map_means: str

    @classmethod
    def of(cls, subject: Subject, map_method: str, most: int) -> "Shown":
        """Choose them."""
        readable = {part: _readable(found) for part, found in subject.parts.items()}
        for name, found in readable.items():
            broken = len(subject.parts[name].positions) - len(found)
            if broken:
                subject.notes.append(f"{name}: {count(broken, 'example')} could not be read and left out")
        sizes = places_of({part: len(readable[part]) for part in PARTS if part in readable}, most)
        rng = np.random.default_rng(0)
        places = {
            part: np.sort(rng.choice(readable[part], size, replace=False)) if size < len(readable[part]) else found
            for part, size in sizes.items()
            for found in [readable[part]]
        }
        parts = {part: subject.parts[part].take(chosen) for part, chosen in places.items()}
        arrays = [part.features for part in parts.values()]
        features = None
        if arrays and all(array is not None for array in arrays):
            features = np.concatenate([array for array in arrays if array is not None])
        xy = project(features, map_method) if features is not None and len(features) else None
        means = {"pca": "PCA", "umap": "UMAP"}[map_method]
        shown = cls(subject, places, parts, features, xy, means)
        shown._choose_media()
        return shown

    @property
    def size(self) -> int:
        """Examples."""
        return sum(len(part.positions) for part in self.parts.values())

    def _joined(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([values[part] for part in self.parts]) if self.parts else np.zeros(0)

    @cached_property
    def part(self) -> np.ndarray:
        """Of each example the number of its part [N]."""
        given = {name: np.full(len(found.positions), PARTS.index(name)) for name, found in self.parts.items()}
        return self._joined(given)

    @cached_property
    def labels(self) -> np.ndarray:
        """Given or hidden classes [N]."""
        return self._joined({name: found.labels for name, found in self.parts.items()})

    def probabilities(self, method: str | None) -> np.ndarray | None:
        """Of all examples [N, C]; None if the method has not answered all of them."""
        if method is None or not self.parts or any(method not in part.probabilities for part in self.parts.values()):
            return None
        return self._joined({name: found.probabilities[method] for name, found in self.parts.items()})

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """Method -> probabilities [N, C] of all examples, of those methods that have answered all."""
        found = {method: self.probabilities(method) for method in self.subject.methods}
        return {method: values for method, values in found.items() if values is not None}

    # ---- Their numbers ----

    @cached_property
    def confidence(self) -> np.ndarray:
        """Of the kept model [N], NaN if unknown."""
        kept = self.probabilities(self.subject.kept)
        return np.full(self.size, np.nan) if kept is None else kept.max(axis=1)

    @cached_property
    def disagreement(self) -> np.ndarray:
        """Of the methods [N], NaN with fewer than two."""
        answers = list(self.answers.values())
        return disagreement(answers) if len(answers) > 1 else np.full(self.size, np.nan)

    @property
    def is_counted(self) -> bool:
        """Whether changes were counted in training."""
        return self.subject.changes is not None and "pool" in self.parts

    @cached_property
    def change(self) -> np.ndarray:
        """How much the prediction changed [N], NaN if unknown."""
        found, answers = np.full(self.size, np.nan), list(self.answers.values())
        if self.is_counted:
            assert self.subject.changes is not None
            found[self.part == PARTS.index("pool")] = self.subject.changes[self.parts["pool"].positions]
        elif len(answers) > 1:
            found = distance(answers[0], answers[-1])
        return found

    @property
    def change_means(self) -> str | None:
        """What `change` is, in words."""
        if self.is_counted:
            return "of the class given to an example, counted in training"
        methods = list(self.answers)
        return f"from {methods[0]} to {methods[-1]}" if len(methods) > 1 else None

    @cached_property
    def foreign(self) -> np.ndarray:
        """Rank of the distance to the nearest class of the labels [N], NaN without features."""
        if self.features is None or "labeled" not in self.parts or "pool" not in self.parts:
            return np.full(self.size, np.nan)
        labels = np.where(self.part == PARTS.index("labeled"), self.labels, -1)
        return foreign_ranks(self.features, labels, self.part == PARTS.index("pool"))

    # ---- What is seen of them ----

    def _choose_media(self) -> None:
        """Make thumbnails, texts or clips until there are enough, those at the top of each sorting first."""
        self.media: list[dict[str, Any]] = []
        self.medium_of = np.full(self.size, -1)
        self.names: list[str | None] = [None] * self.size
        at = [(name, int(position)) for name, part in self.parts.items() for position in part.positions]
        kind, columns = self.subject.modality, self.subject.columns
        if not columns or any(part.rows is None for part in self.parts.values()):
            return
        used = broken = 0
        for place in first_shown(self._orders(kind), self.size):
            name, position = at[place]
            try:
                value = value_of(self.parts[name].rows, position, columns)
                self.names[place] = file_name(value)
                if used > _MEDIA_BYTES:
                    continue
                self.media.append(medium(value, kind))
            except (BrokenExampleError, OSError):
                broken += 1
                continue
            used += sum(len(each.encode()) for each in self.media[-1].values() if isinstance(each, str))
            self.medium_of[place] = len(self.media) - 1
        if broken:
            self.subject.notes.append(f"{count(broken, 'file')} could not be read to be shown")

    def _orders(self, kind: str) -> list[np.ndarray]:
        """Positions of examples, the most interesting first, by everything that they can be sorted by."""
        most = _TOP[kind]
        confidence, kept = self.confidence, self.probabilities(self.subject.kept)
        orders = [_top(confidence, most), _top(-confidence, most)]
        orders += [_top(values, most) for values in (self.disagreement, self.change, self.foreign)]
        if kept is not None:
            wrong = (self.labels >= 0) & (kept.argmax(axis=1) != self.labels)
            orders.append(_top(np.where(wrong, confidence, np.nan), most))
        first = [error["example"] for error in self.label_errors]
        pairs = [place for pair in self.duplicates[:most] for place in (pair["first"], pair["second"])]
        labeled = np.flatnonzero(self.part == PARTS.index("labeled"))
        return [np.array(first + pairs, dtype=int), labeled[: 3 * most], *orders]

    @cached_property
    def label_errors(self) -> list[dict[str, Any]]:
        """Labels that looked wrong in training, as far as they are shown."""
        if "labeled" not in self.parts:
            return []
        # They come first.
        place = {int(row): index for index, row in enumerate(self.parts["labeled"].positions)}
        return [
            {
                "example": place[error.row],
                "given": error.given,
                "suggested": error.suggested,
                "probability": round(error.probability, 3),
            }
            for error in self.subject.label_errors
            if error.row in place
        ]

    @cached_property
    def duplicates(self) -> list[dict[str, Any]]:
        """Pairs that are nearly the same, by the same features."""
        if self.features is None or not self.subject.of_pretrained:
            return []
        features, labeled = self.features.copy(), self.part == PARTS.index("labeled")
        if copies := self._labeled_in_pool(features, labeled):
            verb = "is" if len(copies) == 1 else "are"
            self.subject.notes.append(f"{count(len(copies), 'labeled example')} {verb} in the pool, too")
            # Rows that are not finite are in no pair.
            features[copies] = np.nan
        found = near_duplicates(features)
        if len(found) > _MOST_PAIRS:
            self.subject.notes.append(f"of {len(found):,} pairs of near duplicates {_MOST_PAIRS} are listed")
        return [
            {"first": first, "second": second, "similarity": round(similarity, 4)}
            for first, second, similarity in found[:_MOST_PAIRS]
        ]

    def _labeled_in_pool(self, features: np.ndarray, labeled: np.ndarray) -> list[int]:
        """Examples of the pool that are labeled ones, as all of `hf-ssl pick` are: one for each labeled example."""
        pool = np.flatnonzero(self.part == PARTS.index("pool"))
        pairs = near_duplicates(features[labeled], features[pool], _SAME)
        return sorted({int(pool[place]) for _, place, _ in pairs})

    def columns(self) -> dict[str, Any]:
        """The columns of the document."""
        if not self.size:
            empty = ("part", "row", "name", "x", "y", "label", "confidence", "disagreement", "change", "foreign")
            return {**{name: [] for name in (*empty, "media")}, "predicted": {}}
        xy = np.full((self.size, 2), np.nan) if self.xy is None else self.xy
        rows = self._joined({name: found.positions for name, found in self.parts.items()})
        return {
            "part": self.part.tolist(),
            "row": rows.tolist(),
            "name": self.names,
            "x": _numbers(xy[:, 0], 4),
            "y": _numbers(xy[:, 1], 4),
            "label": self.labels.tolist(),
            "predicted": {method: values.argmax(axis=1).tolist() for method, values in self.answers.items()},
            "confidence": _numbers(self.confidence),
            "disagreement": _numbers(self.disagreement),
            "change": _numbers(self.change),
            "foreign": _numbers(self.foreign),
            "media": self.medium_of.tolist(),
        }


def _readable(part: Part) -> np.ndarray:
    """Places of the examples whose features and probabilities are numbers."""
    good = np.ones(len(part.positions), dtype=bool)
    for array in ([] if part.features is None else [part.features], part.probabilities.values()):
        for values in array:
            good &= np.isfinite(values).all(axis=1)
    return np.flatnonzero(good)


def _top(values: np.ndarray, most: int) -> np.ndarray:
    """Positions of the largest values, without those that are NaN."""
    known = np.flatnonzero(~np.isnan(values))
    return known[np.argsort(-values[known], kind="stable")[:most]]


def _numbers(values: np.ndarray, digits: int = 3) -> list[float | None]:
    """Numbers of JSON, short; None for NaN."""
    return [None if np.isnan(value) else round(float(value), digits) for value in values]
