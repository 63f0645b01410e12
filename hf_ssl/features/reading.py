"""The features of a training's datasets, and what classifiers of them become in the model: weights of its head.

    labeled, pool, test -- FeatureBank.encode --> Reading -- probe, FeatureClassifier --> probabilities [N, C]
                                                                                               |
                                                     head_for: the linear head that gives these <-+

Texts are told apart by the mean of their tokens, which no head reads (see `hf_ssl.features.encoder`). So a classifier
is fitted to the features, and its head to the classifier's probabilities of labels and pool, on what the head reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..config import SSLConfig
from ..data.columns import DataSummary
from ..model.head import feature_size, find_head, linear_of, write_head
from ..problem_types import SINGLE_LABEL
from .bank import FeatureBank
from .inputs import are_known
from .probe import fit_raw


@dataclass(frozen=True)
class Reading:
    """What a frozen encoder makes of labeled examples and pool, in one array, the labeled ones first.

    Args:
        features: [N, D], what classifiers are fitted to.
        head_features: [N, H], what the model's head reads.
        labels: classes, int64 [N], -1 in the pool; several labels [N, C] or numbers [N, K], float32, NaN in the pool.
        num_classes: C, or K.
        pool_rows: positions int64 [U] in the pool of the rows without a label here; broken examples are left out.
        hidden_labels: classes [U] of the pool, -1 if they are not known, `UNKNOWN` if they are none of the C, only to
            say how often they were found; None without any.
        tests: by name, features and head features of evaluation examples, and their labels.
        problem_type: one of `hf_ssl.problem_types.PROBLEM_TYPES`.
    """

    features: np.ndarray
    head_features: np.ndarray
    labels: np.ndarray
    num_classes: int
    pool_rows: np.ndarray
    hidden_labels: np.ndarray | None = None
    tests: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    problem_type: str = SINGLE_LABEL

    @property
    def known(self) -> np.ndarray:
        """Which examples are labeled, bool [N]."""
        return are_known(self.labels)

    def without_pool_rows(self, rows: np.ndarray) -> "Reading":
        """The same without some examples of the pool, by their positions int64 [K] there."""
        stays = ~np.isin(self.pool_rows, rows)
        kept = np.concatenate([np.flatnonzero(self.known), np.flatnonzero(~self.known)[stays]])
        hidden = None if self.hidden_labels is None else self.hidden_labels[stays]
        parts = {"features": self.features[kept], "head_features": self.head_features[kept]}
        return replace(self, **parts, labels=self.labels[kept], pool_rows=self.pool_rows[stays], hidden_labels=hidden)

    @property
    def test_labels(self) -> np.ndarray | None:
        """Labels of the test set, which has the name ""; None without one."""
        return self.tests[""][2] if "" in self.tests else None


@dataclass(frozen=True)
class LinearHead:
    """Weights of a classification head.

    Args:
        weight: float32 [C, H].
        bias: float32 [C].
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, head_features: np.ndarray) -> np.ndarray:
        """float32 [N, C], of what the head reads [N, H]."""
        return np.asarray(head_features, dtype=np.float32) @ self.weight.T + self.bias

    def write(self, model: nn.Module) -> None:
        """Put the weights into the model's head.

        Raises:
            ValueError: if the model's head is of another shape, has no bias, or is under an adapter.
        """
        head = find_head(model)
        shape = linear_of(head).out_features, feature_size(head)
        if shape != self.weight.shape:
            raise ValueError(
                f"the head must have weights of shape {self.weight.shape}, got {shape}; load the model with a fresh "
                "head"
            )
        write_head(head, torch.as_tensor(self.weight), torch.as_tensor(self.bias))


def read(
    model: nn.Module,
    labeled: Any,
    unlabeled: Any,
    data: DataSummary,
    processing_class: Any,
    args: SSLConfig,
    *,
    view_maker: Any = None,
    evaluation: Mapping[str, Any] | None = None,
    cache_dir: Path | None = None,
) -> Reading:
    """Encode the prepared datasets of a training, each in one pass.

    Args:
        model: a classifier, whose weights below the head are used as they are.
        labeled, unlabeled: the prepared datasets (see `hf_ssl.data.prepare`).
        data: what they contain.
        processing_class: the model's image processor, tokenizer or feature extractor.
        args: how examples are read. Features are cached (see `FeatureBank`).
        view_maker: a custom one, if the training has one.
        evaluation: further prepared datasets by name.
        cache_dir: folder of the cache; None for the usual one.

    Raises:
        ValueError: if an example cannot be encoded.
    """

    def encode(rows: Any, on_broken_file: str) -> FeatureBank:
        given = {"args": args, "data": data, "view_maker": view_maker, "on_broken_file": on_broken_file}
        given |= {"cache_dir": cache_dir}
        return FeatureBank.encode(model, rows, processing_class, with_head=True, **given)

    # A broken file among examples with labels is an error, as in training.
    banks = [encode(labeled, "error"), encode(unlabeled, args.on_broken_file)]
    given = np.asarray(data.labels)
    missing = -1 if given.dtype.kind in "iu" else np.nan
    labels = np.concatenate([given, np.full((len(banks[1]), *given.shape[1:]), missing, dtype=given.dtype)])
    features = np.concatenate([bank.features for bank in banks])
    head_features = features if banks[0].head_features is banks[0].features else _joined(banks)
    readable = np.isfinite(features).all(axis=1)
    pool_rows = np.flatnonzero(readable[len(banks[0]) :])
    hidden = None if banks[1].labels is None else banks[1].labels[pool_rows]
    if not readable.all():
        features, head_features, labels = features[readable], head_features[readable], labels[readable]
    tests = {}
    for name, rows in (evaluation or {}).items():
        bank = encode(rows, "error")
        assert bank.head_features is not None and bank.labels is not None, "evaluation rows have labels"
        tests[name] = bank.features, bank.head_features, bank.labels
    size, kind = len(data.label_names), data.problem_type
    return Reading(features, head_features, labels, size, pool_rows, hidden, tests, kind)


def _joined(banks: list[FeatureBank]) -> np.ndarray:
    return np.concatenate([bank.head_features for bank in banks if bank.head_features is not None])


def head_for(head_features: np.ndarray, probabilities: np.ndarray) -> LinearHead:
    """The linear head whose softmax comes nearest to probabilities [N, C] on what it reads [N, H].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> read, weight = rng.normal(size=(200, 4)), rng.normal(size=(4, 3))
        >>> logits = read @ weight
        >>> wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        >>> head = head_for(read, wanted)
        >>> float((head.logits(read).argmax(axis=1) == logits.argmax(axis=1)).mean()) > 0.97
        True
    """
    return LinearHead(*fit_raw(head_features, probabilities))
