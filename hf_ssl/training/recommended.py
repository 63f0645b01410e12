"""Settings for fine-tuning a pretrained encoder that starts from the head of the features, without a search.

What a user sets wins. Compared on held-out parts of the training data, never on test rows, with labels of seed 10 (for
recordings also 11); in percent, of about 1,000 examples, so that differences below 2 points mean little:

    data, labels, encoder               probe   head of    distilla-   own share   freematch    more
                                                features   tion        0.5         from there
    texts, 4, MiniLM                    70.0    83.5       85.3
    texts, 40, MiniLM                   79.2    84.6       87.2        86.3        73.8
    texts, 100, MiniLM                  83.1    85.4       87.5
    recordings, 10, speech embedding    54.5    65.5                   71.3        73.9         adamatch 72.4
    recordings, 10, seed 11             39.9    48.7                   48.4        48.6         adamatch 47.1
    recordings, 50                      70.1    73.8                   80.2        81.6         adamatch 82.7
    recordings, 50, seed 11             66.2    72.1                   76.5        80.7         adamatch 77.4
    recordings, 100                     74.9    77.4       81.4        83.1        84.0         adamatch 82.4
    images, 40, MobileNetV1-0.25        51.9    59.8       58.1        61.8 *      57.7 *       400 steps: 60.1 *
    images, 250, MobileNetV1-0.25       62.8    68.9                   63.5 *                   400 steps: 67.1 *

Texts: 100 steps of 8 labeled and 56 unlabeled ones; images and recordings: 150 of 8 and 24; the upper third of the
blocks of texts and images. FreeMatch and AdaMatch have a momentum of 0.9. * with batch normalization in evaluation
mode, without which it is 2 to 7 points worse. FreeMatch is recommended for recordings, where it was the best or close
to it in all five rows. On texts its thresholds, which follow the model, ran away from the fitted head; the targets of
distillation stay. Models whose batch normalization learns are not fine-tuned: what was tried helped with 40 labels at
most, and harmed with 250.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recommendation:
    """How to fine-tune from the features' head.

    Args:
        settings: of `SSLConfig`.
        algorithm: one of `hf_ssl.algorithms.ALGORITHMS`, or "distillation" (`hf_ssl.features.distillation`).
        algorithm_kwargs: its hyper-parameters, where its own defaults are for longer runs.
        upper: share of the blocks that learn on a CPU, in (0, 1].
        most_steps: more brought nothing.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "distillation"
    algorithm_kwargs: dict[str, Any] = field(default_factory=dict)
    upper: float = 1 / 3
    most_steps: int = 150


# Learning rate of a model of 22 million parameters. Others learn in proportion to one over the root of their size, as
# the speech embedding (330,000 parameters, 1e-3) and MiniLM did.
_RATE, _PARAMETERS = 2e-4, 22e6
_RATES = (2e-5, 1e-3)
# Adapters learn at this multiple of the rate of all weights.
LORA_RATE = 5.0
# Texts whose lengths are looked at, and the most tokens of one by default: a pass takes time in proportion.
_TEXTS, _MOST_TOKENS = 500, 128

_COMMON: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 5e-4,
    "logging_steps": 0.1,
    "eval_strategy": "no",
}
_OWN: dict[str, Recommendation] = {
    "text": Recommendation({"unlabeled_batch_ratio": 7}, algorithm_kwargs={"own_share": 0.0}),
    "image": Recommendation({"unlabeled_batch_ratio": 3}, algorithm_kwargs={"own_share": 0.5}),
    "audio": Recommendation({"unlabeled_batch_ratio": 3}, "freematch", {"momentum": 0.9}, upper=1.0),
}


def recommended(modality: str, parameters: int) -> Recommendation:
    """The row of a modality, for an encoder of this size.

    Args:
        modality: "image", "text" or "audio".
        parameters: number of the model's parameters, above 0.

    Example:
        >>> recommended("text", 22_000_000).settings["learning_rate"]
        0.0002
        >>> recommended("image", 86_000_000).settings["learning_rate"]
        0.0001
    """
    lowest, highest = _RATES
    rate = min(max(_RATE * (_PARAMETERS / parameters) ** 0.5, lowest), highest)
    own = _OWN[modality]
    settings = {**_COMMON, "learning_rate": float(f"{rate:.1g}"), **own.settings}
    return replace(own, settings=settings)


def usual_tokens(trainer: Any) -> int:
    """Tokens within which nine of ten texts of the pool end, in steps of 16, and at most 128.

    Args:
        trainer: an `SSLTrainer` of texts, which has the pool and what makes model inputs of it.
    """
    pool = trainer.unlabeled_dataset
    rows = np.random.default_rng(0).permutation(len(pool))[:_TEXTS]
    lengths = [len(trainer.views.evaluation(pool[int(row)])["input_ids"]) for row in rows]
    return int(min(-(-np.quantile(lengths, 0.9) // 16) * 16, _MOST_TOKENS))
