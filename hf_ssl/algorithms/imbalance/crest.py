"""CReST and CReST+: self-training in generations, whose labeled set grows where classes are small."""

from typing import Any

import numpy as np
import torch

from ... import losses
from ...batches.batch import SSLBatch
from ..correction import Correction
from ..parts.alignment import MovingAverageAlignment
from ..problem import Progress, check
from ..rounds import InRounds, Picks, most_confident


class CReST(InRounds, Correction):
    """Trains several times from scratch, each time with further labels: confident predictions, mostly of rare classes.

    After a generation the model predicts the pool. Of the examples predicted as class c the most confident ones join
    the labeled set of the next generation with that class, a share of them that is the larger, the fewer labels c has:

        share_c = (1 / gamma)^((C - 1 - r_c) / ((C - 1) alpha)),   gamma = max_c n_c / min_c n_c

    with r_c the rank of c by labeled counts n, 0 for the most labeled: all examples of the rarest class, a share of
    gamma^(-1/alpha) of the most frequent one. A model mistakes rare classes for frequent ones, but is mostly right
    where it predicts a rare one. Each generation starts from the given labels and the model of the start, and picks
    from the whole pool again, which stays as it is.

    With `progressive_alignment` (CReST+) pseudo-labels inside a generation are aligned to the labeled frequencies,
    from generation to generation more to flattened ones:

        p' = normalize(p q / m),   q = normalize(n^t_g),   t_g = 1 - g / (G - 1) (1 - alignment_temperature)

    with m the moving average of p, g the generation from 0 and G their number.

    Shapes: p `[mu*B, C]`, n, m and q `[C]`. A class without a labeled example counts as one with a single one.

    Without alignment it changes the labeled set alone, with it the distributions that pseudo-labels are made from. It
    can be put around every algorithm that trains a strong view towards pseudo-labels of a weak one. Others have no
    distribution to align, and a stream has no end at which its predictions could be ranked.

    Args:
        generations: G, at least 1; default 6. `max_steps` is the length of all of them together, so that a run takes
            as long as one without CReST; each has the same part of it, with its own learning rate schedule.
        alpha: above 0; the larger, the more of the frequent classes is picked; default 3.
        progressive_alignment: whether to align; default False.
        alignment_temperature: t of the last generation, in [0, 1]; default 0.5. Only with alignment.
        momentum: weight of the past in m, in [0, 1); default 0.99. The first batch sets it. With USB's 0.999 the
            predictions of an untrained model still make up a third of m after 1,000 steps of a generation.
        generation: g. `SSLTrainer` sets it; a plain loop that trains one generation gives it.

    Note:
        USB's code takes the index of a class for its rank, so its classes must be sorted by size. Here any order is
        right, and the picked labels never change n.

    Paper: Wei et al., "CReST: A Class-Rebalancing Self-Training Framework for Imbalanced Semi-Supervised Learning",
    CVPR 2021, arXiv 2102.09559.
    """

    needs = frozenset({"labeled", "pseudo_labels"})
    remembers_pool = True
    restarts = True
    title = "CReST"
    summary = "trains again and again, with confident predictions of rare classes as further labels"
    year = 2021
    arxiv = "2102.09559"
    citation = """@inproceedings{wei2021crest,
  title = {{CReST}: A Class-Rebalancing Self-Training Framework for Imbalanced Semi-Supervised Learning},
  author = {Wei, Chen and Sohn, Kihyuk and Mellina, Clayton and Yuille, Alan and Yang, Fan},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2021}
}"""

    def __init__(
        self,
        *,
        generations: int = 6,
        alpha: float = 3.0,
        progressive_alignment: bool = False,
        alignment_temperature: float = 0.5,
        momentum: float = 0.99,
        generation: int = 0,
        **task: Any,
    ):
        super().__init__(**task)
        check(generations >= 1, "generations", generations, "at least 1")
        check(alpha > 0, "alpha", alpha, "above 0")
        check(0 <= alignment_temperature <= 1, "alignment_temperature", alignment_temperature, "in [0, 1]")
        check(0 <= generation < generations, "generation", generation, f"in 0..{generations - 1}")
        self.rounds = self.generations = generations
        self.alpha, self.progressive_alignment = alpha, progressive_alignment
        self.alignment_temperature, self.momentum = alignment_temperature, momentum
        self.align = MovingAverageAlignment(self.problem.num_classes, self.labeled_counts, momentum)
        self._align_to(generation)

    def begin_round(self, number: int, picks: Picks) -> None:
        """As in `InRounds`; it counts generations."""
        self._align_to(number)

    def _align_to(self, number: int) -> None:
        """Align to the frequencies of generation `number`."""
        self.generation = number
        counts = self.labeled_counts.double().clamp_min(1)
        wanted = (counts / counts.sum()) ** generation_temperatures(self.generations, self.alignment_temperature)[
            number
        ]
        self.align.alignment_target = (wanted / wanted.sum()).to(self.align.alignment_target.dtype)

    def weak_logits(
        self, logits: torch.Tensor, out: dict[str, Any], batch: SSLBatch, progress: Progress
    ) -> torch.Tensor:
        """The logarithms of aligned distributions, in CReST+."""
        if not self.progressive_alignment:
            return logits
        aligned = self.align(losses.probabilities(logits))
        return aligned.clamp_min(torch.finfo(aligned.dtype).tiny).log()

    def pick(self, classes: np.ndarray, confidence: np.ndarray, number: int, labeled: np.ndarray) -> Picks:
        """As `crest_picks`, with the given labels' counts."""
        return crest_picks(classes, confidence, self.labeled_counts.cpu().numpy(), self.alpha)


