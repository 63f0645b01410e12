"""Dash: pseudo-labels count if their loss is below a limit that falls during training."""

from dataclasses import replace
from typing import Any

import torch

from .parts.thresholds import LossThreshold
from .problem import Progress
from .weak_strong import Guesses, WeakStrongAlgorithm


class Dash(WeakStrongAlgorithm):
    """FixMatch with a limit on the pseudo-label's own loss instead of a threshold on confidence. The limit starts from
    the labeled loss after a supervised warm-up and falls in stages of ten epochs (`Progress.steps_per_epoch`, a share
    of the run); at its minimum the labels become hard.

        mask = [CE(q, target) <= loss_threshold],  target = softmax(logits / temperature)
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target))
        loss_threshold = max(c * gamma^(-floor(epoch / 10)) * initial, min_loss_threshold)

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, loss_threshold scalar.

    Args:
        temperature: of the soft targets softmax(logits / temperature), above 0; default 0.5.
        gamma: divisor of the limit at each stage, above 1; default 1.27.
        c: factor of the limit, above 0; default 1.0001.
        min_loss_threshold: the limit never falls below it, at least 0; default 0.05.
        initial_loss_threshold: the limit to start from, above 0; None (default) measures it after the warm-up.
        warmup_fraction: length of the supervised warm-up as a fraction of training, in [0, 1); default 0.01, USB's
            2,048 of 204,800 steps. Unused if `initial_loss_threshold` is given.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Xu et al., "Dash: Semi-Supervised Learning with Dynamic Thresholding", ICML 2021, arXiv 2109.00650.
    """

    title = "Dash"
    summary = "a dynamic limit on the loss of the pseudo-labels"
    year = 2021
    arxiv = "2109.00650"
    citation = """@inproceedings{xu2021dash,
  title = {Dash: Semi-Supervised Learning with Dynamic Thresholding},
  author = {Xu, Yi and Shang, Lei and Ye, Jinxing and Qian, Qi and Li, Yu-Feng and Sun, Baigui and Li, Hao and
            Jin, Rong},
  booktitle = {International Conference on Machine Learning},
  year = {2021}
}"""

    threshold: LossThreshold

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        gamma: float = 1.27,
        c: float = 1.0001,
        min_loss_threshold: float = 0.05,
        initial_loss_threshold: float | None = None,
        warmup_fraction: float = 0.01,
        **task: Any,
    ):
        super().__init__(False, temperature, **task)
        steps_per_pass = -(-self.problem.num_labeled // self.problem.labeled_batch_size)
        self.threshold = LossThreshold(
            temperature,
            initial_loss_threshold,
            gamma=gamma,
            c=c,
            minimum=min_loss_threshold,
            warmup_fraction=warmup_fraction,
            steps_per_pass=steps_per_pass,
        )

    def weigh(self, guesses: Guesses) -> torch.Tensor:
        """As in `WeakStrongAlgorithm`; measured is the cross-entropy, with which that of pseudo-labels is compared."""
        if self.criterion is not None:
            right = guesses.labeled_probs.gather(1, guesses.batch.labels.unsqueeze(1))
            guesses = replace(guesses, supervised=-right.clamp_min(torch.finfo(right.dtype).tiny).log().mean())
        return super().weigh(guesses)

    def targets(self, weak: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        """Soft, and hard once the limit has reached its minimum."""
        return self.threshold.targets(probs)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """The end of the warm-up, if there is one, and the first stage."""
        warmup = self.threshold.warmup_steps(progress.max_steps)
        falls = max(self.threshold.EPOCHS_PER_STAGE * progress.steps_per_epoch, warmup)
        return {"pseudo-labels count": warmup, "limit falls": falls} if warmup else {"limit falls": falls}
