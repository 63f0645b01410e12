"""A temperature in the classification head: logits / T without a line of code where the model is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .head import TwoHeads, find_head


@contextmanager
def divided_logits(model: nn.Module, temperature: float | None) -> Iterator[None]:
    """Let a model give its logits divided by one number inside the `with` block: weights and bias of its head are.

    Every class keeps its rank, but for logits that are nearer to each other than the rounding of the head's weights.
    Afterwards the weights are those of before, bit for bit.

    Args:
        model: a classifier, inside any wrapper; of a PEFT model the head must be in `modules_to_save`.
        temperature: above 0; see `hf_ssl.calibration.fit_temperature`. None leaves the logits as they are.

    Raises:
        ValueError: if the temperature is not a number above 0, or the head has no weights that can be divided.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 3)
        >>> inputs = torch.randn(4, 2)
        >>> before = model(inputs)
        >>> with divided_logits(model, 2.0):
        ...     torch.equal(model(inputs), before / 2)
        True
    """
    if temperature is None:
        yield
        return
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a number above 0, got {temperature}; 1 changes nothing")
    head = find_head(model)
    parts = list(head.heads) if isinstance(head, TwoHeads) else [head]
    for part in parts:
        # Quantized layers are linear ones, too, with packed weights.
        if not isinstance(part, nn.Linear) or not part.weight.is_floating_point():
            raise ValueError(
                "the head must be a linear layer whose weights can be divided by the temperature, got "
                f"{type(part).__module__}.{type(part).__name__}; divide the logits by {temperature:.4g} instead"
            )
    # Two heads may share their weights.
    own = {id(parameter): (parameter, parameter.data) for part in parts for parameter in part.parameters()}
    try:
        for parameter, data in own.values():
            # Not in half precision, so that it is rounded once.
            parameter.data = (data.float() / temperature).to(data.dtype)
        yield
    finally:
        for parameter, data in own.values():
            parameter.data = data
