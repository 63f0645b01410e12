"""The classification head of a model: the layer, or pair of layers, that turns features into logits.

    plain        Linear                                     features [N, D]
    adapted      what PEFT puts around a Linear             features [N, D], logits of the layer and its adapters
    trained      PEFT's modules_to_save: the active copy    features [N, D]
    two heads    cls and distillation, averaged             features [N, 2D], the inputs of both side by side

In all of them `head(features)` are the model's logits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from .wrapping import without_adapters

# Names under which models keep two heads whose logits they average: DeiT, LeViT, SwiftFormer, and timm's.
_PAIRS = (
    ("cls_classifier", "distillation_classifier"),
    ("classifier", "classifier_distill"),
    ("head", "dist_head"),
    ("head", "head_dist"),
)


class TwoHeads(nn.Module):
    """Two heads whose logits the model averages, as one head that reads the inputs of both.

    Vision transformers that were distilled have a head for the class token and one for the distillation token (DeiT,
    arXiv 2012.12877).

    Args:
        first, second: the heads, which stay parts of the model.

    Example:
        >>> heads = TwoHeads(nn.Linear(4, 3), nn.Linear(4, 3))
        >>> heads.in_features, heads(torch.randn(2, 8)).shape
        (8, torch.Size([2, 3]))
    """

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.heads = nn.ModuleList([first, second])

    @property
    def in_features(self) -> int:
        """Width of the features: that of both inputs together."""
        return sum(self.widths)

    @property
    def out_features(self) -> int:
        """Number of classes."""
        return linear_of(self).out_features

    @property
    def weight(self) -> torch.Tensor:
        """The matrix [C, D] of both heads side by side, as the mean takes them; a copy without gradient."""
        return head_weight(self)

    @property
    def bias(self) -> torch.Tensor | None:
        """The mean of both biases [C]; a copy without gradient."""
        first, second = (linear_of(head).bias for head in self.heads)
        return None if first is None or second is None else ((first + second) / 2).detach()

    @property
    def widths(self) -> list[int]:
        """Width of what each head reads."""
        return [feature_size(head) for head in self.heads]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [..., C] of features [..., D], which are the inputs of both heads side by side."""
        first, second = features.split(self.widths, dim=-1)
        return (self.heads[0](first) + self.heads[1](second)) / 2

    def register_forward_pre_hook(self, hook: Callable, **options: Any) -> Any:
        """As of any module, though the model calls the two heads and not this one: `hook` gets both inputs at once.

        It is called when both heads are; what it returns is ignored.
        """
        return self._listen(lambda head, hear: head.register_forward_pre_hook(hear, **options), hook)

    def register_forward_hook(self, hook: Callable, **options: Any) -> Any:
        """As `register_forward_pre_hook`, with the mean of the two outputs as output."""
        return self._listen(lambda head, hear: head.register_forward_hook(hear, **options), hook)

    def _listen(self, register: Callable, hook: Callable) -> Any:
        heard: dict[int, tuple[Any, ...]] = {}

        def hear(index: int) -> Callable:
            def call(_: nn.Module, inputs: tuple[torch.Tensor, ...], *output: torch.Tensor) -> None:
                heard[index] = inputs[0], *output
                if len(heard) == 2:
                    joined, *outputs = zip(heard.pop(0), heard.pop(1), strict=True)
                    hook(self, (torch.cat(joined, dim=-1),), *(sum(pair) / 2 for pair in outputs))

            return call

        return _Handles([register(head, hear(index)) for index, head in enumerate(self.heads)])


