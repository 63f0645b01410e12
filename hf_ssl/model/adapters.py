"""Adapters of PEFT: what of a model is trained, and what of it is saved.

PEFT saves the adapters and the copies that `modules_to_save` names, and nothing else. Every other weight must be the
same wherever the saved adapter is loaded, so it must come from the base model's own checkpoint and stay as it is.
A new classification head does not: it must be in `modules_to_save`, or have an adapter, whose frozen layer is then
saved too.
"""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..files import atomic_write
from .head import TwoHeads, find_head, linear_of, used_copy
from .wrapping import unwrap, without_adapters

# PEFT's methods that a classifier in this package cannot use.
_REFUSED = {
    "ADALORA": "its ranks and its penalty need a training loop of its own",
    "MULTITASK_PROMPT_TUNING": "it needs task_ids in every batch",
    "POLY": "it needs task_ids in every batch",
    "SHADOW": "its second network beside the layers of a decoder is not supported",
    "XLORA": "a mixture of adapters that were trained before is not supported",
}
_CACHE_PROMPTS = ("PREFIX_TUNING", "CARTRIDGE")
_FILE = "adapter_model.safetensors"


def is_adapted(model: Any) -> bool:
    """Whether adapters of PEFT are in the model."""
    return bool(getattr(unwrap(model), "peft_config", None))


def check_adapters(model: Any, processor: Any = None) -> None:
    """Refuse a PEFT model of which a part that matters would be lost when it is saved, or that cannot classify.

    Models without adapters, and those in which nothing is trained, are left alone.

    Args:
        model: any model.
        processor: of a text model the tokenizer, which knows the side on which it pads.

    Raises:
        ValueError: if the head is not saved with the adapter; if another layer is trained or new, and not saved; or
            if the method does not work for classifiers here. One line names what to write.
    """
    model = unwrap(model)
    if not is_adapted(model) or not any(p.requires_grad for p in model.parameters()):
        return
    _refuse_method(model)
    saved = _saved_addresses(model)
    weights = _base_weights(without_adapters(model))
    lost = {name: weight for name, weight in weights if weight.data_ptr() not in saved}
    _refuse_lost_head(model, lost)
    _refuse_lost_layers(model, lost)
    if _active_config(model).is_prompt_learning:
        _refuse_read_padding(model, getattr(processor, "padding_side", "right"))


def kept_weights(model: Any) -> dict[str, torch.Tensor]:
    """The frozen weights of a head under an adapter, by the names that they have in the model.

    PEFT leaves them to the base model's checkpoint, which has none of a new head.

    Example:
        >>> kept_weights(nn.Linear(2, 2))
        {}
    """
    model = unwrap(model)
    if not is_adapted(model):
        return {}
    layers = [linear_of(part) for part in _parts(find_head(model)) if not isinstance(part, nn.Linear)]
    names = {id(module): name for name, module in model.named_modules()}
    return {
        f"{names[id(layer)]}.{name}": tensor
        for layer in layers
        for name, tensor in layer.named_parameters()
        if not tensor.requires_grad
    }


def base_weights(model: Any) -> dict[str, nn.Parameter]:
    """The frozen weights in use that an adapter leaves to the base model, by their names before the adapters came.

    Example:
        >>> base_weights(nn.Linear(2, 2))
        {}
    """
    if not is_adapted(model):
        return {}
    kept = {id(tensor) for tensor in kept_weights(model).values()}
    weights = _base_weights(without_adapters(model))
    return {name: weight for name, weight in weights if not weight.requires_grad and id(weight) not in kept}


