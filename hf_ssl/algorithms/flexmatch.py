"""FlexMatch: FixMatch with a threshold for each class, which is lower for classes that are not learned yet."""

from typing import Any

from .parts.thresholds import FlexibleThreshold
from .weak_strong import WeakStrongAlgorithm


class FlexMatch(WeakStrongAlgorithm):
    """FixMatch whose threshold is scaled for each class by how many examples the model is already sure of. Only the
    threshold differs: `FlexibleThreshold` in `parts/thresholds.py`, which also keeps the state.

        mask = [max q >= threshold * s / (2 - s)],  s = class_learning_status[argmax q],  q = softmax(f(weak(u)))
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(q)))

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, state `[num_unlabeled]` and `[C]`. Needs `SSLBatch.unlabeled_index`.

    Args:
        threshold: of a class that is learned fully, in (0, 1]; default 0.95.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        threshold_warmup: hold the thresholds down while most of the pool was never predicted with confidence; default
            True.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Paper: Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling",
    NeurIPS 2021, arXiv 2110.08263.
    """

    remembers_pool = True
    title = "FlexMatch"
    summary = "FixMatch with lower thresholds for the classes that are harder to learn"
    year = 2021
    arxiv = "2110.08263"
    citation = """@inproceedings{zhang2021flexmatch,
  title = {{FlexMatch}: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling},
  author = {Zhang, Bowen and Wang, Yidong and Hou, Wenxin and Wu, Hao and Wang, Jindong and Okumura, Manabu and
            Shinozaki, Takahiro},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021}
}"""

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        hard_labels: bool = True,
        temperature: float = 0.5,
        threshold_warmup: bool = True,
        **task: Any,
    ):
        super().__init__(hard_labels, temperature, **task)
        self.threshold = FlexibleThreshold(
            threshold, self.problem.num_classes, self.problem.num_unlabeled or 0, threshold_warmup
        )
