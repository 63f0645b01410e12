"""A step on a handful of examples while a trainer is made, so that what cannot be trained is refused before training.

    two labeled examples, two of the pool --views--> a small batch --a small copy of the algorithm--> loss, gradients

Nothing is left of it: weights, buffers, modes and random numbers are afterwards as they were. It costs about as much
as a step with so few examples.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.utils import logging

from ..algorithms import Progress, SSLAlgorithm
from ..algorithms.correction import Correction
from ..algorithms.problem import ProblemSpec
from ..batches.batch import SSLBatch
from ..batches.collators import SSLCollator
from ..batches.dataset import ViewDataset
from ..batches.sampler import ExampleKey
from ..config import SSLConfig
from ..distributed import on_its_own
from ..errors import BrokenExampleError
from ..model.forward import ModelForward
from ..model.padding import View, harmless_sides, pad_token
from ..views.seeds import global_seeds
from .supervised_loss import SupervisedLoss

logger = logging.get_logger(__name__)

# Labeled examples, and as many of the pool.
_EXAMPLES = 2
# Seconds of a training that is long enough to be told how long before it starts.
_LONG_SECONDS = 3600.0
# Tokens of a text with which padding can be tried.
_SHORTEST = 3
# Logits that the head makes of the features, against the model's own, as a share of the largest.
_ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3}
_ROUNDING_OF_HALF = 0.05


def try_step(
    model: nn.Module, algorithm: SSLAlgorithm, dataset: ViewDataset, args: SSLConfig, processor: Any = None
) -> float | None:
    """Refuse what the algorithm cannot train on this model and these examples.

    Args:
        model: on its device, not wrapped.
        algorithm: its settings are tried in a small copy.
        dataset: makes the views. Rows that cannot be read are not reported here: nothing is tried then.
        args: the settings of the training.
        processor: for texts, the tokenizer, whose side of padding is checked.

    Returns:
        The seconds of a step for each of its examples, on a CPU, where a step takes time in proportion to them; None
        on other devices, and if nothing was tried.

    Raises:
        ValueError: in one line, with the reason and a way out.
    """
    try:
        items = _small_batch(dataset)
    except BrokenExampleError:
        return None
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    what = f"{type(model).__name__} cannot be trained"
    way_out = "use another model"
    with _undisturbed(model, device), _precision(args, device), on_its_own():
        batch = SSLCollator(dataset.views).to_batch(_moved(items, device))
        try:
            # In pieces, if the training will go in pieces.
            most = None if args.view_micro_batch is None else _EXAMPLES
            forward = ModelForward(model, model, batch_norm_views=args.batch_norm_views, micro_batch=most)
            _check_head(forward, args)
            _check_features(forward, batch)
            _check_padding(forward, batch.labeled, processor)
            what += f" with {algorithm.title or type(algorithm).__name__}"
            way_out = "use another algorithm (fixmatch asks for little), or another model"
            seconds = _train(forward, algorithm, batch)
            if seconds is not None and device.type == "cpu":
                seconds = _again_if_long(seconds, forward, algorithm, batch, args)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if pad_token(model) is None and "padding token" in str(error):
                way_out = "set model.config.pad_token_id to the tokenizer's"
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ValueError(f"{what}: {reason if '; ' in reason else f'{reason}; {way_out}'}") from error
    return seconds / (2 * _EXAMPLES) if seconds is not None and device.type == "cpu" else None


def _small_batch(dataset: ViewDataset) -> dict[str, Any]:
    if not hasattr(dataset.unlabeled, "__getitem__"):
        # A stream is not read ahead of time.
        names = {**dataset.labeled_names, **dataset.unlabeled_names}
        dataset = ViewDataset(dataset.labeled, dataset.labeled, dataset.views, names, dataset.label_column)
    keys = [
        ExampleKey(labeled, number % len(rows), epoch=0, cycle=number // len(rows))
        for labeled, rows in ((True, dataset.labeled), (False, dataset.unlabeled))
        for number in range(_EXAMPLES)
    ]
    return SSLCollator(dataset.views)(dataset.__getitems__(keys))


def _check_head(forward: ModelForward, args: SSLConfig) -> None:
    """That a head which `args.start` fits can be written into the model."""
    if args.start != "random" and getattr(forward.head, "bias", True) is None:
        raise ValueError(
            f"start={args.start!r} fits a head with a bias, and its head, like those of most decoders, has none; set "
            "start='random'"
        )


def _check_features(forward: ModelForward, batch: SSLBatch) -> None:
    """That the head makes the model's logits of the features: losses and memories are built on both."""
    for training in (True, False):
        # Once more without dropout, which may be inside the head.
        forward.unwrapped.train(training)
        with torch.no_grad():
            out = forward(labeled=batch.labeled)["labeled"]
            made = forward.classify(out.features)
        if not out.logits.isfinite().all():
            break  # Broken weights are told as such when training begins.
        rounding = _ROUNDING.get(made.dtype, _ROUNDING_OF_HALF) * out.logits.abs().max()
        if (made - out.logits).abs().max() <= rounding:
            break
    else:
        raise ValueError("its logits are not what its classification head makes of the features")
    forward.unwrapped.train()


