"""Products with the Fisher information of a prediction: in which direction an input changes the prediction most.

    vector --J--> change of the logits --diag(p) - p p^T--> change of p --J^T--> product

J is the Jacobian of the logits with respect to the inputs. Nothing here takes a finite step, so nothing is lost to
rounding, in any precision.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction
from torch.nn.attention import SDPBackend, sdpa_kernel

from ... import losses

# In the middle of float16's range, so that gradients in it neither vanish nor overflow.
LARGEST = 256.0

Classify = Callable[[torch.Tensor], torch.Tensor]


def fisher_product(
    classify: Classify, inputs: torch.Tensor, vector: torch.Tensor, *, joint_batch: bool = False, verify: bool = True
) -> torch.Tensor:
    """The Fisher information of p = softmax(classify(inputs)) with respect to the inputs, times a vector.

    It is J^T (diag(p) - p p^T) J v, the second derivative at 0 of KL(p(inputs) || p(inputs + r)) with respect to r,
    times v. Each example's product is scaled so that no precision loses it: only its direction means anything.

    Args:
        classify: from inputs [N, ...] to logits [N, C]. It is called once and may be random (dropout): p and J are
            those of the same call.
        inputs: [N, ...], floating-point. No gradient reaches what they were computed from.
        vector: v, shaped like the inputs.
        joint_batch: whether an example's logits depend on the other examples too, as with batch normalization. All
            examples then share one scale, which leaves the direction of the whole batch as it is.
        verify: whether to look for custom operations that break the second derivative without an error, and to compare
            it with the first derivative if there are any. Once for a model is enough.

    Returns:
        A tensor like the inputs, without a graph.

    Raises:
        NotImplementedError: if an operation of the model has no second derivative, or a wrong one.

    Source: Miyato et al., arXiv 1704.03976, section 3.3, which approximates the product by a finite difference.

    Example:
        For a linear model J is its weight W [C, D], so the product can be written down:

        >>> weight, x, v = torch.eye(2), torch.zeros(1, 2), torch.tensor([[3.0, 1.0]])
        >>> product = fisher_product(lambda inputs: inputs @ weight.T, x, v)
        >>> product / product.norm()  # (diag(p) - p p^T) v is [0.5, -0.5] with p = [0.5, 0.5]
        tensor([[ 0.7071, -0.7071]])
    """
    inputs = inputs.detach().requires_grad_()
    # Fused attention kernels have a first derivative only.
    with sdpa_kernel(SDPBackend.MATH):
        logits = classify(inputs)
        vector = vector.to(inputs.dtype)
        change = _jacobian_times(logits, inputs, vector)
        if verify:
            _verify(logits, inputs, vector, change)
        pulled = _scaled(_softmax_change(logits.detach(), change), joint_batch)
        (product,) = torch.autograd.grad(logits, inputs, pulled.to(logits.dtype))
    return product


def _jacobian_times(logits: torch.Tensor, inputs: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """J v, from the graph of the logits, which stays.

    J^T u is linear in u, so its derivative with respect to u in the direction v is J v, at any u. In forward mode,
    torch computes the same in twice the time.
    """
    u = torch.zeros_like(logits, requires_grad=True)
    try:
        (pulled,) = torch.autograd.grad(logits, inputs, u, create_graph=True)
        (change,) = torch.autograd.grad(pulled, u, vector, retain_graph=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise _refusal(str(error).partition("\n")[0]) from error
    return change


def _verify(logits: torch.Tensor, inputs: torch.Tensor, vector: torch.Tensor, change: torch.Tensor) -> None:
    """Refuse custom operations whose backward pass has no derivative, which autograd takes for a constant."""
    custom = sorted({type(node).__name__ for node in _nodes(logits) if isinstance(node, BackwardCFunction)})
    if not custom:
        return
    # With J v = c, v . J^T c is |c|^2; the left side needs the first derivative only.
    (pulled,) = torch.autograd.grad(logits, inputs, change.to(logits.dtype), retain_graph=True)
    found, expected = (pulled.double() * vector.double()).sum(), change.double().square().sum()
    if not abs(found - expected) <= 0.05 * max(found, expected):
        raise _refusal(f"a first one only of {', '.join(custom)}")


def _nodes(logits: torch.Tensor) -> set[Any]:
    """The operations that made the logits."""
    seen: set[Any] = set()
    waiting: list[Any] = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [previous for previous, _ in node.next_functions]
    return seen


def _refusal(reason: str) -> NotImplementedError:
    return NotImplementedError(
        f"the model must have second derivatives for VAT, got: {reason}; load it with attn_implementation='sdpa' and "
        "without custom kernels, or choose another algorithm"
    )


def _softmax_change(logits: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """(diag(p) - p p^T) times the change of the logits: how p changes, [N, C] in float32 at least."""
    probs, change = losses.probabilities(logits), losses.float_logits(change)
    # Relative to the most likely class, whose entry would otherwise be the difference of two nearly equal numbers.
    change = change - change.gather(-1, probs.argmax(dim=-1, keepdim=True))
    return probs * (change - (probs * change).sum(dim=-1, keepdim=True))


def _scaled(values: torch.Tensor, joint: bool) -> torch.Tensor:
    """Rows [N, C] with a largest absolute value of `LARGEST` each, or all of them together."""
    largest = values.abs().amax() if joint else values.abs().amax(dim=-1, keepdim=True)
    return values * (LARGEST / largest.clamp_min(LARGEST * torch.finfo(values.dtype).tiny))
