"""The table of the small tasks: what a grid needs to know of them without loading anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import datasets


@dataclass(frozen=True)
class SmallTask:
    """A task whose data come with packages. The fields that `Task` also has mean the same.

    Args:
        place: module and function here that load the data.
        packages: those whose version decides over the data.
        training: settings of `SSLConfig` that suit the task and its small model.
        held_out: share of train that becomes the validation split; 0 if the data have one.
    """

    name: str
    title: str
    modality: str
    class_names: tuple[str, ...]
    label_settings: tuple[int, ...]
    backbone: str
    place: tuple[str, str]
    packages: tuple[str, ...]
    training: Mapping[str, Any]
    held_out: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2)
    label_column: str = "label"
    views: Mapping[str, Any] = field(default_factory=dict)
    given_labels: bool = False

    def load(self) -> datasets.DatasetDict:
        """The splits train, validation and test."""
        module, function = self.place
        load: Callable[[], datasets.DatasetDict] = getattr(import_module(f".{module}", __package__), function)
        splits = load()
        if self.held_out:
            parts = splits["train"].train_test_split(self.held_out, stratify_by_column="label", seed=0)
            splits["train"], splits["validation"] = parts["train"], parts["test"]
        return splits


_COMMON = {
    "global_batch_size": 8,
    "weight_decay": 5e-4,
    "lr_schedule": "cosine_7_16",
    "ema_role": "evaluation",
    "per_device_eval_batch_size": 256,
    "duplicate_check_seconds": 0.0,
}

SMALL_TASKS: dict[str, SmallTask] = {
    task.name: task
    for task in (
        SmallTask(
            name="digits",
            title="Handwritten digits",
            modality="image",
            class_names=tuple("0123456789"),
            label_settings=(40, 100),
            backbone="tiny-resnet",
            place=("digits", "load_small_digits"),
            packages=("scikit-learn",),
            training={
                **_COMMON,
                **{"max_steps": 200, "unlabeled_batch_ratio": 4, "learning_rate": 5e-3, "ema_decay": 0.98},
                **{"warmup_steps": 10, "eval_steps": 50, "logging_steps": 25, "image_size": 16},
                **{"horizontal_flip": False, "color_operations": False},
            },
            held_out=0.15,
        ),
        SmallTask(
            name="scipy_manual",
            title="Paragraphs of SciPy's documentation",
            modality="text",
            class_names=("optimize", "signal", "sparse", "stats"),
            label_settings=(40, 100),
            backbone="bag-of-words",
            place=("manual", "load_manual"),
            packages=("scipy",),
            training={
                **_COMMON,
                **{"max_steps": 150, "unlabeled_batch_ratio": 4, "learning_rate": 5e-2, "ema_decay": 0.98},
                **{"warmup_steps": 10, "eval_steps": 50, "logging_steps": 25, "max_length": 64},
            },
        ),
        SmallTask(
            name="tones",
            title="Synthetic notes of six instruments",
            modality="audio",
            class_names=("bell", "flute", "organ", "reed", "string", "whistle"),
            label_settings=(18, 60),
            backbone="tiny-spectrum",
            place=("tones", "load_tones"),
            packages=(),
            training={
                **_COMMON,
                **{"max_steps": 150, "unlabeled_batch_ratio": 2, "learning_rate": 3e-3, "ema_decay": 0.98},
                **{"warmup_steps": 10, "eval_steps": 50, "logging_steps": 25, "max_length_seconds": 0.4},
            },
        ),
    )
}
