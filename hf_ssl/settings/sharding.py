"""Which ways to spread a model over several GPUs can be trained, and why the others cannot."""

import os
from collections.abc import Mapping
from typing import Any

_DDP = "use DDP (`accelerate launch --multi_gpu`), and for memory bf16=True, gradient_checkpointing=True or LoRA"
# Names of accelerate's plugin: what the environment calls it, and why it is refused.
_REFUSED = {
    "cpu_offload": (
        "FSDP_OFFLOAD_PARAMS",
        "the moving average and the algorithm's heads are updated on the GPU, beside weights that would not be there",
    ),
    "cpu_ram_efficient_loading": (
        "FSDP_CPU_RAM_EFFICIENT_LOADING",
        "each process tries a step before the model is sharded, and all but the first would have no weights",
    ),
}
# Their state is made in the first step and has the shape of the weights, so that it is shared out with them.
_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
# The same of `TrainingArguments`: why, and what to do.
_BESIDE = {
    "fp16": ("the scaler of gradients takes no list of parts and whole heads together", "set bf16=True"),
    "torch_compile": ("a compiled model would be sharded, and saved, under other names", "leave it out"),
    "bf16_full_eval": ("the moving average would lose what bfloat16 cannot hold", "set bf16=True"),
    "fp16_full_eval": ("the moving average would lose what float16 cannot hold", "set bf16=True"),
    "view_micro_batch": ("pieces would gather the shards again for each of them", "set gradient_checkpointing=True"),
}


def refuse_deepspeed(deepspeed: Any) -> None:
    """Refuse DeepSpeed, which has an optimizer and a step of its own.

    Args:
        deepspeed: the setting of `TrainingArguments`.

    Raises:
        ValueError: if it, or `accelerate launch`, asks for it.
    """
    if deepspeed or _is_on("ACCELERATE_USE_DEEPSPEED"):
        given = repr(deepspeed) if deepspeed else "ACCELERATE_USE_DEEPSPEED"
        raise ValueError(
            f"deepspeed must be None, got {given}: DeepSpeed's engine averages and clips gradients and moves weights "
            "by itself, so that the algorithm's heads would get other gradients than the model, and the moving "
            "average parts of weights; set fsdp=True (FSDP2), which shards as ZeRO-3 does, or use DDP"
        )


def asks_for_fsdp(args: Any) -> bool:
    """Whether the settings (`TrainingArguments`), or `accelerate launch`, ask for FSDP."""
    return bool(args.fsdp) or _is_on("ACCELERATE_USE_FSDP")


def check_sharding(args: Any) -> None:
    """Refuse what cannot be sharded in the way that the settings ask for.

    Args:
        args: `TrainingArguments`, after their own checks.

    Raises:
        ValueError: in one line, with the reason and a way out.
    """
    _refuse_other_axes(args.parallelism_config)
    plugin: Mapping[str, Any] | None = args.fsdp_plugin_args
    if not asks_for_fsdp(args):
        return
    if plugin is None and args.fsdp:
        raise ValueError(f"fsdp_config must not set xla: joint batches are not made for TPUs; {_DDP}")
    given = plugin or {}
    version = int(given.get("fsdp_version", os.environ.get("FSDP_VERSION", 1)))
    if version != 2:
        raise ValueError(
            f"fsdp_version must be 2, got {version}: FSDP1 keeps the weights of many layers in one flat tensor, of "
            "which neither the moving average nor the checkpoints know the names; set fsdp_config={'version': 2}, or "
            "fsdp_version: 2 for accelerate"
        )
    for name, (variable, reason) in _REFUSED.items():
        if given[name] if name in given else _is_on(variable):
            raise ValueError(f"{name} must be False with FSDP, got True: {reason}; set it to False, or {_DDP}")
    policy = str(given.get("auto_wrap_policy", os.environ.get("FSDP_AUTO_WRAP_POLICY", "")))
    if policy.upper() == "SIZE_BASED_WRAP":
        raise ValueError(
            f"auto_wrap_policy must be TRANSFORMER_BASED_WRAP or NO_WRAP, got {policy}: by size, a layer and the "
            "table of embeddings inside it may both be sharded, which fails; name layers with "
            "transformer_layer_cls_to_wrap"
        )
    optimizer = getattr(args.optim, "value", args.optim)
    if optimizer not in _OPTIMIZERS:
        raise ValueError(
            f"optim must be one of {', '.join(_OPTIMIZERS)} with FSDP, got {optimizer!r}: of others the state is not "
            "shared out like the weights; leave it out"
        )
    for name, (reason, way_out) in _BESIDE.items():
        if value := getattr(args, name, None):
            off = False if value is True else None
            raise ValueError(f"{name} must be {off} with FSDP, got {value}: {reason}; {way_out}")


def _refuse_other_axes(parallelism: Any) -> None:
    """Refuse processes that work on the same examples: joint batches give each process examples of its own."""
    for name in ("tp_size", "cp_size", "sp_size"):
        size = getattr(parallelism, name, 1)
        if size > 1:
            raise ValueError(
                f"{name} of parallelism_config must be 1, got {size}: each process gets examples of its own; leave it "
                "out, and set fsdp=True for a model that is too large"
            )


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "y", "on", "t")
