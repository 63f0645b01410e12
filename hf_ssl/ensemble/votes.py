"""From what several members say of an example to one soft label."""

from typing import Any

import numpy as np

VOTES = ("votes", "mean_probabilities", "softmax_votes")


def soft_labels(logits: Any, rule: str = "mean_probabilities") -> np.ndarray:
    """The soft labels [N, C] that M members give together.

    "votes"                 the share of the members that choose a class: Algorithm 1 of the paper
    "mean_probabilities"    the mean of their probabilities ("mean_softmax" in the code)
    "softmax_votes"         softmax of the number of members that choose a class ("voting" in the code)

    The paper's rule and the code's are different methods. Four members that all choose the same of 400 classes give
    it 1 by votes and exp(4) / (exp(4) + 399) = 0.12 by softmax_votes, and three of four the classes of a task with two
    0.75 and 0.25, or 0.88 and 0.12. mean_probabilities also knows how sure members are.

    Args:
        logits: [M, N, C]; logarithms of probabilities are logits, too. An example that a member could not read is a
            row of NaN, and has uniform labels.
        rule: one of `VOTES`.

    Raises:
        ValueError: for another rule, or another shape.

    Note:
        Source: V-PET, arXiv 2503.09707, and its code, OSU-MLB/SSL-Foundation-Models.

    Example:
        >>> members = np.log([[[0.9, 0.1]], [[0.6, 0.4]], [[0.3, 0.7]]])
        >>> {rule: soft_labels(members, rule).round(2).tolist()[0] for rule in VOTES}
        {'votes': [0.67, 0.33], 'mean_probabilities': [0.6, 0.4], 'softmax_votes': [0.73, 0.27]}
    """
    logits = np.asarray(logits, dtype=np.float64)
    if rule not in VOTES:
        raise ValueError(f"vote must be one of {', '.join(VOTES)}, got {rule!r}; mean_probabilities is the default")
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(f"logits must be [members, examples, classes], got shape {logits.shape}; stack the members'")
    unreadable = np.isnan(logits).any(axis=(0, 2))
    logits = np.where(unreadable[None, :, None], 0.0, logits)
    if rule == "mean_probabilities":
        soft = _softmax(logits).mean(axis=0)
    else:
        counts = np.eye(logits.shape[2])[logits.argmax(axis=2)].sum(axis=0)
        soft = counts / len(logits) if rule == "votes" else _softmax(counts)
    soft[unreadable] = 1 / logits.shape[2]
    return soft


def _softmax(logits: np.ndarray) -> np.ndarray:
    # Logarithms of 0 are -inf, which is right; a row of them only is not possible.
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def agreement(logits: Any) -> float:
    """The mean share of examples, in [0, 1], for which two members choose the same class.

    The lower it is, the more a vote can correct.

    Args:
        logits: [M, N, C].

    Example:
        >>> agreement([[[1, 0], [1, 0]], [[1, 0], [0, 1]]])
        0.5
    """
    classes = np.asarray(logits).argmax(axis=2)
    pairs = [(a, b) for a in range(len(classes)) for b in range(a)]
    return float(np.mean([(classes[a] == classes[b]).mean() for a, b in pairs])) if pairs else 1.0
