"""Dash: pseudo-labels count where their loss is below a limit that falls during training."""

from .parts.thresholds import LossThreshold
from .weak_strong import WeakStrongAlgorithm


class Dash(WeakStrongAlgorithm):
    """FixMatch with a limit on the pseudo-label's own loss in the place of a threshold on confidence. The limit starts from the
    labeled loss after a supervised warm-up and falls in stages of ten epochs; at its minimum the labels become hard.

        mask = [CE(q, target) <= loss_threshold],  target = softmax(logits / temperature)
        loss_threshold = max(c * gamma^(-floor(epoch / 10)) * initial, min_loss_threshold)

    Shapes: labeled [B], unlabeled [mu*B], loss_threshold scalar.

    Args:
        temperature: of the soft targets softmax(logits / temperature), above 0; 0.5.
        gamma: divisor of the limit at each stage, above 1; 1.27.
        c: factor of the limit, above 0; 1.0001.
        min_loss_threshold: the limit never falls below it, at least 0; 0.05.
        initial_loss_threshold: the limit to start from, above 0; None measures it after the warm-up.
        warmup_fraction: length of the supervised warm-up as a fraction of training, in [0, 1); 0.01, USB's 2,048 of
            204,800 steps. Unused when `initial_loss_threshold` is given.

    Paper: Xu et al., "Dash: Semi-Supervised Learning with Dynamic Thresholding", ICML 2021, arXiv 2109.00650.
    """

    title = "Dash"
    summary = "a dynamic limit on the loss of the pseudo-labels"
    year = 2021
    arxiv = "2109.00650"
    citation = """@inproceedings{xu2021dash,
  title = {Dash: Semi-Supervised Learning with Dynamic Thresholding},
  author = {Xu, Yi and Shang, Lei and Ye, Jinxing and Qian, Qi and Li, Yu-Feng and Sun, Baigui and Li, Hao and Jin, Rong},
  booktitle = {International Conference on Machine Learning},
  year = {2021}
}"""

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        gamma: float = 1.27,
        c: float = 1.0001,
        min_loss_threshold: float = 0.05,
        initial_loss_threshold: float | None = None,
        warmup_fraction: float = 0.01,
        **task,
    ):
        steps_per_pass = -(-task["num_labeled"] // max(task["labeled_batch_size"], 1))
        stages = {"gamma": gamma, "c": c, "minimum": min_loss_threshold}
        measuring = {"warmup_fraction": warmup_fraction, "steps_per_pass": max(steps_per_pass, 1)}
        rule = LossThreshold(temperature, initial_loss_threshold, **stages, **measuring)
        super().__init__(rule, False, temperature, **task)

    def targets(self, weak, probs):
        return self.threshold.targets(probs)
