"""Settings for fine-tuning a pretrained encoder that starts from the head of the features, without a search.

One row per modality; what `TrainingArguments` users set themselves wins. They were compared on held-out parts of the
training data of AG News (MiniLM), CIFAR-10 (MobileNetV1-0.25) and Speech Commands (Google's speech embedding), never
on test rows; `examples/guides/features.md` has the numbers.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recommendation:
    """How to fine-tune.

    Args:
        algorithm: by its name, or "distillation" (`hf_ssl.features.distillation`).
        algorithm_kwargs: its own settings.
        settings: of `SSLConfig`.
        upper: share of the blocks that learn on a CPU, in (0, 1].
        most_steps: more brought nothing.
    """

    algorithm: str
    algorithm_kwargs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    upper: float = 1.0
    most_steps: int = 400


_COMMON = {
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 5e-4,
    "logging_steps": 0.1,
    "eval_strategy": "no",
}

RECOMMENDED: dict[str, Recommendation] = {
    "text": Recommendation(
        "distillation",
        {},
        {**_COMMON, "learning_rate": 2e-4, "unlabeled_batch_ratio": 7, "max_length": 64},
        1 / 3,
        150,
    ),
    "image": Recommendation(
        "distillation", {}, {**_COMMON, "learning_rate": 2e-4, "unlabeled_batch_ratio": 3}, 1 / 3, 300
    ),
    "audio": Recommendation(
        "freematch", {"momentum": 0.9}, {**_COMMON, "learning_rate": 2e-4, "unlabeled_batch_ratio": 3}, 1 / 3, 300
    ),
}