class CReSTPlus(CReST):
    """CReST whose generations align their pseudo-labels: see `CReST`, whose settings and paper it has.

    Alignment to the labeled frequencies helps if the pool has them as well, and hurts if it does not: in USB's table
    CReST+ falls behind CReST on reversed pools.

    Args:
        progressive_alignment: default True.
        settings: those of `CReST`.
    """

    title = "CReST+"
    summary = "CReST whose pseudo-labels are aligned to the labeled frequencies, from round to round less"

    def __init__(self, *, progressive_alignment: bool = True, **settings: Any):
        super().__init__(progressive_alignment=progressive_alignment, **settings)


def generation_temperatures(generations: int, last: float) -> list[float]:
    """t_g of each generation: from 1 in equal steps to `last`.

    Example:
        >>> generation_temperatures(3, 0.5)
        [1.0, 0.75, 0.5]
    """
    return [1 - number / max(generations - 1, 1) * (1 - last) for number in range(generations)]


def crest_picks(classes: np.ndarray, confidence: np.ndarray, class_counts: np.ndarray, alpha: float) -> Picks:
    """What joins the labels in the next generation, from the most labeled class to the least labeled one.

    Args:
        classes, confidence: predicted classes [M] of the pool and their probabilities [M].
        class_counts: labeled counts [C]; of equal ones the first class counts as the more frequent one.
        alpha: as in `CReST`.

    Example:
        >>> classes, confidence = np.array([0, 0, 0, 0, 1]), np.array([0.6, 0.9, 0.8, 0.7, 0.4])
        >>> crest_picks(classes, confidence, class_counts=np.array([8, 2]), alpha=1.0)
        Picks(index=array([1, 4]), labels=array([0, 1]))
    """
    counts, last = np.maximum(class_counts, 1).astype(np.float64), len(class_counts) - 1
    order = np.argsort(-counts, kind="stable")
    share = np.empty(len(counts))
    share[order] = (counts.min() / counts.max()) ** ((last - np.arange(len(counts))) / (last * alpha))
    predicted = np.bincount(classes, minlength=len(counts))
    return most_confident(classes, confidence, (predicted * share).astype(np.int64), order)
