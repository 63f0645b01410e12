"""The algorithm of a run: made for its data and batches, or one that the user made, if it fits them."""

from collections.abc import Mapping
from typing import Any

import torch

from ..algorithms import IMBALANCE, SSLAlgorithm, get_algorithm, known_correction, known_name, resolve_algorithm
from ..config import SSLConfig

Choice = str | SSLAlgorithm | type[SSLAlgorithm]
# What an algorithm object must have in common with the run. Its class distribution and weight may be its own.
_SHARED = (
    "num_classes",
    "num_labeled",
    "num_unlabeled",
    "feature_size",
    "labeled_batch_size",
    "unlabeled_batch_size",
    "modality",
)
_DEFAULTS = {name: field.default for name, field in SSLConfig.__dataclass_fields__.items()}


def choose_algorithm(given: Choice | None, args: SSLConfig) -> Choice:
    """The algorithm that the settings name, or the class or object (or other name) that was given instead.

    Raises:
        ValueError: for an unknown name, also of a correction for long tails, for the name of another algorithm than
            the one that was given, and for settings that an object would ignore.

    Example:
        >>> choose_algorithm(None, SSLConfig("run", algorithm="freematch", use_cpu=True))
        'freematch'
    """
    # Cards, tables and checkpoints have one spelling.
    args.algorithm = known_name(args.algorithm)
    _check_correction(args)
    _check_teacher(args)
    named = resolve_algorithm(args.algorithm)
    if given is None:
        return args.algorithm
    cls = type(given) if isinstance(given, SSLAlgorithm) else resolve_algorithm(given)
    if args.algorithm != _DEFAULTS["algorithm"] and named is not cls:
        raise ValueError(
            f"algorithm must be left out of the settings, got {args.algorithm!r} beside {cls.__name__}; give one"
        )
    if isinstance(given, SSLAlgorithm):
        _refuse_ignored_settings(given, args)
    return given


def _check_correction(args: SSLConfig) -> None:
    """Spell the correction as the table does; its settings are checked when it is made."""
    if args.imbalance is not None:
        args.imbalance = known_correction(args.imbalance)
    elif args.imbalance_kwargs:
        raise ValueError(
            f"imbalance must be named beside imbalance_kwargs, got None; set one of {', '.join(IMBALANCE)}"
        )
    _settings_of("imbalance_kwargs", args.imbalance_kwargs)


def _check_teacher(args: SSLConfig) -> None:
    """Refuse settings of a teacher that there is not."""
    if args.teacher_column is None and args.start == "teacher":
        raise ValueError(
            "teacher_column must be named beside start='teacher', got None; name the column of the pool, or choose "
            "another start"
        )
    for name in ("teacher_weight", "teacher_schedule"):
        if args.teacher_column is None and getattr(args, name) != _DEFAULTS[name]:
            raise ValueError(
                f"teacher_column must be named beside {name}, got None; name the column of the pool, or leave {name} "
                "out"
            )


def _settings_of(name: str, given: Any) -> Mapping[str, Any]:
    """Settings as a mapping; a string was parsed by the configuration."""
    if not isinstance(given or {}, Mapping):
        raise TypeError(f"{name} must be a dict of settings, got {given!r}")
    return given or {}


def _refuse_ignored_settings(algorithm: SSLAlgorithm, args: SSLConfig) -> None:
    for name in ("algorithm_kwargs", "imbalance"):
        if getattr(args, name):
            raise ValueError(
                f"{name} must be left out beside an algorithm object, got {getattr(args, name)!r}; make the object "
                "with it (get_algorithm), or give its class"
            )
    if (args.teacher_column is None) != (algorithm.outside_teacher is None):
        there = "without a teacher" if algorithm.outside_teacher is None else "with a teacher"
        raise ValueError(
            "teacher_column must be set for an algorithm object that was made with a teacher, and for no other, got "
            f"{args.teacher_column!r} beside one {there}; make it by get_algorithm(..., teacher={{}}), or give a class"
        )
    weight, wanted = args.unsupervised_weight, algorithm.unsupervised_weight
    if weight not in (_DEFAULTS["unsupervised_weight"], wanted):
        raise ValueError(
            f"unsupervised_weight must be {wanted}, that of the algorithm object, got {weight}; make the object with "
            "this weight, or give its class"
        )


def make_algorithm(
    choice: Choice, args: SSLConfig, problem: Mapping[str, Any], class_counts: Any = None
) -> SSLAlgorithm:
    """The algorithm for one problem; an object is returned unchanged, if it was made for this problem.

    Args:
        choice: what `choose_algorithm` returned.
        args: with the algorithm's own settings, the correction for long tails, and the seed of its heads. An object
            keeps its own correction.
        problem: the fields of `ProblemSpec`.
        class_counts: labeled examples [C] of each class, as a correction is told them; None takes them from the
            problem, whose labeled set may have grown by what was picked for a round.

    Raises:
        ValueError: if an object was made for another problem, a setting is outside its range, or the correction does
            not suit the algorithm.
        TypeError: for an unknown setting, or one of another type.

    Example:
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> problem = {"num_classes": 3, "feature_size": 8, "modality": "image", **sizes}
        >>> args = SSLConfig("run", algorithm_kwargs={"threshold": 0.9}, use_cpu=True)
        >>> make_algorithm("fixmatch", args, problem).current_settings()["threshold"]
        0.9
        >>> make_algorithm(get_algorithm("fixmatch", **problem), args, {**problem, "num_classes": 7})
        Traceback (most recent call last):
        ValueError: the algorithm's num_classes must be 7, got 3; make the object for this run, or give its class
    """
    if isinstance(choice, SSLAlgorithm):
        for name in _SHARED:
            mine, wanted = getattr(choice, name), problem[name]
            if mine != wanted:
                raise ValueError(
                    f"the algorithm's {name} must be {wanted!r}, got {mine!r}; make the object for this run, or give "
                    "its class"
                )
        return choice
    hyperparameters = _settings_of("algorithm_kwargs", args.algorithm_kwargs)
    beside: dict[str, Any] = {"imbalance": args.imbalance, "imbalance_kwargs": args.imbalance_kwargs}
    beside["class_counts"] = class_counts
    if args.teacher_column is not None:
        beside["teacher"] = {"weight": args.teacher_weight, "schedule": args.teacher_schedule}
    if taken := sorted(problem.keys() & hyperparameters.keys()):
        raise TypeError(
            f"algorithm_kwargs must hold the algorithm's own settings, got {', '.join(taken)}, which comes from data "
            "and model or is a setting of SSLConfig; leave it out"
        )
    with torch.random.fork_rng(devices=[]):
        # Heads start from the seed alone, regardless of what drew random numbers before.
        torch.manual_seed(args.seed)
        return get_algorithm(choice, **beside, **problem, **hyperparameters)