def save_kept_weights(folder: str | Path, model: Any, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Add `kept_weights` to the adapters that PEFT has saved in `folder`, so that loading an adapter restores them.

    PEFT does the same with embeddings that were resized.

    Args:
        state: the model's weights by name, if they are not in the model: of a sharded one that has a part of each.
    """
    kept = kept_weights(model)
    kept |= {name: state[name] for name in kept if state is not None and name in state}
    if not kept:
        return
    inner: Any = unwrap(model)
    for name in inner.peft_config:
        path = Path(folder, "" if name == "default" else name, _FILE)
        if path.is_file():
            state = load_file(path)
            state |= {key: tensor.detach().cpu().contiguous() for key, tensor in kept.items() if key not in state}
            with atomic_write(path) as temporary:
                save_file(state, temporary, metadata={"format": "pt"})


def adapters_in_use(model: nn.Module) -> list[tuple[Any, ...]]:
    """For each layer with adapters, what its answer depends on beside weights: name, active ones, switches, scales.

    Example:
        >>> adapters_in_use(nn.Sequential(nn.Linear(2, 2)))
        []
    """
    found = []
    for name, module in unwrap(model).named_modules():
        if "base_layer" in module._modules or "modules_to_save" in module._modules:
            scales = getattr(module, "scaling", None) if "base_layer" in module._modules else None
            found.append((name, module.active_adapters, module.disable_adapters, scales))
    return found


def unused_copies(model: nn.Module) -> Iterator[nn.Module]:
    """The copies that PEFT's `modules_to_save` keeps and does not use now."""
    for module in model.modules():
        if "modules_to_save" in module._modules:
            wrapper: Any = module
            copies = [wrapper.original_module, *wrapper.modules_to_save.values()]
            yield from (copy for copy in copies if copy is not used_copy(wrapper))


# ---- What would be lost ----


def _refuse_lost_head(model: Any, lost: dict[str, nn.Parameter]) -> None:
    """Refuse a head that is among the base model's weights that PEFT does not save."""
    heads = {id(tensor) for part in _parts(find_head(model)) for tensor in part.parameters(recurse=False)}
    names = [name for name, weight in lost.items() if id(weight) in heads]
    if names:
        layers = _layers_of(without_adapters(model), names)
        trained = "trained but not" if lost[names[0]].requires_grad else "neither trained nor"
        raise ValueError(
            f"the classification head must be trained and saved with the adapter, got {layers[0]!r}, which is "
            f"{trained} saved; set {_setting(model, layers)}"
        )


def _refuse_lost_layers(model: Any, lost: dict[str, nn.Parameter]) -> None:
    """Refuse other layers that PEFT does not save, and that the base model's checkpoint does not hold as they are."""
    base = without_adapters(model)
    trained = [name for name, weight in lost.items() if weight.requires_grad]
    # transformers marks the weights that it has read; a model without any mark was not loaded, and says nothing.
    was_loaded = any(_was_read(weight) for weight in base.parameters())
    kept = {id(tensor) for tensor in kept_weights(model).values()}
    new = [
        name
        for name, weight in lost.items()
        if was_loaded and not _was_read(weight) and weight.is_floating_point() and id(weight) not in kept
    ]
    if trained or new:
        layers = _layers_of(base, trained or new)
        what = "trained" if trained else "new (not in the base model's checkpoint)"
        raise ValueError(
            f"layers that are trained or new must be saved with the adapter, got {', '.join(layers[:4])}, which "
            f"{'is' if len(layers) == 1 else 'are'} {what} and not saved; set "
            f"{_setting(model, _layers_of(base, [*_head_names(base), *(trained or new)]))}"
        )


# ---- What PEFT saves ----


def _saved_addresses(model: Any) -> set[int]:
    """Where in memory the tensors are that PEFT saves, over all adapters."""
    # Not at the top: an optional package.
    from peft import get_peft_model_state_dict

    states = [
        get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False) for name in model.peft_config
    ]
    return {tensor.data_ptr() for state in states for tensor in state.values()}


def _base_weights(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Parameter]]:
    """The base model's own weights that are in use, by their names before the adapters came."""
    if "modules_to_save" in module._modules:
        copy = used_copy(module)
        if copy is module.original_module:
            yield from _base_weights(copy, name)
    elif "base_layer" in module._modules:
        yield from _base_weights(module._modules["base_layer"] or nn.Identity(), name)
    else:
        for key, weight in module.named_parameters(name, recurse=False):
            yield key, weight
        for key, child in module.named_children():
            yield from _base_weights(child, f"{name}.{key}" if name else key)


