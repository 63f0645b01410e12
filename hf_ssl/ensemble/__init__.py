"""Pseudo-labels that several models vote on, and a student that learns them (V-PET, arXiv 2503.09707).

    labels ── every model x method ──> members ── logits of the pool ── soft_labels ──> votes [U, C]
              weights, adapters,       members/*, fitted once            three rules        │
              frozen features                                                               │
    pretrained model again ── EnsembleDistillation: weak and strong views, KL ── student <──┘

    methods.py     which weights learn: all, the upper ones, adapters of PEFT, or none
    base.py        a pretrained model on the task, before training
    members.py     fitting a member, and finding the one that an earlier run has fitted
    votes.py       from the members' logits to soft labels
    student.py     what the student minimizes
    run.py         the whole way

The public names are imported on first use.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .methods import METHODS
    from .run import train_ensemble
    from .student import EnsembleDistillation
    from .votes import VOTES, soft_labels

__all__ = ["METHODS", "VOTES", "EnsembleDistillation", "soft_labels", "train_ensemble"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METHODS": "methods",
        "VOTES": "votes",
        "EnsembleDistillation": "student",
        "soft_labels": "votes",
        "train_ensemble": "run",
    },
)
