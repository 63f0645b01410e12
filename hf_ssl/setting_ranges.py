"""Which values the settings of `SSLConfig` may have, and the names of those that are a choice."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

LR_SCHEDULES = ("trainer", "cosine_7_16")
BROKEN_FILES = ("skip", "error")
OPEN_SETS = ("report", "drop")
STARTS = ("random", "head", "features", "names", "teacher")
TEACHER_SCHEDULES = ("falling", "constant", "rising")
SAMPLING = ("random", "group_by_length")
EMA_ROLES = ("none", "evaluation", "teacher", "both")
BATCH_NORM_VIEWS = ("published", "labeled", "all")


@dataclass(frozen=True)
class Range:
    """Which values a setting may have.

    Args:
        text: in words, after "must be".
        holds: whether a value of its kind is one of them.
        note: what else an error should say.
        kind: "a number" or "a whole number", or None for anything.
        optional: whether it may be None.
    """

    text: str
    holds: Callable[[Any], bool]
    note: str = ""
    kind: str | None = None
    optional: bool = False

    def problem(self, value: Any) -> str | None:
        """What a value must be instead; None if it is one of the range.

        Example:
            >>> _whole(1).problem(4), _whole(1).problem(0), _whole(1).problem("4"), _at_least(0).problem(True)
            (None, 'at least 1', 'a whole number, at least 1', 'a number, at least 0')
        """
        if value is None and self.optional:
            return None
        if self.kind is not None and not is_of(self.kind, value):
            return f"{self.kind}, {self.text}"
        return None if self.holds(value) else self.text


def is_of(kind: str, value: Any) -> bool:
    """Whether a value is "a number" or "a whole number", finite, and neither True nor False."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return isinstance(value, Integral) if kind == WHOLE else math.isfinite(value)


NUMBER, WHOLE = "a number", "a whole number"


def _at_least(lowest: float) -> Range:
    return Range(f"at least {lowest}", lambda value: value >= lowest, kind=NUMBER)


def _whole(lowest: int, optional: bool = False) -> Range:
    return Range(f"at least {lowest}", lambda value: value >= lowest, kind=WHOLE, optional=optional)


def _one_of(names: tuple[str, ...], note: str = "") -> Range:
    return Range(f"one of {', '.join(names)}", lambda value: value in names, note)


def _only(wanted: Any, note: str) -> Range:
    return Range(repr(wanted), lambda value: value == wanted, note)


_SHARE = Range("in [0, 1)", lambda value: 0 <= value < 1, kind=NUMBER)
_FACTOR = Range("in (0, 1]", lambda value: 0 < value <= 1, kind=NUMBER)
_EVERY = Range("above 0", lambda value: value > 0, "a number of steps, or a share of all of them", NUMBER, True)
_ABOVE_0 = Range("above 0", lambda value: value > 0, kind=NUMBER, optional=True)
_SIZE = Range("above 0", lambda value: value > 0, kind=WHOLE, optional=True)

RANGES = {
    "max_steps": Range("at least 1, or -1 for num_train_epochs", lambda value: value >= 1 or value == -1, kind=WHOLE),
    "per_device_train_batch_size": _whole(1),
    "per_device_eval_batch_size": _whole(1),
    "gradient_accumulation_steps": _whole(1),
    "learning_rate": _at_least(0),
    "weight_decay": _at_least(0),
    "max_grad_norm": _at_least(0),
    "eval_steps": _EVERY,
    "save_steps": _EVERY,
    "logging_steps": _EVERY,
    "dataloader_num_workers": _whole(0),
    "unlabeled_batch_ratio": _whole(1),
    "global_batch_size": _whole(1, optional=True),
    "stream_buffer_size": _whole(0),
    "unsupervised_weight": _at_least(0),
    "unsupervised_warmup_steps": _whole(0),
    "teacher_weight": _at_least(0),
    "teacher_schedule": _one_of(TEACHER_SCHEDULES),
    "ema_decay": _SHARE,
    "ema_role": _one_of(EMA_ROLES),
    "view_micro_batch": _whole(1, optional=True),
    "batch_norm_views": _one_of(BATCH_NORM_VIEWS),
    "crop_ratio": _FACTOR,
    "strong_operations": _whole(1),
    "layer_decay": _FACTOR,
    "lr_schedule": _one_of(LR_SCHEDULES),
    "zero_mask_warning_steps": _whole(0),
    "duplicate_check_seconds": _at_least(0),
    "on_broken_file": _one_of(BROKEN_FILES),
    "start": _one_of(STARTS),
    "open_set": Range(f"one of {', '.join(OPEN_SETS)}, or None", lambda value: value in OPEN_SETS, optional=True),
    "token_delete_ratio": _SHARE,
    "token_swap_ratio": _SHARE,
    "token_mask_ratio": _SHARE,
    "max_length": _SIZE,
    "max_length_seconds": _ABOVE_0,
    "image_size": _SIZE,
    "strong_effects": _whole(0),
    # Settings of the Trainer under which a joint batch would be reordered or its loss replaced, silently.
    "ignore_data_skip": _only(False, "resuming would continue with other data than the interrupted run; leave it off"),
    "remove_unused_columns": _only(False, "it would drop the columns that views are made from; leave it off"),
    "label_smoothing_factor": _SHARE,
    "dataloader_in_order": _only(True, "resuming would continue with other batches; leave it on"),
    "train_sampling_strategy": _one_of(SAMPLING, "joint batches are always drawn at random"),
}


def parsed_setting(name: str, value: Any, example: str) -> Any:
    """Settings of an algorithm or a correction, which may be given as JSON.

    Example:
        >>> parsed_setting("algorithm_kwargs", '{"threshold": 0.9}', "{}")
        {'threshold': 0.9}

    Raises:
        ValueError: if it is not JSON; the message has the example.
    """
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON, got {value!r}: {error}; an example is '{example}'") from None


def refuse_values_out_of_range(args: Any) -> None:
    """Raise a ValueError that names the first setting whose value is outside of `RANGES`."""
    for name, allowed in RANGES.items():
        value = getattr(args, name)
        if (wanted := allowed.problem(value)) is not None:
            note = f": {allowed.note}" if allowed.note else ""
            raise ValueError(f"{name} must be {wanted}, got {value!r}{note}")
    if args.max_steps == -1 and not (is_of(NUMBER, args.num_train_epochs) and args.num_train_epochs > 0):
        raise ValueError(f"num_train_epochs must be above 0, got {args.num_train_epochs!r}; or set max_steps")