def _was_read(weight: nn.Parameter) -> bool:
    return getattr(weight, "_is_hf_initialized", False)


def _parts(head: nn.Module) -> list[nn.Module]:
    return list(head.heads) if isinstance(head, TwoHeads) else [head]


def _head_names(base: nn.Module) -> Iterator[str]:
    """Names of the head's weights in the base model, if they are in a copy of `modules_to_save` already."""
    parts = _parts(find_head(base))
    for name, module in base.named_modules():
        if "modules_to_save" in module._modules and any(part in set(module.modules()) for part in parts):
            yield f"{name}.weight"


def _layers_of(base: nn.Module, weights: list[str]) -> list[str]:
    """The modules to name in `modules_to_save` for these weights: as large as they can be without adapters inside."""
    found = []
    for weight in weights:
        path = weight.split(".")[:-1] or [weight]
        prefixes = [".".join(path[: i + 1]) for i in range(len(path))]
        fitting = (p for p in prefixes if p != getattr(base, "base_model_prefix", "") and not _holds_adapters(base, p))
        found.append(next(fitting, prefixes[-1]))
    return list(dict.fromkeys(found))


def _holds_adapters(base: nn.Module, name: str) -> bool:
    try:
        module = base.get_submodule(name)
    except AttributeError:
        return True
    return any("base_layer" in part._modules for part in module.modules())


def _setting(model: Any, layers: list[str]) -> str:
    """What to write, and in which configuration."""
    names = ", ".join(f'"{layer}"' for layer in layers)
    return f"modules_to_save=[{names}] in {type(_active_config(model)).__name__}"


# ---- What PEFT's methods can do ----


def _active_config(model: Any) -> Any:
    active = model.active_adapters
    active = active() if callable(active) else active
    return model.peft_config[active[0] if active else next(iter(model.peft_config))]


def _refuse_method(model: Any) -> None:
    # Not at the top: an optional package.
    from peft import PeftMixedModel

    config = _active_config(model)
    method = str(getattr(config.peft_type, "value", config.peft_type))
    reason = _REFUSED.get(method)
    base = without_adapters(model)
    if getattr(config, "use_asa", False):
        reason = "its use_asa needs a training loop of its own"
    if method in _CACHE_PROMPTS and not _takes_cache(base):
        reason = f"it puts its prompt into past_key_values, which {type(base).__name__} does not take"
    if isinstance(model, PeftMixedModel):
        reason = f"{type(model).__name__} cannot be saved"
    if reason is not None:
        raise ValueError(
            f"the adapter must be one that classifiers can use, got {method}: {reason}; use LoRA, or another method "
            "that changes layers"
        )


def _takes_cache(base: nn.Module) -> bool:
    """Whether the model, or the backbone in it, takes past_key_values."""
    modules = [base, *base.children()]
    return any("past_key_values" in inspect.signature(module.forward).parameters for module in modules)


@torch.no_grad()
def _refuse_read_padding(model: Any, side: str) -> None:
    """Refuse prompts before a model that finds the last token by its id: PEFT gives it embeddings instead of ids."""
    pad = getattr(model.config, "pad_token_id", None) or 0
    device = next(model.parameters()).device
    ids = torch.tensor([[token for token in range(4) if token != pad][:3]], device=device)
    padding = torch.full_like(ids, pad)
    masks = [torch.ones_like(ids), torch.zeros_like(ids)]
    order = 1 if side == "right" else -1
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        alone = model(input_ids=ids, attention_mask=masks[0]).logits
        given = torch.cat([ids, padding][::order], dim=1), torch.cat(masks[::order], dim=1)
        padded = model(input_ids=given[0], attention_mask=given[1]).logits
    finally:
        for module in training:
            module.training = True
    if (alone - padded).abs().max() > 0.01 * alone.abs().max():
        raise ValueError(
            f"prompts must leave the answer to a text as it is when it is padded on the {side}, but "
            f"{type(without_adapters(model)).__name__} reads the padding behind them; use LoRA, or "
            "padding_side='left' if the model's positions are relative"
        )
