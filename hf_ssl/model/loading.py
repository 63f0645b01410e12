"""Loading a classifier, whether the user names it by Hub id, local path or object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from ..data.columns import DataSummary, processor_for
from ..modality import MODALITIES, MODEL_INPUTS
from .adapters import check_adapters
from .classes import config_names, is_of_other_kind, name_classes, say_new_head, settle_classes
from .folder import broken_file, check_folder, check_layers, check_size, loading_error, one_line
from .loading_report import warn_of_lost_weights, without_report
from .padding import match_pad_token
from .precision import to_full_precision
from .quantized import keep_differentiable

logger = logging.get_logger(__name__)


def load_config(model: str) -> PreTrainedConfig:
    """The configuration of a model, from its folder, the cache or the Hub.

    Args:
        model: Hub id or local path.

    Raises:
        ValueError: in one line, if there is none under that name, or the Hub cannot be reached.
    """
    check_folder(model)
    try:
        config = AutoConfig.from_pretrained(model)
    except Exception as error:  # transformers checks little of what is in the file
        if isinstance(error.__cause__, LocalEntryNotFoundError):
            raise ValueError(
                f"a model must be a folder or a Hub id, got {model}, but the Hub cannot be reached and {model} is "
                "neither a folder nor in the cache; check the name and the connection"
            ) from None
        if Path(model).is_dir():
            raise loading_error(model, error) from None
        if not isinstance(error, OSError | ValueError | KeyError):
            raise
        raise ValueError(f"no model {model} was found: {' '.join(str(error).split())}") from None
    check_layers(model, config)
    return config


def load_processor(model: str, modality: str | None = None) -> Any:
    """The image processor, feature extractor or tokenizer that is stored with a model.

    A tokenizer without a padding token (GPT-2, Llama) pads with the token that ends a text.

    Args:
        model: Hub id or local path.
        modality: "image", "audio" or "text"; None means the first of these that the model has.

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
        except Exception as error:  # of any kind, if there is no such processor, or its files are damaged
            # A folder without one is told of in other words.
            usual = isinstance(error, OSError | ValueError | TypeError | KeyError | AttributeError)
            cause = "" if usual and Path(model).is_dir() else f" ({one_line(error)})"
            continue
        if kind != "text":
            return processor
        # If the files are missing, transformers may return a tokenizer that knows special tokens alone.
        if isinstance(processor, PreTrainedTokenizerBase) and len(processor) > len(processor.all_special_tokens) + 1:
            if processor.pad_token is None:
                processor.pad_token = processor.eos_token
            return processor
    if (problem := broken_file(Path(model))) is not None:
        raise ValueError(f"{model} comes with what cannot be read: {problem}")
    if modality is None:
        raise ValueError(
            f"{model} has no tokenizer, image processor or feature extractor; give that of the model it was trained "
            "from as processing_class"
        )
    row = MODALITIES[modality]
    where = f"; save one into the folder, so that it holds {row.processor_file}" if Path(model).is_dir() else ""
    article = "an" if row.processor[0] in "aeiou" else "a"
    raise ValueError(f"{model} comes without {article} {row.processor}{where}{cause}")


def class_names(model: Any) -> list[str] | None:
    """Names of the classes of a model that was given as an object, in the order of their indices.

    Returns:
        The names, or the numbers of the classes if they have no names; None without a model or its config.

    Example:
        >>> from transformers import BertConfig
        >>> from types import SimpleNamespace
        >>> class_names(SimpleNamespace(config=BertConfig(id2label={0: "ham", 1: "spam"})))
        ['ham', 'spam']
    """
    config: Any = getattr(model, "config", None)
    if isinstance(model, str) or getattr(config, "num_labels", None) is None:
        return None
    return config_names(config) or [str(index) for index in range(config.num_labels)]


