"""VAT: the prediction should not change in the direction in which it changes most."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..model.embedding import OFFSET, word_embeddings
from ..model.forward import ModelForward, differentiable_inputs
from ..model.padding import View
from .base import AlgorithmOutput, Progress, SSLAlgorithm, check

# xi, the step of the search.
FINITE_DIFFERENCE = 1e-6


class VAT(SSLAlgorithm):
    """Finds, for each unlabeled example, the small perturbation of the input that changes the prediction most, and
    trains against that change; the entropy of the predictions is kept low as well. Images and sounds are perturbed
    themselves, texts in their word embeddings.

        d = unit(gradient of KL(p(u) || p(u + xi * unit(noise))) at the perturbation)
        loss = CE(f(x), y) + unsupervised_weight * warmup * KL(p(u) || p(u + epsilon * d)) + entropy_weight * H(p(u))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, perturbation like the input.

    Args:
        entropy_weight: factor of the entropy term, at least 0; default 0.06.
        epsilon: length of the perturbation of one example, above 0; default 6.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Note:
        The search takes a step of 1e-6 and needs float32: train without bf16 or fp16.

    Paper: Miyato et al., "Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised
    Learning", TPAMI 2018, arXiv 1704.03976.
    """

    views = {"weak": "weak"}
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

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        view = batch.unlabeled["weak"]
        supervised = losses.cross_entropy(model(labeled=batch.labeled)["labeled"].logits, batch.labels)
        # In a separate call, like the perturbed view: with another batch size the kernels may round differently, and
        # the search looks at differences in the last digits.
        logits = model(frozen={"weak": view})["weak"].logits
        clean = losses.probabilities(logits.detach())
        key, values, others = self.continuous(model, view)
        noise = torch.randn_like(values) if batch.perturbation is None else batch.perturbation

        def divergence(perturbation: torch.Tensor) -> torch.Tensor:
            perturbed = {**others, key: values + perturbation}
            return losses.kl_divergence(clean, model(frozen={"perturbed": perturbed})["perturbed"].logits)

        direction = (FINITE_DIFFERENCE * unit(noise)).requires_grad_()
        # With respect to the direction alone: the parameters keep no trace of the search.
        with differentiable_inputs(model.unwrapped):
            (gradient,) = torch.autograd.grad(divergence(direction), direction)
        unsupervised = divergence(self.epsilon * unit(gradient))
        extra = {"entropy": (self.entropy_weight, losses.entropy(logits))}
        return self.total(supervised, unsupervised, warmup=progress.warmup(self.warmup_fraction), extra=extra)

    @staticmethod
    def continuous(model: ModelForward, view: View) -> tuple[str, torch.Tensor, dict[str, torch.Tensor]]:
        """What can be perturbed in a view: its keyword, its values, and the other keywords."""
        others = dict(view)
        if "input_ids" in others:
            # Relative to the words' own embeddings, which the model looks up.
            return OFFSET, torch.zeros_like(word_embeddings(model.unwrapped, others["input_ids"])), others
        key = next(key for key, values in view.items() if values.is_floating_point())
        return key, others.pop(key), others


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Each example's tensor in [N, ...], divided by its Euclidean length.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    length = vectors.flatten(1).norm(dim=1) + 1e-16
    return vectors / length.view(-1, *[1] * (vectors.ndim - 1))
