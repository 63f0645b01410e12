"""DARP: pseudo-labels of the whole pool, changed as little as possible until the classes have the wanted sizes."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from ...batches.batch import SSLBatch, required
from ...distributed import gather
from ..correction import Correction
from ..parts.memory import last_occurrence
from ..problem import Progress, check

_EPSILON = 1e-6
# A refinement takes time in proportion to the pool; it waits until the steps have renewed this share of the table.
_RENEWED = 0.1
# Numbers of a table that are worked on at a time: on a CPU what its cache holds, elsewhere 128 MB.
_CACHED, _LARGEST_BLOCK = 1 << 16, 1 << 24
# From this many numbers on (128 MB) a table is kept in float16.
_LARGEST_SINGLE = 1 << 25
# Newton's method begins with the last root, from which two or three steps are enough; the first one is only guessed.
_FIRST_STEPS, _LATER_STEPS = 15, 4
# Halvings that tell probabilities in float32 apart, and a divisor of what is 0.
_HALVINGS, _TINY = 50, 1e-300
# Logarithm of the largest factor of an entry.
_LARGEST_LOG = 300.0


class DARP(Correction):
    """Trains towards pseudo-labels whose classes are as frequent in the whole pool as among the labeled examples.

    A table keeps the last distribution p = softmax(f(weak(u))) of each example of the pool. Every `refine_every` steps
    it is refined (see `refine`) to the closest table whose column c has the sum M n_c / N, in the sense of a KL
    divergence in which uncertain rows may move further. The target of an example is then its refined row, or the class
    of it if the algorithm has hard labels; which examples count is decided by p, as without DARP.

    Shapes: p `[mu*B, C]`; buffers `table` and `refined` [M, C], in float32, or in float16 for more than 32 million
    numbers: 8 or 4 bytes for each example and class. Rows are 0 until the example was seen; those are left out of the
    refinement, and keep the algorithm's target. A class without a labeled example counts as one with half of one.

    It assumes that the pool's classes are as frequent as the labeled ones', so it hurts if they are not (a reversed
    or uniform pool). It can be put around every algorithm that trains a strong view towards pseudo-labels of a weak
    one; the table then holds the distributions that the algorithm judges. Others have no pseudo-labels to refine, and
    a stream has no end whose classes could be counted.

    Args:
        warmup_epochs: refined targets are used when `Progress.epoch` is above it; None for 40 % of the run, the
            authors' 200 of 500 epochs.
        alpha: of column c the alpha M n_c / N largest entries may stay, the others are removed, at least 1; default 2.
        iterations: alternations of rows and columns in a refinement, at least 1; default 10.
        refine_every: steps between refinements, at least 1; default 10. If gradients are accumulated, each pass of
            such a step refines, so that the result is that of one pass over the whole batch.

    Note:
        A refinement reads the table about 115 times: it takes one core of a CPU 4 s for 1,000,000 examples and 10
        classes, 34 s for 100 classes. To bound what that adds to a step, it also waits until the steps since the last
        one have drawn a tenth as many examples as the pool has; earlier, almost nothing in the table would be new.
        With 448 unlabeled examples in a step and 1,000,000 in the pool these are 223 steps, so that the two tables
        cost 17 and 152 ms of one core per step, and larger pools cost no more. Every process refines for itself.

    Paper: Kim et al., "Distribution Aligning Refinery of Pseudo-label for Imbalanced Semi-supervised Learning",
    NeurIPS 2020, arXiv 2007.08844.
    """

    needs = frozenset({"labeled", "pseudo_labels"})
    remembers_pool = True
    title = "DARP"
    summary = "pseudo-labels of the whole pool are moved until the classes have the sizes of the labeled set"
    year = 2020
    arxiv = "2007.08844"
    citation = """@inproceedings{kim2020darp,
  title = {Distribution Aligning Refinery of Pseudo-label for Imbalanced Semi-supervised Learning},
  author = {Kim, Jaehyung and Hur, Youngbum and Park, Sejun and Yang, Eunho and Hwang, Sung Ju and Shin, Jinwoo},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}"""

    table: torch.Tensor
    refined: torch.Tensor

    def __init__(
        self,
        *,
        warmup_epochs: float | None = None,
        alpha: float = 2.0,
        iterations: int = 10,
        refine_every: int = 10,
        **task: Any,
    ):
        super().__init__(**task)
        check(warmup_epochs is None or warmup_epochs >= 0, "warmup_epochs", warmup_epochs, "at least 0, or None")
        check(alpha >= 1, "alpha", alpha, "at least 1")
        check(iterations >= 1, "iterations", iterations, "at least 1")
        check(refine_every >= 1, "refine_every", refine_every, "at least 1")
        self.warmup_epochs, self.alpha = warmup_epochs, alpha
        self.iterations, self.refine_every = iterations, refine_every
        shape = self.problem.num_unlabeled or 0, self.problem.num_classes
        kept = torch.float16 if math.prod(shape) > _LARGEST_SINGLE else torch.float32
        self.register_buffer("table", torch.zeros(shape, dtype=kept))
        self.register_buffer("refined", torch.zeros(shape, dtype=kept))

    @property
    def period(self) -> int:
        """Steps between refinements: `refine_every`, or more for a pool that is large against a step."""
        step = max(self.problem.unlabeled_batch_size, 1)
        return max(self.refine_every, math.floor(_RENEWED * len(self.table) / step))

    def is_warm(self, progress: Progress) -> bool:
        """Whether refined targets are used by now."""
        epochs = progress.max_steps / max(progress.steps_per_epoch, 1)
        return progress.epoch > (0.4 * epochs if self.warmup_epochs is None else self.warmup_epochs)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """The first step with refined targets."""
        unit = max(progress.steps_per_epoch, 1)
        epochs = progress.max_steps / unit
        first = (math.floor(0.4 * epochs if self.warmup_epochs is None else self.warmup_epochs) + 1) * unit
        return {"pseudo-labels are refined": -(-first // self.period) * self.period}

    @torch.no_grad()
    def mask(self, mask: torch.Tensor, probs: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """The algorithm's, from the distributions that go into the table."""
        index, rows = gather(required(batch.unlabeled_index, "unlabeled_index"), probs)
        # The passes of a step write one after the other, which leaves the same as one pass over all their examples.
        self.table[index] = rows[last_occurrence(index)].to(self.table.dtype)
        if self.is_warm(progress) and progress.step % self.period == 0:
            self.refined = refine(self.table, self.labeled_counts.clamp_min(0.5), self.alpha, self.iterations)
        return mask

    def targets(self, targets: torch.Tensor, batch: SSLBatch, progress: Progress) -> torch.Tensor:
        """Those of the refined table for the examples that it knows."""
        if not self.is_warm(progress):
            return targets
        rows = self.refined[required(batch.unlabeled_index, "unlabeled_index")]
        known = rows.sum(dim=1) > 0
        if targets.is_floating_point():
            return torch.where(known[:, None], rows.to(targets.dtype), targets)
        return torch.where(known, rows.argmax(dim=1), targets)


