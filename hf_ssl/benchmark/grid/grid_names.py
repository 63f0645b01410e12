"""The names in a grid file, and what is said about wrong ones: one line with the place and the nearest known name."""

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from importlib import import_module
from typing import Any

import torch

from ...algorithms import ALGORITHMS, get_algorithm, known_name
from ...config import SSLConfig
from ...settings.published import PUBLISHED_SETTINGS
from .recipes import FULLY_SUPERVISED
from .schedules import Settings
from .small.models import SMALL_MODELS

# Settings of `SSLConfig` that a cell has for itself, or that change nothing but where and when.
_NOT_OF_GRIDS = {"algorithm", "algorithm_kwargs", "imbalance", "imbalance_kwargs", "seed", "data_seed", "use_cpu"} | {
    *("eval_strategy", "logging_strategy", "eval_on_start", "eval_delay", "load_best_model_at_end"),
    *("metric_for_best_model", "greater_is_better", "prediction_loss_only", "batch_eval_metrics", "ignore_data_skip"),
}
# Settings that are not in force, since every schedule has the other one.
_OTHERWISE = {"num_train_epochs": "max_steps", "per_device_train_batch_size": "global_batch_size"}
# A problem of two classes, to try settings on.
_TINY: dict[str, Any] = {
    **{"num_classes": 2, "num_labeled": 2, "num_unlabeled": 4, "feature_size": 2},
    **{"labeled_batch_size": 2, "unlabeled_batch_size": 2, "class_distribution": None},
}
_PREFIXES = ("dataloader_", "save_", "ddp_", "fsdp", "include_", "eval_do_", "eval_use_")


class Names(str):
    """A place in a grid file, for errors.

    Example:
        >>> print(Names("mine") / "tasks" / "digits")
        mine: tasks: digits
    """

    def __truediv__(self, part: str) -> "Names":
        return Names(f"{self}: {part}")


def algorithm_names() -> tuple[str, ...]:
    """The algorithms that a grid may name, in the order of `ALGORITHMS`, to which `imports` may have added some."""
    return (*ALGORITHMS, FULLY_SUPERVISED)


@cache
def correction_names() -> tuple[str, ...]:
    """The corrections for long tails that a grid may name."""
    return tuple(getattr(import_module("hf_ssl.algorithms"), "IMBALANCE", ()))


@cache
def training_names() -> tuple[str, ...]:
    """The settings of `SSLConfig` that a grid may set."""
    names = (PUBLISHED_SETTINGS & {item.name for item in fields(SSLConfig)}) - _NOT_OF_GRIDS - set(_OTHERWISE)
    return tuple(sorted(name for name in names if not name.startswith(_PREFIXES)))


def table(value: Any, keys: Sequence[str], where: Names) -> dict[str, Any]:
    """A mapping that has known keys alone.

    Raises:
        ValueError: in one line, for anything else.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping with keys of {', '.join(keys)}, got {_shown(value)}; write one")
    for key in value:
        known(key, keys, "key", where)
    return dict(value)


def listed(value: Any, where: Names) -> list[Any]:
    """A list that is not empty; one value alone is a list of it."""
    found = value if isinstance(value, list) else [value]
    if not found or value is None:
        raise ValueError(f"{where} must be a list of names or numbers, got {_shown(value)}; list at least one")
    return found


def number(value: Any, where: Names) -> int:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{where} must have whole numbers of at least 0, got {_shown(value)}; correct it")
    return value


def known(value: Any, names: Iterable[Any], what: str, where: Names) -> Any:
    """The value, which is one of the names.

    Raises:
        ValueError: in one line, with the nearest known name.

    Example:
        >>> known("digitz", ["digits", "tones"], "task", Names("mine"))
        Traceback (most recent call last):
        ValueError: mine: unknown task 'digitz', did you mean 'digits'?
    """
    names = list(names)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value), map(str, names), n=1)
    if near:
        raise ValueError(f"{where}: unknown {what} {_shown(value)}, did you mean {near[0]!r}?")
    listing = ", ".join(map(str, names[:40])) or "none"
    raise ValueError(f"{where}: unknown {what} {_shown(value)}; the known ones are {listing}")


def named(value: Any, names: Sequence[str], what: str, where: Names) -> str:
    """The name of an algorithm, spelled as `known_name` allows."""
    try:
        return known_name(str(value), [FULLY_SUPERVISED])
    except ValueError:
        return known(value, names, what, where)


def check_settings(settings: Mapping[str, Any], where: Names, algorithm: str | None = None) -> Settings:
    """Settings by topic whose names and values are possible; topics without any are left out.

    Raises:
        ValueError: in one line, for a setting that there is not, or a value that it cannot have.
    """
    found: Settings = {}
    for topic, values in settings.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}: {topic} must be a mapping of settings, got {_shown(values)}; write one")
        plain(values, where / topic)
        for name in values if topic == "training" else ():
            if (instead := _OTHERWISE.get(name)) is not None:
                raise ValueError(f"{where}: {name} is not in force beside the schedule's {instead}; set {instead}")
            known(name, training_names(), "setting", where)
        if values:
            found[topic] = dict(values)
    if algorithm in ALGORITHMS and "algorithm" in found:
        for name in found["algorithm"]:
            known(name, tuple(ALGORITHMS[algorithm].settings()), f"setting of {algorithm}", where)
        _try(algorithm, found["algorithm"], where)
    return found


def plain(value: Any, where: Names) -> None:
    """Check that a value can be written to a cell's file.

    Raises:
        ValueError: in one line, for a date, a number that is not finite, and whatever else JSON does not have.

    Example:
        >>> plain({"learning_rate": float("nan")}, Names("mine"))
        Traceback (most recent call last):
        ValueError: mine: learning_rate must be a text, a finite number, true, false or null, got nan; correct it
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            plain(inner, where / str(name))
    elif isinstance(value, list):
        for inner in value:
            plain(inner, where)
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        raise ValueError(
            f"{where} must be a text, a finite number, true, false or null, got {_shown(value)}; correct it"
        )


