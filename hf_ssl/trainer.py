"""SSLTrainer: transformers' Trainer with a second stream of unlabeled batches and a semi-supervised loss."""

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback

from .algorithms import AlgorithmOutput, Progress, SSLAlgorithm, get_algorithm, resolve_algorithm
from .batches.collators import EvaluationCollator, SSLCollator
from .batches.dataset import ViewDataset
from .batches.lengths import TextLengths
from .batches.sampler import JointBatchSampler
from .config import SSLConfig
from .data.columns import inspect_data, processor_for
from .data.duplicates import Duplicates
from .data.prepare import prepare, prepare_evaluation, prepare_pool
from .data.rows import BrokenFiles, is_transformed
from .distributed import average_gradients
from .hub.model_card import CardFacts
from .hub.provenance import is_public_id, loaded_from
from .hub.pushing import PushingTrainer
from .metrics import compute_metrics as default_metrics
from .model.ema import ModelEma
from .model.forward import ModelForward
from .model.head import find_head
from .model.loading import class_frequencies, class_names, load_classifier, load_processor
from .report.run import describe_run
from .training import optimization
from .training.log_sums import LogSums
from .training.start import check_run
from .training.watch import Watch
from .views.base import as_views
from .views.make import check_views, make_views


class SSLTrainer(PushingTrainer):
    """Trains a classifier on few labeled and many unlabeled examples.

    It is a `Trainer`: arguments, callbacks, logging, checkpoints, evaluation and pushing work as they do there. A step takes
    B labeled and mu*B unlabeled examples, makes the views that the algorithm asks for, and minimises the algorithm's loss.
    Each log line holds the terms of that loss, the share of unlabeled examples that took part (`mask_ratio`), and, where the
    pool has a label column, the accuracy of the pseudo-labels (`pseudo_label_accuracy`, over those that took part). Labels of
    the pool are only ever used for that number: they never reach the algorithm.

    Args:
        model: a classification model of transformers (also timm's through its wrapper, or PEFT's), or its Hub id or local path,
            which is loaded with a head for the labeled dataset's classes.
        args: an `SSLConfig`.
        train_dataset: the labeled examples, a `datasets.Dataset`.
        unlabeled_dataset: the pool, a `datasets.Dataset`; left out, the labeled examples serve as pool.
        eval_dataset: what `evaluate()` uses, or a dict of such.
        processing_class: the model's image processor, feature extractor or tokenizer; loaded from there when left out and
            `model` is an id or a path.
        data_collator: stacks rows that hold tensors, in training and evaluation; rows of raw data in evaluation alone.
        algorithm: an `SSLAlgorithm` class or object of your own, instead of the name in `args.algorithm`.
        views: a view maker of your own (see `hf_ssl.views`), instead of the modality's.
        weak_view, strong_view: callables on a row that make just these views (see `hf_ssl.views.custom`).
        compute_metrics: as in Trainer; default `hf_ssl.metrics.compute_metrics`.

    Raises:
        ValueError, TypeError: if the datasets, the model and the settings do not fit together; one line says what to do.
    """

    # Per-batch means: Trainer then divides by the number of accumulated batches, also for models that accept **kwargs.
    loss_is_scaled_for_ga = False
    _tag_names = ("hf-ssl", "semi-supervised")

    def __init__(
        self,
        model: str | nn.Module | None = None,
        args: SSLConfig | None = None,
        data_collator: Callable | None = None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        *,
        unlabeled_dataset=None,
        algorithm: SSLAlgorithm | type[SSLAlgorithm] | None = None,
        views=None,
        weak_view: Callable | None = None,
        strong_view: Callable | None = None,
        compute_metrics: Callable | None = None,
        **kwargs: Any,
    ):
        args = SSLConfig(output_dir="trainer_output") if args is None else args
        if not isinstance(args, SSLConfig):
            raise TypeError(
                f"args must be an SSLConfig, got {type(args).__name__}; SSLConfig takes the same arguments and more"
            )
        if train_dataset is None:
            raise ValueError("train_dataset is missing: the labeled examples, a datasets.Dataset")
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError("compute_loss_func would replace the algorithm's loss; write an SSLAlgorithm instead")
        optimization.refuse_ignored_settings(args, *kwargs.get("optimizers", (None, None)))
        algorithm = algorithm if algorithm is not None else args.algorithm
        if not isinstance(algorithm, SSLAlgorithm):
            resolve_algorithm(algorithm)
        if processing_class is None and isinstance(model, str):
            processing_class = load_processor(model)
        self.data = inspect_data(
            train_dataset,
            args.input_column,
            args.label_column,
            text_pair_column=args.text_pair_column,
            processor=processing_class,
            model_names=class_names(model),
        )
        # A user's own collator gets the rows of raw data and of transforms as the user has them.
        self._rows_as_given = data_collator is not None and (
            not self.data.model_inputs or is_transformed(train_dataset)
        )
        pool = train_dataset if unlabeled_dataset is None else unlabeled_dataset
        self.unlabeled_dataset = prepare_pool(pool, self.data, files=args.on_broken_file == "error")
        train_dataset = prepare(train_dataset, self.data, "labeled")
        eval_dataset = prepare_evaluation(eval_dataset, self.data, self._rows_as_given)
        if views is not None and (weak_view is not None or strong_view is not None):
            raise ValueError("views makes all views; leave weak_view and strong_view out, or views")
        if views is None:
            views = make_views(
                self.data,
                processing_class,
                args,
                labeled=train_dataset,
                unlabeled=self.unlabeled_dataset,
                weak_view=weak_view,
                strong_view=strong_view,
                collator=data_collator,
            )
        self.views = views = as_views(views)
        self._collator = SSLCollator(views)
        self.card = CardFacts()
        if model is not None:
            model = load_classifier(model, self.data, processing_class)
            self.local_base = next((name for name in [loaded_from(model)] if name and not is_public_id(name)), None)
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator if self._rows_as_given else EvaluationCollator(views, self.data.label_column),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=compute_metrics or default_metrics,
            **kwargs,
        )
        # The algorithm computes its own loss: models must not be handed `num_items_in_batch`.
        self.model_accepts_loss_kwargs = False
        self._algorithm_choice = None if isinstance(algorithm, SSLAlgorithm) else algorithm
        self.algorithm = self._make_algorithm(algorithm).to(args.device)
        check_views(self.views, self.algorithm.views.values())
        self.algorithm_name = algorithm if isinstance(algorithm, str) else type(self.algorithm).__name__
        self.batch_sampler: JointBatchSampler | None = None
        self._sums = LogSums()
        self.broken_files = BrokenFiles(self.unlabeled_dataset, self.data.input_column)
        self._forward: ModelForward | None = None
        self.watch = Watch(self)
        self.duplicates: Duplicates | None = None
        self.add_callback(_StepCallback(self))

    # ---- What is trained on ----

    def get_eval_dataloader(self, eval_dataset=None) -> DataLoader:
        """As in Trainer, for any dataset whose columns and labels can be matched with the labeled one's."""
        if not isinstance(eval_dataset, str) and eval_dataset is not self.eval_dataset:
            eval_dataset = prepare_evaluation(eval_dataset, self.data, self._rows_as_given)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset) -> DataLoader:
        """As in Trainer; labels may be missing."""
        label = self.data.label_column in (getattr(test_dataset, "column_names", None) or ())
        return super().get_test_dataloader(
            prepare(test_dataset, self.data, "test", label=label, as_given=self._rows_as_given)
        )

    def _make_algorithm(self, algorithm) -> SSLAlgorithm:
        if isinstance(algorithm, SSLAlgorithm):
            return algorithm
        batch = self._train_batch_size * self.args.world_size
        with torch.random.fork_rng(devices=[]):
            # Heads start from the seed alone, whatever drew random numbers before.
            torch.manual_seed(self.args.seed)
            return get_algorithm(
                algorithm,
                num_classes=len(self.data.label_names),
                num_labeled=len(self.train_dataset),
                num_unlabeled=len(self.unlabeled_dataset),
                feature_size=find_head(self.model).in_features,
                labeled_batch_size=batch,
                unlabeled_batch_size=batch * self.args.unlabeled_batch_ratio,
                class_distribution=class_frequencies(self.data.labels, len(self.data.label_names)),
                unsupervised_weight=self.args.unsupervised_weight,
                modality=self.data.modality,
                **(self.args.algorithm_kwargs or {}),
            )

    def get_train_dataloader(self) -> DataLoader:
        """Joint batches of B labeled and mu*B unlabeled examples, each with the views that the algorithm names."""
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        names = self.algorithm.views
        dataset = ViewDataset(
            self.train_dataset,
            self.unlabeled_dataset,
            self.views,
            names,
            self.data.label_column,
            seed,
            self.args.on_broken_file == "skip",
        )
        self.batch_sampler = JointBatchSampler(
            num_labeled=len(self.train_dataset),
            num_unlabeled=len(self.unlabeled_dataset),
            labeled_batch_size=self._train_batch_size,
            unlabeled_batch_size=self._train_batch_size * self.args.unlabeled_batch_ratio,
            seed=seed,
            min_batches=self.args.world_size,
            lengths=self._lengths(),
        )
        if self.data.modality == "text" and self.args.dataloader_num_workers > 0:
            # Workers tokenize a text at a time; tokenizers warns where its threads were used before a fork.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        loader = DataLoader(
            dataset,
            batch_sampler=self.batch_sampler,
            collate_fn=self._collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            # An epoch over a small pool is a few steps, too short to start processes for each.
            persistent_workers=self.args.dataloader_num_workers > 0,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )
        return self.accelerator.prepare(loader)

    def _lengths(self):
        if self.args.train_sampling_strategy != "group_by_length":
            return None
        tokenizer = processor_for(self.processing_class, "text")
        given = self.data, self.args.length_column_name, tokenizer, self.args.max_length
        return tuple(TextLengths(dataset, *given) for dataset in (self.train_dataset, self.unlabeled_dataset))

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """The model's optimizer with the algorithm's heads added; the moving average starts here, from loaded weights."""
        if (
            self.algorithm.labeled_batch_size != self._train_batch_size * self.args.world_size
            and self._algorithm_choice is not None
        ):
            # auto_find_batch_size has found that less fits: memories have the size of the batch, and start anew.
            self.algorithm = self._make_algorithm(self._algorithm_choice).to(self.args.device)
            self.optimizer = None
        chosen = self.optimizer_cls_and_kwargs
        if self.optimizer is None:
            base = self.model if model is None else model
            given = chosen or self.get_optimizer_cls_and_kwargs(self.args, base)
            self.optimizer_cls_and_kwargs = optimization.grouped(*given, base, self.args)
        optimizer = super().create_optimizer(model)
        self.optimizer_cls_and_kwargs = chosen
        heads = [p for p in self.algorithm.parameters() if p.requires_grad]
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if heads and id(heads[0]) not in known:
            optimizer.add_param_group({"params": heads, "weight_decay": 0.0})
        if self.args.ema_role != "none" or self.algorithm.uses_teacher:
            self.ema = ModelEma(self.accelerator.unwrap_model(self.model), self.args.ema_decay)
        self._forward = None
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
        """As in Trainer, and USB's schedule where `args.lr_schedule` says so."""
        if self.lr_scheduler is None and self.args.lr_schedule == "cosine_7_16":
            warmup = self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = optimization.cosine_7_16(optimizer or self.optimizer, warmup, num_training_steps)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    # ---- The step ----

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The algorithm's loss on a joint batch; on an evaluation batch, the model's own loss on its labels."""
        if "unlabeled" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._forward is None or self._forward.model is not model:
            use_teacher = self.algorithm.uses_teacher or self.args.ema_role in ("teacher", "both")
            teacher = self.ema if use_teacher else None
            self._forward = ModelForward(model, teacher, batch_norm_views=self.args.batch_norm_views)
            if self._forward.teacher_model is not None:
                self._forward.teacher_model.train()
        output: AlgorithmOutput = self.algorithm(self._forward, self._collator.to_batch(inputs), self.progress)
        self.watch.see(output.loss, output.terms)
        self._sums.add(output, inputs.get("hidden_labels"))
        if self.args.on_broken_file == "skip":
            # Every process must know the number, and be it 0, for all of them add up the same sums.
            broken = inputs["broken_index"].tolist() if "broken_index" in inputs else []
            self._sums.count("broken_files", self.broken_files.note(broken), device=output.loss.device)
        return (output.loss, output) if return_outputs else output.loss

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            # The heads are not part of the module that DistributedDataParallel wraps.
            average_gradients(self.algorithm.parameters())
        return loss

    def _clip_grad_norm(self, model):
        """Clip the gradients of model and heads by their common norm: they are optimised together."""
        # Of the optimizer, which has them in lists: to look for them in all modules takes as long as the norm on a GPU.
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return self.accelerator.clip_grad_norm_(parameters, self.args.max_grad_norm)

    @property
    def progress(self) -> Progress:
        """Where training stands, in optimizer steps."""
        step, warmup = self.state.global_step, self.args.unsupervised_warmup_steps
        ramp = min(step / warmup, 1.0) if warmup else 1.0
        return Progress(step, self.state.max_steps, self.steps_per_epoch, ramp)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the unlabeled pool."""
        batches = len(self.batch_sampler) // self.args.world_size if self.batch_sampler is not None else 1
        return max(math.ceil(batches / self.args.gradient_accumulation_steps), 1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log line with the means of the loss terms and metrics since the last one, over all processes."""
        if "loss" in logs or "train_loss" in logs:
            self.watch.check()
        if "loss" in logs:
            logs.update(self._sums.means(self.accelerator))
            self._sums.clear()
            self.watch.warn_if_nothing_takes_part(logs.get("mask_ratio"), self.state.global_step)
            self.watch.warn_if_guesses_teach(logs, self.state.global_step)
        super().log(logs, start_time)

    # ---- What people read ----

    def describe(self) -> str:
        """The block that is printed when training starts: algorithm, sizes, batches, steps, views."""
        return describe_run(self)


class _StepCallback(TrainerCallback):
    """What happens around a step that Trainer has no method for."""

    def __init__(self, trainer: SSLTrainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        self.trainer._begin_log()
        self.trainer.watch.start(state.global_step)
        if state.is_world_process_zero:
            self.trainer.duplicates = check_run(self.trainer)
            self.trainer.watch.warn_of_slow_averages()
        if state.is_world_process_zero and not args.disable_tqdm:
            print(self.trainer.describe(), flush=True)

    def on_epoch_begin(self, args, state, control, **kwargs):
        # Trainer reaches one level of samplers only; after resuming ours is nested deeper.
        self.trainer.batch_sampler.set_epoch(int(round(state.epoch or 0.0, 6)))

    def on_optimizer_step(self, args, state, control, **kwargs):
        self.trainer.algorithm.zero_grad()
        if self.trainer.ema is not None and not self.trainer.accelerator.optimizer_step_was_skipped:
            self.trainer.ema.update()


__all__ = ["SSLTrainer"]
