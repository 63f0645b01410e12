"""CRMatch: consistent predictions, but features that still tell the two views apart."""

from typing import Any

import torch
from torch import nn

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from .fixmatch import FixMatch
from .parts.rotation import RotationTerm
from .problem import Progress
from .weak_strong import Outputs


class CRMatch(RotationTerm, FixMatch):
    """FixMatch with two terms on the features: the projected features of the weak and strong view are driven apart, so
    that the features stay equivariant while the predictions become invariant, and a head predicts how an image was
    turned.

        q = softmax(f(weak(u))),  mask = [max q >= threshold]
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(q)))
               + mean(mask * max(cos(g(z_weak), g(z_strong)), 0)) + rotation_weight * CE(r(z_rotated), turn)

    with z the features, g = `distance` (linear) and r = `rotation` (two layers). Features that are orthogonal are far
    enough apart.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, features `[mu*B, D]`. Needs a rotated view and
    `SSLBatch.rotation_labels` for images.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        rotation_weight: factor of the rotation term, at least 0; default 1. It is set to 0 for text and audio.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Fan, Kukleva, Dai and Schiele, "Revisiting Consistency Regularization for Semi-Supervised Learning",
    GCPR 2021 and IJCV 2023, arXiv 2112.05825.
    """

    views = {"weak": "weak", "strong": "strong", "rotated": "rotated"}
    title = "CRMatch"
    summary = "FixMatch with features that stay sensitive to the view, and rotation prediction"
    year = 2021
    arxiv = "2112.05825"
    citation = """@article{fan2023revisiting,
  title = {Revisiting Consistency Regularization for Semi-Supervised Learning},
  author = {Fan, Yue and Kukleva, Anna and Dai, Dengxin and Schiele, Bernt},
  journal = {International Journal of Computer Vision},
  year = {2023}
}"""

    def __init__(self, *, rotation_weight: float = 1.0, **task: Any):
        super().__init__(**task)
        width = self.problem.feature_size
        self.distance = nn.Linear(width, width)
        self.setup_rotation(
            rotation_weight, lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
        )

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """The weak view has a gradient as well, which the distance term needs; its prediction stays a constant."""
        weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
        return model(labeled=batch.labeled, weak=weak, strong=strong, **self.rotated_view(batch))

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The distance between the views' features, and the rotation term."""
        weak, strong = (self.distance(out[name].features) for name in ("weak", "strong"))
        apart = losses.positive_cosine(weak, strong, mask)
        return {"extra": {"distance": (1.0, apart), **self.rotation_term(out, batch)}}
