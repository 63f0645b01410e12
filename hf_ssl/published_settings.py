"""Which settings are published with a model: in `ssl_config.json`, `results.json` and the command on the card.

A list of what may be told, and not of what may not: a setting that a later version of transformers adds is private
until somebody has looked at it, for which a test asks.
"""

# What decides over the training: whoever repeats it needs these.
_TRAINING = """
algorithm algorithm_kwargs imbalance imbalance_kwargs start start_template teacher_column
teacher_weight teacher_schedule open_set unlabeled_batch_ratio stream_buffer_size
global_batch_size unsupervised_weight unsupervised_warmup_steps
ema_decay ema_role batch_norm_views layer_decay lr_schedule label_column label_columns label_separator
problem_type input_column text_pair_column on_broken_file
image_size crop_ratio horizontal_flip vertical_flip strong_operations color_operations stop_on_nan
zero_mask_warning_steps duplicate_check_seconds max_length augmentation_columns token_delete_ratio token_swap_ratio
token_mask_ratio max_length_seconds strong_effects per_device_train_batch_size num_train_epochs max_steps
learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps warmup_ratio optim optim_args weight_decay adam_beta1
adam_beta2 adam_epsilon optim_target_modules gradient_accumulation_steps average_tokens_across_devices max_grad_norm
label_smoothing_factor bf16 fp16 tf32 activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing
gradient_checkpointing_kwargs torch_compile torch_compile_backend torch_compile_mode use_liger_kernel
liger_kernel_config use_cache neftune_noise_alpha auto_find_batch_size full_determinism seed data_seed use_cpu
ignore_data_skip dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers
dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order remove_unused_columns label_names
train_sampling_strategy length_column_name ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers
ddp_static_graph ddp_backend fsdp view_micro_batch
"""
# How it is measured and saved, which decides over which weights are the best.
_MEASURING = """
bf16_full_eval fp16_full_eval logging_strategy logging_steps logging_first_step logging_nan_inf_filter
include_num_input_tokens_seen eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only
eval_on_start eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics
batch_eval_metrics save_strategy save_steps save_only_model save_total_limit load_best_model_at_end
metric_for_best_model greater_is_better
"""
PUBLISHED_SETTINGS = frozenset(f"{_TRAINING} {_MEASURING}".split())

# Known and left out. The folders, accounts and projects of the person who trains, and where results are sent:
_OF_THE_PERSON = """
output_dir logging_dir run_name project trackio_space_id trackio_bucket_id trackio_static_space_id push_to_hub
hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision resume_from_checkpoint report_to
"""
# what is set for one machine, may name files on it, and changes no result:
_OF_THE_MACHINE = """
local_rank ddp_timeout log_level log_level_replica log_on_each_node disable_tqdm save_on_each_node
enable_jit_checkpoint restore_callback_states_from_checkpoint torch_empty_cache_steps skip_memory_metrics debug
accelerator_config parallelism_config fsdp_config deepspeed
"""
# and what only transformers' example scripts look at.
_OF_SCRIPTS = "do_train do_eval do_predict"
PRIVATE_SETTINGS = frozenset(f"{_OF_THE_PERSON} {_OF_THE_MACHINE} {_OF_SCRIPTS}".split())


def is_published_setting(name: str) -> bool:
    """Whether a setting may leave the machine with the model.

    Example:
        >>> [is_published_setting(name) for name in ("learning_rate", "hub_token", "project", "a_setting_of_tomorrow")]
        [True, False, False, False]
    """
    return name in PUBLISHED_SETTINGS
