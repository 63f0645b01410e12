"""MixMatch: guess labels by averaging over views, sharpen them, and mix everything with everything."""

from collections.abc import Mapping
from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward, ViewOutput
from ..model.padding import View, concatenate
from .base import AlgorithmOutput, SSLAlgorithm
from .parts.mixup import Mixup
from .problem import Progress, check


class MixMatch(SSLAlgorithm):
    """Guesses an unlabeled example's distribution from two weak views, sharpens it, and trains on convex combinations
    of labeled and unlabeled examples. Images are mixed as inputs, text and audio as features (manifold mixup).

        g = sharpen((softmax(f(u_1)) + softmax(f(u_2))) / 2, temperature)
        x' = lambda * x + (1 - lambda) * x[permutation], likewise its target, over [labeled, u_1, u_2]
        loss = CE(f(x'), y') + unsupervised_weight * warmup * |softmax(f(u')) - g'|^2 / C

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mixed `[B + 2*mu*B]`, guesses `[mu*B, C]`. Needs two weak views.

    Args:
        temperature: of sharpening, above 0; default 0.5.
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.
        mixup_alpha: lambda is drawn from Beta(mixup_alpha, mixup_alpha), above 0; default 0.5.

    Note:
        The paper multiplies the unsupervised term by 75 to 100, USB by 10 or 100: set `unsupervised_weight`. With
        several processes each mixes its own part of the batch, so two with half a batch each draw other mixtures than
        one.

    Paper: Berthelot et al., "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019,
    arXiv 1905.02249.
    """

    views = {"weak": "weak", "strong": "weak"}
    presumes = "it sharpens one distribution over C classes"
    title = "MixMatch"
    summary = "averaged and sharpened guesses, trained on mixtures of all examples"
    year = 2019
    arxiv = "1905.02249"
    citation = """@inproceedings{berthelot2019mixmatch,
  title = {{MixMatch}: A Holistic Approach to Semi-Supervised Learning},
  author = {Berthelot, David and Carlini, Nicholas and Goodfellow, Ian and Papernot, Nicolas and
            Oliver, Avital and Raffel, Colin A.},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019}
}"""

    def __init__(
        self, *, temperature: float = 0.5, warmup_fraction: float = 0.4, mixup_alpha: float = 0.5, **task: Any
    ):
        super().__init__(**task)
        check(temperature > 0, "temperature", temperature, "above 0")
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        check(mixup_alpha > 0, "mixup_alpha", mixup_alpha, "above 0")
        self.temperature = temperature
        self.warmup_fraction = warmup_fraction
        self.mixup_alpha = mixup_alpha

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        unlabeled = {name: batch.unlabeled[name] for name in ("weak", "strong")}
        if self.problem.modality == "image":
            clean = model(no_grad=unlabeled, update_statistics=False)
        else:
            clean = model(labeled=batch.labeled, frozen=unlabeled)
        guesses = [losses.probabilities(clean[name].logits.detach()) for name in unlabeled]
        guess = losses.sharpen(torch.stack(guesses).mean(dim=0), self.temperature)
        mixed, targets, _ = self.mix(model, batch, unlabeled, guess, clean)
        labeled = len(batch.labels)
        supervised = self.labeled_loss(mixed[:labeled], targets[:labeled])
        unsupervised = losses.squared_error(mixed[labeled:], targets[labeled:])
        warmup = progress.warmup(self.warmup_fraction)
        return self.total(supervised, unsupervised, warmup=warmup, pseudo_labels=guess)

    def mix(
        self,
        model: ModelForward,
        batch: SSLBatch,
        unlabeled: Mapping[str, View],
        guess: torch.Tensor,
        clean: dict[str, ViewOutput],
        **views: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, ViewOutput]]:
        """Mix [labeled, *unlabeled] and classify the mixtures.

        Args:
            model: classifies the mixtures.
            batch: the labeled examples, and the draw of mixup if it is fixed.
            unlabeled: the views to mix, by name, in their order.
            guess: distributions `[mu*B, C]`, the target of each of these views.
            clean: the model's outputs on them and on "labeled", for mixing features; unused if inputs are mixed.
            views: further views by name for the same pass through the model, if inputs are mixed.

        Returns:
            logits [N, C] and targets [N, C] of the mixtures, and the outputs of `views`.
        """
        known = losses.one_hot(batch.labels, self.problem.num_classes).to(guess)
        targets = torch.cat([known, *[guess] * len(unlabeled)])
        mixup = Mixup(self.mixup_alpha, len(targets), guess.device, batch.mix_lambda, batch.mix_permutation)
        if self.problem.modality == "image":
            joined = mixup.inputs(concatenate([batch.labeled, *unlabeled.values()]))
            parts = [len(batch.labels), len(targets) - len(batch.labels)]
            split = {key: values.split(parts) for key, values in joined.items()}
            first, rest = ({key: values[i] for key, values in split.items()} for i in range(2))
            # Batch normalization follows the mixtures that are mostly labeled.
            out = model(labeled=first, frozen={"unlabeled": rest, **views})
            logits = torch.cat([out.pop("labeled").logits, out.pop("unlabeled").logits])
        else:
            out = clean
            logits = model.classify(mixup(torch.cat([clean[name].features for name in ("labeled", *unlabeled)])))
        return logits, mixup(targets), out
