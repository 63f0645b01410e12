"""The choice between trained models without a label: which of several runs is the best one?

    run folders ── answers ──> features, logits of the same examples ── label_free_scores ──> seven numbers each
                                                                                │
                           results.json: test accuracies ──> Agreement <── choose: ranks, squared ──> one of them

    scores.py    the numbers: RankMe, agreement of clusters and classes, nuclear norm
    choice.py    ranks, the model that is chosen, and how that agrees with accuracies where they are known
    models.py    what the models in folders say of a dataset

It is how V-PET (arXiv 2503.09707) sets hyper-parameters where 40 labels are too few to hold any out. The public names
are imported on first use.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .choice import Agreement, Choice, choose
    from .models import Answers, answers, known_accuracy, read_runs
    from .scores import METRICS, label_free_scores

__all__ = [
    "METRICS",
    "Agreement",
    "Answers",
    "Choice",
    "answers",
    "choose",
    "known_accuracy",
    "label_free_scores",
    "read_runs",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METRICS": "scores",
        "Agreement": "choice",
        "Answers": "models",
        "Choice": "choice",
        "answers": "models",
        "choose": "choice",
        "known_accuracy": "models",
        "label_free_scores": "scores",
        "read_runs": "models",
    },
)
