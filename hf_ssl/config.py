"""SSLConfig: the settings of a semi-supervised training."""

import json
import multiprocessing
import os
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

LR_SCHEDULES = ("trainer", "cosine_7_16")
BROKEN_FILES = ("skip", "error")
SAMPLING = ("random", "group_by_length")
# With eight processes a step of 8 labeled and 56 unlabeled images of 224 pixels gets its views in about 80 ms.
_MOST_WORKERS = 8
EMA_ROLES = ("none", "evaluation", "teacher", "both")


def usual_workers() -> int:
    """Processes that make views when nothing is said: one less than the CPU cores for each training process, at most 8."""
    # The first of all methods is the platform's default. Asking for the current one alone would settle it for good.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, 0), _MOST_WORKERS)


BATCH_NORM_VIEWS = ("published", "labeled", "all")


@dataclass
class SSLConfig(TrainingArguments):
    """`TrainingArguments` with the settings of semi-supervised training. Unknown or contradictory settings are errors.

    **What is optimised**

    - `algorithm`, `algorithm_kwargs`: its name (`hf-ssl algorithms` lists them) and its own settings.
    - `unsupervised_weight`: factor of the unsupervised term; it rises from 0 over the first `unsupervised_warmup_steps`.

    **How fast each weight learns**

    - `layer_decay`: factor of the learning rate from each layer to the one below it; `hf_ssl/training/optimization.py` has the details.
    - `lr_schedule`: "trainer" for `lr_scheduler_type`, or "cosine_7_16", USB's; both warm up over `warmup_steps`.
    - `weight_decay` is left out for biases, norms, class tokens and position embeddings.

    **What a batch is**

    - `per_device_train_batch_size`: labeled examples B of one process in one forward pass.
    - `unlabeled_batch_ratio`: mu; each pass also takes mu*B unlabeled examples.
    - `global_batch_size`: labeled examples of one step over all processes and accumulated passes, which splits the same step
      over more devices; without it each device adds `per_device_train_batch_size` labeled examples to the step.
    - `train_sampling_strategy`: "random", or "group_by_length" for batches of texts of similar length. On AG News 35 % (8
      labeled and 8 unlabeled texts) to 58 % (8 and 56) of the tokens of random batches are padding, and 13 % at most of
      grouped ones. It is not the default, as it is not `Trainer`'s: a batch of long texts need not hold the classes in the
      pool's shares, which algorithms that compare or average whole batches (AdaMatch, FreeMatch, SoftMatch) look at.
    - An epoch is one pass over the unlabeled pool; the labeled set is cycled. `max_steps` counts optimizer steps.

    **Which weights are evaluated, saved and used as teacher**

    - `ema_decay`, `ema_role`: the moving average of the weights and what it is for.
    - `batch_norm_views`: which views enter the running statistics of batch normalisation, where a model has it.

    **Where the data is and how views are made**

    - `label_column`, `input_column`, `text_pair_column`: found from the dataset's features and the processor when not given.
    - `on_broken_file`: what happens to files of the pool that cannot be read.
    - `image_size`, `crop_ratio`, `horizontal_flip`, `vertical_flip`, `strong_operations`, `color_operations`: image views.
    - `max_length`, `augmentation_columns`, `token_delete_ratio`, `token_swap_ratio`, `token_mask_ratio`: text views.
    - `max_length_seconds`, `strong_effects`: audio views.

    **What is looked out for**

    - `stop_on_nan`: a loss that is not finite ends the training before it is logged, evaluated or saved.
    - `zero_mask_warning_steps`: a warning, once, when no unlabeled example took part for so long.
    - `duplicate_check_seconds`: time at the start to search for evaluation examples that are also trained on.

    **Defaults of `TrainingArguments` that are changed here**

    - `max_steps` 10,000 (was: from `num_train_epochs`); set it to -1 to count epochs over the pool instead.
    - `remove_unused_columns` False: views need the raw columns.
    - `ddp_find_unused_parameters` False: every parameter takes part in the one joint forward pass.
    - `logging_nan_inf_filter` False: a loss that is not a number is shown, and no step waits for the device to look at it.
    - `logging_steps` 50.
    - `accelerator_config`: on CUDA `non_blocking` is on, as `dataloader_pin_memory` is.
    - `dataloader_num_workers` -1: as many as there are CPU cores but one for this process, at most 8.

    Raises:
        ValueError: for settings that contradict each other or this trainer; the message says what to do.
    """

    algorithm: str = field(
        default="fixmatch", metadata={"help": "Name of the algorithm; `hf-ssl algorithms` lists them."}
    )
    algorithm_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The algorithm's own settings, as a dict or JSON, e.g. '{\"threshold\": 0.9}'."},
    )
    unlabeled_batch_ratio: int = field(
        default=1, metadata={"help": "Unlabeled examples for each labeled one in a batch (mu), at least 1."}
    )
    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Labeled examples of one optimizer step over all processes and accumulated passes; sets "
            "per_device_train_batch_size. Not set: each process adds per_device_train_batch_size to the step."
        },
    )
    unsupervised_weight: float = field(
        default=1.0, metadata={"help": "Factor of the unsupervised term in the loss, at least 0."}
    )
    unsupervised_warmup_steps: int = field(
        default=0,
        metadata={
            "help": "Steps over which the factor of the unsupervised term rises linearly from 0, for short runs: the first "
            "pseudo-labels of a new head are chance, and algorithms that let them all count can learn those for good."
        },
    )
    ema_decay: float = field(
        default=0.999,
        metadata={"help": "Decay of the moving average of the weights, in [0, 1); used as ema_role says."},
    )
    ema_role: str = field(
        default="none",
        metadata={
            "help": "What the moving average is for: 'none' (not kept), 'evaluation' (evaluated and saved), 'teacher' "
            "(targets of algorithms that have one; those switch it on by themselves), or 'both'.",
            "choices": list(EMA_ROLES),
        },
    )
    batch_norm_views: str = field(
        default="published",
        metadata={
            "help": "Views that the running statistics of batch normalisation see: 'published' (as the algorithm's reference: "
            "all of the joint pass, or the labeled ones where it makes separate calls), 'labeled', or 'all'.",
            "choices": list(BATCH_NORM_VIEWS),
        },
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor of the learning rate from each layer to the one below it, in (0, 1]; 1 is the same for all."
        },
    )
    lr_schedule: str = field(
        default="trainer",
        metadata={
            "help": "'trainer': as lr_scheduler_type says; 'cosine_7_16': cos(7/16 pi t) over the steps after warmup_steps.",
            "choices": list(LR_SCHEDULES),
        },
    )
    label_column: str | None = field(
        default=None, metadata={"help": "Column of the class; found from the dataset's features when not given."}
    )
    input_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the input; found from the dataset's features and the processor when not given. Naming a raw "
            "column makes views of it also where rows hold tensors (input_ids, pixel_values, ...)."
        },
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column of the second text of a pair; usual names (premise, hypothesis) are found."},
    )
    on_broken_file: str = field(
        default="skip",
        metadata={
            "help": "Files of the pool that are missing or broken: 'skip' puts other examples of the pool in their place and "
            "logs how often (broken_files), 'error' stops with the file's name. Labeled and test files always stop.",
            "choices": list(BROKEN_FILES),
        },
    )
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side of the square image views in pixels; the image processor's when not given."},
    )
    crop_ratio: float = field(
        default=0.875, metadata={"help": "Random crops may shift by (1 - crop_ratio) of the side, in (0, 1]."}
    )
    horizontal_flip: bool = field(default=True, metadata={"help": "Mirror images left to right at random."})
    vertical_flip: bool = field(default=False, metadata={"help": "Mirror images top to bottom at random."})
    strong_operations: int = field(
        default=3, metadata={"help": "RandAugment operations of a strong image view, at least 1."}
    )
    color_operations: bool = field(
        default=True, metadata={"help": "Let strong image views change colours; off for grey or coded images."}
    )
    stop_on_nan: bool = field(
        default=True,
        metadata={"help": "Stop with an error when the loss, or a weight about to be saved, is NaN or infinite."},
    )
    zero_mask_warning_steps: int = field(
        default=500,
        metadata={
            "help": "Warn once when the mask ratio was 0 for so many steps, looked at in each log line; 0: never."
        },
    )
    duplicate_check_seconds: float = field(
        default=60.0,
        metadata={
            "help": "Seconds at most to search, at the start, for evaluation examples that are also trained on: they are all "
            "compared with the labeled examples, and with 500 of the pool, drawn at random, so that a large pool is not "
            "read (50,000 small evaluation images take about one second); 0: no search."
        },
    )
    max_length: int | None = field(
        default=None, metadata={"help": "Tokens of a text at most; the tokenizer's limit, or 512, when not given."}
    )
    augmentation_columns: list[str] = field(
        default_factory=lambda: ["aug_0", "aug_1"],
        metadata={
            "help": "Columns of the pool with ready strong texts, such as back-translations; one is drawn at random. Rows "
            "without any have words deleted, swapped and masked, which cannot be compared with USB's numbers."
        },
    )
    token_delete_ratio: float = field(
        default=0.1, metadata={"help": "Share of words that a strong text view deletes, in [0, 1)."}
    )
    token_swap_ratio: float = field(
        default=0.1, metadata={"help": "Exchanges of neighboring words per word in a strong text view, in [0, 1)."}
    )
    token_mask_ratio: float = field(
        default=0.15, metadata={"help": "Share of tokens that a strong text view masks, in [0, 1)."}
    )
    max_length_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Length of an audio view in seconds, cropped at random from longer recordings, above 0; the longest of the "
            "labeled recordings, but at most 10, when not given."
        },
    )
    strong_effects: int = field(
        default=2, metadata={"help": "Effects (gain, pitch, speed, reverberation) of a strong audio view, at least 0."}
    )

    max_steps: int = field(
        default=10_000,
        metadata={"help": "Optimizer steps; -1 counts num_train_epochs over the unlabeled pool instead."},
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay off: views need the raw columns."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Off: the joint forward pass uses every parameter."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave losses that are not numbers out of the logged mean (hides trouble)."}
    )
    dataloader_num_workers: int = field(
        default=-1,
        metadata={
            "help": "Processes that make views; -1: one less than the CPU cores for each training process, at most 8 (0 where "
            "processes are not forked, as on macOS and Windows, since everything must then be picklable). Views do not "
            "depend on it."
        },
    )
    logging_steps: float = field(default=50, metadata={"help": "Log each so many steps, or this fraction of them."})

    def __post_init__(self):
        if isinstance(self.algorithm_kwargs, str):
            try:
                self.algorithm_kwargs = json.loads(self.algorithm_kwargs)
            except json.JSONDecodeError as error:
                raise ValueError(f"algorithm_kwargs is not JSON: {error}") from None
        self._refuse_sharded_models()
        if self.dataloader_num_workers == -1:
            self.dataloader_num_workers = usual_workers()
        if self.accelerator_config is None:
            # Where batches lie in pinned memory, the next one goes to the GPU while it computes.
            self.accelerator_config = {"non_blocking": self.dataloader_pin_memory and torch.cuda.is_available()}
        super().__post_init__()
        self._refuse(
            self.unlabeled_batch_ratio < 1, "unlabeled_batch_ratio must be at least 1", self.unlabeled_batch_ratio
        )
        self._refuse(self.unsupervised_weight < 0, "unsupervised_weight must be at least 0", self.unsupervised_weight)
        self._refuse(
            self.unsupervised_warmup_steps < 0,
            "unsupervised_warmup_steps must be at least 0",
            self.unsupervised_warmup_steps,
        )
        self._refuse(not 0 <= self.ema_decay < 1, "ema_decay must be in [0, 1)", self.ema_decay)
        self._refuse(self.ema_role not in EMA_ROLES, f"ema_role must be one of {', '.join(EMA_ROLES)}", self.ema_role)
        self._refuse(
            self.batch_norm_views not in BATCH_NORM_VIEWS,
            f"batch_norm_views must be one of {', '.join(BATCH_NORM_VIEWS)}",
            self.batch_norm_views,
        )
        self._refuse(not 0 < self.crop_ratio <= 1, "crop_ratio must be in (0, 1]", self.crop_ratio)
        self._refuse(self.strong_operations < 1, "strong_operations must be at least 1", self.strong_operations)
        self._refuse(not 0 < self.layer_decay <= 1, "layer_decay must be in (0, 1]", self.layer_decay)
        self._refuse(
            self.lr_schedule not in LR_SCHEDULES,
            f"lr_schedule must be one of {', '.join(LR_SCHEDULES)}",
            self.lr_schedule,
        )
        self._refuse(
            self.lr_schedule != "trainer" and self.lr_scheduler_type != "linear",
            f"lr_schedule={self.lr_schedule!r} and lr_scheduler_type={self.lr_scheduler_type.value!r} are two schedules; leave "
            "one of them out",
        )
        self._refuse(
            self.zero_mask_warning_steps < 0,
            "zero_mask_warning_steps must be at least 0",
            self.zero_mask_warning_steps,
        )
        self._refuse(
            self.duplicate_check_seconds < 0,
            "duplicate_check_seconds must be at least 0",
            self.duplicate_check_seconds,
        )
        self._refuse_wrong_views()
        self._refuse_what_breaks_joint_batches()
        if self.global_batch_size is not None:
            parts = self.world_size * self.gradient_accumulation_steps
            self._refuse(
                self.global_batch_size < parts or self.global_batch_size % parts != 0,
                f"global_batch_size must be a multiple of processes x gradient_accumulation_steps = {self.world_size} x "
                f"{self.gradient_accumulation_steps}",
                self.global_batch_size,
            )
            self.per_device_train_batch_size = self.global_batch_size // parts

    def _refuse_sharded_models(self):
        """Model parallelism under which the moving average, heads and features would be those of a part of the model."""
        for name, given, variable in (
            ("FSDP", self.fsdp, "ACCELERATE_USE_FSDP"),
            ("DeepSpeed", self.deepspeed, "ACCELERATE_USE_DEEPSPEED"),
        ):
            self._refuse(
                bool(given) or os.environ.get(variable, "").lower() in ("1", "true"),
                f"{name} is not supported: the moving average of the weights, the algorithm's heads and the captured features "
                "need whole models. Use several GPUs with `accelerate launch --multi_gpu` (DDP), and for memory bf16=True, "
                "gradient_checkpointing=True or a PEFT model",
            )

    def _refuse_wrong_views(self):
        modes = ", ".join(BROKEN_FILES)
        self._refuse(
            self.on_broken_file not in BROKEN_FILES, f"on_broken_file must be one of {modes}", self.on_broken_file
        )
        for name in ("token_delete_ratio", "token_swap_ratio", "token_mask_ratio"):
            self._refuse(not 0 <= getattr(self, name) < 1, f"{name} must be in [0, 1)", getattr(self, name))
        for name in ("max_length", "max_length_seconds", "image_size"):
            value = getattr(self, name)
            self._refuse(value is not None and value <= 0, f"{name} must be above 0", value)
        self._refuse(self.strong_effects < 0, "strong_effects must be at least 0", self.strong_effects)

    def _refuse_what_breaks_joint_batches(self):
        """Settings of the Trainer under which a joint batch would be cut, reordered or its loss replaced, silently."""
        accelerator = self.accelerator_config
        self._refuse(
            accelerator.dispatch_batches is True,
            "dispatch_batches cuts the unlabeled part to the labeled size; leave it out of accelerator_config",
        )
        self._refuse(
            accelerator.split_batches,
            "split_batches would cut joint batches; leave it out of accelerator_config and lower the batch size instead",
        )
        self._refuse(
            self.n_gpu > 1,
            f"one process sees {self.n_gpu} GPUs and would use DataParallel, which cuts joint batches; start it with "
            "`accelerate launch`, or show it one GPU with CUDA_VISIBLE_DEVICES=0",
        )
        self._refuse(
            self.ignore_data_skip,
            "ignore_data_skip would resume with other data than the interrupted run; leave it off",
        )
        self._refuse(
            self.remove_unused_columns,
            "remove_unused_columns would drop the columns that views are made of; leave it off",
        )
        self._refuse(
            self.label_smoothing_factor != 0,
            "label_smoothing_factor does not reach the algorithms' own losses; leave it 0",
        )
        self._refuse(
            self.train_sampling_strategy not in SAMPLING,
            f"train_sampling_strategy must be one of {', '.join(SAMPLING)}: joint batches are always drawn at random",
            self.train_sampling_strategy,
        )

    @staticmethod
    def _refuse(condition: bool, message: str, *value) -> None:
        if condition:
            raise ValueError(message + "".join(f", got {v!r}" for v in value))

    @property
    def ema_evaluates(self) -> bool:
        """Whether the averaged weights are the ones evaluated and saved."""
        return self.ema_role in ("evaluation", "both")
