"""CDMAD: what the model answers to an input that says nothing is its bias, and is taken off."""

from typing import Any, cast

import torch
from torch import nn

from ... import losses
from ...batches.batch import SSLBatch, required
from ...model.forward import ModelForward
from ...model.head import head_weight
from ...model.padding import View
from ..correction import Correction, Head
from ..problem import Progress, check


class CDMAD(Correction):
    """Takes the logits g of a content-free input off: from those that pseudo-labels are made of, and from the answer.

    A gray image, a text of mask tokens, or silence says nothing about its class, so what the model answers to it is
    what it learned from the sizes of the classes. Nothing has to be known about the pool, whose classes may have other
    sizes than the labeled ones.

        g = f(content-free) without gradient, as in evaluation
        q = softmax(f(weak(u)) - g)  from start_step on, softmax(f(weak(u))) before
        answer: f(x) - g, which is the model's head with the bias b - g

    Shapes: f(weak(u)) `[mu*B, C]`, g `[1, C]`. The input passes through the model alone, with running averages
    instead of statistics of the batch, so that batch normalization of the other examples is not disturbed.

    It can be put around every algorithm that makes pseudo-labels of a weak view. The authors use FixMatch without
    a threshold and with soft targets, which are q as it is, without the temperature of the algorithm:
    `algorithm_kwargs={"threshold": 0.0, "hard_labels": False}`. In a plain loop `SSLBatch.content_free` holds the
    input; `SSLTrainer` makes it.

    Args:
        start_step: step from which pseudo-labels are corrected, at least 0; None for a fifth of the run, as the
            authors do (epoch 100 of 500).

    Paper: Lee and Kim, "CDMAD: Class-Distribution-Mismatch-Aware Debiasing for Class-Imbalanced Semi-Supervised
    Learning", CVPR 2024, arXiv 2403.10391.
    """

    needs = frozenset({"labeled", "pseudo_labels"})
    sharpens = False
    answers = True
    reads_content_free = True
    title = "CDMAD"
    summary = "the answer to an input without content is taken off from all answers"
    year = 2024
    arxiv = "2403.10391"
    citation = """@inproceedings{lee2024cdmad,
  title = {{CDMAD}: Class-Distribution-Mismatch-Aware Debiasing for Class-Imbalanced Semi-Supervised Learning},
  author = {Lee, Hyuck and Kim, Heeyoung},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2024}
}"""

    def __init__(self, *, start_step: int | None = None, **task: Any):
        super().__init__(**task)
        check(start_step is None or start_step >= 0, "start_step", start_step, "at least 0, or None")
        self.start_step = start_step

    def milestones(self, progress: Progress) -> dict[str, int]:
        """Where the correction of pseudo-labels begins."""
        return {"input without content corrects pseudo-labels": begins} if (begins := self._begins(progress)) else {}

    def _begins(self, progress: Progress) -> int:
        return progress.max_steps // 5 if self.start_step is None else self.start_step

    def observe(self, model: ModelForward, out: dict[str, Any], batch: SSLBatch, progress: Progress) -> None:
        """Ask the model about nothing."""
        if progress.step >= self._begins(progress):
            out["content_free"] = model.evaluated(required(batch.content_free, "content_free"))

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """Without the logits of nothing."""
        if "content_free" not in out:
            return logits
        return losses.float_logits(logits) - losses.float_logits(out["content_free"].logits)

    def corrected_head(self, model: ModelForward, content_free: View | None = None) -> Head | None:
        """The model's head, which must have a bias, with g taken off from it."""
        found = model.evaluated(required(content_free, "content_free"))
        bias = cast(nn.Linear, model.head).bias.detach()
        return head_weight(model.head), bias - found.logits[0].to(bias)
