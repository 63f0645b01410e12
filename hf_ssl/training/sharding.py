"""The part of SSLTrainer that trains models of which each process keeps a part (FSDP2), and saves them as a whole.

What is in a checkpoint, and under which name, is the same whether the model was sharded or not, and over how many
processes: a training that was sharded goes on without, and the other way round.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from ..algorithms import SSLAlgorithm
from ..config import SSLConfig
from ..distributed import copy_from_first, part_like, whole
from ..model.ema import ModelEma
from ..model.sharding import is_sharded, ready_to_shard, reshard, shard_like_student, without_weights
from ..problem_types import REGRESSION
from ..settings.sharding import asks_for_fsdp

_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"


class ShardingMixin(Trainer):
    """A `Trainer` that keeps moving average, heads and optimizer in order when accelerate shards the model.

    Heads of the algorithm stay whole in every process: they are small, and accelerate's preparation takes no weight
    that is not the model's.

    Attributes:
        args: the settings.
        algorithm: whose heads are learned together with the model.
        ema: the moving average of the weights; None if none is kept.
    """

    args: SSLConfig
    model: nn.Module
    algorithm: SSLAlgorithm
    ema: ModelEma | None = None
    # A copy of the model, made before that was sharded, for the moving average.
    _unsharded_copy: nn.Module | None = None
    # The optimizer's groups, each with its parameters: those of the model by name.
    _groups: list[tuple[dict[str, Any], list[Any]]] | None = None

    def _evaluated_weights(self, every_process: bool = False) -> AbstractContextManager[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define _evaluated_weights()")

    @property
    def _keeps_average(self) -> bool:
        return self.args.ema_role != "none" or self.algorithm.uses_teacher

    # ---- Before and after the model is sharded ----

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, which has accelerate shard the model.

        Raises:
            ValueError: if the model or the algorithm does not allow it; one line says what to do.
        """
        check_shardable(self.model, self.algorithm, asked=asks_for_fsdp(self.args), sharding=self.is_fsdp_enabled)
        if not self.is_fsdp_enabled:
            return super()._prepare_for_training(*args, **kwargs)
        with self._about_to_shard():
            return super()._prepare_for_training(*args, **kwargs)

    @contextmanager
    def _about_to_shard(self) -> Iterator[None]:
        """Copy what can no longer be copied afterwards, and give every process the weights of the first one."""
        if is_sharded(self.model):
            yield
            return
        device = self.args.device
        copy_from_first([*self.model.parameters(), *self.model.buffers()], device)
        self._unsharded_copy = without_weights(self.model) if self._keeps_average else None
        with ready_to_shard(self.model, self.accelerator.state.fsdp_plugin):
            yield

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """As in `OptimizationMixin`; of a model that is about to be sharded, without the groups of the heads.

        accelerate exchanges the parameters that it shards, and refuses others.
        """
        if self.is_fsdp_enabled:
            # The whole weights of a pass are not the parameters.
            reshard(self.model)
        optimizer = super().create_optimizer(model)
        if self.is_fsdp_enabled:
            names = {id(weight): name for name, weight in _named_weights(self.model)}
            groups = optimizer.param_groups
            self._groups = [(group, [names.get(id(each), each) for each in group["params"]]) for group in groups]
            groups[:] = [group for group, members in self._groups if any(isinstance(each, str) for each in members)]
        return optimizer

    def _complete_optimizer(self) -> None:
        """Put all parameters back into the optimizer, each in its place: the model's by name, now sharded.

        accelerate finds the model's by their addresses, and parts without an element all have the same one.
        """
        if self._groups is None:
            return
        found = dict(_named_weights(self.model))
        for group, members in self._groups:
            group["params"] = [found[each] if isinstance(each, str) else each for each in members]
        optimizer: Any = self.optimizer
        optimizer.param_groups[:] = [group for group, _ in self._groups]
        self._groups = None

    def _new_average(self) -> ModelEma:
        """The moving average of the model as it is now, sharded if that is."""
        student = self.accelerator.unwrap_model(self.model)
        if not is_sharded(student):
            return ModelEma(student, self.args.ema_decay)
        if self._unsharded_copy is not None:
            module, self._unsharded_copy = shard_like_student(self._unsharded_copy, self.accelerator), None
        elif self.ema is not None:
            module = self.ema.module
        else:
            raise ValueError(
                "the moving average must be wanted before the model is sharded, got ema_role="
                f"{self.args.ema_role!r} afterwards; make a new trainer with it"
            )
        return ModelEma(student, self.args.ema_decay, module)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, and before a training, too, where accelerate would not shard a model without an optimizer."""
        if self.is_fsdp_enabled and not is_sharded(self.model):
            from accelerate.utils import fsdp2_prepare_model

            with self._about_to_shard():
                self.model = self.model_wrapped = fsdp2_prepare_model(self.accelerator, self.model)
            # As after a preparation of accelerate: it then takes the model for one of its own.
            self.accelerator._models.append(self.model)
        return super().evaluation_loop(*args, **kwargs)

    # ---- Saving and loading as a whole ----

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As in Trainer; of a sharded model the whole, whatever `state_dict_type` says, by the first process."""
        if not is_sharded(self.model):
            super().save_model(output_dir, _internal_call)
            return
        with self._evaluated_weights():
            weights = whole(self.accelerator.unwrap_model(self.model).state_dict(), keep=self.args.should_save)
        if self.args.should_save:
            self._save(output_dir or self.args.output_dir, weights)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_sharded(self.model):
            super()._save_optimizer_and_scheduler(output_dir)
            return
        optimizer, scheduler, write = self.optimizer, self.lr_scheduler, self.args.should_save
        assert optimizer is not None and scheduler is not None  # a checkpoint is of a training
        state = optimizer.state_dict()
        # By the parameters' numbers, which are the same in a training that is not sharded.
        state["state"] = {number: _whole_values(values, write) for number, values in sorted(state["state"].items())}
        if write:
            torch.save(state, Path(output_dir, _OPTIMIZER))
            torch.save(scheduler.state_dict(), Path(output_dir, _SCHEDULER))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_sharded(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        optimizer, scheduler = self.optimizer, self.lr_scheduler
        assert optimizer is not None and scheduler is not None  # they are made before
        # Mapped into memory: of each tensor only this process's part is read.
        state = torch.load(Path(checkpoint, _OPTIMIZER), map_location="cpu", weights_only=True, mmap=True)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, values in state["state"].items():
            weight = parameters[number]
            alike = {key: value for key, value in values.items() if getattr(value, "shape", None) == weight.shape}
            values.update({key: part_like(value, weight) for key, value in alike.items()})
        optimizer.load_state_dict(state)
        scheduler.load_state_dict(torch.load(Path(checkpoint, _SCHEDULER), weights_only=True))


def check_shardable(model: nn.Module, algorithm: SSLAlgorithm, *, asked: bool, sharding: bool) -> None:
    """Refuse, before the first step, what is known only by now.

    Args:
        asked: whether the settings ask for FSDP.
        sharding: whether accelerate will do it.

    Raises:
        ValueError: in one line.
    """
    if getattr(model, "is_distributed_loading_by_transformers", False):
        raise ValueError(
            "model must not be sharded when it is loaded, since its moving average could not be made; leave "
            "distributed_config out, and set fsdp=True"
        )
    if asked and not sharding:
        raise ValueError("fsdp must be left out without GPUs: accelerate would train with DDP and not say so")
    if not sharding:
        return
    if getattr(model, "is_quantized", False) or getattr(model, "is_loaded_in_4bit", False):
        raise ValueError(
            "a quantized model cannot be sharded: a part of a weight has no scale of its own; leave fsdp out, or load "
            "the model without quantization"
        )
    if algorithm.answer.answers:
        raise ValueError(
            f"a sharded model cannot be evaluated with the classifier of {algorithm.answer.title}, which replaces "
            "the model's own; leave fsdp out, or choose another correction"
        )
    if algorithm.problem.problem_type == REGRESSION:
        raise ValueError(
            "a sharded model cannot learn numbers: their mean and scale are written into the head as a whole; leave "
            "fsdp out"
        )
    if algorithm.differentiates_twice:
        raise ValueError(
            f"{algorithm.title or type(algorithm).__name__} cannot train a sharded model: it differentiates twice, "
            "and FSDP frees the weights after the first time; leave fsdp out, or choose another algorithm"
        )


def _named_weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The model's parameters by the names that they have without the wrappers of activation checkpointing."""
    return [(name.replace("_checkpoint_wrapped_module.", ""), weight) for name, weight in model.named_parameters()]


def _whole_values(values: dict[str, Any], keep: bool) -> dict[str, Any]:
    """The state of one parameter in an optimizer, put together from those of all processes."""
    tensors = {key: value for key, value in values.items() if isinstance(value, torch.Tensor)}
    return {**values, **whole(tensors, keep)}
