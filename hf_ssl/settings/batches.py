"""Settings of `Trainer` under which a joint batch would be cut, or a step be another one than was asked for."""

from typing import Any

from transformers import SchedulerType


def refuse_two_schedules(args: Any) -> None:
    """Refuse an `lr_schedule` of ours beside an `lr_scheduler_type` of Trainer's.

    Raises:
        ValueError: if both are set.
    """
    kind = SchedulerType(args.lr_scheduler_type)
    if args.lr_schedule != "trainer" and kind != SchedulerType.LINEAR:
        raise ValueError(
            f"lr_schedule={args.lr_schedule!r} and lr_scheduler_type={kind.value!r} are two "
            "schedules; leave out one of them"
        )


def refuse_cut_batches(args: Any) -> None:
    """Refuse ways to share out batches under which a joint batch would be cut, silently.

    Raises:
        ValueError: with what to do instead.
    """
    shared_out: Any = args.accelerator_config  # an AcceleratorConfig by now
    if shared_out.dispatch_batches is True:
        raise ValueError(
            "dispatch_batches must not be True: it cuts the unlabeled part to the labeled size; leave it out of "
            "accelerator_config"
        )
    if shared_out.split_batches:
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
    """Set the batch size of one process from that of the whole step, `global_batch_size`.

    Raises:
        ValueError: if it is no multiple of the passes of a step.
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
