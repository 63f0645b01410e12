"""How foreign an example is to the labeled ones: whether it may be of a class that nobody labeled.

    labels + pool ── normalize ──┬── mean of each class ──┐
                                 │                        ├── distance ── standardized ── beyond the limit: foreign
                                 └── each example ────────┘                  │
                      labeled examples, each left out of its own mean ───────┘

The distance is one minus the cosine to the nearest class mean, of features without the pool's mean. Each class mean is
drawn towards the mean of all classes as if there were two more examples there: few labels place a class badly. How
far known examples usually are is measured on the labeled ones, each with the mean of its class made without it. That
gives the mean and the standard deviation, in which distances are told, and the limit: 90 % of them are nearer.

Distances to class means tell foreign images apart at least as well as those to the nearest labeled examples, and can
be saved with a model without any example's features; the energy of the logits (arXiv 2010.03759), which knows nothing
of the pool, is near chance with few labels. `examples/benchmarks/README.md` has the numbers.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..data.labels import UNKNOWN
from ..files import atomic_write
from ..graph.normalization import normalize, pool_mean
from ..metrics import foreign_auroc

if TYPE_CHECKING:  # It needs scikit-learn, which takes a second to import.
    from .reading import Reading

FILE = "ssl_foreignness.safetensors"
# Examples that each class is taken to have at the mean of all classes, beside its own.
_DRAWN = 2
# Share of the labeled examples, left out of their means, that the limit lets pass.
_PASSING = 0.9
# Labeled examples that are left out in turn, at most.
_MOST_LEFT_OUT = 1_000
# Standard deviations, in cosines, are at least this: of a few examples that happen to be alike.
_LEAST_SPREAD = 1e-3
# Rows that are compared at once.
_ROWS = 16_384


@dataclass(frozen=True)
class Foreignness:
    """What foreign examples are told by.

    Args:
        mean: of the features of labels and pool after each was scaled to length 1, float32 [D].
        class_means: of length 1, float32 [C, D], of the classes that have labels.
        center, spread: mean and standard deviation of the distances of labeled examples, each left out.
        limit: the score above which an example counts as foreign; None if no class has two labeled examples, so that
            none can be left out. Scores are then plain distances.

    Example:
        >>> features = np.array([[1, 0.2], [1, 0.1], [1, 0], [0, 1], [0.1, 1], [0.2, 1], [-1, -1]])
        >>> found = Foreignness.fit(features, np.array([0, 0, 0, 1, 1, 1, -1]))
        >>> (found.scores(features) > found.limit).tolist()
        [False, False, False, False, False, False, True]
    """

    mean: np.ndarray
    class_means: np.ndarray
    center: float = 0.0
    spread: float = 1.0
    limit: float | None = None

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray) -> "Foreignness":
        """Learn where the classes are, and how far labeled examples usually are from them.

        Args:
            features: [N, D] of labels and pool.
            labels: classes int64 [N], -1 in the pool.

        Raises:
            ValueError: if no example has a label.
        """
        labels = np.where(np.isfinite(features).all(axis=1), labels, -1)
        if not (labels >= 0).any():
            raise ValueError(f"labels must have a class for at least one of {len(labels)} examples, got none")
        mean = pool_mean(features)
        known = normalize(np.asarray(features)[labels >= 0], mean)
        classes = np.unique(labels[labels >= 0], return_inverse=True)[1]
        sums, counts = np.zeros((classes.max() + 1, known.shape[1])), np.bincount(classes)
        np.add.at(sums, classes, known)
        found = cls(mean, _means(sums, counts))
        several = np.random.default_rng(0).permutation(np.flatnonzero(counts[classes] > 1))[:_MOST_LEFT_OUT]
        if len(several) < 2:
            return found
        left_out = np.concatenate(
            [_distances(known[[row]], _means(*_without(sums, counts, classes[row], known[row]))) for row in several]
        )
        found = replace(found, center=float(np.mean(left_out)), spread=max(float(np.std(left_out)), _LEAST_SPREAD))
        return replace(found, limit=float(np.quantile((left_out - found.center) / found.spread, _PASSING)))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Scores float32 [N] of features [N, D]: standard deviations beyond the distance that labeled examples have.

        NaN for rows that are not finite.

        Raises:
            ValueError: if the features are of another model.
        """
        parts = [np.empty(0, dtype=np.float32)]
        for start in range(0, len(features), _ROWS):
            parts.append(_distances(normalize(features[start : start + _ROWS], self.mean), self.class_means))
        return ((np.concatenate(parts) - self.center) / self.spread).astype(np.float32)

    def are_foreign(self, features: np.ndarray) -> np.ndarray:
        """Which rows [N] are beyond the limit; none if there is none, and none that are not finite."""
        scores = self.scores(features)
        return np.zeros(len(scores), dtype=bool) if self.limit is None else scores > self.limit

    # ---- With a saved model ----

    def save(self, folder: Path) -> None:
        """Write it into a model's folder: means of classes and pool, and three numbers, but no example's features."""
        numbers = {"center": self.center, "spread": self.spread, "limit": self.limit}
        tensors = {"mean": self.mean, "class_means": self.class_means}
        content = save(tensors, metadata={"hf_ssl": json.dumps(numbers)})
        with atomic_write(folder / FILE) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | Path) -> "Foreignness":
        """What `save` wrote, from its file.

        Raises:
            ValueError: in one line, if the file is damaged.
        """
        try:
            with safe_open(path, "np") as file:
                numbers: dict[str, Any] = json.loads(file.metadata()["hf_ssl"])
                mean, class_means = file.get_tensor("mean"), file.get_tensor("class_means")
            return cls(mean, class_means, *(float(numbers[name]) for name in ("center", "spread", "limit")))
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(
                f"{path} must hold what `hf-ssl train --open-set` wrote, got a damaged file ({error}); save or "
                "download it again"
            ) from None


