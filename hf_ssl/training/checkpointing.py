"""The part of SSLTrainer that evaluates, saves and resumes: which weights, which files, and nothing lost."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_callback import ExportableState

from ..algorithms import name_of_correction
from ..distributed import copy_from_first
from ..files import atomic_files, atomic_write, clear_storage_errors
from ..model.adapters import is_adapted, save_kept_weights
from ..model.classes import check_same_classes
from ..model.layerdrop import LayerDrop
from ..model.padding import View
from ..model.sharding import is_sharded, load_whole
from ..model.temperature import divided_logits
from ..model.wrapping import without_ddp
from . import checkpoint_files, checkpoint_folders
from .checksums import find_change
from .corrected import CorrectedClassifier
from .label_scale import LabelScaleMixin
from .log_sums import LogSums
from .processes import may_drop_layers, search_for_unused_weights
from .sharding import ShardingMixin
from .watch import Watch


class CheckpointMixin(LabelScaleMixin, ShardingMixin):
    """A `Trainer` that evaluates and saves the moving average if `ema_role` says so, and resumes bit for bit.

    `hf_ssl/training/checkpoint_files.py` lists the files of a checkpoint. The class that mixes it in sets the
    attributes below before it trains, and calls `_begin_log` when training begins.

    Attributes:
        args, algorithm, ema: as in `ShardingMixin`; the algorithm's buffers and heads are part of a checkpoint.
        algorithm_name: resuming with an algorithm of another name is refused.
        watch: looks at what is about to be evaluated or saved.
        class_recalls: as in `EvaluationMixin`; a resumed run has those that it tells of.
        earlier_seconds: how long the run had taken up to the checkpoint that it was resumed from.
        temperature: what the logits of the model that is evaluated and saved are divided by; None leaves them.
    """

    algorithm_name: str
    watch: Watch
    earlier_seconds: float = 0.0
    temperature: float | None = None
    # An input that says nothing, for corrections that read it, and, while the model is in training, what puts the
    # classifier that a correction answers with in place of its own.
    _content_free: View | None = None
    _answer: CorrectedClassifier | None = None
    class_recalls: dict[int, list[float]]
    # The terms and metrics of the log line in progress.
    _sums: LogSums
    # Of the model in training.
    _layerdrop = LayerDrop(nn.Module())
    # Which weights the evaluation in progress asked for, and what the resumed run had added up.
    _weights: str | None = None
    _resumed: checkpoint_files.RunSums | None = None
    # When this sitting of the run began.
    _began = 0.0

    @property
    def _trained_with(self) -> str:
        """The algorithm's name, and the correction's: a checkpoint of others is refused."""
        correction = name_of_correction(self.algorithm.correction)
        return self.algorithm_name if correction is None else f"{self.algorithm_name} with {correction}"

    # ---- Evaluation: with the averaged weights if ema_role says so ----

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        *,
        weights: str | None = None,
    ) -> dict[str, float]:
        """As in Trainer.

        Args:
            weights: "student", the weights that are trained, or "ema", their moving average; None as `ema_role` says.

        Raises:
            ValueError: for other `weights`, or "ema" if no moving average is kept.
        """
        with self._chosen_weights(weights):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        *,
        weights: str | None = None,
    ) -> Any:
        """As in Trainer; `weights` and errors as in `evaluate`."""
        with self._chosen_weights(weights):
            return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, with the weights in the model that are to be evaluated."""
        if self.is_in_train:
            self.watch.check(self.state.global_step)
        with self._evaluated_weights(every_process=True):
            return super().evaluation_loop(*args, **kwargs)

    def _get_eval_sampler(self, eval_dataset: Any) -> torch.utils.data.Sampler | None:
        """As in Trainer, in the order of the rows also if training groups them by length.

        Trainer would group them, too: it needs `input_ids`, and `predict` would answer in another order.
        """
        grouped = self.args.train_sampling_strategy == "group_by_length"
        return None if grouped else super()._get_eval_sampler(eval_dataset)

    @contextlib.contextmanager
    def _chosen_weights(self, weights: str | None) -> Iterator[None]:
        if weights not in (None, "student", "ema"):
            raise ValueError(f"weights must be 'student' or 'ema', got {weights!r}")
        if weights == "ema" and self.ema is None:
            raise ValueError(
                "weights='ema' needs a moving average, and none is kept; set ema_role='evaluation' and train"
            )
        self._weights = weights
        try:
            yield
        finally:
            self._weights = None

    @contextlib.contextmanager
    def _evaluated_weights(self, every_process: bool = False) -> Iterator[None]:
        """The averaged weights in the model if they are the ones to evaluate, with the classifier that answers.

        Args:
            every_process: whether all of them are here, and evaluate.
        """
        wanted = self.args.ema_evaluates if self._weights is None else self._weights == "ema"
        averaged = self.ema.swapped_into() if self.ema is not None and wanted else None
        with averaged or contextlib.nullcontext():
            if every_process:
                # Running statistics are those of each process until its next step; the first one's are saved.
                copy_from_first(self.accelerator.unwrap_model(self.model).buffers(), self.args.device)
            answer = self._answer and self._answer.swapped_in(averaged is not None)
            with answer or contextlib.nullcontext(), divided_logits(self.model, self.temperature):
                yield

    # ---- Saving ----

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As in Trainer, but the folder gets its name when it is whole, and old ones are deleted by their steps.

        Raises:
            OSError: in one line, if the disk is full or cannot be written to; earlier checkpoints are as they were.
        """
        step = self.state.global_step
        self.watch.check(step, self.accelerator.unwrap_model(self.model))
        if self.hp_search_backend is None and trial is None:
            self.store_flos()
        run = Path(self._get_output_dir(trial))
        checkpoint = run / f"checkpoint-{step}"
        with self._whole_or_absent(checkpoint) as folder:
            self.save_model(folder, _internal_call=True)
            if self.state.best_global_step:
                best = run / f"checkpoint-{self.state.best_global_step}"
                if self.state.best_global_step == step or best.exists():
                    self.state.best_model_checkpoint = str(best)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(folder)
                self._save_scaler(folder)
                self._save_rng_state(folder)
            if self.args.should_save:
                self._save_trainer_state(folder)
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(checkpoint))
        if self.args.should_save:
            checkpoint_folders.rotate(checkpoint, self.args.save_total_limit, self.state.best_model_checkpoint)

    @contextlib.contextmanager
    def _whole_or_absent(self, checkpoint: Path) -> Iterator[str]:
        """The folder into which all processes write a checkpoint; it gets the checkpoint's name when they are done."""
        otherwise = "and resume; checkpoints before this one are as they were"
        try:
            with clear_storage_errors(checkpoint, otherwise):
                if self.args.should_save:
                    checkpoint_folders.begin(checkpoint)
                self.accelerator.wait_for_everyone()
                yield str(checkpoint_folders.partial(checkpoint))
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    checkpoint_folders.finish(checkpoint)
                self.accelerator.wait_for_everyone()
        except BaseException:
            if self.args.should_save:
                checkpoint_folders.give_up(checkpoint)
            raise

    def _save_trainer_state(self, folder: str) -> None:
        """Write the state of the training, with that of callbacks, as in Trainer."""
        parts: dict[str, list[dict]] = {}
        for part in (*self.callback_handler.callbacks, self.control):
            if isinstance(part, ExportableState):
                parts.setdefault(type(part).__name__, []).append(part.state())
        kept: Any = self.state.stateful_callbacks
        # Of several callbacks of one class there is a list.
        kept |= {name: states[0] if len(states) == 1 else states for name, states in parts.items()}
        self.state.save_to_json(str(Path(folder, checkpoint_files.STATE)))

    def save_state(self) -> None:
        """As in Trainer, and whole or not at all."""
        if self.args.should_save:
            with atomic_write(Path(self.args.output_dir, checkpoint_files.STATE)) as temporary:
                self.state.save_to_json(str(temporary))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """As in Trainer, each file whole or not at all, and without its pickle of the settings.

        That pickle, training_args.bin, holds the paths and tokens of the person who trains.
        """
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        with atomic_files(folder) as new:
            # Of a sharded model those to save are given, from all processes.
            own = self.args.ema_evaluates or self._answer or self.temperature or self._label_scale
            given = is_sharded(self.model) or not own
            weights = contextlib.nullcontext() if given else self._evaluated_weights()
            units = self._label_scale.folded() if self._label_scale else contextlib.nullcontext()
            with weights, units, self._layerdrop.switched(on=True):
                self._save_model(new, state_dict if given else None)
            checkpoint_files.save_settings(str(new), self.args)
            save_kept_weights(new, self.accelerator.unwrap_model(self.model), state_dict)
            self._save_uncertainty(new)
            names = {path.name for path in new.iterdir()}
        checkpoint_files.delete_other_weights(folder, names)

    def _save_model(self, folder: Path, state_dict: dict[str, Any] | None) -> None:
        """Write weights and configuration, as in Trainer, and what makes the model's inputs."""
        model: Any = self.model
        if not isinstance(model, PreTrainedModel) and not is_adapted(model):
            state_dict = model.state_dict() if state_dict is None else state_dict
            model = self.accelerator.unwrap_model(model, keep_torch_compile=False)
        if isinstance(model, PreTrainedModel) or is_adapted(model):
            model.save_pretrained(folder, state_dict=state_dict)
        else:
            weights = checkpoint_files.unshared(state_dict or {})
            save_file(weights, folder / checkpoint_files.WEIGHTS[0], metadata={"format": "pt"})
        processor = self.processing_class
        if processor is None:
            processor = getattr(self.data_collator, "tokenizer", None)
        if processor is not None:
            processor.save_pretrained(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        # Every process has its own sums: all of them take part, one writes.
        loss = self.accelerator.gather(self._tr_loss.detach().reshape(1))
        sums = self._sums.gathered(self.accelerator)
        name, processes, write = self._trained_with, self.args.world_size, self.args.should_save
        given = output_dir, self.accelerator.unwrap_model(self.model), self.algorithm, name, self.ema
        checkpoint_files.save_state(*given, processes=processes, write=write)
        if write:
            so_far = self._total_loss_scalar, self.earlier_seconds + time.perf_counter() - self._began
            recalls = self._needed_recalls
            run = checkpoint_files.RunSums(self._globalstep_last_logged, loss, sums, *so_far, recalls)
            checkpoint_files.save_log(output_dir, name, run)

    @property
    def _needed_recalls(self) -> dict[int, torch.Tensor]:
        """The recalls of the evaluations that a resumed run tells of: the best one, and the last."""
        needed = (self.state.best_global_step, max(self.class_recalls, default=0))
        known = self.class_recalls.items()
        return {step: torch.tensor(recalls, dtype=torch.float64) for step, recalls in known if step in needed}

    # ---- Resuming ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, and from a checkpoint of a finished run there is no further step.

        `train_loss` and the times are those of the whole run, also after resuming.

        Args:
            resume_from_checkpoint: a checkpoint folder, or True for the newest complete one in `args.output_dir`. One
                that is incomplete or damaged is skipped with a warning.

        Raises:
            ValueError: if the named checkpoint is incomplete, damaged or of another algorithm or model, or there is
                none; the message names the file, and another checkpoint that is complete.
            OSError: in one line, if a checkpoint cannot be written; those before it are as they were.
        """
        self._resumed, self.earlier_seconds = None, 0.0
        if self.args.should_save:
            checkpoint_folders.clean_up(self.args.output_dir)
        self.accelerator.wait_for_everyone()
        if resume_from_checkpoint:
            resume_from_checkpoint = checkpoint_files.choose_checkpoint(resume_from_checkpoint, self.args.output_dir)
        self._read_left_out(resume_from_checkpoint or None)
        self._begin_sitting(resume_from_checkpoint or None)
        self._forget_evaluation()
        search_for_unused_weights(self.args, self.accelerator.ddp_handler)
        self._layerdrop = LayerDrop(self.accelerator.unwrap_model(self.model))
        try:
            may_drop = may_drop_layers(self.args, self._layerdrop.rate, sharded=self.is_fsdp_enabled)
            with self._layerdrop.switched(on=may_drop):
                return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            self._end_label_scale()
            self._stop_workers()

    def _begin_sitting(self, checkpoint: str | None) -> None:
        """What a subclass does before Trainer begins, or resumes from a checkpoint that is whole."""

    def _read_left_out(self, checkpoint: str | None) -> None:
        """Find out what of the pool is not drawn, when Trainer is about to begin, or to resume from a checkpoint."""

    def _forget_evaluation(self) -> None:
        """Let a model that was only evaluated so far be wrapped for training on several processes.

        accelerate takes it for one that is wrapped already, and every process would train a model of its own.
        """
        if self.args.world_size > 1 and without_ddp(self.model_wrapped) is self.model_wrapped:
            self.model_wrapped = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            vars(self.model).pop("_is_accelerate_prepared", None)

    def _stop_workers(self) -> None:
        """Let the processes that make views end with the training.

        Persistent ones would live as long as the trainer. And if the garbage collector frees their loader, it closes
        the queue through which they are told to end before torch can tell them, and torch waits 5 s for each.
        """
        loaders = [self.callback_handler.train_dataloader, *getattr(self, "_eval_dataloaders", {}).values()]
        for loader in (getattr(loader, "base_dataloader", loader) for loader in loaders):
            if getattr(loader, "_iterator", None) is not None:
                loader._iterator = None

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        student = self.accelerator.unwrap_model(self.model if model is None else model)
        checkpoint_files.load_student(resume_from_checkpoint, student, self._trained_with)
        check_same_classes(resume_from_checkpoint, student)
        self._label_scale = self._new_label_scale()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            name = self._trained_with
            checkpoint_files.load_state(checkpoint, self.algorithm, name, self.ema)
            rank, processes = self.args.process_index, self.args.world_size
            self._resumed = checkpoint_files.load_log(checkpoint, name, rank, processes)
            # Trainer knows the best checkpoint by its path, which is another one if the run's folder was moved.
            best = Path(checkpoint).parent / f"checkpoint-{self.state.best_global_step}"
            if self.state.best_model_checkpoint is None and best.is_dir():
                self.state.best_model_checkpoint = str(best)

    def _load_best_model(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        folder = str(self.state.best_model_checkpoint)
        if (problem := find_change(folder)) is not None:
            raise ValueError(
                f"{problem}, so the best model cannot be loaded; resume with load_best_model_at_end=False for the last"
            )
        averaged = self.ema is not None and self.args.ema_evaluates
        name = self._trained_with
        if is_adapted(model) and checkpoint_files.load_evaluated(folder, model, name, averaged):
            # Trainer would look for an adapter called "default", and cannot load prompts. What was read are the
            # trained weights, so the classifier that answers is still to be put in: that of this checkpoint.
            if self._answer is not None:
                checkpoint_files.load_state(folder, self.algorithm, name)
            if (scale := self._new_label_scale()) is not None:
                scale.fold()
        else:
            self._load_saved_model(model, folder)
            # What was saved has the classifier that answers.
            self._answer = None
        self._load_best_uncertainty(folder)
        if self.ema is not None:
            self.ema.reset()

    def _load_saved_model(self, model: Any, folder: str) -> None:
        """Read what `_save` has written back into the model."""
        if not hasattr(type(model), "from_pretrained") or is_adapted(model):
            super()._load_best_model()
        else:
            # from_pretrained knows the names that save_pretrained wrote; load_state_dict does not (ViT).
            best = type(model).from_pretrained(folder)
            load_whole(model, best.state_dict())

    # ---- What training begins with ----

    def _start_average(self) -> None:
        """Start the moving average with the model as it is now, and all processes with the same heads and statistics.

        The model is wrapped by now: it computes under autocast, as its copy will, and has the weights of the first
        process. Resuming comes after this.
        """
        self._complete_optimizer()
        copy_from_first([*self.algorithm.parameters(), *self.algorithm.buffers()])
        self._begin_label_scale()
        if self._keeps_average:
            self.ema = self._new_average()
        self._attach_label_scale()
        self._answer = None
        if self.algorithm.answer.answers:
            given = self.accelerator.unwrap_model(self.model), self.algorithm, self._content_free
            self._answer = CorrectedClassifier(*given, self.args.ema_decay if self._keeps_average else None)

    def _update_averages(self) -> None:
        """After an optimizer step: move the averages that are kept, of the model and of the correction's heads."""
        for average in (self.ema, self._answer):
            if average is not None:
                average.update()

    def _begin_log(self) -> None:
        """Start with empty sums or, after resuming, with those that the run had when the checkpoint was written."""
        self._began = time.perf_counter()
        self._sums.clear()
        if self._resumed is None:
            return
        run, self._resumed = self._resumed, None
        self._globalstep_last_logged, self.earlier_seconds = run.logged, run.seconds
        self.class_recalls = {step: recalls.tolist() for step, recalls in run.recalls.items()}
        self._tr_loss += run.loss.to(self._tr_loss)
        self._sums.values = {name: value.to(self.args.device) for name, value in run.sums.items()}
        if run.total_loss is not None:
            self._total_loss_scalar, self._initial_global_step = run.total_loss, 0
        else:
            # The losses before the checkpoint are not known: the mean is that of the steps since resuming.
            self._total_loss_scalar -= self.accelerator.gather(self._tr_loss.reshape(1)).mean().item()

    # ---- What training ends with ----

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """As in Trainer, which would take one more step in a run that is resumed from its last one."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, trial: Any, num_train_samples: int, start_time: float) -> Any:
        """As in Trainer, with the times of the whole run."""
        return super()._finalize_training(trial, num_train_samples, start_time - self.earlier_seconds)
