"""UDA: soft, sharpened pseudo-labels, and a labeled loss that leaves out what the model already knows."""

import math
from collections.abc import Callable
from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from .fixmatch import FixMatch
from .problem import Progress, check
from .weak_strong import Outputs

# Training signal annealing: share of training -> how far the limit has risen from 1 / C (0) to 1 (1).
SCHEDULES: dict[str, Callable[[float], float] | None] = {
    "none": None,
    "linear": lambda progress: progress,
    "exp": lambda progress: math.exp(5 * (progress - 1)),
    "log": lambda progress: 1 - math.exp(-5 * progress),
}


class UDA(FixMatch):
    """FixMatch with targets sharpened by a temperature. Training signal annealing takes those labeled examples out of
    the loss whose prediction is already more confident than a limit that rises during training.

        loss = mean([max p <= limit] * CE(p, y))
               + unsupervised_weight * mean(mask * CE(f(strong(u)), softmax(f(weak(u)) / T)))
        limit = schedule(step / max_steps) * (1 - 1 / C) + 1 / C

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.8.
        hard_labels: train towards the class instead; default False.
        temperature: T, above 0; default 0.4.
        tsa_schedule: "none" (no limit, the default), "linear", "exp" (for few labels) or "log".
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Xie et al., "Unsupervised Data Augmentation for Consistency Training", NeurIPS 2020, arXiv 1904.12848.
    """

    title = "UDA"
    summary = "soft, sharpened pseudo-labels, with annealing of the labeled loss"
    year = 2020
    arxiv = "1904.12848"
    citation = """@inproceedings{xie2020unsupervised,
  title = {Unsupervised Data Augmentation for Consistency Training},
  author = {Xie, Qizhe and Dai, Zihang and Hovy, Eduard and Luong, Minh-Thang and Le, Quoc V.},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}"""

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        hard_labels: bool = False,
        temperature: float = 0.4,
        tsa_schedule: str = "none",
        **task: Any,
    ):
        super().__init__(threshold=threshold, hard_labels=hard_labels, temperature=temperature, **task)
        check(tsa_schedule in SCHEDULES, "tsa_schedule", repr(tsa_schedule), f"one of {', '.join(SCHEDULES)}")
        self.tsa_schedule = tsa_schedule

    def supervised(self, out: Outputs, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Without the labeled examples that are more confident than the limit."""
        schedule = SCHEDULES[self.tsa_schedule]
        if schedule is None:
            return super().supervised(out, batch, progress)
        logits = out["labeled"].logits
        chance = 1 / self.problem.num_classes
        limit = schedule(progress.step / progress.max_steps) * (1 - chance) + chance
        confidence = losses.probabilities(logits.detach()).amax(dim=-1)
        return self.labeled_loss(logits, batch.labels, (confidence <= limit).to(confidence.dtype))