def _check_padding(forward: ModelForward, view: View, tokenizer: Any) -> None:
    """That the tokenizer pads where the model does not mind."""
    side = getattr(tokenizer, "padding_side", None)
    if side is None or "input_ids" not in view or view["input_ids"].shape[1] < _SHORTEST:
        return
    sides = harmless_sides(forward.unwrapped, forward.head, view)
    name = type(forward.unwrapped).__name__
    if sides and side not in sides:
        (other,) = sides
        raise ValueError(
            f"its answers change with padding on the {side}, where the tokenizer puts it; set "
            f"processing_class.padding_side = {other!r} and try again"
        )
    if not sides:
        logger.warning(
            f"{name} reads padding: its answers for a text depend on the longest text beside it; views of different "
            "lengths are classified in calls of their own"
        )


def _train(forward: ModelForward, algorithm: SSLAlgorithm, batch: SSLBatch) -> float | None:
    """Loss and gradients of one step in a small copy of the algorithm: its seconds, or None without such a copy."""
    small = _small(algorithm)
    if small is None:
        return None
    small.to(batch.labels.device)
    if small.correction.reads_content_free:
        batch.content_free = {name: values[:1] for name, values in batch.labeled.items()}
    if small.outside_teacher is not None and batch.opinions is None:
        # A stream is not read ahead of time.
        batch.opinions = torch.zeros(_EXAMPLES, small.problem.num_classes, device=batch.labels.device)
    if next(forward.unwrapped.parameters()).dtype == torch.float64:
        small.double()
    began = time.perf_counter()
    # In the middle of a training, where everything takes part.
    loss = small(forward, batch, Progress(step=500, max_steps=1000, steps_per_epoch=10)).loss
    _check_criterion(small)
    parameters = [parameter for parameter in forward.unwrapped.parameters() if parameter.requires_grad]
    torch.autograd.grad(loss, parameters, allow_unused=True)
    return time.perf_counter() - began


def _check_criterion(algorithm: SSLAlgorithm) -> None:
    """That the algorithm asks for the loss of labeled examples that the user has set."""
    criterion = algorithm.criterion
    if isinstance(criterion, SupervisedLoss) and not criterion.was_asked:
        raise ValueError(
            f"{criterion.setting} would be ignored; let its forward call self.labeled_loss(logits, labels) instead of "
            "the cross-entropy of labeled examples"
        )


def _again_if_long(
    seconds: float, forward: ModelForward, algorithm: SSLAlgorithm, batch: SSLBatch, args: SSLConfig
) -> float:
    """The seconds of a second step if they promise a long training: the first one also warms everything up."""
    examples = algorithm.labeled_batch_size + algorithm.unlabeled_batch_size
    steps: float = args.max_steps
    if steps < 1:
        steps = args.num_train_epochs * algorithm.num_unlabeled / algorithm.unlabeled_batch_size
    if seconds * steps * examples / (2 * _EXAMPLES) < _LONG_SECONDS:
        return seconds
    again = _train(forward, algorithm, batch)
    return seconds if again is None else min(seconds, again)


def _small(algorithm: SSLAlgorithm) -> SSLAlgorithm | None:
    """A copy of the algorithm for few examples, with its settings; None if its class is made in another way."""
    task = {field.name: getattr(algorithm.problem, field.name) for field in fields(ProblemSpec)}
    for size in ("num_labeled", "num_unlabeled", "labeled_batch_size", "unlabeled_batch_size"):
        task[size] = _EXAMPLES
    try:
        small = type(algorithm)(**algorithm.current_settings(), **task)
    except TypeError:
        return None
    small.criterion = algorithm.criterion
    given = algorithm.correction
    if type(given) is not Correction:
        settings: Any = given.current_settings()
        small.correct_with(type(given)(problem=small.problem, class_counts=given.labeled_counts, **settings))
    if (teacher := algorithm.outside_teacher) is not None:
        small.learn_from(type(teacher)(small.problem, teacher.teacher_weight, teacher.schedule))
    return small


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put back what a step changes beside gradients: random numbers, buffers, modes."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), global_seeds(np.random.default_rng(0)):
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _precision(args: SSLConfig, device: torch.device) -> Any:
    if not (args.bf16 or args.fp16):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if args.bf16 else torch.float16)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(inner, device) for name, inner in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value
