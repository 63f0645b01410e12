"""SSLTrainer: transformers' Trainer with a second stream of unlabeled batches and a semi-supervised loss."""

from collections.abc import Callable
from typing import Any

import datasets
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from .algorithms import AlgorithmOutput, SSLAlgorithm
from .batches.collators import EvaluationCollator, SSLCollator
from .batches.dataset import ViewDataset
from .batches.sampler import JointBatchSampler
from .batches.streams import StreamBatchSampler
from .config import SSLConfig
from .data.columns import processor_for
from .data.duplicates import Duplicates
from .data.prepare import prepare, prepare_evaluation
from .data.rows import BrokenFiles
from .data.streams import StreamedPool, beginning, pool_size
from .distributed import average_gradients
from .hub.card_facts import CardFacts
from .hub.mixin import HubMixin
from .hub.provenance import is_public_id, loaded_from
from .metrics.default import default_metrics
from .model.forward import ModelForward
from .model.head import find_head
from .model.loading import class_names, load_classifier, load_config, load_processor
from .report.run import RunFacts, describe_run, sizes_of
from .training.algorithm import Choice, choose_algorithm, make_algorithm, problem_of
from .training.callbacks import CallbacksMixin
from .training.checkpointing import CheckpointMixin
from .training.corrected import content_free_of, fit_to_head
from .training.counting import CountingMixin
from .training.evaluation import EvaluationMixin
from .training.evaluation_only import load_for_evaluation
from .training.log_sums import LogSums
from .training.open_set import OpenSetMixin
from .training.optimization import OptimizationMixin
from .training.progress import say
from .training.rounds import RoundsMixin
from .training.start import check_arguments, check_trainable, prepare_datasets, search_duplicates
from .training.streaming import StreamMixin
from .training.supervised_loss import supervised_loss
from .training.trial import try_step
from .training.watch import Watch
from .views import Views
from .views.make import check_views
from .workers import quiet_tokenizers


