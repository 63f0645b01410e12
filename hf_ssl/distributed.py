"""What the processes of one run tell each other. Each function is the identity in a single process."""

import torch
import torch.distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """Concatenate every process's `tensor` along the first axis, in the order of the ranks, without gradient.

    Statistics that are computed from the result are the same on every process, and the same as one process would
    compute from the joint batch. Every process must call it with the same shape.
    """
    tensor = tensor.detach()
    if world_size() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Sum `tensor` over the processes, with gradient, for losses of the joint batch that are no mean over examples.

    The backward pass sums as well, so that after the usual averaging of gradients over the processes each parameter has
    the gradient that one process would compute from the joint batch.
    """
    return tensor if world_size() == 1 else _Total.apply(tensor)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


def average_gradients(parameters) -> None:
    """Replace each gradient by its mean over the processes: what DDP does, for parameters outside of its module."""
    if world_size() == 1:
        return
    for parameter in parameters:
        # A rank without a gradient still takes part: a collective that only some ranks enter never returns.
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad.div_(world_size())
