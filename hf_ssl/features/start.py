"""Training that begins with a fitted head instead of a random one.

    start="head"      labels ── probe ──────────────────────────────> probabilities of labels and pool ──> head
    start="features"  labels + pool ── FeatureClassifier ──────────> probabilities of labels and pool ──> head

A new head guesses, and algorithms that count guesses as pseudo-labels can learn them for good. A fitted head does not
guess, but is sure of its mistakes, too: settings that suit a random head may be too coarse for it.
"""

from typing import Any

import numpy as np
from torch import nn
from transformers.utils import logging

from ..config import SSLConfig
from ..data.columns import DataSummary
from ..model.head import check_writable, find_head
from .classifier import FeatureClassifier
from .normalization import normalize, pool_mean
from .probe import FREE, fit_probe, one_hot
from .reading import LinearHead, Reading, head_for, read

logger = logging.get_logger(__name__)


def fit_head(
    model: nn.Module,
    labeled: Any,
    unlabeled: Any,
    data: DataSummary,
    processing_class: Any,
    args: SSLConfig,
    *,
    view_maker: Any = None,
) -> None:
    """Write the head that `args.start` asks for into the model; "random" leaves it as it is.

    Args:
        model: a classifier, whose weights below the head are used as they are.
        labeled, unlabeled: the prepared datasets (see `hf_ssl.data.prepare`).
        data: what they contain.
        processing_class: the model's image processor, tokenizer or feature extractor.
        args: `start`, and how examples are read. Features are cached (see `FeatureBank`).
        view_maker: a custom one, if the training has one.

    Raises:
        ValueError: if an example cannot be encoded, or the head does not fit or is under an adapter.
    """
    if args.start == "random":
        return
    # Before all examples are encoded.
    check_writable(find_head(model))
    reading = read(model, labeled, unlabeled, data, processing_class, args, view_maker=view_maker)
    head, classes = probe_head(reading) if args.start == "head" else classifier_head(reading)
    head.write(model)
    counts = np.bincount(classes, minlength=len(data.label_names))
    logger.info(f"head fitted to {len(classes):,} examples ({', '.join(map(str, counts[:20]))} per class)")


def labels_alone(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The probabilities [N, C] of a probe on the labeled examples alone.

    Args:
        features: [N, D].
        labels: classes [N], -1 for unlabeled.
        num_classes: C.
    """
    normalized, known = normalize(features, pool_mean(features)), labels >= 0
    probe = fit_probe(normalized[known], one_hot(labels[known], num_classes), regularization=FREE)
    return probe.probabilities(normalized)


def labels_and_pool(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The probabilities [N, C] of a `FeatureClassifier`; classes without a label have 0."""
    classifier = FeatureClassifier().fit(features, labels)
    probabilities = np.zeros((len(features), num_classes), dtype=np.float32)
    probabilities[:, classifier.classes_] = classifier.predict_proba(features)
    return probabilities


def probe_head(reading: Reading) -> tuple[LinearHead, np.ndarray]:
    """The head of labels alone, and the classes of labels and pool by it."""
    probabilities = labels_alone(reading.features, reading.labels, reading.num_classes)
    return head_for(reading.head_features, probabilities), probabilities.argmax(axis=1)


def classifier_head(reading: Reading) -> tuple[LinearHead, np.ndarray]:
    """The head of labels and pool, and their classes by it."""
    probabilities = labels_and_pool(reading.features, reading.labels, reading.num_classes)
    return head_for(reading.head_features, probabilities), probabilities.argmax(axis=1)
