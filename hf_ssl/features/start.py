"""Training that begins with a fitted head instead of a random one.

    start="head"      labels ── probe ─────────────────────────────────────────> head
    start="features"  labels + pool ── FeatureClassifier ── classes of the pool ── probe ──> head

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
from .bank import FeatureBank
from .classifier import FeatureClassifier

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
        ImportError: in one line that names the extra, if scikit-learn is not installed.
    """
    if args.start == "random":
        return
    # Before all examples are encoded.
    check_writable(find_head(model))

    def encode(rows: Any, pooling: str) -> FeatureBank:
        return FeatureBank.encode(
            model,
            rows,
            processing_class,
            args=args,
            data=data,
            view_maker=view_maker,
            pooling=pooling,
            on_broken_file=args.on_broken_file,
        )

    labels = np.asarray(data.labels)
    features = encode(labeled, "head").features
    if args.start == "features":
        # Texts are told apart by the mean of their tokens, before the layers in front of the head are trained.
        banks = [encode(rows, "auto") for rows in (labeled, unlabeled)]
        pool = encode(unlabeled, "head").features
        everything = np.concatenate([bank.features for bank in banks])
        known = np.concatenate([labels, np.full(len(pool), -1)])
        readable = np.isfinite(everything).all(axis=1)
        taught = FeatureClassifier().fit(everything[readable], known[readable])
        features, labels = np.concatenate([features, pool])[readable], taught.transduction_
    FeatureClassifier().fit(features, labels).to_head(model)
    counts = np.bincount(labels, minlength=len(data.label_names))
    logger.info(f"head fitted to {len(labels):,} examples ({', '.join(map(str, counts[:20]))} per class)")
