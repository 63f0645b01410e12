"""Perturbing texts in their word embeddings, while the model reads their token ids.

A model that is given `inputs_embeds` instead of ids does not see where padding is: decoders then pool at the last
position whatever stands there, RoBERTa counts positions over padding, and encoder-decoders refuse. So the ids go in as
always, and the perturbation is added where the model looks its words up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

# Keyword of a view, beside its `input_ids` [N, T]: what is added to its word embeddings, [N, T, D].
OFFSET = "embedding_offset"


def word_embeddings(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """The word embeddings [N, T, D] of token ids [N, T].

    Raises:
        ValueError: if the model has no table of them.
    """
    return _first(_table(model)(ids))


@contextmanager
def offset_embeddings(model: nn.Module, ids: torch.Tensor, offset: torch.Tensor) -> Iterator[None]:
    """Add an offset [N, T, D] to the word embeddings of ids [N, T] in one call of the model.

    In an encoder-decoder, which reads a text twice, this is done where it is read first, in the encoder.

    Raises:
        ValueError: at the end of the block, if the model did not look the ids up.

    Example:
        >>> words = nn.Embedding(5, 2)
        >>> words.get_input_embeddings = lambda: words
        >>> ids, offset = torch.tensor([[1, 4]]), torch.ones(1, 2, 2)
        >>> with offset_embeddings(words, ids, offset):
        ...     moved = words(ids)
        >>> torch.equal(moved, words(ids) + offset)
        True
    """
    done: list[bool] = []

    def add(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        looked_up = arguments[0] if arguments else None
        if done or not isinstance(looked_up, torch.Tensor):
            return output
        fitting = _fitting(offset, ids, looked_up)
        if fitting is None:
            return output
        done.append(True)
        moved = _first(output) + fitting
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    weight = getattr(_table(model), "weight", None)
    # The encoder and the decoder have modules of their own around one weight.
    tables = [module for module in model.modules() if getattr(module, "weight", None) is weight is not None]
    handles = [table.register_forward_hook(add) for table in tables or [_table(model)]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not done:
        raise ValueError(_MISSING.format(type(model).__name__))


def _fitting(offset: torch.Tensor, ids: torch.Tensor, looked_up: torch.Tensor) -> torch.Tensor | None:
    """The offset in the shape of what a table looks up; None if that is something else than the ids."""
    count, length = ids.shape
    if looked_up.shape == ids.shape and (count != length or torch.equal(looked_up, ids)):
        return offset
    if looked_up.shape == ids.T.shape:
        # XLNet exchanges the axes.
        return offset.transpose(0, 1)
    if looked_up.ndim == 2 and len(looked_up) == count and looked_up.shape[1] > length:
        # Longformer and BigBird pad to whole blocks.
        return nn.functional.pad(offset, (0, 0, 0, looked_up.shape[1] - length))
    return None


_MISSING = (
    "{} must look words up in a table of embeddings, where texts are perturbed, and does not; choose an algorithm "
    "that perturbs nothing"
)


def _table(model: nn.Module) -> nn.Module:
    language_model: Any = model
    try:
        table = language_model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        table = None
    if not isinstance(table, nn.Module):
        raise ValueError(_MISSING.format(type(model).__name__))
    return table


def _first(output: Any) -> torch.Tensor:
    # I-BERT's table returns a scale as well.
    return output[0] if isinstance(output, tuple) else output
