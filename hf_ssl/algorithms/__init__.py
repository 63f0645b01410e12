"""The algorithms: `ALGORITHMS` is the table, in the order in which to read them; `get_algorithm` makes one.

`ALGORITHMS` are those for one class per example. `BY_PROBLEM_TYPE` has a table for each kind of problem, in which a
name may stand for another class: FixMatch with a threshold for each label, say.

base         the contract: `SSLAlgorithm`, and what it is given and returns
problem      sizes, classes and modality (`ProblemSpec`), and how far training is (`Progress`)
criteria     what is minimized on labeled examples of each kind of problem
correction   the contract of corrections for long tails, which can be put around an algorithm
imbalance/   `IMBALANCE`, the table of these corrections, one file for each
steps        statistics of whole steps, regardless of how many passes a step takes
outside_teacher  the opinions of a larger model, which can be added to any algorithm
weak_strong  the step that FixMatch and its descendants share
parts/       what several algorithms are built from
multi_label/ algorithms for examples with any number of labels
regression/  algorithms that predict numbers
fixmatch ... one file for each algorithm
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from ..problem_types import IN_WORDS, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .adamatch import AdaMatch
from .allmatch import AllMatch
from .base import AlgorithmOutput, SSLAlgorithm
from .cgmatch import CGMatch
from .comatch import CoMatch
from .correction import Correction
from .crmatch import CRMatch
from .dash import Dash
from .defixmatch import DeFixMatch
from .entropy_minimization import EntropyMinimization
from .fixmatch import FixMatch
from .flexmatch import FlexMatch
from .freematch import FreeMatch
from .imbalance import IMBALANCE
from .iomatch import IOMatch
from .mean_teacher import MeanTeacher
from .mixmatch import MixMatch
from .multi_label import MULTI_LABEL_ALGORITHMS
from .multimatch import MultiMatch
from .noisy_student import NoisyStudent
from .openmatch import OpenMatch
from .outside_teacher import OutsideTeacher
from .pi_model import PiModel
from .problem import PROBLEM_KEYWORDS, ProblemSpec, Progress
from .propagation import Propagation
from .pseudo_label import PseudoLabel
from .refixmatch import ReFixMatch
from .regmixmatch import RegMixMatch
from .regression import REGRESSION_ALGORITHMS
from .remixmatch import ReMixMatch
from .semireward import SemiReward
from .sequencematch import SequenceMatch
from .shrinkmatch import ShrinkMatch
from .simmatch import SimMatch
from .softmatch import SoftMatch
from .supervised import Supervised
from .uda import UDA
from .vat import VAT

__all__ = [
    "ALGORITHMS",
    "BY_PROBLEM_TYPE",
    "IMBALANCE",
    "AlgorithmOutput",
    "ProblemSpec",
    "Progress",
    "SSLAlgorithm",
    "get_algorithm",
    "known_correction",
    "known_name",
    "name_of_correction",
    "resolve_algorithm",
    "resolve_correction",
]

ALGORITHMS: dict[str, type[SSLAlgorithm]] = {
    "supervised": Supervised,
    "entropy_minimization": EntropyMinimization,
    "pseudo_label": PseudoLabel,
    "pi_model": PiModel,
    "mean_teacher": MeanTeacher,
    "vat": VAT,
    "mixmatch": MixMatch,
    "remixmatch": ReMixMatch,
    "fixmatch": FixMatch,
    "uda": UDA,
    "noisy_student": NoisyStudent,
    "propagation": Propagation,
    "flexmatch": FlexMatch,
    "adamatch": AdaMatch,
    "dash": Dash,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
    "crmatch": CRMatch,
    "defixmatch": DeFixMatch,
    "refixmatch": ReFixMatch,
    "comatch": CoMatch,
    "simmatch": SimMatch,
    "sequencematch": SequenceMatch,
    "shrinkmatch": ShrinkMatch,
    "cgmatch": CGMatch,
    "multimatch": MultiMatch,
    "regmixmatch": RegMixMatch,
    "semireward": SemiReward,
    "allmatch": AllMatch,
    "openmatch": OpenMatch,
    "iomatch": IOMatch,
}
BY_PROBLEM_TYPE: dict[str, dict[str, type[SSLAlgorithm]]] = {
    SINGLE_LABEL: ALGORITHMS,
    MULTI_LABEL: MULTI_LABEL_ALGORITHMS,
    REGRESSION: REGRESSION_ALGORITHMS,
}
# What to do instead of a correction for classes of different sizes.
_INSTEAD = {MULTI_LABEL: "; set gamma_negative (asymmetric loss) in algorithm_kwargs, or take cap"}


def resolve_algorithm(algorithm: str | type[SSLAlgorithm], problem_type: str = SINGLE_LABEL) -> type[SSLAlgorithm]:
    """The class of that name for a kind of problem, spelled as `known_name` allows; a class is returned unchanged.

    Raises:
        ValueError: for an unknown name, or one that is not for this kind of problem; the message lists those that are,
            and says why this one is not.

    Example:
        >>> resolve_algorithm("fixmatch").title
        'FixMatch'
        >>> resolve_algorithm("freematch", "regression")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: algorithm must be one for numbers (supervised, ...), got 'freematch', which is for one class ...
    """
    if not isinstance(algorithm, str):
        return algorithm
    name, table = known_name(algorithm), BY_PROBLEM_TYPE[problem_type]
    if name in table:
        return table[name]
    found = {IN_WORDS[kind]: known[name].presumes for kind, known in BY_PROBLEM_TYPE.items() if name in known}
    raise ValueError(
        f"algorithm must be one for {IN_WORDS[problem_type]} ({', '.join(table)}), got {name!r}, which is for "
        f"{' and '.join(found)}: {next(filter(None, found.values()), 'set problem_type if the labels are meant so')}"
    )


def known_name(name: str, others: Sequence[str] = ()) -> str:
    """The algorithm's name that a person means: in any case, with -, _, a space or nothing between words.

    Args:
        name: as it was typed.
        others: further names that are taken.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> known_name("FixMatch"), known_name("mean-teacher"), known_name("Auto", ["auto"])
        ('fixmatch', 'mean_teacher', 'auto')
    """
    known = dict.fromkeys(name for table in BY_PROBLEM_TYPE.values() for name in table)
    return _known(name, [*others, *known], "algorithm")


def _known(name: str, known: Sequence[str], kind: str) -> str:
    plain = {_letters(each): each for each in known}
    if _letters(name) not in plain:
        near = difflib.get_close_matches(_letters(name), plain, n=2)
        ask = f" (did you mean {' or '.join(plain[each] for each in near)}?)" if near else ""
        raise ValueError(f"unknown {kind} {name!r}; the known ones are {', '.join(known)}{ask}")
    return plain[_letters(name)]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def get_algorithm(
    name: str | type[SSLAlgorithm],
    *,
    imbalance: str | type[Correction] | None = None,
    imbalance_kwargs: Mapping[str, Any] | None = None,
    class_counts: Any = None,
    teacher: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> SSLAlgorithm:
    """An algorithm for one problem, by its name or from a custom class.

    Args:
        name: a key of `ALGORITHMS` (or of the table for the problem_type), or a subclass of `SSLAlgorithm`.
        keywords: the fields of `ProblemSpec` (num_classes, num_labeled, num_unlabeled, feature_size,
            labeled_batch_size and unlabeled_batch_size are required; the others have defaults), and any of the
            algorithm's own settings, which `ALGORITHMS[name].settings()` lists.
        imbalance: a key of `IMBALANCE`, or a subclass of `Correction`: a correction for classes of different sizes.
        imbalance_kwargs: its own settings, which `IMBALANCE[imbalance].settings()` lists.
        class_counts: number of labeled examples [C] of each class; None takes them from `class_distribution`.
        teacher: settings of `OutsideTeacher` ({} for its defaults): the algorithm also learns what a larger model said
            of the pool, `SSLBatch.opinions`; None for no such term.

    Raises:
        ValueError: for an unknown name or a setting outside its range.
        TypeError: for an unknown setting (the message lists the valid ones), or a value of another type than it has.

    Example:
        Three steps of a plain PyTorch loop, on random numbers:

        >>> import torch
        >>> from hf_ssl import ModelForward, SSLBatch
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> algorithm = get_algorithm("fixmatch", threshold=0.4, num_classes=3, feature_size=4, **sizes)
        >>> optimizer = torch.optim.SGD([*model.parameters(), *algorithm.parameters()], lr=0.1)
        >>> for step in range(3):
        ...     batch = SSLBatch(
        ...         labeled={"input": torch.randn(2, 5)},
        ...         labels=torch.tensor([0, 2]),
        ...         unlabeled={view: {"input": torch.randn(4, 5)} for view in algorithm.views},
        ...     )
        ...     output = algorithm(ModelForward(model), batch, Progress.in_run(step, max_steps=3))
        ...     optimizer.zero_grad()
        ...     output.loss.backward()
        ...     optimizer.step()
        >>> list(output.terms), list(output.metrics)
        (['supervised', 'unsupervised'], ['mask_ratio'])
    """
    cls = resolve_algorithm(name, keywords.get("problem_type", SINGLE_LABEL))
    algorithm = cls(**_checked(cls, keywords, PROBLEM_KEYWORDS))
    if imbalance is not None:
        kind = algorithm.problem.problem_type
        if kind != SINGLE_LABEL:
            raise ValueError(
                f"imbalance must be None for {IN_WORDS[kind]}, got {imbalance!r}: corrections count examples by "
                f"their one class{_INSTEAD.get(kind, '')}"
            )
        algorithm.correct_with(_correction(imbalance, imbalance_kwargs or {}, class_counts, algorithm.problem))
    elif imbalance_kwargs:
        raise ValueError(f"imbalance must be named beside imbalance_kwargs, got None; name one of {_names(IMBALANCE)}")
    if teacher is not None:
        algorithm.learn_from(OutsideTeacher(algorithm.problem, **teacher))
    return algorithm


def _correction(
    name: str | type[Correction], settings: Mapping[str, Any], class_counts: Any, problem: ProblemSpec
) -> Correction:
    cls = resolve_correction(name)
    if class_counts is None:
        # Whole numbers, if they are that but for rounding.
        class_counts = problem.frequencies().double() * problem.num_labeled
        whole, near = class_counts.round(), 1e-3 + 1e-6 * problem.num_labeled
        class_counts = whole.where((class_counts - whole).abs() < near, class_counts)
    return cls(problem=problem, class_counts=class_counts, **_checked(cls, settings))


def known_correction(name: str) -> str:
    """The name in `IMBALANCE` that a person means, spelled as `known_name` allows, and with "+" for "_plus".

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> known_correction("Logit-Adjustment")
        'logit_adjustment'
    """
    return _known(name.replace("+", "_plus"), list(IMBALANCE), "imbalance correction")


def name_of_correction(correction: Correction) -> str | None:
    """Its name in `IMBALANCE`, or that of its class; None for the one of every algorithm, which changes nothing.

    Example:
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> algorithm = get_algorithm("fixmatch", num_classes=3, feature_size=4, imbalance="abc", **sizes)
        >>> name_of_correction(algorithm.correction)
        'abc'
    """
    cls = type(correction)
    known = {each: name for name, each in IMBALANCE.items()}
    return None if cls is Correction else known.get(cls, cls.__name__)


def resolve_correction(name: str | type[Correction]) -> type[Correction]:
    """The class of that name in `IMBALANCE`, spelled as `known_correction` allows; a class is returned unchanged.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> resolve_correction("Logit-Adjustment").title
        'Logit adjustment'
    """
    if not isinstance(name, str):
        return name
    return IMBALANCE[known_correction(name)]


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _checked(
    cls: type[SSLAlgorithm] | type[Correction], keywords: Mapping[str, Any], others: Sequence[str] = ()
) -> dict[str, Any]:
    """The keywords with settings of the right types; a TypeError if one is neither a setting nor among `others`."""
    settings = cls.settings()
    unknown = [keyword for keyword in keywords if keyword not in settings and keyword not in others]
    if unknown:
        title = cls.title or cls.__name__
        raise TypeError(f"{title} has no setting {', '.join(unknown)}; its settings are {_names(settings)}")
    typed = {name: _typed(name, keywords[name], settings[name].annotation) for name in keywords if name in settings}
    return {**keywords, **typed}


# Type of a setting -> what its values are called, and which ones there are. Numbers of NumPy are numbers.
_TYPES: dict[Any, tuple[str, Any]] = {
    bool: ("True or False", bool),
    int: ("a whole number", Integral),
    int | None: ("a whole number or None", Integral | None),
    float: ("a number", Real),
    float | None: ("a number or None", Real | None),
    str: ("a string", str),
}


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """The value of a setting, as one of Python's own numbers if it is a number of another library.

    Raises:
        TypeError: if it is not of the annotated type. Ranges are checked by the algorithms.
    """
    if annotation not in _TYPES:
        return value
    wanted, types = _TYPES[annotation]
    if not isinstance(value, types) or (isinstance(value, bool) and annotation is not bool):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    return value.item() if hasattr(value, "item") else value
