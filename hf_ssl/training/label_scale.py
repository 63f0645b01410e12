"""Numbers in the user's units outside, standardized inside: how a head learns what has any mean and any scale.

    while training   (W f + b) * scale + mean      W and b as large as those of a fresh head; a hook does the rest
    saved            (W * scale) f + (b * scale + mean), an ordinary head

A model always answers in the user's units: in training, in evaluations, in every saved folder and in `pipeline()`.
Learning rates, weight decay and averages see weights that do not depend on these units. Checkpoints keep the weights
that are trained in `ssl_student.safetensors`, so that resuming is exact.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Trainer

from ..algorithms import SSLAlgorithm
from ..batches.collators import EvaluationCollator
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..errors import BrokenExampleError
from ..losses import float_logits
from ..model.ema import ModelEma
from ..model.head import TwoHeads, check_writable, find_head, linear_of
from ..model.uncertainty import Uncertainty, load_uncertainty, save_uncertainty
from ..problem_types import REGRESSION
from ..views import Views
from ..views.seeds import global_seeds
from .evaluation import answers_of

# Labeled examples that a model is asked to find out whether it was trained on such numbers before.
_ASKED = 16


class LabelScale:
    """What scales the head of one model, and of its moving average.

    Args:
        model: with a linear head, or two, inside any wrapper; it keeps its weights until `unfold` or `fold`.
        mean, scale: of the labeled numbers, [K].

    Raises:
        ValueError: as `check_scalable`.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> scale = LabelScale(model, torch.tensor([100.0]), torch.tensor([10.0]))
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(2.0), model.bias.zero_()
        >>> scale.attach()
        >>> model(torch.tensor([[1.0]])).item()  # 2 standard deviations above the mean
        120.0
        >>> scale.detach(), scale.fold()
        (None, None)
        >>> model.weight.item(), model.bias.item(), model(torch.tensor([[1.0]])).item()
        (20.0, 100.0, 120.0)
    """

    def __init__(self, model: nn.Module, mean: torch.Tensor, scale: torch.Tensor):
        self.model, self.mean, self.scale = model, mean, scale
        check_scalable(model)
        self._handles: list[Any] = []

    def attach(self, *others: nn.Module) -> None:
        """Scale what the heads of the model answer, and of others with the same units, from now on."""
        self.detach()
        for model in (self.model, *others):
            self._handles += [part.register_forward_hook(self._hook()) for part in _parts(model)]

    def detach(self) -> None:
        """Answer with the weights alone, which are then to be folded."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self) -> Any:
        mean, scale = self.mean, self.scale

        def scaled(head: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            # Never in half precision, in which 2,019 and 2,023 are the same.
            return float_logits(output) * scale + mean

        return scaled

    @torch.no_grad()
    def unfold(self) -> None:
        """Give a head that answers in the user's units the weights that answer so with the hook."""
        for part in _parts(self.model):
            mean, scale = self._units(part)
            part.weight.copy_(part.weight.double() / scale.unsqueeze(-1))
            part.bias.copy_((part.bias.double() - mean) / scale)

    @torch.no_grad()
    def fold(self) -> None:
        """Give the head the weights that answer in the user's units without the hook."""
        for part in _parts(self.model):
            part.weight.copy_(self._folded(part, part.weight))
            part.bias.copy_(self._folded(part, part.bias))

    def fold_average(self, average: ModelEma) -> None:
        """As `fold`, in the moving average of the model."""
        state, module = average.state_dict(), average.module
        names = {id(weight): name for name, weight in module.named_parameters()}
        own = [(part, names[id(weight)]) for part in _parts(module) for weight in (part.weight, part.bias)]
        # A head that is not trained is shared with the model.
        average.load_state_dict({**state, **{name: self._folded(p, state[name]) for p, name in own if name in state}})

    @contextmanager
    def folded(self) -> Iterator[None]:
        """As `fold`, inside the `with` block; the head has its own weights again afterwards, bit for bit."""
        own = [(part, weight, weight.data) for part in _parts(self.model) for weight in (part.weight, part.bias)]
        try:
            for part, weight, data in own:
                weight.data = self._folded(part, data)
            yield
        finally:
            for _, weight, data in own:
                weight.data = data

    def _folded(self, part: nn.Linear, values: torch.Tensor) -> torch.Tensor:
        """A weight [K, D] or bias [K] in the user's units, rounded once."""
        mean, scale = self._units(part)
        wide = values.detach().double()
        return (wide * scale.unsqueeze(-1) if wide.ndim == 2 else wide * scale + mean).to(values.dtype)

    def _units(self, part: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
        mean, scale = (each.to(part.weight.device, torch.float64) for each in (self.mean, self.scale))
        return mean, scale


def _parts(model: nn.Module) -> list[nn.Linear]:
    head = find_head(model)
    return [linear_of(part) for part in head.heads] if isinstance(head, TwoHeads) else [head]


def check_scalable(model: nn.Module) -> None:
    """Refuse a model whose head cannot be given weights in the user's units.

    Raises:
        ValueError: if it has no bias, is under an adapter, or is quantized.
    """
    head = find_head(model)
    part = head.heads[0] if isinstance(head, TwoHeads) else head
    if isinstance(part, nn.Linear) and part.bias is None:
        raise ValueError(
            "the head must have a bias, in which the mean of the numbers is saved, got one without, as most decoders "
            "have; use an encoder"
        )
    check_writable(head)
    if not linear_of(part).weight.is_floating_point():
        raise ValueError(
            f"the head must have weights that can be scaled, got {type(part).__name__}; leave it out of quantization"
        )


def knows_numbers(answers: torch.Tensor, numbers: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> bool:
    """Whether a model was trained on such numbers before, so that its answers are in the user's units.

    A fresh head answers with numbers around 0, which fit better as standardized ones.

    Args:
        answers: of the model as it is, [N, K].
        numbers: the labels [N, K].
        mean, scale: of the labels, [K].

    Example:
        >>> ages, mean, scale = torch.tensor([[30.0], [50.0]]), torch.tensor([40.0]), torch.tensor([10.0])
        >>> knows_numbers(torch.tensor([[31.0], [47.0]]), ages, mean, scale)
        True
        >>> knows_numbers(torch.tensor([[0.1], [-0.2]]), ages, mean, scale)
        False
    """
    as_given = ((answers - numbers) / scale).abs().mean()
    standardized = (answers - (numbers - mean) / scale).abs().mean()
    return bool(as_given < standardized / 2)


class LabelScaleMixin(Trainer):
    """A `Trainer` that trains heads of numbers in standardized units; for other kinds of problems it does nothing.

    Attributes:
        args, algorithm, ema: as in `ShardingMixin`.
        data, views: what the labeled examples are, and what makes the model's inputs.
    """

    args: SSLConfig
    algorithm: SSLAlgorithm
    data: DataSummary
    views: Views
    ema: ModelEma | None = None
    # While a training is under way; with a head that was read from a checkpoint it is there before.
    _label_scale: LabelScale | None = None
    # Of the best checkpoint, once its model was loaded.
    _uncertainty: Uncertainty | None = None

    def _new_label_scale(self) -> LabelScale | None:
        if self.algorithm.problem.problem_type != REGRESSION:
            return None
        model = self.accelerator.unwrap_model(self.model)
        return LabelScale(model, self.algorithm.target_mean, self.algorithm.target_scale)

    def _begin_label_scale(self) -> None:
        """Before the moving average is made: let the head have standardized weights."""
        self._uncertainty = None
        if self._label_scale is not None:
            self._label_scale.detach()
            return
        self._label_scale = self._new_label_scale()
        # A fitted head answers in the user's units.
        if self._label_scale is not None and (self.args.start != "random" or self._model_knows_numbers()):
            self._label_scale.unfold()

    def _attach_label_scale(self) -> None:
        """Once the moving average is made: let both answer in the user's units."""
        if self._label_scale is not None:
            self._label_scale.attach(*([] if self.ema is None else [self.ema.module]))
            self._forget_compiled()

    def _end_label_scale(self) -> None:
        """At the end of a training, however it ends: leave an ordinary model, and an ordinary average."""
        scale, self._label_scale = self._label_scale, None
        if scale is None:
            return
        scale.detach()
        scale.fold()
        if self.ema is not None:
            scale.fold_average(self.ema)
        self._forget_compiled()

    def _forget_compiled(self) -> None:
        # A compiled graph does not notice that a hook comes or goes.
        if self.args.torch_compile:
            torch.compiler.reset()

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, which loads the best model, with its head as it was saved."""
        self._end_label_scale()
        return super()._finalize_training(*args, **kwargs)

    @torch.no_grad()
    def _model_knows_numbers(self) -> bool:
        """Ask the model for the first labeled examples."""
        model, device = self.accelerator.unwrap_model(self.model), self.args.device
        rows: Any = self.train_dataset
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            with global_seeds(np.random.default_rng(0)), self.compute_loss_context_manager():
                asked = [rows[index] for index in range(min(len(rows), _ASKED))]
                batch = EvaluationCollator(self.views, self.data.label_column)(asked)
                numbers = batch.pop("labels").to(device)
                answers = answers_of(model(**{name: values.to(device) for name, values in batch.items()}))["logits"]
        except BrokenExampleError:
            return False
        finally:
            for module in training:
                module.training = True
        algorithm = self.algorithm
        return knows_numbers(float_logits(answers), numbers, algorithm.target_mean, algorithm.target_scale)

    # ---- What is saved beside the model ----

    def _save_uncertainty(self, folder: Path) -> None:
        """Write how uncertain the numbers are, if the algorithm has learned it."""
        known = self._uncertainty
        layer = (known.weight, known.bias) if known is not None else None
        if layer is None and getattr(self, "algorithm", None) is not None:
            layer = self.algorithm.log_variance_layer()
        if layer is not None:
            save_uncertainty(folder, *layer)

    def _load_best_uncertainty(self, folder: str) -> None:
        """That of the best checkpoint, whose model has just been loaded."""
        self._uncertainty = load_uncertainty(folder)
