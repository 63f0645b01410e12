"""The algorithm of a run: made for its data and batches, or one that the user made, if it fits them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..algorithms import (
    BY_PROBLEM_TYPE,
    IMBALANCE,
    SSLAlgorithm,
    get_algorithm,
    known_correction,
    known_name,
    resolve_algorithm,
)
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..problem_types import REGRESSION, SINGLE_LABEL

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
    "problem_type",
)
_DEFAULTS = {name: field.default for name, field in SSLConfig.__dataclass_fields__.items()}


def choose_algorithm(given: Choice | None, args: SSLConfig, problem_type: str | None = None) -> Choice:
    """The algorithm that the settings name, or the class or object (or other name) that was given instead.

    Args:
        given: the algorithm of `SSLTrainer`, if it was given one.
        args: the settings.
        problem_type: the kind of problem, which there must be an algorithm of that name for; None before it is known.

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
    if isinstance(given, str):
        given = known_name(given)
    if problem_type is not None and (given is None or isinstance(given, str)):
        resolve_algorithm(given or args.algorithm, problem_type)
    if given is None:
        return args.algorithm
    named = [table[args.algorithm] for table in BY_PROBLEM_TYPE.values() if args.algorithm in table]
    if args.algorithm != _DEFAULTS["algorithm"] and _class_of(given) not in (args.algorithm, *named):
        raise ValueError(
            f"algorithm must be left out of the settings, got {args.algorithm!r} beside "
            f"{given if isinstance(given, str) else _class_of(given).__name__}; give one"
        )
    if isinstance(given, SSLAlgorithm):
        _refuse_ignored_settings(given, args)
    return given


def _class_of(given: Choice) -> Any:
    """The class of an algorithm that was given as one or as an object; a name as it is."""
    return type(given) if isinstance(given, SSLAlgorithm) else given


def problem_of(data: DataSummary, args: SSLConfig, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ProblemSpec`: what the labeled examples say, and the sizes of model and batches."""
    kind = data.problem_type
    return {
        **sizes,
        "num_classes": len(data.label_names),
        "class_distribution": label_shares(data),
        "unsupervised_weight": args.unsupervised_weight,
        "modality": data.modality,
        "problem_type": kind,
        **(target_scale(data.labels) if kind == REGRESSION else {}),
    }


def label_shares(data: DataSummary) -> torch.Tensor | None:
    """The share [C] of the labeled examples that has each class or label, float32; None of numbers."""
    counts = data.label_counts
    return None if counts is None else torch.as_tensor(counts).float() / len(data.labels)


def target_scale(labels: np.ndarray) -> dict[str, torch.Tensor]:
    """Mean and standard deviation [K] of labeled numbers [L, K], float32; where all are the same, the latter is 1.

    Example:
        >>> target_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
        {'target_mean': tensor([2., 5.]), 'target_scale': tensor([1., 1.])}
    """
    numbers = labels.astype(np.float64)
    mean = torch.tensor(numbers.mean(axis=0), dtype=torch.float32)
    scale = torch.tensor(np.where(np.ptp(numbers, axis=0) > 0, numbers.std(axis=0), 1), dtype=torch.float32)
    return {"target_mean": mean, "target_scale": scale}


def check_settings(args: SSLConfig, problem_type: str) -> None:
    """Refuse settings that make no sense for a kind of problem.

    Raises:
        ValueError: in one line.
    """
    if problem_type == SINGLE_LABEL:
        return
    reasons = {
        "imbalance": (None, "it corrects for classes of different sizes, of which each example has one"),
        "label_smoothing_factor": (0.0, "it smooths the class of an example"),
        "open_set": (None, "foreign examples are those of another class"),
        "teacher_column": (None, "opinions are about one class of several"),
    }
    for name, (usual, reason) in reasons.items():
        value = getattr(args, name)
        if value != usual:
            raise ValueError(f"{name} must be {usual!r} for problem_type={problem_type!r}, got {value!r}: {reason}")
    if args.start in ("names", "teacher"):
        raise ValueError(
            f"start must be random, head or features for problem_type={problem_type!r}, got {args.start!r}: it "
            "asks which one of several classes an example has"
        )


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
            mine = getattr(choice, name)
            wanted = problem.get(name, mine)
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
