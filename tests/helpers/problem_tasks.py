"""Tiny tasks of each modality whose labels are several, or numbers."""

from functools import lru_cache

import datasets
import numpy as np
import torch

from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.tiny_tasks import TASKS, new_model

TAGS = ["cold", "warm"]
_COLUMN = {MULTI_LABEL: "tags", REGRESSION: "price"}


def answer(problem_type: str, label: int):
    """What stands for the class 0, 1 or 2 of a tiny task: of tags none, one or both; of numbers 40, 45.5 or 51."""
    return TAGS[:label] if problem_type == MULTI_LABEL else 40.0 + 5.5 * label


def relabeled(dataset: datasets.Dataset, problem_type: str) -> datasets.Dataset:
    """A tiny task's dataset with tags or prices in place of its classes."""
    column, labels = _COLUMN[problem_type], dataset["label"][:]
    inner = datasets.List(datasets.Value("string")) if problem_type == MULTI_LABEL else datasets.Value("float64")
    answers = [answer(problem_type, label) for label in labels]
    return dataset.remove_columns("label").add_column(column, answers, feature=inner)


@lru_cache
def problem_task(modality: str, problem_type: str) -> dict:
    """The keywords of `SSLTrainer` for such a task, without the model."""
    make, processor, _ = TASKS[modality]
    sets = {"train_dataset": make(6, 0), "unlabeled_dataset": make(24, 1), "eval_dataset": make(6, 2)}
    return {
        **{name: relabeled(dataset, problem_type) for name, dataset in sets.items()},
        "processing_class": processor(),
    }


def problem_model(modality: str, problem_type: str, seed: int = 0):
    """A new model for such a task, as a user makes one: with outputs without names."""
    config = new_model(modality).config
    config.num_labels = len(TAGS) if problem_type == MULTI_LABEL else 1
    kind = type(TASKS[modality][2]())
    torch.manual_seed(seed)
    return kind(config)


def label_settings(problem_type: str) -> dict:
    """The settings of `SSLConfig` for these tasks."""
    return {"label_column": _COLUMN[problem_type]}


def save_base(modality: str, folder) -> str:
    """A tiny model with three classes that have no names, in a folder."""
    new_model(modality).save_pretrained(folder)
    return str(folder)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each label."""
    return 1 / (1 + np.exp(-logits))