def load_classifier(model: str | nn.Module, data: DataSummary, processor: Any = None) -> nn.Module:
    """A classifier with a head for the data's classes, named after them; also for several labels, or for numbers.

    A head is kept only if its classes are those of the data, by name; its rows are put in the order of the data. The
    base model's names and its kind of problem (several classes per example, say) are left behind.
    `hf_ssl.model.classes` says more.

    Args:
        model: Hub id or local path, loaded with the modality's auto class; or a model, after a check of its modality
            and size.
        data: modality and classes.
        processor: for texts, the tokenizer: its padding token becomes the model's; for images, the image processor:
            timm's is saved in the model's configuration.

    Raises:
        ValueError: if the model is of another modality or transformers has no classifier of its kind, or if the head
            of a given model has another number of classes, or is lost when its adapters are saved.
    """
    loaded: Any = _from_pretrained(model, data) if isinstance(model, str) else model
    if isinstance(model, str):
        # transformers loads the type that was saved.
        to_full_precision(loaded)
    keep_differentiable(loaded)
    _check_modality(loaded, data)
    config: Any = getattr(loaded, "config", None)
    if getattr(config, "num_labels", None) is not None:
        if not isinstance(model, str):
            _keep_or_renew(model, config, data)
        name_classes(config, data.label_names, data.problem_type)
    if data.modality == "text":
        match_pad_token(loaded, processor_for(processor, "text"))
    if data.modality == "image" and data.input_columns and processor is not None and config is not None:
        # Not at the top: texts and recordings are trained on without Pillow.
        from ..views.image_size import carry_settings

        carry_settings(processor_for(processor, "image"), config)
    mend_batch_norm_momentum(loaded)
    check_adapters(loaded, processor)
    return loaded


def _keep_or_renew(model: nn.Module, config: Any, data: DataSummary) -> None:
    """The head of a model that was given as an object."""
    names, kind = data.label_names, data.problem_type
    if config.num_labels != len(names):
        raise ValueError(
            f"the model predicts {config.num_labels} {data.label_kind.plural} and the labeled dataset has "
            f"{len(names)}; load it with num_labels={len(names)}, or give SSLTrainer its Hub id or path instead"
        )
    is_other = is_of_other_kind(config, kind)
    what = f"the {type(model).__name__}"
    settle_classes(model, config_names(config), names, what, problem_type=kind, is_other=is_other)


def _from_pretrained(model: str, data: DataSummary) -> nn.Module:
    row = MODALITIES[data.modality]
    config = load_config(model)
    if type(config) not in row.configurations():
        raise ValueError(
            f"{model} is a {config.model_type} model, and transformers has no {data.modality} classification with it; "
            f"the data are {row.plural}: choose {row.model}"
        )
    check_size(model, config)
    names, kind = data.label_names, data.problem_type
    try:
        with without_report():
            loaded, found = row.model_class().from_pretrained(
                model,
                num_labels=len(names),
                id2label=dict(enumerate(names)),
                label2id={name: index for index, name in enumerate(names)},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # of any kind, if its files are damaged
        raise loading_error(model, error) from error
    warn_of_lost_weights(loaded, found, model)
    if config.num_labels == len(names):
        head = {"missing": found["missing_keys"], "problem_type": kind, "is_other": is_of_other_kind(config, kind)}
        settle_classes(loaded, config_names(config), names, model, by_path=True, **head)
    elif found["mismatched_keys"]:
        say_new_head(config_names(config), names, model, kind)
    return loaded


def _check_modality(model: nn.Module, data: DataSummary) -> None:
    main_input = getattr(model, "main_input_name", "")
    modality = MODEL_INPUTS.get(main_input, data.modality)
    if modality != data.modality:
        column = data.input_column or data.model_inputs[0]
        raise ValueError(
            f"{type(model).__name__} takes {main_input}, so it is a model for {modality}, and the data are "
            f"{data.modality} (column {column!r}); use a model for {data.modality} classification"
        )


def mend_batch_norm_momentum(model: nn.Module) -> None:
    """Give batch normalization a usable momentum if a port took TensorFlow's decay for it.

    transformers' MobileNet builds its layers with momentum 0.9997, which in PyTorch means that the running statistics
    are those of the last batch alone; evaluation, and any average of the weights, then rest on that one batch.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.9997))
        >>> mend_batch_norm_momentum(model)
        >>> model[0].momentum
        0.1
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and (module.momentum or 0) > 0.9]
    for layer in layers:
        layer.momentum = 0.1
    if layers:
        logger.warning(
            f"{len(layers)} batch normalization layers of {type(model).__name__} kept only the last batch's "
            "statistics (momentum above 0.9); their momentum is now 0.1"
        )


def count_trainable(module: nn.Module) -> int:
    """Number of trainable parameters.

    Example:
        >>> count_trainable(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def class_frequencies(labels: Sequence[int] | np.ndarray | torch.Tensor, num_classes: int) -> torch.Tensor:
    """Frequencies [C] of the classes among `labels` [N], float32, summing to 1.

    Example:
        >>> class_frequencies([0, 0, 0, 2], num_classes=3)
        tensor([0.7500, 0.0000, 0.2500])
    """
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=num_classes).float()
    return counts / counts.sum()
