"""Several labels and numbers of a training's examples, as `hf_ssl.features.start` has them for one class.

    Reading ── MultiLabelFeatureClassifier, FeatureRegressor ── Answers: of labels and pool, and a head that has them

With labels alone they are fitted to the labeled examples, otherwise to the pool as well.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ..problem_types import MULTI_LABEL
from .multi_label import MultiLabelFeatureClassifier, thresholds_at
from .reading import LinearHead, Reading
from .regressor import FeatureRegressor
from .ridge import project


@dataclass(frozen=True)
class Answers:
    """What was fitted says of labels and pool.

    Args:
        outputs: logits [N, C], or numbers [N, K] in the user's units.
        held_out: the same of the L labeled examples, each left out of the fits: what to expect of new examples.
        head: the model's head that gives these outputs, or comes nearest to them if it reads other features.
        thresholds: probabilities [C] of the head above which labels are as frequent in the pool as among the labeled
            examples; None if outputs are numbers.
    """

    outputs: np.ndarray
    held_out: np.ndarray
    head: LinearHead
    thresholds: np.ndarray | None = None


def answers_of(reading: Reading, *, with_pool: bool) -> Answers:
    """Fit several labels or numbers, as `reading.problem_type` says.

    Args:
        reading: features and labels [N, C] or numbers [N, K], with rows of NaN in the pool.
        with_pool: whether the pool takes part; otherwise labels alone.

    Raises:
        ValueError: if fewer than two examples are labeled.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(80, 4)).astype(np.float32)
        >>> numbers = np.where(np.arange(80)[:, None] < 20, 100 + features[:, :1], np.nan)
        >>> reading = Reading(features, features, numbers, 1, np.arange(60), problem_type="regression")
        >>> found = answers_of(reading, with_pool=True)
        >>> float(np.abs(found.head.logits(features) - (100 + features[:, :1])).max()) < 0.05
        True
    """
    features, labels = reading.features, reading.labels
    taught = slice(None) if with_pool else reading.known
    if reading.problem_type == MULTI_LABEL:
        classifier = MultiLabelFeatureClassifier().fit(features[taught], labels[taught])
        outputs, held_out = classifier.decision_function(features), classifier.held_out_logits_
        head = _head(reading, outputs, classifier)
        thresholds = thresholds_at(expit(head.logits(reading.head_features)), classifier.label_shares_)
        return Answers(outputs, held_out, head, thresholds)
    regressor = FeatureRegressor().fit(features[taught], labels[taught])
    outputs = regressor.predict(features)
    return Answers(outputs, regressor.held_out_, _head(reading, outputs, regressor))


def _head(reading: Reading, outputs: np.ndarray, fitted: MultiLabelFeatureClassifier | FeatureRegressor) -> LinearHead:
    if reading.head_features is reading.features:
        weight, bias = fitted.coef_, fitted.intercept_
    else:
        columns, bias = project(reading.head_features, outputs)
        weight = columns.T
    return LinearHead(np.ascontiguousarray(weight, dtype=np.float32), bias.astype(np.float32))
