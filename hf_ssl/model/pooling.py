"""What the classification head reads of each example, also in models that score every position before they pool.

    encoders   tokens [N, T, D] --pool--> features [N, D] --head--> logits [N, C]
    decoders   tokens [N, T, D] --head--> scores [N, T, C] --pool--> logits [N, C]

Where a decoder pools (the last token that is not padding, usually) is written in its own forward, in many variants.
Here none of them is written again: the head's scores travel through the model's pooling with the features beside them.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import nn

from ..losses import float_logits


class HeadReader:
    """Listens to a model's head in one call of the model and splits what the model returns.

    Inside the `with` block a head that is given [N, T, D] returns its scores and its input side by side,
    [N, T, C + D], so that whatever the model does to choose or average positions is done to both.

    Args:
        head: the linear layer that makes the logits, see `find_head`.

    Example:
        A model that scores every position and takes the last one:

        >>> class Decoder(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.score = nn.Linear(4, 3)
        ...
        ...     def forward(self, x):
        ...         return self.score(x)[:, -1]
        >>> model, x = Decoder(), torch.randn(2, 5, 4)
        >>> with HeadReader(model.score) as reader:
        ...     output = model(x)
        >>> logits, features = reader.split(output, model)
        >>> torch.equal(features, x[:, -1]), torch.equal(logits, model(x))
        (True, True)
    """

    def __init__(self, head: nn.Module):
        self._head = head
        self._read: list[torch.Tensor] = []
        self._classes: list[int] = []
        self._handle: Any = None

    def __enter__(self) -> "HeadReader":
        self._handle = self._head.register_forward_hook(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _note(self, head: nn.Module, inputs: tuple[Any, ...], scores: torch.Tensor) -> torch.Tensor | None:
        self._read.append(inputs[0])
        self._classes.append(scores.shape[-1])
        return None if inputs[0].ndim == 2 else torch.cat([scores, inputs[0]], dim=-1)

    def split(self, output: Any, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, C] as the model made them, and features [N, D] in float32 at least.

        Args:
            output: what the model returned inside the `with` block.
            model: for messages.

        Raises:
            ValueError: if the head was not called, or there is not one vector of features for each example.
        """
        name = type(model).__name__
        if not self._read:
            raise ValueError(f"{name} must call its classification head, and did not; pass head= to ModelForward")
        returned, read, classes = logits_of(output), self._read[-1], self._classes[-1]
        # Heads of the algorithms and statistics are float32, also beside a model in bfloat16.
        if read.ndim == 2 and returned.ndim == 2 and len(read) == len(returned):
            return returned, float_logits(read)
        if read.ndim > 2 and returned.ndim == 2 and returned.shape[1] == classes + read.shape[-1]:
            return returned[:, :classes], float_logits(returned[:, classes:])
        raise ValueError(
            f"features must be [N, D], one vector for each example, got {tuple(read.shape)} at the classification "
            f"head of {name}; use a model that returns one vector of logits for each example"
        )


def logits_of(output: Any) -> torch.Tensor:
    """The logits in what a classification model returns: a tensor, a `ModelOutput`, a mapping or a tuple.

    Raises:
        ValueError: if there are none.
    """
    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "logits"):
        return output.logits
    if isinstance(output, Mapping) and "logits" not in output:
        raise ValueError(f"a classifier must return logits, got {', '.join(output)} alone; use another model")
    return output["logits"] if isinstance(output, Mapping) else output[0]
