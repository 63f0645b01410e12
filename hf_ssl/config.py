"""SSLConfig: the settings of a semi-supervised training."""

import json
import multiprocessing
import os
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

BROKEN_FILES = ("skip", "error")
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


@dataclass
class SSLConfig(TrainingArguments):
    """`TrainingArguments` with the settings of semi-supervised training. Unknown or contradictory settings are errors.

    **What is optimised**

    - `algorithm`, `algorithm_kwargs`: its name (`hf-ssl algorithms` lists them) and its own settings.
    - `unsupervised_weight`: factor of the unsupervised term.

    **What a batch is**

    - `per_device_train_batch_size`: labeled examples B of one process in one forward pass.
    - `unlabeled_batch_ratio`: mu; each pass also takes mu*B unlabeled examples.
    - An epoch is one pass over the unlabeled pool; the labeled set is cycled. `max_steps` counts optimizer steps.

    **Which weights are evaluated, saved and used as teacher**

    - `ema_decay`, `ema_role`: the moving average of the weights and what it is for.

    **Where the data is and how views are made**

    - `label_column`, `input_column`, `text_pair_column`: found from the dataset's features and the processor when not given.
    - `on_broken_file`: what happens to files of the pool that cannot be read.
    - `image_size`, `crop_ratio`, `horizontal_flip`, `vertical_flip`, `strong_operations`, `color_operations`: image views.
    - `max_length`, `augmentation_columns`, `delete_ratio`, `swap_ratio`, `mask_ratio`: text views.
    - `max_length_seconds`, `strong_effects`: audio views.

    **Defaults of `TrainingArguments` that are changed here**

    - `max_steps` 10,000 (was: from `num_train_epochs`); set it to -1 to count epochs over the pool instead.
    - `remove_unused_columns` False: views need the raw columns.
    - `ddp_find_unused_parameters` False: every parameter takes part in the one joint forward pass.
    - `logging_nan_inf_filter` False: a loss that is not a number is shown, and no step waits for the device to look at it.
    - `logging_steps` 50.
    - `dataloader_num_workers` -1: as many as there are CPU cores but one for this process, at most 8.

    Raises:
        ValueError: for settings that contradict each other or this trainer; the message says what to do.
    """

    algorithm: str = field(default="fixmatch", metadata={"help": "Name of the algorithm; `hf-ssl algorithms` lists them."})
    algorithm_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The algorithm's own settings, as a dict or JSON, e.g. '{\"threshold\": 0.9}'."},
    )
    unlabeled_batch_ratio: int = field(
        default=1, metadata={"help": "Unlabeled examples for each labeled one in a batch (mu), at least 1."}
    )
    unsupervised_weight: float = field(
        default=1.0, metadata={"help": "Factor of the unsupervised term in the loss, at least 0."}
    )
    ema_decay: float = field(
        default=0.999, metadata={"help": "Decay of the moving average of the weights, in [0, 1); used as ema_role says."}
    )
    ema_role: str = field(
        default="none",
        metadata={
            "help": "What the moving average is for: 'none' (not kept), 'evaluation' (evaluated and saved), 'teacher' "
            "(targets of algorithms that have one; those switch it on by themselves), or 'both'.",
            "choices": list(EMA_ROLES),
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
        default=None, metadata={"help": "Column of the second text of a pair; usual names (premise, hypothesis) are found."}
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
        default=None, metadata={"help": "Side of the square image views in pixels; the image processor's when not given."}
    )
    crop_ratio: float = field(
        default=0.875, metadata={"help": "Random crops may shift by (1 - crop_ratio) of the side, in (0, 1]."}
    )
    horizontal_flip: bool = field(default=True, metadata={"help": "Mirror images left to right at random."})
    vertical_flip: bool = field(default=False, metadata={"help": "Mirror images top to bottom at random."})
    strong_operations: int = field(default=3, metadata={"help": "RandAugment operations of a strong image view, at least 1."})
    color_operations: bool = field(
        default=True, metadata={"help": "Let strong image views change colours; off for grey or coded images."}
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
    delete_ratio: float = field(default=0.1, metadata={"help": "Share of words that a strong text view deletes, in [0, 1)."})
    swap_ratio: float = field(
        default=0.1, metadata={"help": "Exchanges of neighbouring words, per word, in a strong text view, in [0, 1)."}
    )
    mask_ratio: float = field(default=0.15, metadata={"help": "Share of tokens that a strong text view masks, in [0, 1)."})
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
        default=10_000, metadata={"help": "Optimizer steps; -1 counts num_train_epochs over the unlabeled pool instead."}
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
        if self.dataloader_num_workers == -1:
            self.dataloader_num_workers = usual_workers()
        super().__post_init__()
        self._refuse(self.unlabeled_batch_ratio < 1, "unlabeled_batch_ratio must be at least 1", self.unlabeled_batch_ratio)
        self._refuse(self.unsupervised_weight < 0, "unsupervised_weight must be at least 0", self.unsupervised_weight)
        self._refuse(not 0 <= self.ema_decay < 1, "ema_decay must be in [0, 1)", self.ema_decay)
        self._refuse(self.ema_role not in EMA_ROLES, f"ema_role must be one of {', '.join(EMA_ROLES)}", self.ema_role)
        self._refuse(not 0 < self.crop_ratio <= 1, "crop_ratio must be in (0, 1]", self.crop_ratio)
        self._refuse(self.strong_operations < 1, "strong_operations must be at least 1", self.strong_operations)
        self._refuse_wrong_views()
        self._refuse_what_breaks_joint_batches()

    def _refuse_wrong_views(self):
        modes = ", ".join(BROKEN_FILES)
        self._refuse(self.on_broken_file not in BROKEN_FILES, f"on_broken_file must be one of {modes}", self.on_broken_file)
        for name in ("delete_ratio", "swap_ratio", "mask_ratio"):
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
            self.remove_unused_columns, "remove_unused_columns would drop the columns that views are made of; leave it off"
        )
        self._refuse(
            self.label_smoothing_factor != 0,
            "label_smoothing_factor does not reach the algorithms' own losses; leave it 0",
        )
        self._refuse(
            self.train_sampling_strategy != "random",
            "joint batches are always drawn at random; leave train_sampling_strategy at 'random'",
        )

    @staticmethod
    def _refuse(condition: bool, message: str, *value) -> None:
        if condition:
            raise ValueError(message + "".join(f", got {v!r}" for v in value))

    @property
    def ema_evaluates(self) -> bool:
        """Whether the averaged weights are the ones evaluated and saved."""
        return self.ema_role in ("evaluation", "both")
