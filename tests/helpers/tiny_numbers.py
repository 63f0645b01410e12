"""The tiny tasks with a number for each example instead of a class, in units of one's choice."""

from functools import lru_cache

import numpy as np
import torch

from hf_ssl import SSLConfig, SSLTrainer

from tests.helpers.quiet import QUIET
from tests.helpers.tiny_tasks import TASKS, task


def numbers_of(dataset, factor=1.0, shift=0.0):
    """What an example's word, brightness or pitch tells, and a little that nothing tells; never whole numbers."""
    own = np.array(dataset["label"]) * 1.5 + 0.1 * (np.arange(len(dataset)) % 5) + 0.25
    return factor * own + shift


@lru_cache
def number_task(modality, factor=1.0, shift=0.0, second=False):
    """The keywords of `SSLTrainer` for a task, without the model; with two numbers if there is a second."""
    given = task(modality)
    made = {"processing_class": given["processing_class"]}
    for name, dataset in given.items():
        if name == "processing_class":
            continue
        own = numbers_of(dataset, factor, shift)
        dataset = dataset.remove_columns("label").add_column("number", own.tolist())
        made[name] = dataset.add_column("minus", (-2 * own).tolist()) if second else dataset
    return made


def number_model(modality, seed=0, count=1):
    """A new model of one number, or of several."""
    torch.manual_seed(seed)
    config = TASKS[modality][2]().config
    config.num_labels = count
    config.problem_type = "regression"
    torch.manual_seed(seed)
    return type(TASKS[modality][2]())(config)


def number_trainer(folder, algorithm, modality="image", model=None, units=(1.0, 0.0), second=False, **changes):
    """A trainer of a few steps."""
    config = {
        "output_dir": str(folder),
        "algorithm": algorithm,
        "problem_type": "regression",
        "max_steps": 6,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        **QUIET,
        "label_columns" if second else "label_column": ["number", "minus"] if second else "number",
    }
    model = number_model(modality, count=2 if second else 1) if model is None else model
    return SSLTrainer(model, SSLConfig(**{**config, **changes}), **number_task(modality, *units, second))
