"""What becomes of each setting of transformers' `TrainingArguments` in `SSLConfig`: one row for each.

`examples/guides/training_arguments.md` is made from it, and a test holds it against the installed transformers: a
setting that a later version adds is a row that is missing until somebody has decided.
"""

from dataclasses import dataclass
from typing import Any

# The ways in which a setting of Trainer may be treated, and what each means.
KINDS = {
    "same": "as in Trainer",
    "differs": "works, in another way or with another default",
    "refused": "an error at construction that says why",
    "not tried": "passed on to Trainer; nobody has tested it with joint batches",
}


@dataclass(frozen=True)
class Setting:
    """A setting of `TrainingArguments`.

    Args:
        kind: one of `KINDS`.
        note: how it differs, or why it is refused.
        refused: a value that is refused, if there is one.
    """

    kind: str
    note: str = ""
    refused: Any = None


def _same(names: str, note: str = "") -> dict[str, Setting]:
    return {name: Setting("same", note) for name in names.split()}


def _differs(**notes: str) -> dict[str, Setting]:
    return {name: Setting("differs", note) for name, note in notes.items()}


def _not_tried(names: str) -> dict[str, Setting]:
    return {name: Setting("not tried") for name in names.split()}


_PUSH = "a push is one commit of the model, its card and results, never of settings with tokens"
_SHARDED = "FSDP2; see [several GPUs](several_gpus.md) for what goes with it"

TRAINER_SETTINGS: dict[str, Setting] = {
    # How long and how fast.
    **_differs(
        per_device_train_batch_size="labeled examples of a forward pass; `unlabeled_batch_ratio` times as many of the "
        "pool are beside them",
        num_train_epochs="passes over the unlabeled pool, if it is set and `max_steps` is not",
        max_steps="10,000 if neither it nor `num_train_epochs` is set; -1 counts epochs",
        weight_decay="not for biases, norms, class tokens and position embeddings",
        max_grad_norm="the norm of model and algorithm's heads together",
        label_smoothing_factor="of the loss of labeled examples, in training and evaluation; not of pseudo-labels",
        average_tokens_across_devices="no effect: losses are means over batches of one size",
        auto_find_batch_size="a smaller batch also starts the algorithm's statistics from scratch",
    ),
    **_same("learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args"),
    **_same("adam_beta1 adam_beta2 adam_epsilon"),
    **_same("gradient_accumulation_steps", "an algorithm's statistics are those of the whole step"),
    **_not_tried("optim_target_modules"),
    # Precision, memory and speed.
    **_same("bf16 fp16 bf16_full_eval fp16_full_eval tf32 activation_checkpointing activation_checkpointing_kwargs"),
    **_same("gradient_checkpointing gradient_checkpointing_kwargs torch_compile torch_compile_backend"),
    **_same("torch_compile_mode torch_empty_cache_steps use_cache use_cpu"),
    **_not_tried("use_liger_kernel liger_kernel_config neftune_noise_alpha parallelism_config"),
    # What is logged.
    **_differs(
        logging_steps="50 by default",
        logging_nan_inf_filter="off by default: a loss that is not a number is shown",
        include_num_input_tokens_seen="tokens of all views, labeled and unlabeled",
        disable_tqdm="log lines are sentences instead of dictionaries; `SSLProgressCallback` shows fewer of them",
    ),
    **_same("logging_strategy logging_first_step log_on_each_node log_level log_level_replica"),
    **_differs(
        report_to="Trackio also gets the classes of the pseudo-labels, alerts, a confusion matrix and a report, "
        "and ends no training",
        run_name="in Trackio data-labels-seed and the algorithm by default; the group is the algorithm",
    ),
    **_same("project trackio_space_id trackio_bucket_id trackio_static_space_id skip_memory_metrics"),
    **_not_tried("debug"),
    # Evaluation.
    **_same("eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only eval_on_start"),
    **_same("eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics"),
    **_same("greater_is_better label_names"),
    **_differs(
        metric_for_best_model="by default balanced accuracy if the labels are clearly imbalanced, else the loss",
        batch_eval_metrics="also on if all scores take more than a gigabyte and the metrics are the default ones",
        load_best_model_at_end="the moving average starts again from the best weights",
    ),
    # Saving and resuming.
    **_differs(
        save_strategy="a checkpoint has its name when it is whole, and also holds algorithm and moving average",
        save_total_limit="the oldest by step are deleted, not by the clock",
        resume_from_checkpoint="`train(True)` takes the newest complete one; one of plain Trainer is refused, but its "
        "model can be started from",
    ),
    "ignore_data_skip": Setting("refused", "resuming would continue with other data", True),
    **_same("save_steps save_only_model save_on_each_node restore_callback_states_from_checkpoint output_dir"),
    **_not_tried("enable_jit_checkpoint"),
    **_differs(push_to_hub=_PUSH, hub_strategy=_PUSH),
    **_same("hub_token hub_private_repo hub_model_id hub_always_push hub_revision"),
    # Random numbers.
    **_same("seed data_seed full_determinism"),
    # Data.
    "remove_unused_columns": Setting("refused", "off by default: views need the raw columns", True),
    "dataloader_in_order": Setting("refused", "off, resuming would continue with other batches", False),
    "train_sampling_strategy": Setting(
        "differs", '"random" or "group_by_length"; others are refused, as joint batches are drawn', "sequential"
    ),
    **_differs(
        dataloader_num_workers="one less than the CPU cores for each training process by default, at most 8",
        dataloader_pin_memory="off without an accelerator",
        dataloader_persistent_workers="always in training, as set in evaluation",
        dataloader_drop_last="no effect in training, where batches are always whole",
    ),
    **_same("dataloader_prefetch_factor length_column_name"),
    **_same("dataloader_multiprocessing_context", "no effect without workers"),
    # Several devices.
    "accelerator_config": Setting(
        "differs",
        "`dispatch_batches` and `split_batches` are refused, as they would cut joint batches; `non_blocking` is on on "
        "CUDA",
        {"split_batches": True},
    ),
    **_differs(ddp_find_unused_parameters="found from the model if it is not set"),
    **_same("ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout local_rank"),
    **_differs(fsdp=_SHARDED, fsdp_config=_SHARDED),
    "deepspeed": Setting(
        "refused", "its engine clips and steps by itself; FSDP2 shards as its ZeRO-3 does", "zero2.json"
    ),
    # Of scripts.
    **_same("do_train do_eval do_predict", "for scripts, not used by the trainer"),
}
