"""`hf-ssl evaluate --open-set`: data that also have classes the model does not know.

Accuracy and all else is measured on the known classes, and beside it how well foreign examples are told from known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.labels import UNKNOWN
from ..data.sources import count
from ..metrics import foreign_auroc
from .answers import Answer
from .evaluation_data import Examples


@dataclass(frozen=True)
class KnownAndForeign:
    """Labeled data, parted.

    Args:
        examples: those of classes that the model knows.
        answers: to these.
        metrics: name -> value in [0, 1] of telling the two kinds apart; without what cannot be measured.
        note: a sentence for the screen.
    """

    examples: Examples
    answers: list[Answer]
    metrics: dict[str, float]
    note: str


def part(examples: Examples, answers: Sequence[Answer], limit: float | None) -> KnownAndForeign:
    """Part the examples by whether the model knows their classes.

    Args:
        examples: of which the labels may be `UNKNOWN`.
        answers: to them, with how foreign each looks if there is a limit.
        limit: how foreign an input may look; None for a model that does not tell, which is judged by how unsure it is.

    Raises:
        ValueError: if no example is of a known class.

    Example:
        >>> examples = Examples("pets.csv", ["a", "b", "c"], np.array([0, 1, UNKNOWN]), [])
        >>> answers = [Answer({"cat": 1.0}, foreign=0.0), Answer({"dog": 1.0}, foreign=0.5)]
        >>> answers.append(Answer({"dog": 0.9}, foreign=4.0))
        >>> found = part(examples, answers, limit=1.5)
        >>> found.examples.labels.tolist(), found.metrics
        ([0, 1], {'foreign_auroc': 1.0, 'foreign_found': 1.0, 'known_rejected': 0.0})
    """
    is_foreign = examples.labels == UNKNOWN
    if is_foreign.all():
        raise ValueError(
            f"DATA must have examples of the model's classes, got {examples.source} with others alone; compare the "
            "names of its labels with those of the model"
        )
    read = np.array([not answer.error for answer in answers])
    scores = np.array([_score(answer, limit) for answer in answers])
    metrics = {}
    if (auroc := foreign_auroc(scores[read], is_foreign[read])) is not None:
        metrics["foreign_auroc"] = auroc
    if limit is not None:
        for name, rows in (("foreign_found", is_foreign), ("known_rejected", ~is_foreign)):
            if (rows & read).any():
                metrics[name] = float((scores[rows & read] > limit).mean())
    places = np.flatnonzero(~is_foreign).tolist()
    known = replace(examples, values=[examples.values[i] for i in places], labels=examples.labels[places])
    how = "how far they are from the labeled ones" if limit is not None else "how unsure the model is of them"
    note = (
        f"{is_foreign.sum():,} of {count(len(answers), 'example')} are of classes that the model does not know. They "
        f"are told by {how} (foreign_auroc); all else is measured on the others."
    )
    return KnownAndForeign(known, [answers[i] for i in places], metrics, note)


def _score(answer: Answer, limit: float | None) -> float:
    if limit is None:
        return -max(answer.probabilities.values(), default=np.nan)
    return np.nan if answer.foreign is None else answer.foreign
