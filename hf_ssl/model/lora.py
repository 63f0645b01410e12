"""LoRA on all linear layers of a classifier, with its head trained in full: the usual cheap way to fine-tune."""

import warnings
from typing import Any

from torch import nn

from .head import find_head

# Rank of the adapters; their weight is alpha / rank. PEFT's defaults but for the layers, which the LoRA papers found
# to matter more than the rank (arXiv 2106.09685, 2305.14314).
RANK, ALPHA = 8, 16


def with_lora(model: nn.Module) -> Any:
    """The classifier with LoRA adapters (arXiv 2106.09685), of which adapters and head learn.

    Args:
        model: a classifier of transformers without adapters; its layers are replaced in place.

    Returns:
        `peft.PeftModel`.

    Raises:
        ValueError: if the model has no linear layer beside its head, as convolutional networks do.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> model = with_lora(BertForSequenceClassification(BertConfig(vocab_size=20, **sizes)))
        >>> learn = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        >>> [name for name in learn if "lora" not in name and "classifier" not in name]
        []
    """
    # Heavy, and only this needs it.
    from peft import LoraConfig

    layers, top = layers_to_adapt(model, "LoRA")
    return with_adapters(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=layers, modules_to_save=[top]))


def with_adapters(model: nn.Module, config: Any) -> Any:
    """`peft.get_peft_model`, without its warning of an attribute that only PEFT itself reads.

    Args:
        model: a classifier without adapters.
        config: a `peft.PeftConfig`.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(model, config)


def layers_to_adapt(model: nn.Module, method: str) -> tuple[list[str], str]:
    """Names of the linear layers below the head, and the name of the head as a whole, which is to be trained in full.

    Args:
        model: a classifier without adapters.
        method: what the error calls it.

    Raises:
        ValueError: if there are no such layers.
    """
    head = next(name for name, module in model.named_modules() if module is find_head(model))
    # A head of several layers is trained whole.
    top = head.split(".")[0]
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.split(".")[0] != top and name != head
    ]
    if not layers:
        raise ValueError(
            f"{method} must have linear layers beside the head, got {type(model).__name__}; train all weights"
        )
    return layers, top
