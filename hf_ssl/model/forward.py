"""From views to logits and features, in as few model calls as possible."""

from collections.abc import Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from ..config import BATCH_NORM_VIEWS
from ..losses import float_logits
from .ema import ModelEma
from .head import find_head
from .wrapping import compile_like, unwrap, without_ddp


class ViewOutput(NamedTuple):
    """What the model says of one view: `logits` [N, C] and `features` [N, D], the input of its classification head,
    in float32 at least."""

    logits: torch.Tensor
    features: torch.Tensor

    def detach(self) -> "ViewOutput":
        return ViewOutput(self.logits.detach(), self.features.detach())


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a layer of the model normalises with statistics of the batch, so that views in one call affect each other."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


@contextmanager
def frozen_statistics(model: nn.Module):
    """Let batch normalisation use the batch's statistics without recording them in its running averages."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextmanager
def differentiable_inputs(model: nn.Module):
    """Let gradients with respect to the input through the speech encoders of transformers.

    For gradient checkpointing these mark their input as requiring a gradient, which autograd refuses for an input that
    already has a history. The mark is switched off for the time being.
    """
    encoders = [module for module in model.modules() if getattr(module, "_requires_grad", False) is True]
    for encoder in encoders:
        encoder._requires_grad = False
    try:
        yield
    finally:
        for encoder in encoders:
            encoder._requires_grad = True


class ModelForward:
    """Calls the model on several views at once and splits the answer.

    ```
    out = forward(labeled=batch.labeled, strong=batch.unlabeled["strong"], no_grad={"weak": batch.unlabeled["weak"]})
    out["weak"].logits        # [mu*B, C], without gradient
    out["strong"].features    # [mu*B, D]
    ```

    Args:
        model: any classification model whose call takes the views' tensors as keywords and returns logits [N, C], as a
            `ModelOutput`, a mapping with "logits", a tuple that starts with them, or the tensor itself. It may be wrapped
            in DistributedDataParallel: views with gradient pass through the wrapper once, the others by-pass it.
        teacher: the model whose weights are the moving average, or the `ModelEma` that keeps it, for `forward.teacher`.
        head: the layer whose input are the features; found by `find_head` when not given.
        batch_norm_views: which views batch normalisation's running averages see. "published": as the algorithm's reference
            has it, that is, every view of the joint call, but the labeled ones alone where the reference makes separate
            calls. "labeled": the labeled view alone; the others are normalised in a call of their own. "all": every view.
            Without meaning for models that have no batch normalisation.

    Raises:
        ValueError: if there is no head, or for other `batch_norm_views`.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module | ModelEma | None = None,
        head: nn.Module | None = None,
        batch_norm_views: str = "published",
    ):
        if batch_norm_views not in BATCH_NORM_VIEWS:
            raise ValueError(
                f"batch_norm_views must be one of {', '.join(BATCH_NORM_VIEWS)}, got {batch_norm_views!r}"
            )
        self.batch_norm_views = batch_norm_views
        self.model = model
        self.unwrapped = unwrap(model)
        # For calls that need no gradient, and those beside the one joint call that DDP allows.
        self.beside = without_ddp(model)
        self.head = head if head is not None else find_head(self.unwrapped)
        self.teacher_model = teacher.module if isinstance(teacher, ModelEma) else teacher
        self._teacher_call = None if self.teacher_model is None else compile_like(model, self.teacher_model)
        self.batch_norm = has_batch_norm(self.unwrapped)
        self._teacher_head = None

    def __call__(
        self,
        *,
        no_grad: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
        frozen: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
        update_statistics: bool = True,
        **views: Mapping[str, torch.Tensor],
    ) -> dict[str, ViewOutput]:
        """Run the named views, each a mapping of model keywords to tensors whose first axis is the example.

        Args:
            no_grad: views whose result is a target. Without batch normalisation they run under `torch.no_grad()`, which
                saves their backward pass; with it they join the call of the others, since the statistics of a batch are
                those of all its views, and are detached.
            frozen: views with gradient which batch normalisation's running averages must not see. Without batch
                normalisation they join the call of the others; with it they make a call of their own, together with
                `no_grad`, which by-passes the wrapper: its gradients reach the same parameters.
            update_statistics: False leaves batch normalisation's running averages as they are.
        """
        targets, frozen = dict(no_grad or {}), dict(frozen or {})
        if self.batch_norm and self.batch_norm_views == "labeled":
            frozen.update({name: view for name, view in views.items() if name != "labeled"})
            views = {name: view for name, view in views.items() if name == "labeled"}
        elif self.batch_norm and self.batch_norm_views == "all":
            views, frozen, update_statistics = {**views, **frozen}, {}, True
        outputs = {}
        if targets and not (self.batch_norm and (views or frozen)):
            seen = update_statistics and not frozen and self.batch_norm_views != "labeled"
            outputs.update(self._without_gradient(self.beside, self.head, targets, seen))
            targets = {}
        if frozen and (self.batch_norm or not views):
            with frozen_statistics(self.unwrapped):
                separate = self._run(self.beside, self.head, {**frozen, **targets})
            outputs.update({name: out.detach() if name in targets else out for name, out in separate.items()})
            frozen, targets = {}, {}
        if views:
            with _statistics(self.unwrapped, update_statistics):
                joint = self._run(self.model, self.head, {**views, **frozen, **targets})
            outputs.update({name: out.detach() if name in targets else out for name, out in joint.items()})
        return outputs

    def teacher(self, **views: Mapping[str, torch.Tensor]) -> dict[str, ViewOutput]:
        """The same views through the teacher, without gradient and without touching its running averages.

        Raises:
            ValueError: if there is no teacher.
        """
        if self.teacher_model is None:
            raise ValueError(
                "this algorithm needs a teacher: pass ModelForward(model, teacher=...) or ema_role='teacher'"
            )
        return self._without_gradient(self._teacher_call, self.teacher_head, views, update_statistics=False)

    @property
    def teacher_head(self) -> nn.Module:
        """The teacher's layer at the place of `head`."""
        if self._teacher_head is None:
            names = {module: name for name, module in self.unwrapped.named_modules()}
            name = names.get(self.head)
            self._teacher_head = (
                find_head(self.teacher_model) if name is None else self.teacher_model.get_submodule(name)
            )
        return self._teacher_head

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [N, C] of given features [N, D], through the head alone (for mixing on features)."""
        return self.head(features.to(next(self.head.parameters()).dtype))

    def _without_gradient(self, model, head, views, update_statistics):
        with torch.no_grad(), _statistics(unwrap(model), update_statistics):
            return self._run(model, head, views)

    def _run(self, model, head, views) -> dict[str, ViewOutput]:
        captured = []
        handle = head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            logits = logits_of(model(**concatenate(list(views.values()), unwrap(model))))
        finally:
            handle.remove()
        # Heads of the algorithms and statistics are float32, also beside a model in bfloat16.
        features = float_logits(captured[-1])
        if features.ndim != 2:
            raise ValueError(
                f"the classification head of {type(unwrap(model)).__name__} reads a tensor of shape {tuple(features.shape)}; "
                "features must be [N, D], one vector for each example. Use a model that pools before its head."
            )
        sizes = [first_axis(view) for view in views.values()]
        parts = zip(logits.split(sizes), features.split(sizes), strict=True)
        return {name: ViewOutput(*part) for name, part in zip(views, parts, strict=True)}


@contextmanager
def _statistics(model, update: bool):
    if update:
        yield
    else:
        with frozen_statistics(model):
            yield


def first_axis(view: Mapping[str, torch.Tensor]) -> int:
    """Number of examples in a view."""
    return next(iter(view.values())).shape[0]


def logits_of(output) -> torch.Tensor:
    """The logits in whatever a classification model returns."""
    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "logits"):
        return output.logits
    return output["logits"] if isinstance(output, Mapping) else output[0]


def concatenate(views: list[Mapping[str, torch.Tensor]], model: nn.Module | None = None) -> dict[str, torch.Tensor]:
    """Join views along the example axis; sequences of different lengths are padded at their end to the longest.

    Token ids are padded with the model's `config.pad_token_id`, everything else (masks, samples) with 0.
    """
    if len(views) == 1:
        return dict(views[0])
    joined = {}
    for key in views[0]:
        tensors = [view[key] for view in views]
        if tensors[0].ndim > 1 and len({tensor.shape[1:] for tensor in tensors}) > 1:
            length = max(tensor.shape[-1] for tensor in tensors)
            pad = getattr(getattr(model, "config", None), "pad_token_id", None) if key == "input_ids" else 0
            tensors = [nn.functional.pad(t, (0, length - t.shape[-1]), value=pad or 0) for t in tensors]
        joined[key] = torch.cat(tensors)
    return joined