class _Handles:
    """Removes several hooks."""

    def __init__(self, handles: list[Any]):
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def find_head(model: nn.Module) -> nn.Linear:
    """The layer that makes the logits, as the model calls it: its input are the features, its output the logits.

    It is a `torch.nn.Linear`, or has its attributes.

    It is the last linear layer with `config.num_labels` outputs, or simply the last one if the model has no config; a
    `TwoHeads` if the model averages two of them. DistributedDataParallel and torch.compile are looked through. Of a
    PEFT model it is the layer together with its adapters, or the active copy of `modules_to_save`.

    Raises:
        ValueError: if the model has no such layer, or several; pass `head=` to `ModelForward` then.

    Example:
        >>> find_head(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)))
        Linear(in_features=4, out_features=3, bias=True)
    """
    inner = without_adapters(model)
    num_labels = getattr(getattr(inner, "config", None), "num_labels", None)
    layers = {
        name: layer
        for name, layer in _linear_layers(inner)
        if num_labels is None or linear_of(layer).out_features == num_labels
    }
    if not layers:
        raise ValueError(_no_head(inner, num_labels))
    last = list(layers)[-1]
    size = linear_of(layers[last]).out_features
    alike = [name for name, layer in layers.items() if linear_of(layer).out_features == size]
    first = next((name for name in alike if _are_pair(name, last)), None)
    if num_labels is not None and first is None:
        first = _in_list_with(inner, last, alike)
    return cast(nn.Linear, layers[last] if first is None else TwoHeads(layers[first], layers[last]))


def feature_size(head: nn.Module) -> int:
    """Width D of what a head reads.

    Example:
        >>> feature_size(nn.Linear(4, 3))
        4
    """
    return head.in_features if isinstance(head, TwoHeads) else linear_of(head).in_features


def linear_of(head: nn.Module) -> nn.Linear:
    """The linear layer under the adapters of a head; of two heads that of the first."""
    head = head.heads[0] if isinstance(head, TwoHeads) else head
    while (inner := getattr(head, "base_layer", None)) is not None:
        head = inner
    return cast(nn.Linear, head)


def head_weight(head: nn.Module) -> torch.Tensor:
    """The matrix W [C, D] of logits = W features + b, with what adapters and a second head add to it; no gradient.

    Example:
        >>> linear = nn.Linear(4, 3)
        >>> torch.equal(head_weight(linear), linear.weight)
        True
    """
    if isinstance(head, nn.Linear):
        return head.weight.detach()
    width = feature_size(head)
    probes = torch.cat([torch.zeros(1, width), torch.eye(width)]).to(linear_of(head).weight)
    # In evaluation mode, since adapters may drop parts of their input.
    training = [module for module in head.modules() if module.training]
    head.eval()
    try:
        with torch.no_grad():
            logits = head(probes)
    finally:
        for module in training:
            module.training = True
    return (logits[1:] - logits[0]).T


def check_writable(head: nn.Module) -> None:
    """Refuse a head that `write_head` cannot write.

    Raises:
        ValueError: if the head has no bias or is under an adapter.
    """
    for part in head.heads if isinstance(head, TwoHeads) else [head]:
        if not isinstance(part, nn.Linear):
            raise ValueError(
                f"the head must be a linear layer, got one under an adapter ({type(part).__module__}), into which a "
                "fitted head would not fit; name it in modules_to_save instead of target_modules"
            )
        if part.bias is None:
            raise ValueError("the head must have a bias, got one without; load the model with a fresh head")


