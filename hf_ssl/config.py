"""SSLConfig: the settings of a semi-supervised training."""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers import TrainingArguments

from .batch_settings import refuse_cut_batches, refuse_two_schedules, split_global_batch
from .label_settings import settle_label_settings
from .problem_types import PROBLEM_TYPES
from .script_options import yields_to_scripts
from .setting_ranges import (
    BATCH_NORM_VIEWS,
    BROKEN_FILES,
    EMA_ROLES,
    LR_SCHEDULES,
    OPEN_SETS,
    STARTS,
    TEACHER_SCHEDULES,
    parsed_setting,
    refuse_values_out_of_range,
)
from .sharding_settings import check_sharding, refuse_deepspeed
from .workers import usual_workers


class NotSet:
    """Marks the default of a setting that is a number, so that it differs from the same number set by the user."""


class _Steps(NotSet, int):
    pass


class _Epochs(NotSet, float):
    pass


@yields_to_scripts(inherited=[item.name for item in fields(TrainingArguments)])
@dataclass
class SSLConfig(TrainingArguments):
    """`TrainingArguments` with the settings of semi-supervised training. Unknown or contradictory settings are errors.

    **What is optimized**

    - `algorithm`, `algorithm_kwargs`: its name (`hf-ssl algorithms` lists them) and its own settings.
    - `imbalance`, `imbalance_kwargs`: a correction for classes of different sizes, and its own settings.
    - `start`: the head's first weights: "random", or fitted to frozen features of the labels ("head") or of labels and
      pool ("features"), to class names ("names", put into `start_template`), or to a teacher's opinions
      ("teacher"). Below a fitted head weights learn at a third of the learning rate.
    - `open_set`: what is done about examples of the pool that look foreign to the labels, see `training/open_set.py`.
    - `teacher_column`, `teacher_weight`, `teacher_schedule`: what a larger model said of the pool, learned by an
      auxiliary head beside any algorithm.
    - `unsupervised_weight`: factor of the unsupervised term, which rises from 0 over `unsupervised_warmup_steps`.

    **How fast each weight learns**

    - `layer_decay`: factor of the learning rate from each layer to the one below it; details are in
      `hf_ssl/training/optimization.py`.
    - `lr_schedule`: "trainer" for `lr_scheduler_type`, or "cosine_7_16", USB's; both warm up over `warmup_steps`.
    - `weight_decay` does not apply to biases, norms, class tokens and position embeddings.

    **What a batch is**

    - `per_device_train_batch_size`: labeled examples B of one process in one forward pass.
    - `unlabeled_batch_ratio`: mu; each pass also takes mu*B unlabeled examples.
    - `global_batch_size`: labeled examples of one step over all processes and accumulated passes, which splits the
      same step over more devices; without it each device adds `per_device_train_batch_size` labeled examples to the
      step.
    - `view_micro_batch`: most views that go through the model at a time; for batches whose activations do not fit into
      memory.
    - `train_sampling_strategy`: "random", or "group_by_length" for batches of texts of similar length (see the note).
    - `stream_buffer_size`: rows of a streamed pool that are shuffled together.
    - An epoch is one pass over the unlabeled pool; the labeled set is cycled. `max_steps` counts optimizer steps.
    - How long: `max_steps`; if only `num_train_epochs` is set, that many epochs; 10,000 steps if neither is.

    **Which weights are evaluated, saved and used as teacher**

    - `ema_decay`, `ema_role`: the moving average of the weights and what it is for.
    - `batch_norm_views`: which views enter the running statistics of batch normalization, if a model has it.

    **Where the data are and how views are made**

    - `label_column`, `input_column`, `text_pair_column`: found from the dataset's features and the processor when not
      given.
    - `problem_type`, `label_columns`, `label_separator`: one class per example, several labels, or numbers; found from
      the labels when not given.
    - `on_broken_file`: what happens to files of the pool that cannot be read.
    - `image_size`, `crop_ratio`, `horizontal_flip`, `vertical_flip`, `strong_operations`, `color_operations`: image
      views.
    - `max_length`, `augmentation_columns`, `token_delete_ratio`, `token_swap_ratio`, `token_mask_ratio`: text views.
    - `max_length_seconds`, `strong_effects`: audio views.

    **What is checked**

    - `stop_on_nan`: a loss that is not finite ends the training before it is logged, evaluated or saved.
    - `zero_mask_warning_steps`: a warning, once, if no unlabeled example took part for this many steps.
    - `duplicate_check_seconds`: time at the start to search for evaluation examples that are also trained on.

    **Defaults of `TrainingArguments` that are changed here**

    - `max_steps` 10,000 if `num_train_epochs` is not set either (was: 3 epochs); -1 counts epochs in any case.
    - `remove_unused_columns` False: views need the raw columns.
    - `logging_nan_inf_filter` False: a loss that is not a number is shown, and no step waits for the device to check
      it.
    - `logging_steps` 50.
    - `accelerator_config`: on CUDA `non_blocking` is on, like `dataloader_pin_memory`.
    - `dataloader_num_workers` -1: one less than the CPU cores for each training process, at most 8.

    Raises:
        ValueError: for settings that contradict each other or this trainer; the message says what to do.

    Example:
        >>> args = SSLConfig("run", algorithm="freematch", unlabeled_batch_ratio=7, ema_role="evaluation")
        >>> args.ema_evaluates, args.max_steps
        (True, 10000)
        >>> SSLConfig("run", num_train_epochs=2).max_steps  # two epochs
        -1
        >>> SSLConfig("run", ema_decay=1.0)
        Traceback (most recent call last):
        ValueError: ema_decay must be in [0, 1), got 1.0

    Note:
        On AG News 35 % (8 labeled and 8 unlabeled texts) to 58 % (8 and 56) of the tokens of random batches are
        padding, and at most 13 % of batches grouped by length. Grouping is not the default, as it is not `Trainer`'s:
        a batch of long texts need not hold the classes in the pool's shares, which algorithms that compare or average
        whole batches (AdaMatch, FreeMatch, SoftMatch) rely on.
    """

    algorithm: str = field(
        default="fixmatch", metadata={"help": "Name of the algorithm; `hf-ssl algorithms` lists them."}
    )
    algorithm_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The algorithm's own settings, as a dict or JSON, e.g. '{\"threshold\": 0.9}'."},
    )
    imbalance: str | None = field(
        default=None,
        metadata={
            "help": "Name of a correction for classes of different sizes; `hf-ssl algorithms` lists them. If not set, "
            "nothing is corrected."
        },
    )
    imbalance_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "The correction's own settings, as a dict or JSON, e.g. '{\"weight\": 0.5}'."}
    )
    start: str = field(
        default="random",
        metadata={
            "help": "Where the head starts: 'random'; 'head', fitted to the features of the labeled examples; "
            "'features', fitted to labels and pool together; 'names', to what a CLIP- or SigLIP-like model says of "
            "labels and pool by the names of the classes; 'teacher', to labels and the opinions of teacher_column. "
            "Below a fitted head weights learn at a third of the learning rate.",
            "choices": list(STARTS),
        },
    )
    open_set: str | None = field(
        default=None,
        metadata={
            "help": "For a pool with classes that nobody labeled: 'report' says how many examples look foreign, and "
            "'drop' also leaves them out. If not set, nobody looks.",
            "choices": list(OPEN_SETS),
        },
    )
    start_template: str = field(
        default="a photo of {}.", metadata={"help": "What start='names' puts the name of a class into, at {}."}
    )
    teacher_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the pool with the opinions of a larger model, as `hf-ssl teach` writes it: "
            "probabilities by class (or a list of them in the order of the classes), or a class; empty where there is "
            "none. If not set, nothing is learned from a teacher."
        },
    )
    teacher_weight: float = field(
        default=1.0, metadata={"help": "Factor of the teacher's term in the loss, at least 0."}
    )
    teacher_schedule: str = field(
        default="falling",
        metadata={
            "help": "How the teacher's factor goes over the run: 'falling' to 0, 'constant', or 'rising' from 0.",
            "choices": list(TEACHER_SCHEDULES),
        },
    )
    unlabeled_batch_ratio: int = field(
        default=1, metadata={"help": "Unlabeled examples for each labeled one in a batch (mu), at least 1."}
    )
    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Labeled examples of one optimizer step over all processes and accumulated passes; sets "
            "per_device_train_batch_size. If not set, each process adds per_device_train_batch_size to the step."
        },
    )
    view_micro_batch: int | None = field(
        default=None,
        metadata={
            "help": "Most views (rows of all kinds together) that go through the model at a time: the step is the "
            "same, its activations take less memory and it takes about one more forward pass. Not for models with "
            "batch normalization."
        },
    )
    stream_buffer_size: int = field(
        default=1000,
        metadata={
            "help": "Rows of a streamed pool that are shuffled together, at least 0; up to twice as many are in "
            "memory. 0 takes them as they come. start='head' and 'features' read as many of the first rows."
        },
    )
    unsupervised_weight: float = field(
        default=1.0, metadata={"help": "Factor of the unsupervised term in the loss, at least 0."}
    )
    unsupervised_warmup_steps: int = field(
        default=0,
        metadata={
            "help": "Steps over which the factor of the unsupervised term rises linearly from 0, for short runs: the "
            "first pseudo-labels of a new head are random, and algorithms that count them all may never unlearn them."
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
            "(gives the targets of algorithms that have a teacher, which switch it on by themselves), or 'both'.",
            "choices": list(EMA_ROLES),
        },
    )
    batch_norm_views: str = field(
        default="published",
        metadata={
            "help": "Views that update the running statistics of batch normalization: 'published' (as in the "
            "algorithm's reference: all of the joint pass, or the labeled ones if it makes separate calls), "
            "'labeled', or 'all'.",
            "choices": list(BATCH_NORM_VIEWS),
        },
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor of the learning rate from each layer to the one below it, in (0, 1]; 1 for one rate."
        },
    )
    lr_schedule: str = field(
        default="trainer",
        metadata={
            "help": "'trainer': as lr_scheduler_type says; 'cosine_7_16': cos(7/16 pi t) over the steps after "
            "warmup_steps.",
            "choices": list(LR_SCHEDULES),
        },
    )
    label_column: str | None = field(
        default=None, metadata={"help": "Column of the class; found from the dataset's features when not given."}
    )
    label_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Several columns instead of label_column, also as 'a,b,c': of 0 and 1, one for each of several "
            "labels, or of numbers to predict."
        },
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "What stands between several labels in one text, such as ';' in 'cat;dog'."}
    )
    problem_type: str | None = field(
        default=None,
        metadata={
            "help": "What is predicted: 'single_label_classification' (one class), 'multi_label_classification' "
            "(several labels, or none) or 'regression' (numbers); found from the labels when not given.",
            "choices": list(PROBLEM_TYPES),
        },
    )
    input_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the input; found from the dataset's features and the processor when not given. If you "
            "name a raw column, views are made from it even if the rows also contain model inputs (input_ids, "
            "pixel_values, ...)."
        },
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column of the second text of a pair; usual names (premise, hypothesis) are found."},
    )
    on_broken_file: str = field(
        default="skip",
        metadata={
            "help": "What to do about files of the pool that are missing or broken: 'skip' uses other examples of the "
            "pool instead and logs how often (broken_files), 'error' stops with the file's name. Broken labeled and "
            "evaluation files always stop the run.",
            "choices": list(BROKEN_FILES),
        },
    )
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side in pixels of the squares that the image processor shall make; saved with the model."},
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
        default=True, metadata={"help": "Let strong image views change colors; turn it off for gray or coded images."}
    )
    stop_on_nan: bool = field(
        default=True,
        metadata={"help": "Stop with an error if a loss, a score or a weight to be saved is NaN or infinite."},
    )
    zero_mask_warning_steps: int = field(
        default=500,
        metadata={
            "help": "Warn once if the mask ratio has been 0 for this many steps (checked at every log line), or in "
            "the whole of a shorter training. 0 disables the warning."
        },
    )
    duplicate_check_seconds: float = field(
        default=60.0,
        metadata={
            "help": "Longest search in seconds, at the start, for evaluation examples that are also trained on. All "
            "of them are compared with the labeled examples, and with 500 random ones of the pool, so that a large "
            "pool is not read (50,000 small evaluation images take about one second). 0 disables the search."
        },
    )
    max_length: int | None = field(
        default=None, metadata={"help": "Most tokens of a text; the tokenizer's limit, or 512, when not given."}
    )
    augmentation_columns: list[str] = field(
        default_factory=lambda: ["aug_0", "aug_1"],
        metadata={
            "help": "Columns of the pool with ready strong texts, such as back-translations; one is drawn at random. "
            "In rows without any, words are deleted, swapped and masked, which is not comparable with USB's numbers."
        },
    )
    token_delete_ratio: float = field(
        default=0.1, metadata={"help": "Share of words that a strong text view deletes, in [0, 1)."}
    )
    token_swap_ratio: float = field(
        default=0.1, metadata={"help": "Exchanges of neighboring words, per word, in a strong text view, in [0, 1)."}
    )
    token_mask_ratio: float = field(
        default=0.15, metadata={"help": "Share of tokens that a strong text view masks, in [0, 1)."}
    )
    max_length_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Length of an audio view in seconds, above 0, cropped at random from longer recordings; when not "
            "given, the one saved with the feature extractor, or that of the longest labeled recording, at most 10."
        },
    )
    strong_effects: int = field(
        default=2, metadata={"help": "Effects (gain, pitch, speed, reverberation) of a strong audio view, at least 0."}
    )

    output_dir: str = field(
        default="trainer_output",
        metadata={"help": "Folder for the model, its card and its checkpoints."},
    )
    max_steps: int = field(
        default=_Steps(10_000),
        metadata={
            "help": "Optimizer steps. -1, and the default if num_train_epochs is set, counts epochs over the "
            "unlabeled pool instead."
        },
    )
    num_train_epochs: float = field(
        default=_Epochs(3.0),
        metadata={"help": "Passes over the unlabeled pool, if it is set and max_steps is not, or max_steps is -1."},
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay off: views need the raw columns."})
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave losses that are not numbers out of the logged mean (hides trouble)."}
    )
    dataloader_num_workers: int = field(
        default=-1,
        metadata={
            "help": "Processes that make views. -1: one less than the CPU cores for each training process, at most "
            "8; 0 if processes are not forked, as on macOS and Windows, since everything would have to be picklable. "
            "Views do not depend on it."
        },
    )
    logging_steps: float = field(
        default=50, metadata={"help": "Log every this many steps or, if below 1, every this fraction of all steps."}
    )

    def __post_init__(self) -> None:
        # TrainingArguments sets a default, from which the user's own choice cannot be told.
        self.metric_is_chosen = self.metric_for_best_model is not None
        self.algorithm_kwargs = parsed_setting("algorithm_kwargs", self.algorithm_kwargs, '{"threshold": 0.9}')
        self.imbalance_kwargs = parsed_setting("imbalance_kwargs", self.imbalance_kwargs, '{"weight": 0.5}')
        refuse_deepspeed(self.deepspeed)
        if self.dataloader_num_workers == -1:
            self.dataloader_num_workers = usual_workers()
        # Nothing is pinned without an accelerator, and each loader would warn of that.
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        if self.accelerator_config is None:
            # If batches are in pinned memory, the next one goes to the GPU while it computes.
            self.accelerator_config = {"non_blocking": self.dataloader_pin_memory and torch.cuda.is_available()}
        super().__post_init__()
        self.check()

    def check(self) -> None:
        """Settle what depends on several settings, and refuse values that do not work: after settings were changed.

        Raises:
            ValueError: for settings that contradict each other or this trainer; the message says what to do.

        Example:
            >>> args = SSLConfig("run", use_cpu=True)
            >>> args.num_train_epochs = 2
            >>> args.check()
            >>> args.max_steps
            -1
        """
        if isinstance(self.max_steps, NotSet) and not isinstance(self.num_train_epochs, NotSet):
            self.max_steps = -1
        check_sharding(self)
        refuse_values_out_of_range(self)
        refuse_two_schedules(self)
        refuse_cut_batches(self)
        split_global_batch(self)
        settle_label_settings(self)

    def to_dict(self) -> dict[str, Any]:
        """As in `TrainingArguments`, with plain numbers."""
        length = {"max_steps": int(self.max_steps), "num_train_epochs": float(self.num_train_epochs)}
        return {**super().to_dict(), **length}

    @property
    def ema_evaluates(self) -> bool:
        """Whether the averaged weights are the ones that are evaluated and saved."""
        return self.ema_role in ("evaluation", "both")
