"""Loading a classifier, whichever way the user names it."""

import torch
from torch import nn
from transformers import AutoModelForAudioClassification, AutoModelForImageClassification, AutoModelForSequenceClassification
from transformers.utils import logging

logger = logging.get_logger(__name__)

AUTO_MODELS = {
    "image": AutoModelForImageClassification,
    "text": AutoModelForSequenceClassification,
    "audio": AutoModelForAudioClassification,
}


def load_classifier(model: str | nn.Module, modality: str, label_names: list[str]) -> nn.Module:
    """A classifier with a head for these classes.

    Args:
        model: Hub id or local path, loaded with the modality's auto class and a head of the right size; or a model, which
            is used as it is after a check of its size.
        modality: "image", "text" or "audio".
        label_names: names of the classes, in the order of their indices.

    Raises:
        ValueError: if a given model's head has another number of classes.
    """
    names = dict(enumerate(label_names))
    if isinstance(model, str):
        model = AUTO_MODELS[modality].from_pretrained(
            model,
            num_labels=len(names),
            id2label=names,
            label2id={name: index for index, name in names.items()},
            ignore_mismatched_sizes=True,
        )
    config = getattr(model, "config", None)
    size = getattr(config, "num_labels", len(names))
    if size != len(names):
        raise ValueError(
            f"the model predicts {size} classes and the labeled dataset has {len(names)}; load it with "
            f"num_labels={len(names)}, or give SSLTrainer its Hub id or path instead"
        )
    if config is not None and set(config.id2label.values()) == {f"LABEL_{i}" for i in range(size)}:
        config.id2label, config.label2id = names, {name: index for index, name in names.items()}
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