@torch.no_grad()
def write_head(head: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Let a head give the logits W features + b.

    Args:
        head: as `find_head` returns it; both of `TwoHeads` get their half of the features.
        weight: W [C, D].
        bias: b [C].

    Raises:
        ValueError: as `check_writable`.

    Example:
        >>> heads = TwoHeads(nn.Linear(1, 2), nn.Linear(1, 2))
        >>> write_head(heads, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]))
        >>> heads(torch.tensor([[1.0, 1.0]])).tolist()
        [[8.0, 13.0]]
    """
    check_writable(head)
    parts = list(head.heads) if isinstance(head, TwoHeads) else [head]
    columns = weight.split(head.widths, dim=1) if isinstance(head, TwoHeads) else [weight]
    for part, mine in zip(parts, columns, strict=True):
        # The logits are the mean of the parts.
        layer = cast(nn.Linear, part)
        layer.weight.copy_(len(parts) * mine)
        layer.bias.copy_(bias)


@contextmanager
def replaced_head(head: nn.Module, weight: torch.Tensor, bias: torch.Tensor | None) -> Iterator[None]:
    """Let a head give the logits W features + b inside the `with` block; its own weights are back afterwards.

    Args:
        head: as `find_head` returns it, not under an adapter.
        weight: W [C, D].
        bias: b [C]; None for a head without.

    Raises:
        ValueError: as `check_writable`, or if only one of head and arguments has a bias.

    Example:
        >>> head = nn.Linear(1, 2)
        >>> with replaced_head(head, torch.tensor([[1.0], [2.0]]), torch.zeros(2)):
        ...     head(torch.ones(1, 1)).tolist()
        [[1.0, 2.0]]
    """
    own = [(parameter, parameter.data) for parameter in head.parameters()]
    try:
        for parameter, data in own:
            parameter.data = torch.empty_like(data)
        if bias is None and isinstance(head, nn.Linear) and head.bias is None:
            head.weight.data.copy_(weight)
        else:
            write_head(head, weight, torch.zeros_like(weight[:, 0]) if bias is None else bias)
        yield
    finally:
        for parameter, data in own:
            parameter.data = data


def _linear_layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Names and linear layers, as the model calls them: inside the copy of PEFT that is used, and with adapters."""
    if "modules_to_save" in module._modules:
        yield from _linear_layers(used_copy(module), name)
    elif isinstance(module, nn.Linear):
        yield name, module
    elif "base_layer" in module._modules:
        if isinstance(linear_of(module), nn.Linear):
            yield name, module
    else:
        for key, child in module.named_children():
            yield from _linear_layers(child, f"{name}.{key}" if name else key)


def used_copy(wrapper: Any) -> nn.Module:
    """Of a module in PEFT's `modules_to_save`, the copy that is used: the active adapter's, or the original."""
    active = [name for name in wrapper.active_adapters if name in wrapper.modules_to_save]
    return wrapper.original_module if wrapper.disable_adapters or not active else wrapper.modules_to_save[active[0]]


def _no_head(model: nn.Module, num_labels: int | None) -> str:
    wanted = "a linear layer" if num_labels is None else f"a linear layer with {num_labels} outputs (num_labels)"
    message = f"{type(model).__name__} has no classification head, which must be {wanted}"
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.out_channels == num_labels:
            return f"{message}, got the convolution {name}; use another model"
    way_out = "load the model with a class such as AutoModelForImageClassification, or pass head= to ModelForward"
    return f"{message}; {way_out}"


def _are_pair(first: str, second: str) -> bool:
    """Whether two layers are the two heads of one model, by their names: classifier.linear, classifier_distill.linear.

    Example:
        >>> _are_pair("timm_model.head", "timm_model.head_dist"), _are_pair("head", "aux.head_dist")
        (True, False)
    """
    here, there = first.split("."), second.split(".")
    differing = [(a, b) for a, b in zip(here, there, strict=False) if a != b]
    return len(here) == len(there) and len(differing) == 1 and differing[0] in _PAIRS


def _in_list_with(model: nn.Module, last: str, alike: list[str]) -> str | None:
    """The other head if the heads are a list of two (CrossViT, arXiv 2103.14899)."""
    parent = last.rpartition(".")[0]
    if not isinstance(model.get_submodule(parent), nn.ModuleList):
        return None
    first, *others = [name for name in alike if name.rpartition(".")[0] == parent]
    if len(others) > 1:
        raise ValueError(
            f"{type(model).__name__} must have one classification head, or two whose mean are the logits, got "
            f"{len(others) + 1} in {parent!r}; use another model"
        )
    return first if others else None