class SSLTrainer(
    HubMixin,
    RoundsMixin,
    OpenSetMixin,
    StreamMixin,
    CheckpointMixin,
    OptimizationMixin,
    EvaluationMixin,
    CountingMixin,
    CallbacksMixin,
    Trainer,
):
    """Trains a classifier on few labeled and many unlabeled examples.

    It is a `Trainer`: arguments, callbacks, logging, checkpoints, evaluation and pushing work as they do there. A step
    takes B labeled and mu*B unlabeled examples, makes the views that the algorithm asks for, and minimizes the
    algorithm's loss. Each log line holds the terms of that loss, the share of unlabeled examples that took part
    (`mask_ratio`) and, if the pool has a label column, the accuracy of the pseudo-labels that took part
    (`pseudo_label_accuracy`). Labels of the pool are only ever used for that number: they never reach the algorithm.

    Ten parts can be read by themselves: `CallbacksMixin` has the callbacks, `CountingMixin` counts inputs,
    `EvaluationMixin` reads the model's answers, `OptimizationMixin` makes the optimizer, `CheckpointMixin` saves and
    resumes, `StreamMixin` reads streams, `SearchMixin` starts from new models, `RoundsMixin` picks examples between
    rounds, `OpenSetMixin` finds foreign examples, and `HubMixin` writes model cards and pushes.

    Args:
        model: a classification model of transformers (also timm's through its wrapper, or PEFT's), or its Hub id or
            local path, which is loaded with a head for the labeled dataset's classes.
        args: the settings; None for the defaults.
        data_collator: batches preprocessed rows in training and evaluation. With raw data it is used for evaluation
            only.
        train_dataset: the labeled examples; None to evaluate and predict only.
        eval_dataset: what `evaluate()` uses, or a dict of such datasets.
        processing_class: the model's image processor, feature extractor or tokenizer; if `model` is an id or a path,
            it is loaded from there by default.
        unlabeled_dataset: the pool, also as a stream; without one the labeled examples serve as it, with a warning.
        algorithm: an `SSLAlgorithm` class or object instead of the name in `args.algorithm`.
        views: a view maker (see `hf_ssl.views`) instead of the modality's.
        weak_view, strong_view: callables on a row that make only these views (see `hf_ssl.views.custom`).
        model_init: as in Trainer: makes a model for each training, which then begins from scratch in all parts.
        compute_loss_func: as in Trainer, for the loss of labeled examples (see `hf_ssl.training.supervised_loss`).
        compute_metrics: as in Trainer; default `hf_ssl.metrics.default.default_metrics`.
        callbacks, optimizers, optimizer_cls_and_kwargs, preprocess_logits_for_metrics, kwargs: as in Trainer.

    Raises:
        ValueError, TypeError: if datasets, model and settings do not fit together; one line says what to do.

    Example:
        >>> import tempfile
        >>> import transformers
        >>> from PIL import Image
        >>> shades = [Image.new("RGB", (8, 8), (120 * (i % 2),) * 3) for i in range(12)]
        >>> data = datasets.Dataset.from_dict({"image": shades, "label": ["dark", "bright"] * 6})
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        >>> config = transformers.ViTConfig(image_size=8, patch_size=4, num_labels=2, **sizes)
        >>> folder = tempfile.TemporaryDirectory()
        >>> trainer = SSLTrainer(
        ...     model=transformers.ViTForImageClassification(config),
        ...     args=SSLConfig(folder.name, algorithm="freematch", max_steps=3, dataloader_num_workers=0),
        ...     train_dataset=data.select(range(4)),
        ...     unlabeled_dataset=data.remove_columns("label"),
        ...     processing_class=transformers.ViTImageProcessor(size={"height": 8, "width": 8}),
        ... )
        >>> trainer.data.label_names
        ['bright', 'dark']
        >>> output = trainer.train()  # doctest: +ELLIPSIS
        Semi-supervised training
          algorithm       freematch (...)
          columns         image in 'image', classes in 'label'
          labeled         4 examples, 2 classes, 2 per class
          classes         bright 2, dark 2
          ...
        >>> output.global_step
        3
    """

    args: SSLConfig
    model: nn.Module
    data: Any = None  # until a dataset tells
    train_dataset: Any = None
    eval_dataset: Any = None
    data_collator: Any
    model_init: Any
    # Per-batch means: Trainer then divides by the number of accumulated batches, also for models that accept **kwargs.
    loss_is_scaled_for_ga = False
    _tag_names = ("hf-ssl", "semi-supervised")

    def __init__(
        self,
        model: str | nn.Module | None = None,
        args: SSLConfig | None = None,
        data_collator: Callable | None = None,
        train_dataset: datasets.Dataset | None = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., nn.Module] | None = None,
        compute_loss_func: Callable | None = None,
        compute_metrics: Callable | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: Any = None,
        preprocess_logits_for_metrics: Callable | None = None,
        *,
        unlabeled_dataset: Any = None,
        algorithm: Choice | None = None,
        views: Views | None = None,
        weak_view: Callable | None = None,
        strong_view: Callable | None = None,
        **kwargs: Any,
    ):
        args = SSLConfig() if args is None else args
        check_arguments(args, algorithm, model, model_init, optimizers, kwargs)
        choose_algorithm(algorithm, args)  # An unknown name is an error before anything is loaded.
        if isinstance(model, str):
            load_config(model)  # A wrong name is an error at once, not after a search for each kind of processor.
            processing_class = load_processor(model) if processing_class is None else processing_class
        self.args, self.model_init, self._given_algorithm = args, model_init, algorithm
        self.data_collator, self.processing_class = data_collator, processing_class
        makers = data_collator, views, weak_view, strong_view
        self._given = train_dataset, unlabeled_dataset, eval_dataset, processing_class, *makers
        if train_dataset is not None or eval_dataset is not None or isinstance(model, str):
            self._prepare_data(self._look_at_first_model() if model is None else model)
        chosen: Any = model
        if model is not None and self.data is not None:
            load = load_classifier if train_dataset is not None else load_for_evaluation
            chosen = load(model, self.data, self.processing_class)
            self.local_base = next((name for name in [loaded_from(chosen)] if name and not is_public_id(name)), None)
        prepared = self.data_collator, self.train_dataset, self.eval_dataset, self.processing_class
        functions: Any = model_init, compute_loss_func, compute_metrics or default_metrics(self.data), callbacks
        rest: Any = optimizers, optimizer_cls_and_kwargs, preprocess_logits_for_metrics
        super().__init__(chosen, args, *prepared, *functions, *rest, **kwargs)
        # Models must not be handed `num_items_in_batch`: the algorithm computes its own loss.
        self.model_accepts_loss_kwargs = False
        self.criterion = supervised_loss(args, compute_loss_func, self, SSLTrainer)
        self._has_pool, self.card = unlabeled_dataset is not None, CardFacts()
        self._custom_views = self.views if views is not None or weak_view is not None else None
        self.add_callback(_StepCallback(self))
        if train_dataset is not None:
            self._prepare_training()

    def _prepare_data(self, model: str | nn.Module | None, rows: Any = None) -> None:
        """Find out what the datasets hold, or those rows, and make what makes their views and batches."""
        data = prepare_datasets(self.args, *self._given, model=model, model_names=class_names(model), rows=rows)
        self.data, self.views, self._keeps_rows = data.summary, data.views, data.keeps_rows
        self.train_dataset, self.unlabeled_dataset, self.eval_dataset = data.labeled, data.unlabeled, data.evaluation
        self.processing_class, self._collator = data.processing_class, SSLCollator(self.views)
        stacks = EvaluationCollator(self.views, self.data.label_column)
        self.data_collator = self._given[4] if self._keeps_rows else stacks

    def _prepare_training(self) -> None:
        """Make all that a training changes beside the model, and try a step; again for each model of `model_init`."""
        self._algorithm_choice = choose_algorithm(self._given_algorithm, self.args, self.data.problem_type)
        self.algorithm = self._make_algorithm()
        chosen = self._algorithm_choice
        self.algorithm_name = chosen if isinstance(chosen, str) else type(self.algorithm).__name__
        check_views(self.views, self.algorithm.views.values())
        self._content_free = content_free_of(self.algorithm, self.views, self.train_dataset, self.args.device)
        self.measure_class_sizes(self.data)
        self.batch_sampler: JointBatchSampler | StreamBatchSampler | None = None
        self.broken_files = BrokenFiles(self.unlabeled_dataset, self.data.input_column)
        self.duplicates: Duplicates | None = None
        self.watch = Watch(self.args, self.algorithm, self.algorithm_name)
        self._sums, self.ema = LogSums(len(self.data.label_names), self.data.problem_type), None
        self._forward: ModelForward | None = None
        pool = beginning(self.unlabeled_dataset)
        rows = self.train_dataset, pool, self.views, self.algorithm.views, self.data.label_column
        tokenizer = processor_for(self.processing_class, "text")
        self.watch.seconds_per_example = try_step(self.model, self.algorithm, ViewDataset(*rows), self.args, tokenizer)
        self._remember_settings()

    # ---- What is trained on ----

    def get_train_dataloader(self) -> DataLoader:
        """Joint batches of B labeled and mu*B unlabeled examples, each with the views that the algorithm names."""
        check_trainable(self.train_dataset)
        self._fit_algorithm_to_batch()
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        dataset: Any
        if isinstance(self.unlabeled_dataset, StreamedPool):
            dataset, self.batch_sampler = self._stream_batches(seed)
        else:
            labeled, skip = self.labeled_of_round, self.args.on_broken_file == "skip"
            given = labeled, self.unlabeled_dataset, self.views, self.algorithm.views, self.data.label_column
            dataset = ViewDataset(*given, seed, skip, self.labels_of_round)
            self.batch_sampler = JointBatchSampler(
                num_labeled=len(labeled),
                num_unlabeled=len(self.unlabeled_dataset),
                labeled_batch_size=self._train_batch_size,
                unlabeled_batch_size=self._train_batch_size * self.args.unlabeled_batch_ratio,
                seed=seed,
                min_batches=self.args.world_size,
                lengths=self._lengths(),
                classes=self._drawn_classes,
                drawn=self.drawn_rows,
            )
        workers = self.args.dataloader_num_workers
        quiet_tokenizers(workers)
        loader = DataLoader(
            dataset,
            batch_sampler=self.batch_sampler,  # type: ignore[arg-type]  # any sequence of indices will do, not only a list
            collate_fn=self._collator,
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory,
            # An epoch over a small pool is a few steps, too short to start processes for each.
            persistent_workers=workers > 0,
            multiprocessing_context=self.args.dataloader_multiprocessing_context if workers else None,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )
        return self.accelerator.prepare(loader)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As in Trainer, for any dataset whose columns and labels can be matched with the labeled one's."""
        if not isinstance(eval_dataset, str) and eval_dataset is not self.eval_dataset:
            self._learn_from(eval_dataset)
            eval_dataset = prepare_evaluation(eval_dataset, self.data, self._keeps_rows)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As in Trainer; labels may be missing."""
        self._learn_from(test_dataset)
        label = self.data.has_labels(test_dataset)
        return super().get_test_dataloader(
            prepare(test_dataset, self.data, "test", label=label, as_given=self._keeps_rows)
        )

    # ---- What is trained ----

    def _make_algorithm(self) -> SSLAlgorithm:
        sizes = {
            "num_labeled": self._num_labeled,
            "num_unlabeled": pool_size(self.unlabeled_dataset),
            "feature_size": find_head(self.model).in_features,
            "labeled_batch_size": self._step_batch_size,
            "unlabeled_batch_size": self._step_batch_size * self.args.unlabeled_batch_ratio,
        }
        problem, counts = problem_of(self.data, self.args, sizes), self.data.label_counts
        made = make_algorithm(self._algorithm_choice, self.args, problem, counts)
        algorithm = self._in_round(made.to(self.args.device))
        algorithm.criterion = self.criterion
        fit_to_head(algorithm, self.model)
        return algorithm

    @property
    def _step_batch_size(self) -> int:
        """Labeled examples of one optimizer step, over all processes and accumulated passes."""
        return self._train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps

    def _fit_algorithm_to_batch(self) -> None:
        """Make the algorithm again if `auto_find_batch_size` has found that only a smaller batch fits into memory.

        The algorithm's memories have the size of the batch, so they start from scratch, and so does the optimizer.
        """
        fits = self.algorithm.labeled_batch_size == self._step_batch_size
        if fits or isinstance(self._algorithm_choice, SSLAlgorithm):
            return
        self.algorithm = self.watch.algorithm = self._make_algorithm()
        self.optimizer = None

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """As in `OptimizationMixin`; with it, the moving average starts."""
        self._start_average()
        self._forward = None
        return super().create_scheduler(num_training_steps, optimizer)

    # ---- The step ----

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The algorithm's loss on a joint batch; on an evaluation batch, the model's own loss on its labels."""
        if "unlabeled" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        batch = self._collator.to_batch(inputs)
        batch.content_free = self._content_free
        output: AlgorithmOutput = self.algorithm(self._forward_of(model), batch, self.progress)
        self.watch.see(output.loss, output.terms, self.state.global_step)
        self._sums.add(output, inputs.get("hidden_labels"))
        if "broken_index" in inputs:
            broken = self.broken_files.note(inputs["broken_index"].tolist())
            self._sums.count("broken_files", broken, device=output.loss.device)
        return (output.loss, output) if return_outputs else output.loss

    def _forward_of(self, model: nn.Module) -> ModelForward:
        """How the algorithm calls the (wrapped) model and, if there is one, the teacher."""
        if self._forward is None or self._forward.model is not model:
            uses_teacher = self.algorithm.uses_teacher or self.args.ema_role in ("teacher", "both")
            teacher = self.ema if uses_teacher else None
            views, most = self.args.batch_norm_views, self.args.view_micro_batch
            self._forward = ModelForward(model, teacher, batch_norm_views=views, micro_batch=most)
            if self._forward.teacher_model is not None:
                self._forward.teacher_model.train()
        return self._forward

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """As in Trainer, with the gradients of the algorithm's heads averaged over the processes."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            # The heads are not part of the module that DistributedDataParallel wraps.
            average_gradients(self.algorithm.parameters())
        return loss

    # ---- What people read ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log line with the means of the loss terms and metrics since the last one, over all processes."""
        if "loss" in logs or "train_loss" in logs:
            self.watch.check(self.state.global_step)
        if "loss" in logs:
            logs.update(self._sums.means(self.accelerator))
            classes = self._sums.class_counts(self.accelerator)
            self.watch.see_classes(classes, self.data.label_names, self.progress)
            self._sums.clear()
            self.watch.warn_if_nothing_takes_part(logs.get("mask_ratio"), self.state.global_step)
            self.watch.warn_if_guesses_teach(logs, self.progress)
        elif "train_loss" in logs:
            unlogged = self._sums.means(self.accelerator)
            self.watch.warn_if_nothing_took_part(unlogged.get("mask_ratio"), self.state.global_step)
        super().log(logs, start_time)

    def run_facts(self) -> RunFacts:
        """What is known of the run so far: for the block at its start, the model card and `results.json`."""
        check_trainable(self.train_dataset)
        return RunFacts(
            args=self.args,
            state=self.state,
            data=self.data,
            algorithm=self.algorithm,
            algorithm_name=self.algorithm_name,
            num_labeled=len(self.train_dataset),
            num_unlabeled=pool_size(self.unlabeled_dataset),
            hidden_labels=self.data.has_labels(self.unlabeled_dataset),
            evaluation_sizes=sizes_of(self.eval_dataset),
            views=self.views.describe(),
            duplicates=self.duplicates,
            has_pool=self._has_pool,
            earlier_seconds=self.earlier_seconds,
            rounds=self.describe_rounds(),
            class_recalls=self.class_recalls,
            open_set=self.open_set,
        )

    def describe(self) -> str:
        """The block that is printed when training starts: algorithm, sizes, batches, steps, views."""
        return describe_run(self.run_facts())


