"""One binary classifier for each class, on shared features: "it is of this class" against "it is not".

For an example of a class that nobody labeled all of them can say no, which a softmax over the known classes cannot
(Saito and Saenko, "OVANet", arXiv 2104.03344, section 3.1).
"""

import torch

from ... import losses

# Keeps logarithms finite; the authors of IOMatch and OpenMatch use the same number.
EPSILON = 1e-8


def known_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """r [N, C], how likely each example is of each class by that class's own classifier, in 0..1.

    Args:
        logits: [N, 2C], first those of "not of class c" for all classes, then those of "of class c".

    Example:
        >>> known_probabilities(torch.tensor([[0.0, 1.0, 0.0, -1.0]]))
        tensor([[0.5000, 0.1192]])
    """
    against, in_favor = losses.float_logits(logits).chunk(2, dim=-1)
    return torch.sigmoid(in_favor - against)


def one_vs_all_loss(known: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """mean(-log r_y - log(1 - r_j)), where j is the class other than y that the example is most likely taken for.

    Only the nearest wrong class is pushed away, so that C - 1 easy ones do not outweigh the right one.

    Args:
        known: r [N, C].
        labels: classes y [N].

    Example:
        >>> one_vs_all_loss(torch.tensor([[0.5, 0.2, 0.75]]), torch.tensor([0]))  # log 2 + log 4
        tensor(2.0794)
    """
    right = torch.arange(known.shape[-1], device=known.device) == labels.unsqueeze(-1)
    found = known.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    nearest = known.masked_fill(right, 0.0).amax(dim=-1)
    return -((found + EPSILON).log() + (1 - nearest + EPSILON).log()).mean()


def one_vs_all_entropy(known: torch.Tensor) -> torch.Tensor:
    """The entropy of (r_c, 1 - r_c), averaged over classes and examples: a scalar, for r [N, C].

    Example:
        >>> one_vs_all_entropy(torch.tensor([[0.5, 1.0]]))  # log 2 / 2
        tensor(0.3466)
    """
    sure = (known + EPSILON).log() * known + (1 - known + EPSILON).log() * (1 - known)
    return -sure.mean()


def one_vs_all_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """How far the classifiers are apart on two views: the squared distances of (r_c, 1 - r_c), added up over the
    classes and averaged over the examples. A scalar, for two r [N, C].

    Example:
        >>> one_vs_all_distance(torch.tensor([[0.5, 1.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(0.5000)
    """
    return 2 * (first - second).square().sum(dim=-1).mean()
