"""FixMatch: the confident prediction on a weak view is the label of the strong view."""

from typing import Any

from .parts.thresholds import FixedThreshold
from .weak_strong import WeakStrongAlgorithm


class FixMatch(WeakStrongAlgorithm):
    """Labels an unlabeled example with the model's own prediction on its weak view, if that is confident, and trains
    the strong view towards it. The step itself is written out in `WeakStrongAlgorithm`.

        q = softmax(f(weak(u))),  mask = [max q >= threshold]
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(q)))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mask `[mu*B]`.

    Args:
        threshold: confidence from which a pseudo-label counts, in [0, 1]; default 0.95.
        hard_labels: train towards argmax q; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5. Unused with hard labels.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
    NeurIPS 2020, arXiv 2001.07685.
    """

    title = "FixMatch"
    summary = "confident predictions on weak views label the strong views"
    year = 2020
    arxiv = "2001.07685"
    citation = """@inproceedings{sohn2020fixmatch,
  title = {{FixMatch}: Simplifying Semi-Supervised Learning with Consistency and Confidence},
  author = {Sohn, Kihyuk and Berthelot, David and Carlini, Nicholas and Zhang, Zizhao and Zhang, Han and
            Raffel, Colin and Cubuk, Ekin Dogus and Kurakin, Alexey and Li, Chun-Liang},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}"""

    def __init__(self, *, threshold: float = 0.95, hard_labels: bool = True, temperature: float = 0.5, **task: Any):
        super().__init__(hard_labels, temperature, **task)
        self.threshold = FixedThreshold(threshold)
