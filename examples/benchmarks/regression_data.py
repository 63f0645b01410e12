"""What the evidence on numbers is made of: features of several views of each example, encoded once, and its numbers.

Two real tasks with one number for each example:

- letters: AG News. The mean number of letters of the words in a text. MiniLM sees word pieces, and its mean over them
  tells the topic: neither a count that pooling loses, as the number of words, nor one that it gives away.
- sum: scikit-learn's handwritten digits, two side by side as an image of 8 x 16 pixels; the number is their sum. There
  is no encoder: features are the pixels, weak views are shifted by up to one pixel, strong ones have noise and a
  square of 3 x 3 pixels without content besides.

As in `frozen_views.py`, everything above the features is that of any other training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import frozen_views
import numpy as np
import torch
from evidence_tasks import Places
from frozen_views import AdaptedFeatures, AdaptedFeaturesConfig, StoredViews
from sklearn.datasets import load_digits
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

TASKS = ("letters", "sum")
# Views of the digits, and their pairs in pool and test set.
VIEWS = {"weak": 2, "strong": 4}
PAIRS, TESTED_PAIRS = 2_400, 800
TESTED_TEXTS = 2_000
# Of the pool, to choose settings with.
HELD_OUT = 600


@dataclass(frozen=True)
class Encoded:
    """A task as features.

    Args:
        views: by kind ("plain", "weak", "strong"), float32 [n, N, D]; of the test set, which is behind the pool, the
            plain features are repeated.
        numbers: float32 [N].
        pool: how many of the N are the pool's.
    """

    views: dict[str, np.ndarray]
    numbers: np.ndarray
    pool: int


def encode(task: str, places: Places, cache: Path) -> Encoded:
    """The features and numbers of a task; from the cache, if they were made before."""
    train, test, numbers = {"letters": _letters, "sum": _sum}[task](places, cache)
    joined = {
        kind: np.concatenate([made, np.repeat(test[None], len(made), axis=0)], axis=1) for kind, made in train.items()
    }
    return Encoded(joined, np.asarray(numbers, np.float32), train["plain"].shape[1])


def _letters(places: Places, cache: Path) -> tuple[dict[str, np.ndarray], np.ndarray, list[float]]:
    data = datasets.load_dataset(str(places.data / "ag_news"))
    encoded = frozen_views.encode("text", places, cache)
    texts = [*data["train"]["text"], *data["test"]["text"][:TESTED_TEXTS]]
    return (
        encoded.train,
        encoded.test[:TESTED_TEXTS],
        [float(np.mean([len(word) for word in text.split()])) for text in texts],
    )


def _sum(places: Places, cache: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    digits, rng = load_digits(), np.random.default_rng(0)
    # No digit of the test set is in the pool.
    order = rng.permutation(len(digits.target))
    cut = len(order) * 3 // 4
    pairs = np.concatenate([rng.choice(order[:cut], (PAIRS, 2)), rng.choice(order[cut:], (TESTED_PAIRS, 2))])
    images = np.concatenate([digits.images[pairs[:, 0]], digits.images[pairs[:, 1]]], axis=2) / 16
    views: dict[str, np.ndarray] = {"plain": images[None, :PAIRS]}
    for kind, count in VIEWS.items():
        made = [np.stack([_digit_view(kind, image, rng) for image in images[:PAIRS]]) for _ in range(count)]
        views[kind] = np.stack(made)
    flat = {kind: made.reshape(*made.shape[:2], -1).astype(np.float32) for kind, made in views.items()}
    test = images[PAIRS:].reshape(TESTED_PAIRS, -1).astype(np.float32)
    return flat, test, digits.target[pairs].sum(axis=1)


def _digit_view(kind: str, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    down, right = rng.integers(-1, 2, 2)
    padded = np.pad(image, 1)
    view = padded[1 + down : 9 + down, 1 + right : 17 + right].copy()
    if kind == "strong":
        top, left = rng.integers(6), rng.integers(14)
        view[top : top + 3, left : left + 3] = 0
        view += 0.2 * rng.standard_normal(view.shape)
    return view


class NumberFeatures(AdaptedFeatures):
    """`AdaptedFeatures` of numbers [N, K], without a loss of its own for classes."""

    def forward(self, features, labels=None):
        """Numbers [N, K] of features [N, D]."""
        scaled = self.scaled(features)
        numbers = self.classifier(scaled + self.up(nn.functional.gelu(self.down(scaled))))
        loss = None if labels is None else nn.functional.mse_loss(numbers, labels)
        return SequenceClassifierOutput(loss=loss, logits=numbers)


@dataclass(frozen=True)
class Draw:
    """What a run is trained and tested on: rows hold numbers of examples, in `views`."""

    labeled: datasets.Dataset
    pool: datasets.Dataset
    test: datasets.Dataset
    views: StoredViews
    index: dict[str, np.ndarray]


def draw(data: Encoded, labels: int, seed: int, validation: bool) -> Draw:
    """Labeled examples, drawn by the seed, a pool that holds them, too, and what is tested on.

    Args:
        validation: test on examples that are held out of the pool, and not on the test set.
    """
    size = data.pool
    rows = np.arange(HELD_OUT, size)
    tested = np.arange(HELD_OUT) if validation else np.arange(size, len(data.numbers))
    if not validation:
        rows = np.arange(size)
    labeled = np.random.default_rng(seed).choice(rows, labels, replace=False)
    index = {"labeled": labeled, "pool": rows, "test": tested}

    def rows_of(index: np.ndarray, with_number: bool) -> datasets.Dataset:
        columns: dict[str, Any] = {"input_ids": index[:, None].tolist()}
        if with_number:
            columns["number"] = data.numbers[index].astype(float).tolist()
        return datasets.Dataset.from_dict(columns)

    views = StoredViews("text", data.views, np.zeros(data.views["plain"].shape[-1], np.float32), "input_ids")
    made = {name: rows_of(part, name != "pool") for name, part in index.items()}
    return Draw(made["labeled"], made["pool"], made["test"], views, index)


def make_model(data: Encoded, seed: int) -> NumberFeatures:
    """A model with new weights, by the seed, that centers features at the mean of the pool."""
    torch.manual_seed(seed)
    plain = data.views["plain"][0, : data.pool]
    config = AdaptedFeaturesConfig(size=plain.shape[1], num_labels=1, problem_type="regression")
    model = NumberFeatures(config)
    # Small, as heads of transformers begin: the first answers are near the mean of the labels.
    nn.init.normal_(model.classifier.weight, std=0.1 * plain.shape[1] ** -0.5)
    model.mean.copy_(torch.from_numpy(plain.mean(axis=0)))
    return model