class _StepCallback(TrainerCallback):
    """What happens around a step that Trainer has no method for."""

    def __init__(self, trainer: SSLTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer._begin_log()
        trainer.algorithm.begin_step()
        trainer.watch.start(state.global_step)
        if not state.is_world_process_zero:
            return
        if not trainer.begins_later_round:
            given = trainer.train_dataset, trainer.unlabeled_dataset, trainer.eval_dataset, trainer.data
            seconds = trainer.args.duplicate_check_seconds
            trainer.duplicates = search_duplicates(*given, view_names=trainer.algorithm.views, seconds=seconds)
            trainer.watch.warn_at_start(trainer.progress, trainer.model, trainer._has_pool)
        if not args.disable_tqdm:
            say(trainer.describe())

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        # Trainer reaches one level of samplers only; after resuming ours is nested deeper.
        if self.trainer.batch_sampler is not None:
            self.trainer.batch_sampler.set_epoch(int(round(state.epoch or 0.0, 6)))

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.end_round(control)

    def on_epoch_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.stay_at_checkpoint(control)

    def on_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.algorithm.zero_grad()
        if self.trainer.accelerator.optimizer_step_was_skipped:
            # The same one on all processes. As in Trainer it counts as a step, without a step of the learning rate.
            self.trainer._sums.count("skipped_steps", int(state.is_world_process_zero), device=args.device)
        else:
            self.trainer._update_averages()
