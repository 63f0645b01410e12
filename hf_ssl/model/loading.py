"""Loading a classifier, whichever way the user names it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from ..data.columns import DataSummary
from ..modality import MODALITIES, MODEL_INPUTS

logger = logging.get_logger(__name__)


def load_processor(model: str, modality: str | None = None) -> Any:
    """The image processor, feature extractor or tokenizer that is stored with a model.

    A tokenizer without a padding token (GPT-2, Llama) pads with the token that ends a text.

    Args:
        model: Hub id or local path.
        modality: "image", "audio" or "text"; the first of them that the model has, when None.

    Raises:
        ValueError: in one line, if the model comes without.
        ImportError: if a package is missing that the processor of this modality needs.
    """
    cause = ""
    for kind in MODALITIES if modality is None else [modality]:
        try:
            processor = MODALITIES[kind].processor_class().from_pretrained(model)
        except ImportError:
            if modality is not None:
                raise
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            cause = "" if Path(model).is_dir() else f" ({error})"
            continue
        if kind != "text":
            return processor
        # Where the files are missing, transformers may make a tokenizer that knows special tokens alone.
        if isinstance(processor, PreTrainedTokenizerBase) and len(processor) > len(processor.all_special_tokens) + 1:
            if processor.pad_token is None:
                processor.pad_token = processor.eos_token
            return processor
    if modality is None:
        raise ValueError(
            f"{model} has no tokenizer, image processor or feature extractor; give that of the model it was trained from as "
            "processing_class"
        )
    what, file = MODALITIES[modality].processor, MODALITIES[modality].processor_file
    where = f"; save one into the folder, so that it holds {file}" if Path(model).is_dir() else ""
    raise ValueError(f"{model} comes without {'an' if what[0] in 'aeiou' else 'a'} {what}{where}{cause}")


def class_names(model: Any) -> list[str] | None:
    """Names of the classes of a model that was given as an object, in the order of their indices; their numbers where it
    has no names. None without a model or its config."""
    config = getattr(model, "config", None)
    if isinstance(model, str) or getattr(config, "num_labels", None) is None:
        return None
    if _is_unnamed(config):
        return [str(index) for index in range(config.num_labels)]
    return [config.id2label[index] for index in range(config.num_labels)]


def _is_unnamed(config) -> bool:
    return set(config.id2label.values()) == {f"LABEL_{index}" for index in range(config.num_labels)}


def load_classifier(model: str | nn.Module, data: DataSummary, processor: Any = None) -> nn.Module:
    """A classifier with a head for the data's classes, named after them.

    Args:
        model: Hub id or local path, loaded with the modality's auto class and a head of the right size; or a model, which
            is used as it is after a check of its modality and size.
        data: modality and classes.
        processor: of texts, the tokenizer: what it pads with is padding for a model that names no such token.

    Raises:
        ValueError: if it is a model of another modality, has no class for classification, or if a given model's head has
            another number of classes.
    """
    names = dict(enumerate(data.label_names))
    ids = {name: index for index, name in names.items()}
    what = f"{data.modality} classification"
    if isinstance(model, str):
        config = AutoConfig.from_pretrained(model)
        modality = MODALITIES[data.modality]
        if type(config) not in modality.configurations():
            raise ValueError(
                f"{model} is a {config.model_type} model, and transformers has no {what} with it; the data are "
                f"{modality.plural}: choose {modality.model}"
            )
        model = modality.model_class().from_pretrained(
            model, num_labels=len(names), id2label=names, label2id=ids, ignore_mismatched_sizes=True
        )
    main_input = getattr(model, "main_input_name", None)
    if MODEL_INPUTS.get(main_input, data.modality) != data.modality:
        raise ValueError(
            f"{type(model).__name__} takes {main_input}, so it is a model for {MODEL_INPUTS[main_input]}, and the data are "
            f"{data.modality} (column {data.input_column or data.model_inputs[0]!r}); use a model for {what}"
        )
    config = getattr(model, "config", None)
    size = getattr(config, "num_labels", len(names))
    if size != len(names):
        raise ValueError(
            f"the model predicts {size} classes and the labeled dataset has {len(names)}; load it with "
            f"num_labels={len(names)}, or give SSLTrainer its Hub id or path instead"
        )
    if config is not None and (data.classes.named or _is_unnamed(config)):
        config.id2label, config.label2id = names, ids
    if data.modality == "text" and getattr(config, "pad_token_id", 0) is None:
        config.pad_token_id = getattr(processor, "pad_token_id", None)
    mend_batch_norm_momentum(model)
    return model


def mend_batch_norm_momentum(model: nn.Module) -> None:
    """Give batch normalisation a usable momentum where a port took TensorFlow's decay for it.

    transformers' MobileNet builds its layers with momentum 0.9997, which in PyTorch means that the running statistics are
    those of the last batch alone; evaluation, and any average of the weights, then rest on that one batch.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and (m.momentum or 0) > 0.9]
    for layer in layers:
        layer.momentum = 0.1
    if layers:
        logger.warning(
            f"{len(layers)} batch normalisation layers of {type(model).__name__} kept only the last batch's statistics "
            "(momentum above 0.9); their momentum is now 0.1"
        )


def count_trainable(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def class_frequencies(labels, num_classes: int) -> torch.Tensor:
    """Frequencies [C] of the classes among `labels` [N], float32, summing to 1."""
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=num_classes).float()
    return counts / counts.sum()
