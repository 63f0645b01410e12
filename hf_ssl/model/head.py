"""The classification head of a model."""

from torch import nn

from .wrapping import unwrap


def find_head(model: nn.Module) -> nn.Linear:
    """The linear layer that makes the logits: its input are the features.

    It is the last linear layer with `config.num_labels` outputs, or simply the last one if the model has no config.
    Wrappers are looked through: DistributedDataParallel, torch.compile, and PEFT's `modules_to_save`.

    Raises:
        ValueError: if the model has no such layer; pass `head=` to `ModelForward` then.

    Example:
        >>> find_head(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)))
        Linear(in_features=4, out_features=3, bias=True)
    """
    model = unwrap(model)
    num_labels = getattr(getattr(model, "config", None), "num_labels", None)
    linears = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "original_module" not in name.split(".")
    ]
    fitting = [module for module in linears if num_labels is None or module.out_features == num_labels]
    if not fitting:
        wanted = "a linear layer" if num_labels is None else f"a linear layer with {num_labels} outputs (num_labels)"
        raise ValueError(
            f"{type(model).__name__} has no classification head, which must be {wanted}; load the model with a class "
            "such as AutoModelForImageClassification, or pass head= to ModelForward"
        )
    return fitting[-1]