def _without(sums: np.ndarray, counts: np.ndarray, label: int, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums [C, D] and counts [C] of the classes without one example of class `label`."""
    sums, counts = sums.copy(), counts.copy()
    sums[label] -= row
    counts[label] -= 1
    return sums, counts


def _means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Class means of length 1, float32 [C, D], drawn towards the mean of all classes."""
    center = (sums / counts[:, None]).mean(axis=0)
    drawn = (sums + _DRAWN * center) / (counts[:, None] + _DRAWN)
    length = np.linalg.norm(drawn, axis=1, keepdims=True)
    return (drawn / np.where(length == 0, 1.0, length)).astype(np.float32)


def _distances(normalized: np.ndarray, class_means: np.ndarray) -> np.ndarray:
    """One minus the cosine to the nearest mean, in 0..2, float32 [N]."""
    return 1 - (normalized @ class_means.T).max(axis=1)


# ---- In a pool ----


@dataclass(frozen=True)
class ForeignPool:
    """What was found in a pool.

    Args:
        examples: of the pool that could be read.
        foreign: how many of them look foreign.
        auroc: how well the scores tell examples of unknown classes apart, in 0..1; None if the pool's hidden labels do
            not have both kinds.
    """

    examples: int
    foreign: int
    auroc: float | None = None

    @property
    def ratio(self) -> float:
        """Share of the examples that look foreign, in 0..1."""
        return self.foreign / max(self.examples, 1)

    @property
    def share(self) -> str:
        """`ratio` in words."""
        return f"{100 * self.ratio:.1f} %"

    def __str__(self) -> str:
        return f"{self.foreign:,} of {self.examples:,} pool examples look foreign ({self.share})"


def find_foreign(reading: "Reading") -> tuple[Foreignness, ForeignPool, np.ndarray]:
    """Look for examples of other classes in the pool of a training.

    Returns:
        what they are told by, what was found, and the positions int64 [K] in the pool of those that look foreign.

    Example:
        >>> from hf_ssl.features.reading import Reading
        >>> features = np.array([[1, 0.2], [1, 0.1], [1, 0], [0, 1], [0.1, 1], [0.2, 1], [-1, -1], [1, 0.15]])
        >>> reading = Reading(features, features, np.array([0, 0, 0, 1, 1, 1, -1, -1]), 2, np.array([0, 1]))
        >>> _, found, rows = find_foreign(reading)
        >>> str(found), rows.tolist()
        ('1 of 2 pool examples look foreign (50.0 %)', [0])
    """
    foreignness = Foreignness.fit(reading.features, reading.labels)
    in_pool = reading.features[reading.labels < 0]
    foreign = foreignness.are_foreign(in_pool)
    auroc = None
    if reading.hidden_labels is not None:
        known = (reading.hidden_labels >= 0) | (reading.hidden_labels == UNKNOWN)
        scores = foreignness.scores(in_pool[known])
        auroc = foreign_auroc(scores, reading.hidden_labels[known] == UNKNOWN)
    return foreignness, ForeignPool(len(foreign), int(foreign.sum()), auroc), reading.pool_rows[foreign]
