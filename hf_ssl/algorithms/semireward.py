"""SemiReward: FlexMatch with pseudo-labels that a learned reward has let through."""

from typing import Any

from .flexmatch import FlexMatch


class SemiReward(FlexMatch):
    """FlexMatch, and a small network that learns how well a class suits an example. After a tenth of the run,
    pseudo-labels with less than the mean reward of their batch are dropped. The same filter works in all of FixMatch's
    descendants: `algorithm_kwargs={"reward_start": 0.1}`.

        q = softmax(f(weak(u))),  mask = FlexMatch's of q
        keep = [R(h, argmax q) >= mean R],  h the features of weak(u), without gradient;  1 before reward_start
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * keep * CE(f(strong(u)), target(q))) + rewarder
        rewarder = mean((R(h, y) - 1)^2 / 2 + sum_{c != y} (R(h, c) - 1/2)^2 / (2 (C - 1)))

    The rewarder R (`Rewarder` in `parts/reward.py`) learns from the labeled examples. From reward_start on, in every
    tenth step, the same term of those of the pool that are kept is added, with their pseudo-labels as y. 1 and 1/2
    are (1 + cos(e_c, y)) / 2, the similarity of the class that is asked about and the true one.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, rewards `[mu*B]`, state `[num_unlabeled]` and `[C]`. Needs
    `SSLBatch.unlabeled_index`.

    Args:
        reward_start: share of the run after which pseudo-labels are dropped, in [0, 1); default 0.1. None: FlexMatch.
            In runs of a few hundred steps begin later: the term `rewarder` is to be well below 1/16, which a constant
            reward of 3/4 has.
        threshold: of a class that is learned fully, in (0, 1]; default 0.95.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        threshold_warmup: hold the thresholds down while most of the pool was never predicted with confidence; default
            True.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        The paper was in reach as abstract and summaries, the authors' code as a whole. What differs, and why:

        A generator G makes the labels that R learns from, and is trained to please it, with (R(h, G(h)) - 1)^2. That
        term has no gradient in the code (G's one number is cut to a class), and with one it does not work: G soon says
        the same of every example, R learns that this is worth (1 + 1/C) / 2 on average, and right labels are rewarded
        no more than wrong ones (tried on four groups of random points: after 300 steps about half of the right ones
        had the larger reward; as above all). So R is asked about every class, and there is no G.

        After reward_start the code's R learns from the pool alone. So done, one class took over (nine short runs on
        held-out data: on average 5 points less than with the labels, up to 16), and the labels stay.

        In the code attention runs over the examples of a batch, here over features and class; one mean reward stands
        for a whole batch, here each pseudo-label has its own. R is trained with the optimizer and rate of the run, in
        the code with Adam at 5e-4.

    Paper: Li et al., "SemiReward: A General Reward Model for Semi-supervised Learning", ICLR 2024, arXiv 2310.03013.
    """

    title = "SemiReward"
    summary = "FlexMatch without the pseudo-labels that a learned reward finds unlikely"
    year = 2024
    arxiv = "2310.03013"
    citation = """@inproceedings{li2024semireward,
  title = {{SemiReward}: A General Reward Model for Semi-supervised Learning},
  author = {Li, Siyuan and Jin, Weiyang and Wang, Zedong and Wu, Fang and Liu, Zicheng and Tan, Cheng and Li, Stan Z.},
  booktitle = {International Conference on Learning Representations},
  year = {2024}
}"""

    def __init__(self, *, reward_start: float | None = 0.1, **task: Any):
        super().__init__(reward_start=reward_start, **task)
