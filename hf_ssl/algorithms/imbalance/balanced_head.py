"""What corrections share that train a second head on the features, and answer with it."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from ...model.forward import ModelForward
from ...model.padding import View
from ..correction import Correction, Head


class BalancedHeadCorrection(Correction):
    """Trains `balanced_head`, a linear layer beside the model's own head, and answers with it.

    The algorithm keeps the head as a part of its own (`algorithm.balanced_head`), so that it is trained, saved and
    resumed with it; here it is only referred to.

    Shapes: features `[N, D]`, logits of the head `[N, C]`.
    """

    answers = True

    def __init__(self, **task: Any):
        super().__init__(**task)
        # In a tuple, so that it is not registered twice.
        self._heads = (nn.Linear(self.problem.feature_size, self.problem.num_classes),)

    @property
    def balanced_head(self) -> nn.Linear:
        """The second head."""
        return self._heads[0]

    def heads(self) -> Mapping[str, nn.Module]:
        """The second head by its name."""
        return {"balanced_head": self.balanced_head}

    @torch.no_grad()
    def begin_with(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """The second head begins where the first one does."""
        self.balanced_head.weight.copy_(weight)
        if bias is not None:
            self.balanced_head.bias.copy_(bias)

    def corrected_head(self, model: ModelForward, content_free: View | None = None) -> Head | None:
        """The second head."""
        # A model without a bias has none here either, although torch's annotation says so.
        bias = cast(torch.Tensor | None, self.balanced_head.bias)
        return self.balanced_head.weight.detach(), None if bias is None else bias.detach()
