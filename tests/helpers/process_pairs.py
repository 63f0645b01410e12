"""The same training in one process, and in two with half a batch each: what tests of it share."""

import torch
import torch.distributed as dist

WORLD = 2


def train_steps(steps, rate, parameters, loss_of, *, teachers=(), synchronize):
    """Some steps of gradient descent: the losses [steps], means over the processes.

    Args:
        steps: how many.
        rate: of the descent.
        parameters: what learns; one without a gradient stays.
        loss_of: from the number of a step to its loss.
        teachers: pairs of an average and what it follows.
        synchronize: called after each backward pass.
    """
    losses = []
    for step in range(steps):
        loss = loss_of(step)
        loss.backward()
        synchronize()
        mean = loss.detach().clone()
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= WORLD
        losses.append(mean)
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad)
                parameter.grad = None
            for average, followed in teachers:
                average.lerp_(followed, 0.1)
    return torch.stack(losses)


def in_two_processes(work, folder):
    """What `work(rank)` returns in each of two processes, which know each other; in the order of their ranks."""
    torch.multiprocessing.spawn(_work, (work, str(folder)), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def _work(rank, work, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=WORLD)
    torch.save(work(rank), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
