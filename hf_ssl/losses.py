"""The losses of semi-supervised learning, as pure functions.

Shapes: N examples; C classes, or C labels of which an example may have several; K numbers. Probabilities are computed
in float32 (or in float64 if the logits are), also under autocast, since confidences near 1 decide over masks.
"""

from typing import Any

import torch
import torch.nn.functional as F

# No label is left out of a mean: an example with torch's default, -100, would count as one with loss 0.
NO_LABEL = torch.iinfo(torch.int64).min


def float_logits(logits: torch.Tensor) -> torch.Tensor:
    """Logits of any shape in float32 at least.

    Example:
        >>> float_logits(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return logits if logits.dtype == torch.float64 else logits.float()


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """softmax(logits / temperature) over the classes: [N, C] -> [N, C].

    Example:
        >>> probabilities(torch.tensor([[1.0, 0.0]]))
        tensor([[0.7311, 0.2689]])
    """
    return torch.softmax(float_logits(logits) / temperature, dim=-1)


def label_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """sigmoid(logits), for labels of which an example may have several: [N, C] -> [N, C].

    Example:
        >>> label_probabilities(torch.tensor([[1.0, 0.0]]))
        tensor([[0.7311, 0.5000]])
    """
    return torch.sigmoid(float_logits(logits))


def sharpen(probs: torch.Tensor, temperature: float) -> torch.Tensor:
    """p^(1/T) / sum_c p_c^(1/T) (MixMatch, arXiv 1905.02249, eq. 7): T < 1 makes a distribution [N, C] more certain.

    It is computed from logarithms in float32 at least, where no power vanishes.

    Args:
        probs: distributions [N, C].
        temperature: T, above 0.

    Example:
        >>> sharpen(torch.tensor([[0.6, 0.4]]), 0.5)
        tensor([[0.6923, 0.3077]])
    """
    probs = float_logits(probs)
    # The logarithm of 0 would be right, but not its gradient.
    logs = probs.clamp_min(torch.finfo(probs.dtype).tiny).log().masked_fill(probs == 0, -torch.inf)
    return torch.softmax(logs / temperature, dim=-1)


def masked_mean(values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over all N examples of `mask * values`, both [N].

    Examples with weight 0 count in N, so the loss grows as more examples take part.

    Example:
        >>> masked_mean(torch.tensor([2.0, 4.0]), torch.tensor([0.0, 1.0]))
        tensor(2.)
    """
    return values.mean() if mask is None else (values * mask).mean()


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None, label_smoothing: float = 0.0
) -> torch.Tensor:
    """-sum_c q_c log p_c, averaged over the examples.

    Args:
        logits: [N, C].
        targets: class indices [N] from 0 to C - 1, or distributions [N, C].
        mask: weights [N]; None weighs every example with 1.
        label_smoothing: share e of each target that all C classes have alike: (1 - e) * q + e / C.

    Raises:
        IndexError: if an index is not a class, -100 included (on GPUs a failed assertion).

    Example:
        >>> cross_entropy(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        tensor(0.8133)
    """
    options: dict[str, Any] = {"label_smoothing": label_smoothing}
    if not targets.is_floating_point():
        options["ignore_index"] = NO_LABEL
    return masked_mean(F.cross_entropy(float_logits(logits), targets, reduction="none", **options), mask)


def generalized_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None, power: float = 0.7
) -> torch.Tensor:
    """(1 - p_y^power) / power of p = softmax(logits), averaged over the examples (arXiv 1805.07836, eq. 6).

    Between the cross-entropy (power towards 0) and 1 - p_y (power 1), which a wrong label harms less.

    Args:
        logits: [N, C].
        targets: classes [N].
        mask: weights [N]; None weighs every example with 1.
        power: in (0, 1].

    Example:
        >>> generalized_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), power=1.0)
        tensor(0.5000)
    """
    chosen = probabilities(logits).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return masked_mean((1 - chosen.clamp_min(1e-7) ** power) / power, mask)


