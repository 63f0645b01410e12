"""A pool with a class that nobody labeled: vectors around three centers, of which two have labels."""

from pathlib import Path

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from hf_ssl import SSLConfig, SSLTrainer

from tests.helpers.quiet import QUIET

SIZE, KNOWN, FOREIGN = 6, ["cat", "dog"], "truck"
CENTERS = np.array([[4.0, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0], [0, 0, 4, 4, 0, 0]])


class VectorConfig(PretrainedConfig):
    model_type = "foreign_pool_vectors"


class VectorClassifier(PreTrainedModel):
    """Its features are the vectors themselves, moved a little by what it learns."""

    config_class = VectorConfig
    main_input_name = "pixel_values"

    def __init__(self, config: VectorConfig):
        super().__init__(config)
        self.body = nn.Linear(SIZE, SIZE)
        self.classifier = nn.Linear(SIZE, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.05)
            nn.init.zeros_(module.bias)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> ImageClassifierOutput:
        logits = self.classifier(pixel_values + self.body(pixel_values))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def rows(counts: tuple[int, int, int], seed: int, names: list[str] | None = None) -> datasets.Dataset:
    """Examples of the two known classes and the foreign one, in this order, with labels as texts."""
    rng = np.random.default_rng(seed)
    centers = np.repeat(CENTERS, counts, axis=0)
    weak, strong, second = (centers + rng.normal(scale=0.5, size=centers.shape) for _ in range(3))
    table = {"pixel_values": weak, "pixel_values_strong": strong, "pixel_values_strong_2": second}
    table = {name: values.astype(np.float32).tolist() for name, values in table.items()}
    labels = [name for name, count in zip([*KNOWN, FOREIGN], counts, strict=True) for _ in range(count)]
    return datasets.Dataset.from_dict({**table, "label": labels})


def make_trainer(folder: Path, open_set: str | None = "drop", labeled: int = 5, **changes) -> SSLTrainer:
    """12 examples of each class in the pool, and 5 of each known one with labels."""
    config = {
        "output_dir": str(folder),
        "open_set": open_set,
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        **QUIET,
    }
    torch.manual_seed(0)
    model = VectorClassifier(VectorConfig(num_labels=2))
    return SSLTrainer(
        model,
        SSLConfig(**{**config, **changes}),
        train_dataset=rows((labeled, labeled, 0), 0),
        unlabeled_dataset=rows((12, 12, 12), 1),
        eval_dataset=rows((4, 4, 0), 2),
    )