def check_training(training: Mapping[str, Any], where: Names) -> None:
    """Check the values of all settings of a training together.

    Raises:
        ValueError: in one line, for a value that `SSLConfig` refuses, and for a schedule of rates beside another.

    Example:
        >>> check_training({"max_steps": 9, "learning_rate": "1e-4"}, Names("mine"))
        Traceback (most recent call last):
        ValueError: mine: learning_rate must be a number, at least 0, got '1e-4'; write 0.0001 (or 1.0e-4)
    """
    if "lr_scheduler_type" in training and (rates := training.get("lr_schedule", "trainer")) != "trainer":
        raise ValueError(
            f"{where}: lr_scheduler_type is not in force beside lr_schedule {rates!r}; set that to trainer"
        )
    own: dict[str, Any] = {
        "output_dir": "run",
        "use_cpu": True,
        "report_to": "none",
        "eval_strategy": "steps",
        "save_strategy": "no",
    }
    try:
        SSLConfig(**own, **training)
    except (ValueError, TypeError) as error:
        told = " ".join(str(error).split())
        text = next((value for value in training.values() if repr(value) in told and _is_number(value)), None)
        # YAML takes a number for a text that has an exponent and no point.
        hint = "" if text is None else f"; write {float(text)} (or {_with_point(text)})"
        raise ValueError(f"{where}: {told}{hint}") from None


def check_correction(algorithm: str, correction: str, settings: Mapping[str, Any], where: Names) -> None:
    """Check the settings of a correction for long tails.

    Raises:
        ValueError: in one line, for a setting that there is not, or a value that it cannot have.
    """
    plain(settings, where)
    try:
        get_algorithm(
            algorithm, **_TINY, imbalance=correction, imbalance_kwargs=settings, class_counts=torch.tensor([1, 1])
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())}") from None


def check_model(backbone: str, settings: Mapping[str, Any], where: Names) -> None:
    """Check the settings "model" of a cell, which the small models alone have.

    Raises:
        ValueError: in one line, for a setting that there is not.

    Example:
        >>> check_model("tiny-resnet", {"sid": 8}, Names("mine"))
        Traceback (most recent call last):
        ValueError: mine: unknown setting of tiny-resnet 'sid', did you mean 'side'?
    """
    maker = SMALL_MODELS.get(backbone)
    # The first two are the class names and the pool.
    names = list(inspect.signature(maker).parameters)[2:] if maker is not None else []
    for name in settings:
        known(name, names, f"setting of {backbone}", where)


def check_options(options: Mapping[str, Any], where: Names) -> None:
    """Check the values of a task's options.

    Raises:
        ValueError: in one line, for one that cannot be.
    """
    plain(options, where)
    for name in ("test_examples", "num_unlabeled"):
        if name in options and number(options[name], where / name) == 0:
            raise ValueError(f"{where}: {name} must be at least 1, got 0; leave it out for all of them")
    for name in ("labeled_imbalance", "unlabeled_imbalance"):
        value = options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
            raise ValueError(f"{where}: {name} must be a number other than 0, got {_shown(value)}; correct it")
    if not isinstance(options.get("deduplicated", False), bool):
        raise ValueError(f"{where}: deduplicated must be true or false, got {_shown(options['deduplicated'])}; choose")


@cache
def composing_problem(algorithm: str, correction: str) -> str:
    """Why an algorithm does not go with a correction for long tails, in one line; "" if it does."""
    if algorithm not in ALGORITHMS:
        return "it trains on every label; leave the correction out"
    try:
        get_algorithm(algorithm, **_TINY, imbalance=correction, class_counts=torch.tensor([1, 1]))
    except (ValueError, TypeError) as error:
        return " ".join(str(error).split())
    return ""


def _try(algorithm: str, settings: Mapping[str, Any], where: Names) -> None:
    """Make the algorithm with these settings, for a tiny problem."""
    try:
        get_algorithm(algorithm, **_TINY, **settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _with_point(text: str) -> str:
    digits, exponent, power = text.lower().partition("e")
    return f"{digits}.0{exponent}{power}" if exponent and "." not in digits else text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
