"""VAT: the prediction should not change in the direction in which it changes most."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..model.embedding import OFFSET, word_embeddings
from ..model.forward import ModelForward, ViewOutput, differentiable_inputs
from ..model.micro_batches import pieces
from ..model.padding import View
from .base import AlgorithmOutput, SSLAlgorithm
from .parts.fisher import fisher_product
from .problem import Progress, check

# Beside the keywords of a view: the directions from which the search starts.
START = "start"


class VAT(SSLAlgorithm):
    """Finds, for each unlabeled example, the small perturbation of the input that changes the prediction most, and
    trains against that change; the entropy of the predictions is kept low as well. Images and sounds are perturbed
    themselves, texts in their word embeddings.

        F = J^T (diag(p) - p p^T) J,  p = softmax(f(u)), a constant,  J = the Jacobian of f at u
        d = unit(F unit(noise)), a constant
        loss = CE(f(x), y) + unsupervised_weight * warmup * KL(p || softmax(f(u + epsilon * d)))
               + entropy_weight * H(softmax(f(u)))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, perturbation like the input.

    Args:
        entropy_weight: factor of the entropy term, at least 0; default 0.06.
        epsilon: length of the perturbation of one example, above 0; default 6.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Note:
        F is the Fisher information of the prediction, the second derivative of KL(p(u) || p(u + r)) at r = 0. The
        paper and the reference implementation approximate its product with the noise by a difference over a step of
        1e-6, which in float32 is mostly rounding. Here the product is exact in every precision (`parts/fisher.py`).
        Only its search bypasses torch.compile and fused attention kernels, which have no second derivatives.

    Paper: Miyato et al., "Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised
    Learning", TPAMI 2018, arXiv 1704.03976.
    """

    views = {"weak": "weak"}
    differentiates_twice = True
    presumes = "it compares distributions over C classes (mean_teacher is there for all kinds)"
    title = "VAT"
    summary = "predictions withstand the perturbation that would change them most"
    year = 2018
    arxiv = "1704.03976"
    citation = """@article{miyato2018virtual,
  title = {Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised Learning},
  author = {Miyato, Takeru and Maeda, Shin-ichi and Koyama, Masanori and Ishii, Shin},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {41},
  number = {8},
  pages = {1979--1993},
  year = {2018}
}"""

    def __init__(
        self, *, entropy_weight: float = 0.06, epsilon: float = 6.0, warmup_fraction: float = 0.4, **task: Any
    ):
        super().__init__(**task)
        check(entropy_weight >= 0, "entropy_weight", entropy_weight, "at least 0")
        check(epsilon > 0, "epsilon", epsilon, "above 0")
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        self.entropy_weight = entropy_weight
        self.epsilon = epsilon
        self.warmup_fraction = warmup_fraction
        # Whether the model's second derivative is known to be complete.
        self._verified = False

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        view = batch.unlabeled["weak"]
        out = self.run(model, batch)
        logits = out["weak"].logits
        key, values, others = self.continuous(model, view)
        noise = torch.randn_like(values) if batch.perturbation is None else batch.perturbation
        # Each example's direction is its own, so they can be searched for in the pieces of `view_micro_batch`.
        parts = pieces({**others, key: values, START: unit(noise)}, model.micro_batch)
        perturbation = self.epsilon * torch.cat([self.direction(model, part, key) for part in parts])
        moved = model(frozen={"perturbed": {**others, key: values + perturbation.to(values.dtype)}})
        unsupervised = losses.kl_divergence(losses.probabilities(logits.detach()), moved["perturbed"].logits)
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        extra = {"entropy": (self.entropy_weight, losses.entropy(logits))}
        return self.total(supervised, unsupervised, warmup=progress.warmup(self.warmup_fraction), extra=extra)

    @staticmethod
    def run(model: ModelForward, batch: SSLBatch) -> dict[str, ViewOutput]:
        """Outputs "labeled" and "weak", both with gradient."""
        weak = {"weak": batch.unlabeled["weak"]}
        if not model.batch_norm:
            return model(labeled=batch.labeled, frozen=weak)
        # Batch normalization must treat the clean view like the perturbed one, which has a call of its own.
        return {**model(labeled=batch.labeled), **model(frozen=weak)}

    def direction(self, model: ModelForward, view: View, key: str) -> torch.Tensor:
        """What `search` finds for the values `view[key]`, from the start that is `view[START]`."""
        others = {name: values for name, values in view.items() if name not in (key, START)}
        return self.search(model, view[key], view[START], lambda moved: {**others, key: moved})

    def search(
        self,
        model: ModelForward,
        values: torch.Tensor,
        start: torch.Tensor,
        view_of: Callable[[torch.Tensor], View],
    ) -> torch.Tensor:
        """The direction, of length 1 for each example, in which a prediction changes most: one power iteration.

        Args:
            model: the model to train.
            values: what can be perturbed, [N, ...].
            start: the direction to start from, shaped like the values.
            view_of: the model's keywords with other values.
        """
        eager = ModelForward(model.unwrapped, head=model.head, batch_norm_views=model.batch_norm_views)

        def classify(moved: torch.Tensor) -> torch.Tensor:
            return eager(frozen={"searched": view_of(moved)})["searched"].logits

        with differentiable_inputs(model.unwrapped), uncompiled(model.unwrapped):
            product = fisher_product(classify, values, start, joint_batch=model.batch_norm, verify=not self._verified)
        self._verified = True
        return unit(product)

    @staticmethod
    def continuous(model: ModelForward, view: View) -> tuple[str, torch.Tensor, dict[str, torch.Tensor]]:
        """What can be perturbed in a view: its keyword, its values, and the other keywords."""
        others = dict(view)
        if "input_ids" in others:
            # Relative to the words' own embeddings, which the model looks up.
            return OFFSET, torch.zeros_like(word_embeddings(model.unwrapped, others["input_ids"])), others
        key = next(key for key, values in view.items() if values.is_floating_point())
        return key, others.pop(key), others


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run layers that were compiled in place as they were written: compiled code has a first derivative only."""
    compiled = {module: module._compiled_call_impl for module in model.modules() if module._compiled_call_impl}
    for module in compiled:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in compiled.items():
            module._compiled_call_impl = call


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Each example's tensor in [N, ...], divided by its Euclidean length, in float32 at least; zeros stay zeros.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [3e-30, 4e-30]]))
        tensor([[0.6000, 0.8000],
                [0.6000, 0.8000]])
    """
    rows = losses.float_logits(vectors).flatten(1)
    tiny = torch.finfo(rows.dtype).tiny
    # The squares of small numbers are zero.
    rows = rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(tiny)
    return losses.unit_length(rows).view(vectors.shape)
