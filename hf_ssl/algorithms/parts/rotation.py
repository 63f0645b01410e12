"""Predicting how an image was turned: the self-supervised term of ReMixMatch and CRMatch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from ... import losses
from ...batches.batch import SSLBatch, required
from ...model.forward import ViewOutput
from ..base import SSLAlgorithm
from ..problem import check

logger = logging.get_logger(__name__)


class RotationTerm(SSLAlgorithm):
    """Gives an algorithm `rotation_weight`, and drops the rotated view for texts and recordings."""

    rotation: nn.Module | None

    def setup_rotation(self, weight: float, head: Callable[[], nn.Module]) -> None:
        """Set `rotation_weight` and `rotation`, the head that tells the four quarter turns apart.

        Args:
            weight: factor of the term, at least 0; taken as 0 for texts and recordings.
            head: makes the head, features [N, D] -> logits [N, 4]; called only if the weight is above 0.
        """
        check(weight >= 0, "rotation_weight", weight, "at least 0")
        modality = self.problem.modality
        if weight > 0 and modality != "image":
            logger.warning_once(f"{self.title}: rotation_weight is 0 for {modality}, only images have a rotated view")
            weight = 0.0
        self.rotation_weight = weight
        self.rotation = head() if weight > 0 else None
        if self.rotation is None:
            self.views = {name: kind for name, kind in self.views.items() if kind != "rotated"}

    def rotated_view(self, batch: SSLBatch) -> dict[str, Any]:
        """The rotated view as a keyword of `ModelForward`, if there is such a term."""
        return {} if self.rotation is None else {"rotated": batch.unlabeled["rotated"]}

    def rotation_term(self, out: Mapping[str, ViewOutput], batch: SSLBatch) -> dict[str, tuple[float, torch.Tensor]]:
        """(weight, loss) by name, for the `extra` terms of `SSLAlgorithm.total`.

        Raises:
            ValueError: if the batch has a rotated view without `rotation_labels`.
        """
        if self.rotation is None:
            return {}
        turns = required(batch.rotation_labels, "rotation_labels")
        loss = losses.cross_entropy(self.rotation(out["rotated"].features), turns)
        return {"rotation": (self.rotation_weight, loss)}
