"""The supervised term of all algorithms in other words than cross-entropy: `compute_loss_func` and label smoothing.

    SSLTrainer(..., compute_loss_func=f)    f(outputs, labels, num_items_in_batch)  \\
                                                                                     `SSLAlgorithm.criterion`
    SSLConfig(label_smoothing_factor=0.1)   LabelSmoother of transformers            |
    class Mine(SSLTrainer): compute_loss    as for Trainer: model(**inputs), labels /

`Trainer` computes its whole loss with them. Here they take the place of the loss of labeled examples, in training and
in evaluation; the loss of the pool stays that of the algorithm.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

from .. import losses
from ..config import SSLConfig


class SupervisedLoss:
    """A criterion for `SSLAlgorithm.labeled_loss` that knows whether it was asked.

    Args:
        function: as `compute_loss_func` of `Trainer`: called with an output that has `logits` [N, C], classes [N] (of
            MixMatch and ReMixMatch, which train on mixtures, distributions [N, C]) and `num_items_in_batch`, here N.
            It returns a scalar, the mean over the N examples; a sum that it divides by `num_items_in_batch` is one.
        label_smoothing: without a function, of the cross-entropy, in [0, 1).
        setting: what the user set, for errors.

    Example:
        >>> weighted = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
        >>> loss = SupervisedLoss(lambda outputs, labels, num_items_in_batch: weighted(outputs.logits, labels))
        >>> loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))  # (0.313 + 3 * 1.313) / 4
        tensor(1.0633)
    """

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        label_smoothing: float = 0.0,
        setting: str = "compute_loss_func",
    ):
        self.function, self.label_smoothing = function, label_smoothing
        self.setting = "label_smoothing_factor" if function is None else setting
        self.was_asked = False

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scalar loss of logits [N, C] with targets [N] or [N, C], and weights [N] or None."""
        self.was_asked = True
        if self.function is None:
            return losses.cross_entropy(logits, targets, weights, self.label_smoothing)
        if weights is not None:
            raise ValueError(
                f"{self.setting} must be left out if labeled examples have weights, which a mean cannot be given; "
                "set tsa_schedule='none' in algorithm_kwargs (uda), or leave it out"
            )
        loss = self.function(SequenceClassifierOutput(logits=logits), targets, num_items_in_batch=len(targets))
        if not isinstance(loss, torch.Tensor) or loss.ndim > 0:
            got = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(f"{self.setting} must return a scalar tensor, got {got}; take the mean of the examples")
        return loss


def supervised_loss(args: SSLConfig, function: Callable[..., Any] | None, trainer: Trainer, base: type) -> Any:
    """What the settings or a subclass of the trainer ask for; None for the cross-entropy.

    Args:
        args: with `label_smoothing_factor`.
        function: `compute_loss_func`.
        trainer: an instance of `base`, with its model. If its class has a `compute_loss` of its own for the batches of
            `Trainer`, the trainer gets another one that calls it.
        base: the class whose `compute_loss` takes joint batches.

    Raises:
        ValueError: for two at once, and for what Trainer cannot do.
    """
    smoothing, setting, model = args.label_smoothing_factor, "compute_loss_func", trainer.model
    if has_own_loss(type(trainer), base):
        if function is not None:
            raise ValueError(
                f"compute_loss_func must be left out beside {type(trainer).__name__}.compute_loss; give one of the two"
            )
        setting, function = f"{type(trainer).__name__}.compute_loss", own_loss(trainer)
        vars(trainer)["compute_loss"] = partial(_shared_out, trainer, base)
    if function is None and smoothing == 0:
        return None
    if function is not None and smoothing > 0:
        raise ValueError(
            f"label_smoothing_factor must be 0 beside {setting}, got {smoothing}: it computes the whole loss of "
            "labeled examples; smooth the labels there"
        )
    if smoothing > 0 and not hasattr(model, "config"):
        raise ValueError(
            f"label_smoothing_factor must be 0 for {type(model).__name__}, which has no config, got {smoothing}; give "
            f"compute_loss_func=lambda outputs, labels, num_items_in_batch: torch.nn.functional.cross_entropy("
            f"outputs.logits, labels, label_smoothing={smoothing})"
        )
    return SupervisedLoss(function, smoothing, setting)


# ---- A subclass that is written for Trainer ----


def has_own_loss(cls: Any, base: Any) -> bool:
    """Whether a subclass has a `compute_loss` that never calls the one of its base, and so cannot know joint batches.

    One that calls it leaves the loss to the algorithm, and is what it seems.
    """
    function = inspect.unwrap(cls.compute_loss)
    code = getattr(function, "__code__", None)
    return function is not base.compute_loss and code is not None and "compute_loss" not in code.co_names


def own_loss(trainer: Any) -> Callable[..., Any]:
    """The `compute_loss` of a trainer's class as a function like `compute_loss_func`.

    It gets labels, and in place of the model one that answers with the logits of the step. Whatever else it wants of
    its inputs, or of a second call, is missing; the step that is tried at construction tells.
    """

    def function(outputs: Any, labels: torch.Tensor, num_items_in_batch: int) -> Any:
        inputs = {"labels": labels}
        return type(trainer).compute_loss(trainer, _Answer(trainer, outputs), inputs, False, num_items_in_batch)

    return function


def _shared_out(trainer: Any, base: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Joint batches are for the base, which asks for the loss of labeled examples; others for the subclass."""
    cls = base if "unlabeled" in inputs else type(trainer)
    return cls.compute_loss(trainer, model, inputs, *args, **kwargs)


class _Answer:
    """What `compute_loss` calls as its model: it answers once, for a step has one pass for all of its views."""

    def __init__(self, trainer: Any, outputs: Any):
        self._trainer, self._outputs = trainer, outputs

    def __call__(self, *_: Any, **__: Any) -> Any:
        if self._outputs is None:
            raise ValueError(
                f"{type(self._trainer).__name__}.compute_loss must call the model once, got a second call; call "
                "super().compute_loss, which makes the whole loss, and add to it"
            )
        outputs, self._outputs = self._outputs, None
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer.model, name)
