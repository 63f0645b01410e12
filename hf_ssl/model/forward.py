"""From views to logits and features, in as few model calls as possible."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..config import BATCH_NORM_VIEWS
from ..distributed import gather, gather_objects, world_size
from .ema import ModelEma
from .embedding import OFFSET, offset_embeddings
from .head import find_head
from .micro_batches import call_in_pieces
from .padding import SIDES, View, concatenate, harmless_sides, sequence_axes
from .pooling import HeadReader
from .sharding import is_sharded
from .wrapping import compile_like, unwrap, without_ddp


class ViewOutput(NamedTuple):
    """What the model predicts on one view, in float32 at least.

    Args:
        logits: [N, C].
        features: [N, D], the input of the classification head.
    """

    logits: torch.Tensor
    features: torch.Tensor

    def detach(self) -> "ViewOutput":
        """The same values without gradient."""
        return ViewOutput(self.logits.detach(), self.features.detach())


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a layer normalizes with statistics of the batch, so that the views in one call affect each other."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def learns_batch_norm(model: nn.Module) -> bool:
    """Whether batch normalization uses the batch in training; some pretrained models keep their own statistics."""
    training = model.training
    model.train()
    found = any(isinstance(module, _BatchNorm) and module.training for module in model.modules())
    model.train(training)
    return found


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch normalization use the batch's statistics without recording them in its running averages."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextmanager
def differentiable_inputs(model: nn.Module) -> Iterator[None]:
    """Let gradients with respect to the input through the speech encoders of transformers.

    For gradient checkpointing these mark their input as requiring a gradient, which autograd refuses for an input that
    already has a history. The mark is switched off inside the `with` block.
    """
    encoders: list[Any] = [module for module in model.modules() if getattr(module, "_requires_grad", False) is True]
    for encoder in encoders:
        encoder._requires_grad = False
    try:
        yield
    finally:
        for encoder in encoders:
            encoder._requires_grad = True


class ModelForward:
    """Calls the model on several views at once and splits the answer.

    Args:
        model: any classification model whose call takes the views' tensors as keywords and returns logits [N, C], as a
            `ModelOutput`, a mapping with "logits", a tuple that starts with them, or the tensor itself. It may be
            wrapped in DistributedDataParallel: views with gradient pass through the wrapper once, the others bypass
            it.
        teacher: the model whose weights are the moving average, or the `ModelEma` that keeps it, for `model.teacher`.
        head: the layer whose input are the features; None finds it by `find_head`.
        batch_norm_views: which views batch normalization's running averages see. "published": as in the algorithm's
            reference, that is, every view of the joint call, but the labeled ones alone if the reference makes
            separate calls. "labeled": the labeled view alone; the others are normalized in a separate call. "all":
            every view. It has no effect on models without batch normalization.
        micro_batch: at most this many rows, of all views together, go through the model at a time, and the activations
            of only so many are kept for the gradient; None for all at once. See `model/micro_batches.py`.

    Raises:
        ValueError: if there is no head, for another value of `batch_norm_views`, and for `micro_batch` below 1 or with
            a model that normalizes with the statistics of a batch, which a piece does not have.

    Example:
        >>> model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> labeled, weak, strong = ({"input": torch.randn(n, 5)} for n in (2, 6, 6))
        >>> out = ModelForward(model)(labeled=labeled, strong=strong, no_grad={"weak": weak})
        >>> out["labeled"].logits.shape, out["strong"].features.shape
        (torch.Size([2, 3]), torch.Size([6, 4]))
        >>> out["strong"].logits.requires_grad, out["weak"].logits.requires_grad
        (True, False)
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module | ModelEma | None = None,
        head: nn.Module | None = None,
        batch_norm_views: str = "published",
        micro_batch: int | None = None,
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
        self.micro_batch = micro_batch
        _check_micro_batch(self.unwrapped, micro_batch)
        self._teacher_head: nn.Module | None = None
        # On which side sequences of different lengths are padded, once this has been tried; None: they are not joined.
        self._tried_sides = False
        self._side: str | None = None
        # Each call of a sharded model gathers its weights from all processes, which so must make the same calls.
        self._in_step = is_sharded(self.unwrapped) and world_size() > 1
        self._heard: list[tuple[View, ViewOutput]] | None = None

    def __call__(
        self,
        *,
        no_grad: Mapping[str, View] | None = None,
        frozen: Mapping[str, View] | None = None,
        update_statistics: bool = True,
        **views: View,
    ) -> dict[str, ViewOutput]:
        """Run named views through the model, each as one of three kinds, in at most three calls.

        Args:
            views: views with gradient.
            frozen: views with gradient that batch normalization's running averages must not see.
            no_grad: views whose result is a target, without gradient.
            update_statistics: False leaves batch normalization's running averages as they are.

        Which kind of view goes into which call:

        | model                       | joint              | separate                      | target                   |
        | --------------------------- | ------------------ | ----------------------------- | ------------------------ |
        | without batch normalization | views, frozen      | frozen, if there are no views | no_grad                  |
        | "published"                 | views              | frozen                        | no_grad, if alone        |
        | "labeled"                   | the view "labeled" | other views, frozen           | no_grad, if none of them |
        | "all"                       | views, frozen      |                               | no_grad, if alone        |

        The joint call passes through the wrapper of DistributedDataParallel and updates the running averages. The
        separate call does neither: it bypasses the wrapper, and its gradients reach the same parameters. The target
        call runs under `torch.no_grad()`, which saves a backward pass. With batch normalization the statistics of a
        batch are those of all its views, so there targets that are not alone join the separate call, or the joint one
        if there is no separate call, and are detached; only the view "labeled" of that setting is never joined.

        Returns:
            The output of each view by its name.
        """
        targets = dict(no_grad or {})
        joint, separate, target = self._assign(views, frozen or {}, targets)
        update = update_statistics or self.batch_norm_views == "all"
        outputs: dict[str, ViewOutput] = {}
        if target:
            seen = update and self.batch_norm_views != "labeled"
            outputs |= self._without_gradient(self.beside, self.head, target, update_statistics=seen)
        if separate:
            outputs |= self._run(self.beside, self.head, separate, update_statistics=False)
        if joint:
            outputs |= self._run(self.model, self.head, joint, update_statistics=update)
        if self._heard is not None:
            given = {**views, **(frozen or {})}
            self._heard += [(view, outputs[name]) for name, view in given.items()]
        return {name: out.detach() if name in targets else out for name, out in outputs.items()}

    @contextmanager
    def heard(self) -> Iterator[list[tuple[View, ViewOutput]]]:
        """Collect the views with gradient that calls inside the `with` block are given, each with its output."""
        found: list[tuple[View, ViewOutput]] = []
        self._heard = found
        try:
            yield found
        finally:
            self._heard = None

    def _assign(
        self, views: Mapping[str, View], frozen: Mapping[str, View], targets: Mapping[str, View]
    ) -> tuple[Mapping[str, View], Mapping[str, View], Mapping[str, View]]:
        """The views of the joint, the separate and the target call: the table in `__call__`."""
        if not self.batch_norm:
            return ({**views, **frozen}, {}, targets) if views else ({}, frozen, targets)
        if self.batch_norm_views == "labeled":
            frozen = {**frozen, **{name: view for name, view in views.items() if name != "labeled"}}
            views = {name: view for name, view in views.items() if name == "labeled"}
        elif self.batch_norm_views == "all":
            views, frozen = {**views, **frozen}, {}
        if frozen:
            return views, {**frozen, **targets}, {}
        if self.batch_norm_views == "labeled":
            return views, {}, targets
        return ({**views, **targets}, {}, {}) if views else ({}, {}, targets)

    def teacher(self, **views: View) -> dict[str, ViewOutput]:
        """The teacher's outputs for named views, without gradient and without touching its running averages.

        Raises:
            ValueError: if there is no teacher.
        """
        if self._teacher_call is None:
            raise ValueError(
                "this algorithm needs a teacher: pass ModelForward(model, teacher=...) or ema_role='teacher'"
            )
        return self._without_gradient(self._teacher_call, self.teacher_head, views, update_statistics=False)

    def evaluated(self, view: View) -> ViewOutput:
        """The output for a view as in evaluation: without gradient and dropout, normalized by running averages.

        Nothing is left of it: neither the averages nor the modes of layers change. It passes through no wrapper.
        """
        training = [module for module in self.unwrapped.modules() if module.training]
        self.unwrapped.eval()
        try:
            with torch.no_grad():
                return ViewOutput(*_answers(self.unwrapped, self.head, True, view))
        finally:
            for module in training:
                module.training = True

    @property
    def teacher_head(self) -> nn.Module:
        """The teacher's layer in the position of `head`.

        Raises:
            ValueError: if there is no teacher.
        """
        if self.teacher_model is None:
            raise ValueError("teacher must be a model or a ModelEma, got None; pass ModelForward(model, teacher=...)")
        if self._teacher_head is None:
            names = {module: name for name, module in self.unwrapped.named_modules()}
            name = names.get(self.head)
            found = find_head(self.teacher_model) if name is None else self.teacher_model.get_submodule(name)
            self._teacher_head = found
        return self._teacher_head

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [N, C] of given features [N, D], through the head alone (for mixing on features)."""
        return self.head(features.to(next(self.head.parameters()).dtype))

    def _without_gradient(
        self, model: nn.Module, head: nn.Module, views: Mapping[str, View], *, update_statistics: bool
    ) -> dict[str, ViewOutput]:
        with torch.no_grad():
            return self._run(model, head, views, update_statistics=update_statistics)

    def _run(
        self, model: nn.Module, head: nn.Module, views: Mapping[str, View], *, update_statistics: bool
    ) -> dict[str, ViewOutput]:
        """One call of `model` on all `views`, and further ones beside it for views that cannot share a call."""
        first, *rest = self._groups(views, head)
        outputs = self._call(model, head, first, update_statistics)
        beside = self.beside if model is self.model else model
        for group in rest:
            outputs |= self._call(beside, head, group, update_statistics)
        return {name: outputs[name] for name in views}

    def _call(
        self, model: nn.Module, head: nn.Module, views: Mapping[str, View], update_statistics: bool
    ) -> dict[str, ViewOutput]:
        inputs = concatenate(list(views.values()), unwrap(model), self._side or "right")
        call = partial(_answers, model, head, update_statistics)
        beside = partial(_answers, self.beside if model is self.model else model, head, update_statistics)
        logits, features = call_in_pieces(call, inputs, self.micro_batch, beside)
        sizes = [first_axis(view) for view in views.values()]
        parts = zip(logits.split(sizes), features.split(sizes), strict=True)
        return {name: ViewOutput(*part) for name, part in zip(views, parts, strict=True)}

    def _groups(self, views: Mapping[str, View], head: nn.Module) -> list[Mapping[str, View]]:
        """The views by calls: all in one, unless they have other keywords, or padding would change their answers."""
        alike: dict[tuple[Any, ...], dict[str, View]] = {}
        for name, view in views.items():
            alike.setdefault(tuple(view), {})[name] = view
        groups: list[Mapping[str, View]] = []
        for group in alike.values():
            axes = sequence_axes(list(group.values())) if len(group) > 1 else {}
            if self._in_step and len(group) > 1 and "pixel_values" not in group:
                self._try_together(group, axes)
                if self._tried_sides and self._side is None:
                    groups.extend({name: view} for name, view in group.items())
                    continue
            if not axes or self._padding_side(group, head, axes) is not None:
                groups.append(group)
                continue
            shapes: dict[tuple[Any, ...], dict[str, View]] = {}
            for name, view in group.items():
                shapes.setdefault(tuple(values.shape[1:] for values in view.values()), {})[name] = view
            groups.extend(shapes.values())
        return groups

    def _padding_side(self, views: Mapping[str, View], head: nn.Module, axes: Mapping[str, int]) -> str | None:
        """The side on which views of different lengths are padded, tried once; None if neither will do."""
        if "pixel_values" in axes:
            return None
        if not self._tried_sides:
            self._try_padding(_shortest(views, axes), axes)
        return self._side

    def _try_padding(self, view: View, axes: Mapping[str, int]) -> None:
        sides = harmless_sides(self.unwrapped, self.head, view, axes)
        self._side = next((side for side in SIDES if side in sides), None)
        self._tried_sides = True

    def _try_together(self, views: Mapping[str, View], axes: Mapping[str, int]) -> None:
        """As soon as one process has views of different lengths, let all of them try padding with its view."""
        device = next(iter(next(iter(views.values())).values())).device
        if self._tried_sides or not gather(torch.tensor([bool(axes)], device=device)).any():
            return
        mine = {key: values.cpu() for key, values in _shortest(views, axes).items()} if axes else {}
        view, axes = next((view, axes) for view, axes in gather_objects((mine, axes)) if axes)
        self._try_padding({key: values.to(device) for key, values in view.items()}, axes)


def _shortest(views: Mapping[str, View], axes: Mapping[str, int]) -> View:
    """The view with the shortest sequences, along the axes in which they differ."""
    return min(views.values(), key=lambda view: min(view[key].shape[axis] for key, axis in axes.items()))


def _answers(
    model: nn.Module, head: nn.Module, update_statistics: bool, inputs: View
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, C] and features [N, D] of one call of the model, which may be wrapped."""
    inner, keywords = unwrap(model), dict(inputs)
    offset = keywords.pop(OFFSET, None)
    moved: Any = nullcontext()
    if offset is not None:
        # A compiled graph would not notice the offset.
        model, moved = inner, offset_embeddings(inner, keywords["input_ids"], offset)
    with HeadReader(head) as reader, moved, nullcontext() if update_statistics else frozen_statistics(inner):
        output = model(**keywords)
    return reader.split(output, inner)


def _check_micro_batch(model: nn.Module, size: int | None) -> None:
    if size is None:
        return
    if size < 1:
        raise ValueError(f"view_micro_batch must be at least 1, got {size}; leave it out for one call of all views")
    if learns_batch_norm(model):
        raise ValueError(
            f"view_micro_batch must be left out for {type(model).__name__}, whose batch normalization would see "
            "pieces of the batch; set gradient_checkpointing=True, or a smaller batch size, instead"
        )


def first_axis(view: View) -> int:
    """Number of examples in a view."""
    return next(iter(view.values())).shape[0]
