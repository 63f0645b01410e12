"""ReMixMatch: MixMatch with aligned guesses, strong views anchored to a weak one, and rotation prediction."""

from typing import Any

from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .base import AlgorithmOutput
from .mixmatch import MixMatch
from .parts.alignment import MovingAverageAlignment
from .parts.rotation import RotationTerm
from .problem import Progress, check


class ReMixMatch(RotationTerm, MixMatch):
    """MixMatch whose guess comes from one weak view, aligned with the labeled class distribution, and is the target of
    strong views. Two terms are added: the unmixed strong view against the guess, and how an image was turned.

        g = sharpen(align(softmax(f(weak(u)))), temperature)
        mixtures over [labeled, strong, strong_2, weak]
        loss = CE(f(x'), y') + warmup * (unsupervised_weight * CE(f(u'), g') + kl_weight * CE(f(strong(u)), g))
               + rotation_weight * CE(rotation(z_rotated), turn)

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mixed `[B + 3*mu*B]`, guesses `[mu*B, C]`. Needs two strong views; for
    images also a rotated view and `SSLBatch.rotation_labels`.

    Args:
        temperature: of sharpening, above 0; default 0.5.
        warmup_fraction: part of training over which the unsupervised weights rise, at least 0; default 1 / 64.
        mixup_alpha: lambda is drawn from Beta(mixup_alpha, mixup_alpha), above 0; default 0.75.
        kl_weight: factor of the unmixed strong term, at least 0; default 0.5.
        rotation_weight: factor of the rotation term, at least 0; default 0.5. It is set to 0 for text and
            audio.
        momentum: weight of the past in the average that predictions are aligned by, in [0, 1); default 0.999. Runs of
            a few hundred steps need less, since this average hardly leaves the first batch in them.

    Note:
        The paper and USB's recipes set `unsupervised_weight` to 1.5. As in MixMatch, several processes each mix their
        own part of the batch.

    Paper: Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation
    Anchoring", ICLR 2020, arXiv 1911.09785.
    """

    views = {"weak": "weak", "strong": "strong", "strong_2": "strong", "rotated": "rotated"}
    title = "ReMixMatch"
    summary = "MixMatch with distribution alignment, augmentation anchoring and rotation prediction"
    year = 2020
    arxiv = "1911.09785"
    citation = """@inproceedings{berthelot2020remixmatch,
  title = {{ReMixMatch}: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring},
  author = {Berthelot, David and Carlini, Nicholas and Cubuk, Ekin D. and Kurakin, Alex and Sohn, Kihyuk and
            Zhang, Han and Raffel, Colin},
  booktitle = {International Conference on Learning Representations},
  year = {2020}
}"""

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        warmup_fraction: float = 1 / 64,
        mixup_alpha: float = 0.75,
        kl_weight: float = 0.5,
        rotation_weight: float = 0.5,
        momentum: float = 0.999,
        **task: Any,
    ):
        super().__init__(temperature=temperature, warmup_fraction=warmup_fraction, mixup_alpha=mixup_alpha, **task)
        check(kl_weight >= 0, "kl_weight", kl_weight, "at least 0")
        self.kl_weight = kl_weight
        self.setup_rotation(rotation_weight, lambda: nn.Linear(self.problem.feature_size, 4))
        self.alignment = MovingAverageAlignment(self.problem.num_classes, self.class_distribution, momentum)

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        unlabeled: dict[str, Any] = {name: batch.unlabeled[name] for name in ("strong", "strong_2", "weak")}
        if self.problem.modality == "image":
            clean = model(no_grad={"weak": unlabeled["weak"]}, update_statistics=False)
        else:
            clean = model(labeled=batch.labeled, frozen=unlabeled)
        weak = losses.probabilities(clean["weak"].logits.detach())
        guess = losses.sharpen(self.alignment(weak), self.temperature)
        views = {"strong": unlabeled["strong"], **self.rotated_view(batch)}
        mixed, targets, out = self.mix(model, batch, unlabeled, guess, clean, **views)
        labeled = len(batch.labels)
        supervised = self.labeled_loss(mixed[:labeled], targets[:labeled])
        unsupervised = losses.cross_entropy(mixed[labeled:], targets[labeled:])
        warmup = progress.warmup(self.warmup_fraction)
        anchored = losses.cross_entropy(out["strong"].logits, guess)
        weight = self.kl_weight * warmup * progress.unsupervised_ramp
        extra = {"anchored": (weight, anchored), **self.rotation_term(out, batch)}
        return self.total(supervised, unsupervised, warmup=warmup, extra=extra, pseudo_labels=guess)
