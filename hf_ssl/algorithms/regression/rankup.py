"""RankUp: which of two examples has the larger number is a question with two classes, so FixMatch can learn it."""

from typing import Any

import torch
from torch import nn

from ... import losses
from ...batches.batch import SSLBatch, required
from ...model.forward import ModelForward, ViewOutput
from ..base import AlgorithmOutput, SSLAlgorithm
from ..problem import Progress, check
from .alignment import QuantileAlignment

# The published run refreshes its targets every 1,024 of 262,144 steps.
_REFRESHES = 256


def pair_logits(scores: torch.Tensor) -> torch.Tensor:
    """Differences of all pairs of examples: scores [N, K, 2] -> logits [N * N * K, 2], those of j minus those of i.

    Row (i * N + j) * K + k asks whether number k of example j is larger than that of example i.

    Example:
        >>> pair_logits(torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])).tolist()
        [[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]
    """
    return (scores.unsqueeze(0) - scores.unsqueeze(1)).flatten(0, 2)


def pair_targets(numbers: torch.Tensor) -> torch.Tensor:
    """Whether number k of j is larger than that of i, or smaller: [N, K] -> distributions [N * N * K, 2].

    Equal numbers are a half each.

    Example:
        >>> pair_targets(torch.tensor([[1.0], [3.0]])).tolist()
        [[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    larger = ((1 + torch.sign(numbers.unsqueeze(0) - numbers.unsqueeze(1))) / 2).flatten()
    return torch.stack([larger, 1 - larger], dim=-1)


class RankUp(SSLAlgorithm):
    """A second head scores each example, and the difference of two scores says which of them has the larger number.
    Labels teach it for all pairs of labeled examples, FixMatch for all pairs of the pool. The encoder learns from it
    what large and small look like; the numbers themselves come from the usual head.

        r(i, j) = softmax(score(j) - score(i)), two classes: j is larger, j is smaller
        ranking = mean over labeled pairs of CE(r, [y_j > y_i])
        mask, q = [max r >= threshold], argmax r on weak views
        ranking_u = mean over pairs of the pool of mask * CE(r on strong views, q)
        loss = |f(x) - y|^2 / K + ranking_weight * (ranking + unsupervised_weight * ranking_u)
               + unsupervised_weight * alignment_weight * warmup * |f(weak(u)) - t|^2 / K

    of standardized numbers, see `SSLAlgorithm.standardized`. The last term is RDA, with `distribution_alignment` only:
    t is the number whose rank among the labels is the rank of the prediction among those of the whole pool, found anew
    every `refresh_steps` steps (`QuantileAlignment`). It trusts that the labeled examples are a fair sample.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, scores `[N, K, 2]`, pairs `[N * N * K, 2]`. RDA needs
    `SSLBatch.labeled_index` and `unlabeled_index`, and a pool that is not a stream.

    Args:
        threshold: confidence from which a pair counts, in [0, 1]; default 0.95.
        ranking_weight: factor of what ranks, at least 0; default 0.2.
        distribution_alignment: add RDA; default False.
        alignment_weight: factor of RDA, at least 0; default 1.
        warmup_fraction: part of training over which RDA's weight rises, at least 0; default 0.4.
        refresh_steps: steps between two refreshes of RDA's targets, at least 1; None (default) for a 256th of the run,
            which of the published 262,144 steps is their 1,024.

    Note:
        `mask_ratio` is the share of pairs that count. With several processes each ranks the pairs of its own part of
        the batch, so two processes with half a batch each do not give exactly the result of one with the whole batch;
        nor do two accumulated passes. RDA's memory is that of the joint batch.

    Paper: Huang, Fu and Tsao, "RankUp: Boosting Semi-Supervised Regression with an Auxiliary Ranking Classifier",
    NeurIPS 2024, arXiv 2410.22124.
    """

    title = "RankUp"
    summary = "pairs of the pool are ranked as FixMatch classifies"
    year = 2024
    arxiv = "2410.22124"
    citation = """@inproceedings{huang2024rankup,
  title = {{RankUp}: Boosting Semi-Supervised Regression with an Auxiliary Ranking Classifier},
  author = {Huang, Pin-Yen and Fu, Szu-Wei and Tsao, Yu},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024}
}"""

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        ranking_weight: float = 0.2,
        distribution_alignment: bool = False,
        alignment_weight: float = 1.0,
        warmup_fraction: float = 0.4,
        refresh_steps: int | None = None,
        **task: Any,
    ):
        self.remembers_pool = distribution_alignment
        super().__init__(**task)
        check(0 <= threshold <= 1, "threshold", threshold, "in [0, 1]")
        for name, value in (("ranking_weight", ranking_weight), ("alignment_weight", alignment_weight)):
            check(value >= 0, name, value, "at least 0")
        check(warmup_fraction >= 0, "warmup_fraction", warmup_fraction, "at least 0")
        check(refresh_steps is None or refresh_steps >= 1, "refresh_steps", refresh_steps, "at least 1, or None")
        self.threshold, self.ranking_weight, self.alignment_weight = threshold, ranking_weight, alignment_weight
        self.distribution_alignment = distribution_alignment
        self.warmup_fraction, self.refresh_steps = warmup_fraction, refresh_steps
        problem = self.problem
        self.ranking = nn.Linear(problem.feature_size, 2 * problem.num_classes)
        sizes = problem.num_unlabeled or 0, problem.num_labeled, problem.num_classes
        self.alignment = QuantileAlignment(*sizes) if distribution_alignment else None

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        out = self._run(model, batch)
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        ranking = losses.cross_entropy(self._pairs(out["labeled"]), pair_targets(batch.labels))
        with torch.no_grad():
            confidence, larger = losses.probabilities(self._pairs(out["weak"])).max(dim=-1)
        counts = (confidence >= self.threshold).to(confidence.dtype)
        unsupervised = self.ranking_weight * losses.cross_entropy(self._pairs(out["strong"]), larger, counts)
        numbers = out["weak"].logits
        if self.alignment is not None:
            aligned = self._aligned_error(self.alignment, numbers, batch, progress)
            warmup = progress.warmup(self.warmup_fraction)
            unsupervised = unsupervised + self.alignment_weight * warmup * aligned
        # The share of its pairs that an example is part of.
        mask = counts.view(len(numbers), -1).mean(dim=-1)
        extra = {"ranking": (self.ranking_weight, ranking)}
        return self.total(supervised, unsupervised, extra=extra, mask=mask, pseudo_labels=numbers.detach())

    def _run(self, model: ModelForward, batch: SSLBatch) -> dict[str, ViewOutput]:
        """RDA moves predictions on the weak view, which is a target alone without it."""
        weak, strong = {"weak": batch.unlabeled["weak"]}, batch.unlabeled["strong"]
        kind: dict[str, Any] = {"no_grad": weak} if self.alignment is None else {"frozen": weak}
        return model(labeled=batch.labeled, strong=strong, **kind)

    def _pairs(self, view: ViewOutput) -> torch.Tensor:
        return pair_logits(self.ranking(view.features).unflatten(-1, (-1, 2)))

    def _aligned_error(
        self, alignment: QuantileAlignment, numbers: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        predicted = self.standardized(numbers)
        targets, has_target = alignment(
            required(batch.unlabeled_index, "unlabeled_index"),
            predicted,
            required(batch.labeled_index, "labeled_index"),
            self.standardized(batch.labels),
            refresh=progress.step > 0 and progress.step % self.refreshes_every(progress) == 0,
        )
        return losses.number_error(predicted, targets, has_target)

    def refreshes_every(self, progress: Progress) -> int:
        """Steps between two refreshes of RDA's targets."""
        return self.refresh_steps or max(progress.max_steps // _REFRESHES, 1)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """From when on there are aligned targets."""
        return {} if self.alignment is None else {"aligned targets": self.refreshes_every(progress)}
