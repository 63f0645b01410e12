"""The classifier that a correction for long tails answers with, in the model while that is evaluated or saved."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from ..algorithms import SSLAlgorithm
from ..batches.collators import content_free_view
from ..model.ema import ModelEma
from ..model.forward import ModelForward
from ..model.head import check_writable, find_head, head_weight, replaced_head
from ..model.padding import View
from ..problem_types import REGRESSION
from ..views import Views
from ..views.seeds import global_seeds
from .label_scale import check_scalable

# Under this name the averages of the correction's heads are part of the algorithm, and so of checkpoints.
_AVERAGED = "averaged_heads"


class CorrectedClassifier:
    """Puts `Correction.corrected_head` into the model: `from_pretrained` and `pipeline` then need nothing of ours.

    If a moving average of the model is kept, one of the correction's heads is kept as well: the averaged model answers
    with the averaged head. It becomes a part of the algorithm, so that it is saved and resumed with it.

    Args:
        model: the model in training, not wrapped.
        algorithm: with its correction, which answers.
        content_free: `SSLBatch.content_free`, if the correction reads it.
        decay: of the moving average; None without one.
    """

    def __init__(
        self, model: nn.Module, algorithm: SSLAlgorithm, content_free: View | None = None, decay: float | None = None
    ):
        self._forward, self._correction, self._content_free = ModelForward(model), algorithm.answer, content_free
        heads = dict(self._correction.heads())
        self._average = ModelEma(nn.ModuleDict(heads), decay) if heads and decay is not None else None
        algorithm._modules.pop(_AVERAGED, None)
        if self._average is not None:
            algorithm.add_module(_AVERAGED, self._average.module)

    def update(self) -> None:
        """After an optimizer step: move the average of the heads, if one is kept."""
        if self._average is not None:
            self._average.update()

    @contextmanager
    def swapped_in(self, averaged: bool) -> Iterator[None]:
        """Let the model have the corrected classifier inside the `with` block.

        Args:
            averaged: whether the model has its averaged weights now.
        """
        with self._average.swapped_into() if averaged and self._average is not None else nullcontext():
            found = self._correction.corrected_head(self._forward, self._content_free)
            with nullcontext() if found is None else replaced_head(self._forward.head, *found):
                yield


def content_free_of(algorithm: SSLAlgorithm, views: Views, labeled: Any, device: torch.device) -> View | None:
    """`SSLBatch.content_free`, as large as the first labeled example, if the correction reads it."""
    if not algorithm.correction.reads_content_free:
        return None
    with global_seeds(np.random.default_rng(0)):  # A row may be drawn by a transform.
        return content_free_view(views, labeled[0], device)


def fit_to_head(algorithm: SSLAlgorithm, model: nn.Module) -> None:
    """Before the first step: let the heads of a correction that answers be what the model's own can be replaced with.

    They begin where the model's own head is, which may have been trained or fitted before. A head of numbers must be
    one whose units can be changed.

    Raises:
        ValueError: if nothing can be written into the head, as it is under an adapter, or if it has no bias and the
            correction answers with another one.
    """
    correction, head = algorithm.answer, find_head(model)
    if algorithm.problem.problem_type == REGRESSION:
        check_scalable(model)
    if not correction.answers:
        return
    if isinstance(head, nn.Linear) and head.bias is None:
        # Most decoders.
        if not correction.heads():
            raise ValueError(
                f"the head must have a bias, with which {correction.title} answers, got one without, as most decoders "
                "have; choose another correction"
            )
        for own in correction.heads().values():
            own.register_parameter("bias", None)
    else:
        check_writable(head)
    correction.begin_with(head_weight(head), head.bias)
