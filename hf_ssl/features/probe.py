"""The linear classifier on features: softmax regression on hard or soft targets."""

from dataclasses import dataclass

import numpy as np
import torch

# Steps of L-BFGS and the gradient at which it stops; more changes no prediction that was looked at.
_STEPS, _TOLERANCE = 60, 1e-4
# Regularization of probes on labels alone, and of heads.
FREE = 10.0


@dataclass(frozen=True)
class Probe:
    """A linear classifier: logits = features @ weight + bias.

    Args:
        weight: float32 [D, C].
        bias: float32 [C].
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [N, C], of features [N, D]."""
        return np.asarray(features, dtype=np.float32) @ self.weight + self.bias

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float32 [N, C] whose rows sum to 1, of features [N, D]."""
        logits = self.logits(features)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_probe(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    regularization: float = 1.0,
    start: Probe | None = None,
) -> Probe:
    """Fit softmax regression: the weighted sum of cross-entropies plus |weight|^2 / (2 regularization) is minimal.

    It is scikit-learn's `LogisticRegression(C=regularization)`, with targets that may be soft.

    Args:
        features: [N, D]; scaled so that a length of 1 is usual, as by `hf_ssl.features.normalize`.
        targets: classes, integers [N] (there are `max + 1`), or probabilities [N, C].
        weights: of the examples, [N], 1 by default.
        regularization: above 0; small values keep the weights small.
        start: where to begin, to be faster; the solution is the same, but for the tolerance of the solver.

    Example:
        >>> probe = fit_probe(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
        >>> probe.probabilities(np.array([[0.6, 0.1]])).argmax(axis=1).tolist()
        [0]
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be above 0, got {regularization}; 1 is usual")
    x = torch.as_tensor(np.ascontiguousarray(features, dtype=np.float32))
    target = torch.as_tensor(np.asarray(targets))
    target = torch.nn.functional.one_hot(target.long()) if target.ndim == 1 else target
    target = target.to(torch.float32)
    share = torch.ones(len(x)) if weights is None else torch.as_tensor(np.asarray(weights, dtype=np.float32))
    total = share.sum()
    # The mean and not the sum is minimized, so that the solver's tolerance means the same for all sizes.
    target = target * (share / total)[:, None]
    decay = float(1 / (2 * regularization * total))
    if start is None:
        weight, bias = torch.zeros(x.shape[1], target.shape[1]), torch.zeros(target.shape[1])
    else:
        weight, bias = torch.tensor(start.weight), torch.tensor(start.bias)
    weight.requires_grad_(), bias.requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=_TOLERANCE, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = -(target * (x @ weight + bias).log_softmax(dim=1)).sum() + decay * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return Probe(weight.detach().numpy(), bias.detach().numpy())


def fit_raw(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [C, D] and bias [C] of softmax regression on features as they are, such as a model's head reads them.

    Args:
        features: [N, D]; their center and scale are those of all of them.
        targets: classes [M] or probabilities [M, C] of the rows.
        weights: of the rows, [M], 1 by default.
        rows: positions [M] of the examples to fit to, all by default.

    Example:
        >>> weight, bias = fit_raw(np.array([[10.0, 5.0], [12.0, 5.0]]), np.array([0, 1]))
        >>> (np.array([[11.9, 5.0]]) @ weight.T + bias).argmax(axis=1).tolist()
        [1]
    """
    # Centered and scaled by one number for the fit, which can be undone in the weights.
    center = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = features - center
    scale = max(float(np.sqrt(np.square(centered).sum(axis=1, dtype=np.float64)).mean()), 1e-12)
    chosen = centered if rows is None else centered[rows]
    probe = fit_probe(chosen / scale, targets, weights, regularization=FREE)
    weight = probe.weight.T / scale
    return weight, probe.bias - weight @ center


def one_hot(classes: np.ndarray, num_classes: int) -> np.ndarray:
    """float32 [N, C]."""
    # Without the identity [C, C], which has 40 GB for 100,000 classes.
    result = np.zeros((len(classes), num_classes), dtype=np.float32)
    result[np.arange(len(classes)), classes] = 1
    return result
