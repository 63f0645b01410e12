"""The supervised term of all algorithms in other words than cross-entropy: `compute_loss_func` and label smoothing.

    SSLTrainer(..., compute_loss_func=f)    f(outputs, labels, num_items_in_batch)  \\
                                                                                     `SSLAlgorithm.criterion`
    SSLConfig(label_smoothing_factor=0.1)   LabelSmoother of transformers           /

`Trainer` computes its whole loss with them. Here they take the place of the loss of labeled examples, in training and
in evaluation; the loss of the pool stays that of the algorithm.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
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

    Example:
        >>> weighted = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
        >>> loss = SupervisedLoss(lambda outputs, labels, num_items_in_batch: weighted(outputs.logits, labels))
        >>> loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))  # (0.313 + 3 * 1.313) / 4
        tensor(1.0633)
    """

    def __init__(self, function: Callable[..., Any] | None = None, label_smoothing: float = 0.0):
        self.function, self.label_smoothing = function, label_smoothing
        self.was_asked = False

    @property
    def setting(self) -> str:
        """What the user set."""
        return "label_smoothing_factor" if self.function is None else "compute_loss_func"

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scalar loss of logits [N, C] with targets [N] or [N, C], and weights [N] or None."""
        self.was_asked = True
        if self.function is None:
            return losses.cross_entropy(logits, targets, weights, self.label_smoothing)
        if weights is not None:
            raise ValueError(
                "compute_loss_func must be left out if labeled examples have weights, which a mean cannot be given; "
                "set tsa_schedule='none' in algorithm_kwargs (uda), or leave it out"
            )
        loss = self.function(SequenceClassifierOutput(logits=logits), targets, num_items_in_batch=len(targets))
        if not isinstance(loss, torch.Tensor) or loss.ndim > 0:
            got = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(
                f"compute_loss_func must return a scalar tensor, got {got}; take the mean over the examples"
            )
        return loss


def supervised_loss(args: SSLConfig, function: Callable[..., Any] | None, model: Any) -> SupervisedLoss | None:
    """What the settings ask for; None for the cross-entropy.

    Raises:
        ValueError: for both at once, and for what Trainer cannot do.
    """
    smoothing = args.label_smoothing_factor
    if function is None and smoothing == 0:
        return None
    if function is not None and smoothing > 0:
        raise ValueError(
            f"label_smoothing_factor must be 0 beside compute_loss_func, got {smoothing}: the function computes the "
            "whole loss of labeled examples; smooth the labels there"
        )
    if smoothing > 0 and not hasattr(model, "config"):
        raise ValueError(
            f"label_smoothing_factor must be 0 for {type(model).__name__}, which has no config, got {smoothing}; give "
            f"compute_loss_func=lambda outputs, labels, num_items_in_batch: torch.nn.functional.cross_entropy("
            f"outputs.logits, labels, label_smoothing={smoothing})"
        )
    return SupervisedLoss(function, smoothing)


def refuse_own_loss(cls: type, base: type) -> None:
    """Refuse a subclass whose `compute_loss` is written for the batches of `Trainer`, as its documentation shows it.

    It would get joint batches. One that calls the `compute_loss` of `base` leaves the loss to the algorithm, and is
    what it seems.

    Raises:
        TypeError: in one line that names the way to a custom loss.
    """
    function = inspect.unwrap(cls.compute_loss)  # type: ignore[attr-defined]  # both are trainers
    code = getattr(function, "__code__", None)
    if function is base.compute_loss or code is None or "compute_loss" in code.co_names:  # type: ignore[attr-defined]
        return
    raise TypeError(
        f"{cls.__name__}.compute_loss must call super().compute_loss, which makes the loss of the pool: a custom loss "
        f"of labeled examples is {base.__name__}(compute_loss_func=f), where f(outputs, labels, num_items_in_batch) "
        "returns a mean, such as cross_entropy(outputs.logits, labels, weight=...)"
    )
