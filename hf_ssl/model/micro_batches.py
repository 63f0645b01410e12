"""One call of the model in pieces, so that the activations of only one piece are in memory at a time.

    forward    piece 1 -> logits   piece 2 -> logits   piece 3 -> logits   activations are kept of the last piece only
    loss       of all logits and features together, as always
    backward   piece 3             piece 2 once more   piece 1 once more   computed again when its gradient comes

Losses compare whole batches (thresholds, distribution alignment, memories), so a step cannot be cut into smaller ones,
as gradient accumulation does; its passes through the model can. This is gradient caching (Gao et al., "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983), by torch's checkpoints (Chen et al.,
arXiv 1604.06174) around whole pieces. To autograd it is one graph: each weight gets its gradient once, so processes
exchange gradients once, and scaled losses, accumulation and gradients with respect to inputs work as without pieces.
The gradients are the same up to rounding. It costs one more forward pass of all pieces but the last.
"""

import random
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

Inputs = Mapping[str, torch.Tensor]
# From keywords of the model to logits [N, C] and features [N, D].
Call = Callable[[Inputs], tuple[torch.Tensor, torch.Tensor]]


def pieces(inputs: Inputs, most: int | None) -> list[dict[str, torch.Tensor]]:
    """The rows of `inputs`, each a tensor [N, ...], in as few pieces of at most `most` rows as possible.

    They are of equal size, or differ by one row. Nothing is copied.

    Args:
        most: at least 1; None for one piece.

    Example:
        >>> [len(piece["x"]) for piece in pieces({"x": torch.zeros(9, 2)}, 4)]
        [3, 3, 3]
    """
    rows = len(next(iter(inputs.values())))
    count = 1 if most is None else max(-(-rows // most), 1)
    split = {key: values.tensor_split(count) for key, values in inputs.items()}
    return [{key: parts[number] for key, parts in split.items()} for number in range(count)]


def call_in_pieces(
    call: Call, inputs: Inputs, most: int | None, beside: Call | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`call(inputs)`, computed in pieces of at most `most` rows, of which one at a time is held for the gradient.

    Args:
        call: it must treat each row alone, as models without batch normalization do. It gets the first piece, once.
        inputs: keywords of the model, [N, ...] each.
        most: rows of a piece; None for one call.
        beside: gets the other pieces and what is computed again; None for `call`. It is the model without its wrapper
            for DistributedDataParallel, which must see one forward pass for each backward pass.

    Returns:
        Logits [N, C] and features [N, D].

    Example:
        >>> model, x = torch.nn.Linear(3, 2), torch.randn(5, 3)
        >>> sizes = []
        >>> def call(inputs):
        ...     sizes.append(len(inputs["x"]))
        ...     return model(inputs["x"]), inputs["x"]
        >>> logits, features = call_in_pieces(call, {"x": x}, most=2)
        >>> torch.allclose(logits, model(x))
        True
        >>> logits.sum().backward()  # The last piece first, which is still there; then the others again.
        >>> sizes
        [2, 2, 1, 2, 2]
    """
    if most is None or len(next(iter(inputs.values()))) <= most:
        return call(inputs)
    beside = call if beside is None else beside
    *others, last = pieces(inputs, most)
    answers = []
    for number, piece in enumerate(others):
        first = beside if number else call
        answers.append(_recomputed(first, beside, piece) if torch.is_grad_enabled() else first(piece))
    answers.append(beside(last))
    logits, features = zip(*answers, strict=True)
    return torch.cat(logits), torch.cat(features)


def _recomputed(first: Call, beside: Call, piece: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """`first(piece)`; `beside(piece)` computes its activations again when its gradient comes."""
    run = _Repeated(first, beside)
    return checkpoint(run, piece, use_reentrant=False, context_fn=lambda: (nullcontext(), run))


class _Repeated:
    """A call, and within a `with` block the other call that repeats it, with the random numbers of the first.

    torch's checkpoint restores torch's own generators, for dropout and layers left out. The masks in time of speech
    encoders and the random blocks of BigBird are drawn from NumPy's.
    """

    def __init__(self, first: Call, beside: Call):
        self._call, self._beside = first, beside
        self._states = _host_states()
        self._before = self._states

    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        return self._call(inputs)

    def __enter__(self) -> None:
        self._call, self._before = self._beside, _host_states()
        _set_host_states(self._states)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _set_host_states(self._before)


def _host_states() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_host_states(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
