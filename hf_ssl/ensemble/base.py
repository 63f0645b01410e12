"""A pretrained model on a task before it is trained, and what is made of it: readings of features, and trainers."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import set_seed

from ..algorithms import SSLAlgorithm
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..features.inputs import usual_tokens
from ..features.reading import Reading, read
from ..model.loading import load_classifier, load_processor
from ..trainer import SSLTrainer
from ..training.progress_callback import SSLProgressCallback
from ..training.recommended import recommended
from .methods import TRAINED, rate_of

# Of members, which are short and saved once they are whole.
_UNSAVED = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "push_to_hub": False,
    "resume_from_checkpoint": None,
}


@dataclass(frozen=True)
class Task:
    """What all members share.

    Args:
        labeled, unlabeled: the datasets.
        test: labeled examples that are only ever predicted; None without any.
        summary: modality, columns and classes of the labeled examples.
        settings: keywords of `SSLConfig` that were chosen; the others are those of `hf_ssl.training.recommended`.
        folder: where everything is written.
    """

    labeled: datasets.Dataset
    unlabeled: datasets.Dataset
    test: datasets.Dataset | None
    summary: DataSummary
    settings: Mapping[str, Any]
    folder: Path


class Base:
    """A pretrained model on a task.

    Args:
        name: Hub id or folder.
        task: what it is to learn.

    Attributes:
        settings: keywords of `SSLConfig` for all trainings of this model.
        trainer: not to be trained: it has prepared the datasets.

    Raises:
        ValueError, OSError: in one line, if there is no such model, or it does not fit the task.
    """

    def __init__(self, name: str, task: Task):
        self.name, self.task = name, task
        self.processor = load_processor(name, task.summary.modality)
        model = load_classifier(name, task.summary)
        advice = recommended(task.summary.modality, sum(parameter.numel() for parameter in model.parameters()))
        self.settings = {**advice.settings, "output_dir": str(task.folder), **task.settings}
        if not {"max_steps", "num_train_epochs"} & set(task.settings):
            self.settings["max_steps"] = advice.most_steps
        self.trainer = self._trainer(model, self._config(task.folder, algorithm="supervised", **_UNSAVED))
        if task.summary.modality == "text" and "max_length" not in task.settings:
            self.settings["max_length"] = usual_tokens(self.trainer.unlabeled_dataset, self.trainer.views)
            self.trainer = self._trainer(model, self._config(task.folder, algorithm="supervised", **_UNSAVED))

    @cached_property
    def reading(self) -> Reading:
        """The features of all datasets by the frozen model; they are cached."""
        trainer = self.trainer
        tests = {} if self.task.test is None else {"": trainer.eval_dataset}
        given = trainer.model, trainer.train_dataset, trainer.unlabeled_dataset, trainer.data
        return read(*given, trainer.processing_class, trainer.args, evaluation=tests)

    def supervised(self, method: str, folder: Path, title: str) -> SSLTrainer:
        """A trainer, shown as `title`, that fits a new copy of the model to the labels alone by one of `TRAINED`."""
        rate = rate_of(method, self.settings["learning_rate"])
        changes = {"algorithm": "supervised", "algorithm_kwargs": None, "learning_rate": rate, **_UNSAVED}
        return self._trainer(self.new_model(method), self._config(folder, **changes), stage=title)

    def student(self, method: str, algorithm: SSLAlgorithm, name: str, rows: np.ndarray) -> SSLTrainer:
        """A trainer that fits a new copy of the model with an algorithm to some rows of the pool.

        Args:
            method: one of `TRAINED`.
            algorithm: the object.
            name: of the algorithm, in what is saved.
            rows: positions in the pool, which the algorithm counts from 0.
        """
        config = self._config(self.task.folder, learning_rate=rate_of(method, self.settings["learning_rate"]))
        pool = self.task.unlabeled.select(rows)
        trainer = self._trainer(self.new_model(method), config, pool=pool, algorithm=algorithm, stage="student")
        # No name may be given beside an object; the saved settings get it back.
        trainer.algorithm_name = trainer.args.algorithm = name
        return trainer

    def new_model(self, method: str) -> Any:
        """A copy of the pretrained model with a new head, prepared so that the method's weights learn."""
        # The head starts from the same random weights in all members.
        set_seed(self.trainer.args.seed)
        return TRAINED[method](load_classifier(self.name, self.task.summary))

    def _config(self, folder: Path, **changes: Any) -> SSLConfig:
        return SSLConfig(**copy.deepcopy({**self.settings, "output_dir": str(folder), **changes}))

    def _trainer(
        self, model: Any, config: SSLConfig, pool: Any = None, algorithm: Any = None, stage: str | None = None
    ) -> SSLTrainer:
        return SSLTrainer(
            model,
            config,
            train_dataset=self.task.labeled,
            unlabeled_dataset=self.task.unlabeled if pool is None else pool,
            eval_dataset=self.task.test,
            processing_class=self.processor,
            algorithm=algorithm,
            callbacks=[SSLProgressCallback(stage)],
        )


def merge_adapters(trainer: SSLTrainer) -> None:
    """Let the trainer's model be an ordinary classifier: adapters are added to the weights that they adapt."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        merged = model.merge_and_unload()
        # All weights are those of this training now, and the card counts them.
        trainer.model = trainer.model_wrapped = merged.requires_grad_(True)