@torch.no_grad()
def refine(table: torch.Tensor, class_counts: torch.Tensor, alpha: float = 2.0, iterations: int = 10) -> torch.Tensor:
    """The table of distributions that is closest to a given one, with the wanted sum M n_c / N of each column.

    Of each column the alpha M n_c / N largest entries are kept, scaled to the wanted sum, and the rows normalized: A.
    With the entropy h_i of row i the answer has the form

        refined_ic = x_i A_ic exp(-nu_c h_i)

    and its factors are found in turn: x_i, so that rows have the sum 1, and nu_c, so that columns have theirs. The
    equation of nu_c is solved by Newton's method on the logarithms of both sides, whose difference is convex and
    falls, for all classes at once, and in float64. Nothing is read back from the device.

    Args:
        table: distributions [M, C]. Rows of zeros are of unknown examples: they do not count, and stay as they are.
        class_counts: n [C], above 0, in any unit.
        alpha: at least 1.
        iterations: how often the two are found; rows come last, so that column sums are not exact.

    Returns:
        The refined distributions [M, C], in the type of `table`.

    Source: arXiv 2007.08844, algorithm 1.

    Example:
        >>> table = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45]])
        >>> refine(table, torch.tensor([1.0, 1.0])).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    known = (table.sum(dim=1) > 0).double()
    counts = class_counts.to(table.device, torch.float64)
    wanted = known.sum() * counts / counts.sum()
    start = _start(table, known, wanted, alpha)
    spread = torch.cat([-(rows * (rows + _EPSILON).log()).sum(dim=1) for _, rows in _blocks(start)])
    nu = torch.ones_like(wanted)
    for iteration in range(iterations):
        scale = torch.cat([1 / rows.sum(dim=1).clamp_min(_TINY) for _, rows in _weighted(start, spread, nu)])
        nu = _roots(start, spread, scale, wanted, nu, _LATER_STEPS if iteration else _FIRST_STEPS)
    for place, rows in _weighted(start, spread, nu):
        start[place] = (rows / rows.sum(dim=1, keepdim=True).clamp_min(_TINY)).to(start.dtype)
    return start.to(table.dtype)


def _start(table: torch.Tensor, known: torch.Tensor, wanted: torch.Tensor, alpha: float) -> torch.Tensor:
    """A: the largest entries of each column, scaled to its wanted sum, in normalized rows."""
    limits, sums = _limits(table, (alpha * wanted).floor()), torch.zeros_like(wanted)
    for _, rows in _blocks(table):
        sums += (rows * (rows >= limits)).sum(dim=0)
    scales = (wanted + _EPSILON) / (sums + _EPSILON)
    # As exact as float32 if the table is kept in less.
    start = torch.empty_like(table, dtype=torch.promote_types(table.dtype, torch.float32))
    for place, rows in _blocks(table):
        rows = rows * (rows >= limits) * scales + _EPSILON
        start[place] = (known[place, None] * rows / rows.sum(dim=1, keepdim=True)).to(start.dtype)
    return start


def _limits(table: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """For each column a number [C] that `kept` [C] of its entries reach: by bisection, which takes no sorting."""
    low, high = torch.zeros_like(kept), torch.full_like(kept, 1 + _EPSILON)
    for _ in range(_HALVINGS):
        middle, reached = (low + high) / 2, torch.zeros_like(kept)
        for _, rows in _blocks(table):
            reached += (rows >= middle).sum(dim=0)
        enough = reached >= kept
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low


def _roots(
    start: torch.Tensor, spread: torch.Tensor, scale: torch.Tensor, wanted: torch.Tensor, nu: torch.Tensor, steps: int
) -> torch.Tensor:
    """nu [C] with sum_i scale_i start_ic exp(-nu_c spread_i) = wanted_c, from a guess."""
    lowest = -_LARGEST_LOG / spread.max().clamp_min(_EPSILON)
    for _ in range(steps):
        sums, slopes = torch.zeros_like(wanted), torch.zeros_like(wanted)
        for place, rows in _weighted(start, spread, nu):
            sums += scale[place] @ rows
            slopes += (scale[place] * spread[place]) @ rows
        excess = (sums.clamp_min(_TINY) / wanted).log()
        # From the right of the root the tangent may lead far to its left, from where it never passes it again.
        nu = torch.maximum(nu + excess * sums / slopes.clamp_min(_TINY), lowest)
    return nu


def _weighted(start: torch.Tensor, spread: torch.Tensor, nu: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """start_ic exp(-nu_c spread_i), in blocks of rows."""
    for place, rows in _blocks(start):
        yield place, rows * torch.exp(spread[place, None] * -nu)


def _blocks(table: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """The table in float64, some rows at a time."""
    numbers = _CACHED if table.device.type == "cpu" else _LARGEST_BLOCK
    size = max(numbers // table.shape[1], 1)
    for first in range(0, len(table), size):
        place = slice(first, first + size)
        yield place, table[place].double()