def squared_error(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Brier-style distance |softmax(logits) - targets|^2 / C, averaged over the examples.

    Args:
        logits: [N, C].
        targets: distributions [N, C].
        mask: weights [N]; None weighs every example with 1.

    Example:
        >>> squared_error(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(0.2500)
    """
    return masked_mean((probabilities(logits) - targets).square().mean(dim=-1), mask)


def label_mean(values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over all N examples and C labels of `mask * values`.

    Args:
        values: [N, C].
        mask: weights [N] of the examples, or [N, C] of their labels; None weighs all with 1. Those with weight 0 count
            in the mean, as in `masked_mean`.

    Example:
        >>> label_mean(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([1.0, 0.0]))
        tensor(1.)
        >>> label_mean(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(2.)
    """
    if mask is None:
        return values.mean()
    return (values * (mask.unsqueeze(-1) if mask.ndim == 1 else mask)).mean()


def binary_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """-(y log p + (1 - y) log(1 - p)) of p = sigmoid(logits), averaged over examples and labels.

    Args:
        logits: [N, C].
        targets: y, [N, C] in [0, 1].
        mask: weights [N] or [N, C], see `label_mean`.

    Example:
        >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))  # log 2
        tensor(0.6931)
    """
    values = float_logits(logits)
    loss = F.binary_cross_entropy_with_logits(values, targets.to(values.dtype), reduction="none")
    return label_mean(loss, mask)


def asymmetric_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor | None = None,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> torch.Tensor:
    """A binary cross-entropy in which easy negatives count little (Ridnik et al., ICCV 2021, arXiv 2009.14119, eq. 7).

        -(y (1 - p)^gamma_positive log p + (1 - y) q^gamma_negative log(1 - q)),  q = max(p - clip, 0)

    of p = sigmoid(logits), averaged over examples and labels. An example has few of many labels, so that negatives
    outweigh positives in the plain one, which this is if all three numbers are 0.

    Args:
        logits: [N, C].
        targets: y, [N, C] in [0, 1].
        mask: weights [N] or [N, C], see `label_mean`.
        gamma_positive, gamma_negative: how much less a positive or a negative counts that is nearly right, at least 0.
        clip: negatives with a probability up to this count nothing, in [0, 1).

    Example:
        >>> logits, targets = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
        >>> asymmetric_loss(logits, targets, gamma_negative=1.0, clip=0.0)  # (log 2 + log 2 / 2) / 2
        tensor(0.5199)
        >>> asymmetric_loss(logits, targets, gamma_negative=0.0, clip=0.0)  # log 2
        tensor(0.6931)
    """
    values = float_logits(logits)
    positive, negative = F.logsigmoid(values), F.logsigmoid(-values)
    if gamma_positive > 0:
        positive = (gamma_positive * negative).exp() * positive
    if clip > 0 or gamma_negative > 0:
        shifted = (torch.sigmoid(values) - clip).clamp_min(0)
        negative = torch.log1p(-shifted) if clip > 0 else negative
        # The power of 0 would be right, but not its gradient if the exponent is below 1.
        negative = shifted.clamp_min(1e-8) ** gamma_negative * negative
    targets = targets.to(values.dtype)
    return label_mean(-(targets * positive + (1 - targets) * negative), mask)


def binary_squared_error(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """(sigmoid(logits) - targets)^2, averaged over examples and labels.

    Args:
        logits: [N, C].
        targets: probabilities [N, C].
        mask: weights [N] or [N, C], see `label_mean`.

    Example:
        >>> binary_squared_error(torch.zeros(1, 2), torch.tensor([[1.0, 0.5]]))
        tensor(0.1250)
    """
    return label_mean((label_probabilities(logits) - targets).square(), mask)


def number_error(predicted: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """(predicted - targets)^2 of numbers, averaged over examples and numbers.

    Args:
        predicted: [N, K].
        targets: [N, K].
        mask: weights [N] or [N, K], see `label_mean`.

    Example:
        >>> number_error(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [3.0]]))
        tensor(0.5000)
    """
    return label_mean((float_logits(predicted) - targets).square(), mask)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """-sum_c p_c log p_c of p = softmax(logits) [N, C], averaged over the examples (used with VAT, arXiv 1704.03976).

    Example:
        >>> entropy(torch.zeros(1, 4))  # log 4
        tensor(1.3863)
    """
    return -(probabilities(logits) * F.log_softmax(float_logits(logits), dim=-1)).sum(dim=-1).mean()


def kl_divergence(targets: torch.Tensor, logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """KL(q || p) of constant distributions q and p = softmax(logits), averaged over the examples.

    Args:
        targets: q, [N, C]; no gradient flows into it.
        logits: [N, C].
        mask: weights [N]; None weighs every example with 1.

    Example:
        >>> kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))  # log 2
        tensor(0.6931)
    """
    divergence = F.kl_div(F.log_softmax(float_logits(logits), dim=-1), targets.detach(), reduction="none")
    return masked_mean(divergence.sum(dim=-1), mask)


def margin_excess(logits: torch.Tensor, margin: float = 10.0) -> torch.Tensor:
    """mean_c max(max_k z_k - z_c - margin, 0) of each row of logits z [N, C]: [N] (arXiv 2403.15567).

    As a loss it leaves logits alone that are nearer to the largest one than the margin, and draws others nearer.

    Example:
        >>> margin_excess(torch.tensor([[12.0, 0.0], [5.0, 0.0]]))
        tensor([1., 0.])
    """
    values = float_logits(logits)
    return (values.amax(dim=-1, keepdim=True) - values - margin).clamp_min(0).mean(dim=-1)


def positive_cosine(first: torch.Tensor, second: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """max(cos, 0) of the angles between the rows of two tensors [N, D], averaged over the examples.

    As a loss it drives vectors apart until they are orthogonal, and no further (CRMatch, arXiv 2112.05825).

    Example:
        >>> positive_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(0.7071)
        >>> positive_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 1.0]]))
        tensor(0.)
    """
    return masked_mean(F.cosine_similarity(float_logits(first), float_logits(second), dim=-1).clamp_min(0), mask)


def unit_length(vectors: torch.Tensor) -> torch.Tensor:
    """Rows [N, D] divided by their Euclidean lengths, in float32 at least.

    Example:
        >>> unit_length(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    return F.normalize(float_logits(vectors), dim=-1)


def one_hot(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Classes [N] as float32 distributions [N, C]; unlike `F.one_hot` it never reads the labels back from the device.

    Example:
        >>> one_hot(torch.tensor([2, 0]), 3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    return (labels.unsqueeze(-1) == torch.arange(num_classes, device=labels.device)).float()


def graph_contrast(first: torch.Tensor, second: torch.Tensor, graph: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy between similarities of two views' embeddings and a graph (CoMatch, arXiv 2011.11183, eq. 8).

    Args:
        first: embeddings [N, P] of unit length, of one view.
        second: embeddings [N, P] of unit length, of another view of the same examples.
        graph: [N, N], each row a distribution over the examples that should be near.
        temperature: of the similarities, above 0.

    Example:
        >>> vectors = torch.eye(2)
        >>> graph_contrast(vectors, vectors, torch.eye(2), temperature=0.5)
        tensor(0.1269)
    """
    similarity = torch.softmax(first @ second.T / temperature, dim=-1)
    return -(torch.log(similarity + 1e-7) * graph).sum(dim=-1).mean()
