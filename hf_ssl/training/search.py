"""The part of SSLTrainer that trains several models: with `model_init`, and in a hyperparameter search.

    train() -> Trainer makes a model -> `_hp_search_setup`: settings of the trial
                                                            data, views, algorithm, log, all from scratch
                                                            a fitted head, if `start` asks for one

Nothing of one training reaches the next one: not its settings, the algorithm's memories, the moving average, the log.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from torch import nn
from transformers import Trainer, set_seed
from transformers.trainer_utils import enable_full_determinism, number_of_arguments

from ..algorithms import SSLAlgorithm
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..data.streams import beginning, is_stream
from ..metrics import RunningMetrics
from ..metrics.default import default_metrics
from ..model.head import find_head, head_weight
from ..model.loading import load_classifier
from .algorithm import Choice
from .evaluation_only import load_for_evaluation
from .processes import search_for_unused_weights
from .start import check_trainable
from .streaming import check_stream_settings

Space = Callable[[Any], dict[str, Any]]


class SearchMixin(Trainer):
    """A `Trainer` whose every model from `model_init` is trained like the first one.

    The class that mixes it in writes `_prepare_data` and `_prepare_training`.

    Attributes:
        data: modality, columns and classes.
        unlabeled_dataset: the pool.
        algorithm: what is trained with.
    """

    args: SSLConfig
    model: nn.Module
    data: DataSummary
    unlabeled_dataset: Any
    algorithm: SSLAlgorithm
    _algorithm_choice: Choice
    _custom_views: Any = None
    # Whether a head was fitted, and whether this training continues another.
    _head_is_fitted = False
    _resumes = False
    # The model that was made to look at, until Trainer asks for one.
    _first_model: nn.Module | None = None
    # The settings with which data and algorithm were made, and whether a training has used the algorithm.
    _made_with: dict[str, Any] = {}
    _was_trained: bool = False
    # Positions in the pool of examples that look foreign and are left out, see `open_set.py`.
    foreign_rows: np.ndarray = np.zeros(0, dtype=np.int64)
    # The settings that all trials of a search start from.
    _searched: dict[str, Any] | None = None

    def _prepare_data(self, model: Any, rows: Any = None) -> None:
        raise NotImplementedError

    def _prepare_training(self) -> None:
        raise NotImplementedError

    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As in Trainer and `CheckpointMixin`; each new model begins with the head that `args.start` asks for."""
        check_trainable(self.train_dataset)
        self._resumes = bool(resume_from_checkpoint)
        if self.model_init is not None:
            # Before Trainer does it: `CheckpointMixin` looks at the model first, and a search has deleted the last.
            self.model = self.model_wrapped = self._look_at_first_model(trial)
        return super().train(resume_from_checkpoint, trial, *args, **kwargs)

    def _fit_head(self) -> None:
        """Give a model that is about to be trained for the first time the head that `args.start` asks for."""
        if self._resumes or self.args.start == "random" or (self._head_is_fitted and self.model_init is None):
            return
        # Not at the top: only this needs scikit-learn, which takes a second to import.
        from ..features.start import fit_head

        pool = beginning(self.unlabeled_dataset, self.args.stream_buffer_size)
        given = self.train_dataset, pool, self.data, self.processing_class, self.args
        fit_head(self.model, *given, view_maker=self._custom_views, left_out=self.foreign_rows)
        self._head_is_fitted = True
        head = find_head(self.model)
        self.algorithm.answer.begin_with(head_weight(head), head.bias)

    def _learn_from(self, dataset: Any) -> None:
        """Find out columns and classes from the first dataset of a trainer that was made without any."""
        if self.data is None:
            self._prepare_data(self.model, rows=dataset)
            if isinstance(self.compute_metrics, RunningMetrics):
                self.compute_metrics = default_metrics(self.data)
            load_for_evaluation(self.model, self.data, self.processing_class)

    def _look_at_first_model(self, trial: Any = None) -> nn.Module:
        """The model that Trainer will be given next: data and views depend on its classes and its limits."""
        seed = self.args.seed
        enable_full_determinism(seed) if self.args.full_determinism else set_seed(seed)
        self._first_model = super().call_model_init(trial)
        return self._first_model

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """As in Trainer, with a check that the model is one for the data's classes, which get their names."""
        model, self._first_model = self._first_model, None
        model = super().call_model_init(trial) if model is None else model
        if self.data is None:
            return model
        load = load_for_evaluation if self.train_dataset is None else load_classifier
        return load(model, self.data, self.processing_class)

    def hyperparameter_search(self, hp_space: Space | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer. `hp_space` may name all settings of `SSLConfig`, also the algorithm's in `algorithm_kwargs`.

        Each trial starts from the settings of the trainer, to which those of the trial are added, also in
        `algorithm_kwargs`: `lambda trial: {"algorithm_kwargs": {"threshold": trial.suggest_float("t", 0.5, 0.95)}}`.
        After the search the settings are what they were before it.

        Raises:
            ValueError: for names in `hp_space` that are not settings, and for values that do not work.
        """
        check_trainable(self.train_dataset)
        self._searched = _values(self.args)
        checked = None if hp_space is None else self._checked(hp_space)
        try:
            return super().hyperparameter_search(checked, *args, **kwargs)
        finally:
            self._set(self._searched)
            self._searched = None

    def _checked(self, space: Space) -> Space:
        def checked(trial: Any) -> dict[str, Any]:
            found = space(trial)
            unknown = [name for name in found if not hasattr(self.args, name)]
            # What is meant for the model is read from the trial by a model_init that takes one.
            if unknown and self.model_init is not None and number_of_arguments(self.model_init) == 0:
                raise ValueError(
                    f"hp_space must name settings of SSLConfig, got {unknown[0]!r}; one of the algorithm belongs into "
                    f'algorithm_kwargs: {{"algorithm_kwargs": {{{unknown[0]!r}: ...}}}}'
                )
            return found

        return checked

    def _hp_search_setup(self, trial: Any) -> None:
        """What Trainer calls when it has made the model of a training: settings, data and algorithm follow it."""
        if self._searched is not None:
            self._set(self._searched)
        args = self.args
        steps, epochs = args.max_steps, args.num_train_epochs
        before = {name: (getattr(args, name), getattr(args, f"{name}_kwargs")) for name in ("algorithm", "imbalance")}
        super()._hp_search_setup(trial)
        for name, (chosen, given) in before.items():
            found = getattr(args, f"{name}_kwargs")
            if getattr(args, name) != chosen:
                # Settings of one algorithm, or correction, are not those of another.
                setattr(args, f"{name}_kwargs", None if found is given else found)
            elif isinstance(given, Mapping) and isinstance(found, Mapping):
                setattr(args, f"{name}_kwargs", {**given, **found})
        # Trainer gives a value the type of the one before, and that of a default marks it as not set.
        args.max_steps = steps if args.max_steps is steps else int(args.max_steps)
        args.num_train_epochs = epochs if args.num_train_epochs is epochs else float(args.num_train_epochs)
        args.check()
        if is_stream(self.unlabeled_dataset):
            check_stream_settings(args)
        if self._searched is not None:
            self._train_batch_size = args.train_batch_size
            # Trainer has made another accelerator.
            search_for_unused_weights(args, self.accelerator.ddp_handler)
        if self.model_init is not None and (self._was_trained or self._made_with != _values(args)):
            # What is evaluated does not depend on the settings, and may be another dataset by now.
            evaluation = self.eval_dataset
            self._prepare_data(self.model)
            self.eval_dataset = evaluation
            self._prepare_training()
        self._was_trained = True
        self._fit_head()

    def _remember_settings(self) -> None:
        """Remember the settings that data and algorithm were made with."""
        self._was_trained = False
        self._made_with = _values(self.args) if self.model_init is not None else {}

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.args, name, copy.deepcopy(value))


def _values(args: SSLConfig) -> dict[str, Any]:
    return {field.name: copy.deepcopy(getattr(args, field.name)) for field in fields(args)}
