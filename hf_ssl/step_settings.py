"""How the examples of a step are shared out over processes and accumulated passes, and what would cut them."""

from typing import Any


def refuse_cut_batches(args: Any) -> None:
    """Refuse ways to share out batches under which a joint batch would be cut, silently.

    Args:
        args: `TrainingArguments`, after their own checks.

    Raises:
        ValueError: with what to do instead.
    """
    if args.accelerator_config.dispatch_batches is True:
        raise ValueError(
            "dispatch_batches must not be True: it cuts the unlabeled part to the labeled size; leave it out of "
            "accelerator_config"
        )
    if args.accelerator_config.split_batches:
        raise ValueError(
            "split_batches must not be True: it would cut joint batches; leave it out of accelerator_config, and "
            "lower the batch size instead"
        )
    if args.n_gpu > 1:
        raise ValueError(
            f"a process must use one GPU, got {args.n_gpu}: DataParallel would cut joint batches; start the "
            "training with `accelerate launch`, or show it one GPU with CUDA_VISIBLE_DEVICES=0"
        )


def split_global_batch(args: Any) -> None:
    """Set the batch size of one process from `global_batch_size`, that of the whole step, if it is given.

    Args:
        args: `SSLConfig`, after the checks of `TrainingArguments`.

    Raises:
        ValueError: if the step cannot be divided.
    """
    if args.global_batch_size is None:
        return
    parts = args.world_size * args.gradient_accumulation_steps
    if args.global_batch_size < parts or args.global_batch_size % parts != 0:
        raise ValueError(
            "global_batch_size must be a multiple of processes x gradient_accumulation_steps = "
            f"{args.world_size} x {args.gradient_accumulation_steps}, got {args.global_batch_size}"
        )
    args.per_device_train_batch_size = args.global_batch_size // parts
