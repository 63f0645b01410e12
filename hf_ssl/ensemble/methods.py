"""How a member of an ensemble is fitted to the labels: which weights learn, or none of them.

Members are wrong about different examples if different weights have learned (V-PET, arXiv 2503.09707), and that is
what a vote can correct. Adapters are merged into the model once it is trained, so that every member is saved as an
ordinary classifier.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from ..model.lora import ALPHA, RANK, layers_to_adapt, with_adapters, with_lora
from ..training.freezing import train_upper
from ..training.recommended import LORA_RATE

# Share of the blocks that learn with "upper".
_UPPER = 1 / 3
# Width of the blocks of OFT's rotations.
_BLOCK = 8


def _all(model: nn.Module) -> nn.Module:
    return model


def _upper(model: nn.Module) -> nn.Module:
    if train_upper(model, _UPPER) == 0:
        raise ValueError(
            f"'upper' must know the order of the layers, got {type(model).__name__}, of which it is not known; choose "
            "another method, such as none"
        )
    return model


def _adapted(method: str, **settings: Any) -> Callable[[nn.Module], Any]:
    """A method of PEFT on all linear layers."""

    def adapt(model: nn.Module) -> Any:
        # Heavy, and only this needs it.
        import peft

        layers, top = layers_to_adapt(model, method)
        config = getattr(peft, f"{method}Config")(target_modules=layers, modules_to_save=[top], **settings)
        return with_adapters(model, config)

    return adapt


# Name -> changes a new classifier so that this method's weights learn.
TRAINED: dict[str, Callable[[nn.Module], Any]] = {
    "none": _all,
    "upper": _upper,
    "lora": with_lora,
    "loha": _adapted("LoHa", r=RANK, alpha=ALPHA),
    "lokr": _adapted("LoKr", r=RANK, alpha=ALPHA),
    "oft": _adapted("OFT", oft_block_size=_BLOCK),
    "ia3": _adapted("IA3", feedforward_modules=[]),
}
# Classifiers of frozen features: labels alone, and labels and pool.
FITTED = ("probe", "features")
METHODS = (*TRAINED, *FITTED)
TITLES = {
    "none": "all weights",
    "upper": "upper third of the layers",
    "lora": "LoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "oft": "OFT",
    "ia3": "IA3",
    "probe": "probe of frozen features",
    "features": "classifier of frozen features, with the pool",
}


def rate_of(method: str, rate: float) -> float:
    """The learning rate of a method, given that of all weights (see `hf_ssl.training.recommended`).

    Example:
        >>> rate_of("none", 1e-4), rate_of("lora", 1e-4)
        (0.0001, 0.0005)
    """
    return rate if method in ("none", "upper") else LORA_RATE * rate


def check_methods(methods: Any) -> list[str]:
    """The methods without repetitions.

    Raises:
        ValueError: if there are none, or one is not known.

    Example:
        >>> check_methods(["lora", "probe", "lora"])
        ['lora', 'probe']
        >>> check_methods(["adapters"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: every method must be one of none, upper, lora, ..., got 'adapters'; choose among them
    """
    chosen = list(dict.fromkeys(methods))
    if not chosen:
        raise ValueError(f"methods must hold at least one of {', '.join(METHODS)}, got none; name some")
    wrong = [name for name in chosen if name not in METHODS]
    if wrong:
        raise ValueError(f"every method must be one of {', '.join(METHODS)}, got {wrong[0]!r}; choose among them")
    return chosen
