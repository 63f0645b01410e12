"""The algorithms: `ALGORITHMS` is the table, in the order in which to read them; `get_algorithm` makes one."""

import torch

from .adamatch import AdaMatch
from .base import AlgorithmOutput, Progress, SSLAlgorithm
from .comatch import CoMatch
from .crmatch import CRMatch
from .dash import Dash
from .defixmatch import DeFixMatch
from .fixmatch import FixMatch
from .flexmatch import FlexMatch
from .freematch import FreeMatch
from .mean_teacher import MeanTeacher
from .mixmatch import MixMatch
from .pi_model import PiModel
from .pseudo_label import PseudoLabel
from .refixmatch import ReFixMatch
from .remixmatch import ReMixMatch
from .simmatch import SimMatch
from .softmatch import SoftMatch
from .supervised import Supervised
from .uda import UDA
from .vat import VAT

__all__ = ["ALGORITHMS", "AlgorithmOutput", "Progress", "SSLAlgorithm", "get_algorithm", "resolve_algorithm"]

ALGORITHMS: dict[str, type[SSLAlgorithm]] = {
    "supervised": Supervised,
    "pseudo_label": PseudoLabel,
    "pi_model": PiModel,
    "mean_teacher": MeanTeacher,
    "vat": VAT,
    "mixmatch": MixMatch,
    "remixmatch": ReMixMatch,
    "fixmatch": FixMatch,
    "uda": UDA,
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
}


def resolve_algorithm(algorithm: str | type[SSLAlgorithm]) -> type[SSLAlgorithm]:
    """The class of a name in the table, or the class itself.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if not isinstance(algorithm, str):
        return algorithm
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {algorithm!r}; the known ones are {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm]


def get_algorithm(
    name: str | type[SSLAlgorithm],
    *,
    num_classes: int,
    num_labeled: int,
    num_unlabeled: int,
    feature_size: int,
    labeled_batch_size: int,
    unlabeled_batch_size: int,
    class_distribution: torch.Tensor | None = None,
    unsupervised_weight: float = 1.0,
    modality: str = "image",
    **hyperparameters,
) -> SSLAlgorithm:
    """Make an algorithm by name (or from a class of your own) for one task; see `SSLAlgorithm` for the task's keywords.

    Raises:
        ValueError: for an unknown name or a setting outside of its range.
        TypeError: for an unknown setting; the message lists the valid ones.
    """
    cls = resolve_algorithm(name)
    valid = cls.settings()
    unknown = [key for key in hyperparameters if key not in valid]
    if unknown:
        known = ", ".join(valid) or "none"
        raise TypeError(f"{cls.title or cls.__name__} has no setting {', '.join(unknown)}; its settings are {known}")
    return cls(
        num_classes=num_classes,
        num_labeled=num_labeled,
        num_unlabeled=num_unlabeled,
        feature_size=feature_size,
        labeled_batch_size=labeled_batch_size,
        unlabeled_batch_size=unlabeled_batch_size,
        class_distribution=class_distribution,
        unsupervised_weight=unsupervised_weight,
        modality=modality,
        **hyperparameters,
    )
