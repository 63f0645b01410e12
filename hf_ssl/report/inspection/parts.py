"""Labels, pool and test set of a run, each with features and probabilities.

    recorded predictions ──────────────────────┐
    datasets ── pretrained model: features ────┼──> Part("labeled"), Part("pool"), Part("test")
             └─ trained model: logits (one pass)┘

Features are those of the pretrained model if the run has one, because a trained model has seen the labels: it puts
an example with a wrong label where the label says. Without one they are those of the trained model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn

from ...config import SSLConfig
from ...data.columns import DataSummary
from ...data.prepare import prepare
from ...errors import BrokenExampleError
from ...features.bank import FeatureBank
from ...model.head import find_head
from ...model.loading import class_names
from ...training.start import TrainingData, prepare_datasets
from .examples import places_of
from .record import HELD_OUT, MOST, PARTS, Predictions, sample, softmax


@dataclass
class Part:
    """Labels, pool or test set, or a sample of it.

    Args:
        size: examples of the dataset.
        positions: of the n examples here, int64 [n].
        labels: classes [n], -1 if unknown.
        rows: the prepared dataset, indexed by position; None if it is not at hand.
        features: float32 [n, D], NaN for examples that cannot be read; None if they are not at hand.
        probabilities: method -> float32 [n, C].
    """

    size: int
    positions: np.ndarray
    labels: np.ndarray
    rows: Any = None
    features: np.ndarray | None = None
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, places: np.ndarray) -> "Part":
        """Some of the examples, by their places here.

        Example:
            >>> part = Part(5, np.array([1, 4]), np.array([0, 2]), probabilities={"probe": np.eye(2)})
            >>> part.take(np.array([1])).positions, part.take(np.array([1])).probabilities["probe"]
            (array([4]), array([[0., 1.]]))
        """
        features = None if self.features is None else self.features[places]
        probabilities = {method: values[places] for method, values in self.probabilities.items()}
        return Part(self.size, self.positions[places], self.labels[places], self.rows, features, probabilities)


@dataclass(frozen=True)
class Data:
    """The datasets of a run, matched with each other.

    Args:
        given: "labeled", "pool", "test" -> the dataset as it was found.
        prepared: the same for views, with what they contain.
        args: how they are read.
    """

    given: dict[str, datasets.Dataset]
    prepared: TrainingData
    args: SSLConfig

    @classmethod
    def of(cls, given: dict[str, datasets.Dataset], processor: Any, model: nn.Module, args: SSLConfig) -> "Data":
        """Match datasets as `SSLTrainer` does.

        Raises:
            ValueError: in one line, if they do not fit together.
        """
        first = given.get("labeled", given.get("test"))
        found = prepare_datasets(
            args, first, given.get("pool"), given.get("test"), processor, model=model, model_names=class_names(model)
        )
        return cls(given, found, args)

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return self.prepared.summary.label_names

    def rows(self, part: str) -> Any:
        """The prepared dataset of a part."""
        found = {"labeled": self.prepared.labeled, "pool": self.prepared.unlabeled, "test": self.prepared.evaluation}
        return found[part]

    def encode(self, model: nn.Module, part: str, positions: np.ndarray | None = None) -> FeatureBank:
        """Features of a part, cached.

        Args:
            model: a classifier.
            part: its name.
            positions: of some examples, of which those that cannot be read are left out; None encodes all, as
                training does, so that what it has encoded is found.
        """
        rows, skip = self.rows(part), "skip"
        if positions is not None and len(positions) < len(self.given[part]):
            chosen = self.given[part].select(positions)
            rows = prepare(chosen, self.prepared.summary, part, label=False, files=False)
        elif positions is None:
            skip = self.args.on_broken_file if part == "pool" else "error"
        return FeatureBank.encode(
            model,
            rows,
            self.prepared.processing_class,
            args=self.args,
            data=self.prepared.summary,
            with_head=True,
            on_broken_file=skip,
        )


def recorded_parts(found: Predictions, sizes: Mapping[str, int], most: int = MOST) -> dict[str, Part]:
    """The parts of which predictions were kept, without their data.

    Args:
        found: the predictions.
        sizes: examples of the datasets.
        most: examples of labels and pool, which a model may have to look at; of the test set all are kept.

    Example:
        >>> found = Predictions(rows={"test": np.array([0, 2])}, labels={"test": np.array([1, 1])})
        >>> recorded_parts(found, {"test": 3})["test"].positions
        array([0, 2])
    """
    parts = {}
    for part, rows in found.rows.items():
        answers = {method: given[part] for method, given in found.probabilities.items() if part in given}
        parts[part] = Part(sizes.get(part, len(rows)), rows, found.labels[part], probabilities=answers)
    for part, size in places_of({part: len(rows) for part, rows in found.rows.items()}, most).items():
        if part != "test":
            parts[part] = parts[part].take(sample(len(parts[part].positions), size))
    return parts


def held_out_part(found: Predictions) -> Part | None:
    """Labels that were held out in turn, and what methods said of them; None if none was."""
    labels = found.labels.get(HELD_OUT)
    if labels is None:
        return None
    answers = {method: given[HELD_OUT] for method, given in found.probabilities.items() if HELD_OUT in given}
    return Part(len(labels), np.arange(len(labels)), labels, probabilities=answers)


def sampled_parts(given: Mapping[str, datasets.Dataset], summary: DataSummary, most: int = MOST) -> dict[str, Part]:
    """The datasets, or a sample of each, with labels and without predictions.

    Args:
        given: "labeled", "pool", "test" -> the dataset as it was found.
        summary: what the labeled one contains.
        most: examples of all together, see `places_of`.

    Example:
        >>> from hf_ssl.data.columns import inspect_data
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": ["cat", "dog", "cat"]})
        >>> sampled_parts({"labeled": rows}, inspect_data(rows))["labeled"].labels.tolist()
        [0, 1, 0]
    """
    found = {}
    for part, size in places_of({part: len(given[part]) for part in PARTS if part in given}, most).items():
        rows = prepare(given[part], summary, part, label=False, files=False)
        positions = sample(len(rows), size)
        found[part] = Part(len(rows), positions, labels_of(rows, summary)[positions], rows)
    return found


def labels_of(rows: Any, summary: DataSummary) -> np.ndarray:
    """Classes int64 [N] of prepared rows, -1 if unknown; the hidden ones of a pool that has them."""
    raw = getattr(rows, "raw", rows)
    if summary.label_column not in raw.column_names:
        return np.full(len(raw), -1)
    index = getattr(rows, "label_index", None) or (lambda cell: cell)
    cells = [index(cell) for cell in raw.with_format(None)[summary.label_column][:]]
    return np.asarray([-1 if cell is None or cell < 0 else cell for cell in cells], dtype=np.int64)


def add_features(parts: dict[str, Part], data: Data, model: nn.Module) -> None:
    """Give every part its rows, and the features that the pretrained model makes of them."""
    for name, part in parts.items():
        bank = data.encode(model, name)
        part.rows, part.features = data.rows(name), np.asarray(bank.features[part.positions])


def add_answers(parts: dict[str, Part], data: Data, model: nn.Module, method: str) -> None:
    """Let the trained model classify the examples that it has no recorded answer to; its features, if there are none.

    Examples that cannot be read get features and probabilities of NaN.
    """
    head = find_head(model)
    for name, part in parts.items():
        if method in part.probabilities and part.features is not None:
            continue
        bank = data.encode(model, name, part.positions)
        assert bank.head_features is not None, "encoded with the head's input"
        if method not in part.probabilities:
            with torch.no_grad():
                read = torch.from_numpy(np.array(bank.head_features)).to(next(head.parameters()))
                part.probabilities[method] = softmax(head(read).float().cpu().numpy())
        if part.features is None:
            part.rows, part.features = data.rows(name), np.asarray(bank.features)


def value_of(rows: Any, position: int, columns: tuple[str, ...]) -> Any:
    """What a row holds in its input column, undecoded; of pairs of texts both.

    Raises:
        BrokenExampleError, OSError: if it cannot be read.
    """
    try:
        row = rows[int(position)]
    except (ValueError, LookupError) as error:
        raise BrokenExampleError(f"row {position}: {error}") from error
    values = [row.get(name) for name in columns]
    return values[0] if len(values) == 1 else values
