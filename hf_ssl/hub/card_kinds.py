"""What a model card says of each kind of problem: what is learned, how the model is asked, and what it cannot do."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from ..report.markdown import plain

_MOST_NAMES = 20
# Python, behind the lines that make `inputs` and `classifier`.
_CLASS = "print(classifier.config.id2label[classifier(**inputs).logits.argmax().item()])"
_LABELS = """probabilities = classifier(**inputs).logits[0].sigmoid().tolist()
labels = classifier.config.id2label.values()
print([label for label, probability in zip(labels, probabilities) if probability >= 0.5])"""
_TUNED_LABELS = """probabilities = classifier(**inputs).logits[0].sigmoid().tolist()
found = zip(classifier.config.id2label.values(), probabilities, classifier.config.label_thresholds)
print([label for label, probability, threshold in found if probability >= threshold])"""
_NUMBERS = "print(dict(zip(classifier.config.id2label.values(), classifier(**inputs).logits[0].tolist())))"


class CardKind(NamedTuple):
    """What is different on the card of each kind of problem.

    Args:
        learned: what the model does, of the names of its outputs; it stands behind "It was made with ..., and".
        answer: Python that prints the answer of a `classifier` to `inputs`.
        limit: what its answers are worth for an input that is like no example.
        tag: metadata by which such models are found.
    """

    learned: Callable[[Sequence[str]], str]
    answer: str
    limit: str
    tag: str | None = None


def _labels(names: Sequence[str]) -> str:
    what = f"which of {len(names)} labels an input has" if len(names) > 1 else "whether an input has a label"
    return f"tells {what}{', any number of them' if len(names) > 1 else ''}: {listed(names)}"


def _numbers(names: Sequence[str]) -> str:
    return f"predicts {f'{len(names)} numbers' if len(names) > 1 else 'a number'}: {listed(names)}"


CARD_KINDS: Mapping[str, CardKind] = {
    SINGLE_LABEL: CardKind(
        lambda names: f"distinguishes {len(names)} classes: {listed(names)}",
        _CLASS,
        "It knows only the classes above and answers with one of them for any input.",
    ),
    MULTI_LABEL: CardKind(
        _labels,
        _LABELS,
        "It knows only the labels above. Each has a probability of its own: an input may get none of them or several, "
        "also one that is like no example.",
        "multi-label-classification",
    ),
    REGRESSION: CardKind(
        _numbers,
        _NUMBERS,
        "It answers any input with a number, also one that is like no example, and numbers far outside the range of "
        "the labels were never seen.",
        "regression",
    ),
}


def answer_lines(problem_type: str, has_thresholds: bool) -> str:
    """Python that prints the answer; with thresholds of several labels in the model's configuration, by them."""
    return _TUNED_LABELS if has_thresholds else CARD_KINDS[problem_type].answer


def pipeline_options(problem_type: str, count: int) -> str:
    """What a pipeline must be told to tell all of several labels or numbers, instead of the highest.

    Example:
        >>> pipeline_options("multi_label_classification", 12)
        ', top_k=12'
    """
    # Of images, top_k=None would tell five.
    return "" if problem_type == SINGLE_LABEL or count == 1 else f", top_k={count}"


def notes(
    problem_type: str,
    names: Sequence[str],
    thresholds: Sequence[float] | None,
    *,
    are_measured: bool = False,
    has_deviations: bool = False,
) -> str | None:
    """What else there is to know to use the model, in sentences; None if there is nothing.

    Args:
        problem_type: one of `hf_ssl.problem_types`.
        names: of the outputs.
        thresholds: of several labels, [C], if there are any in the model's configuration.
        are_measured: whether the results on the card were measured with these thresholds, and not with a half.
        has_deviations: of numbers, whether the model tells their standard deviations.
    """
    if problem_type == MULTI_LABEL and thresholds is not None:
        # A label that is left out of the list has one as well.
        shown = [f"{plain(name)} {value:.2f}" for name, value in zip(names, thresholds, strict=True)]
        return (
            "`label_thresholds` in `config.json` are the probabilities from which on an input has a label: "
            f"{_joined(shown)} `hf-ssl predict` and `hf-ssl evaluate` use them; a pipeline tells probabilities alone. "
            f"The results below are those with {'these thresholds' if are_measured else '0.5 for each label'}."
        )
    if problem_type == MULTI_LABEL:
        return (
            "An input has the labels with a probability of at least 0.5: no labeled example was held out to find "
            "better thresholds. `hf_ssl.metrics.tune_thresholds` finds them on examples that were not trained on."
        )
    if problem_type == REGRESSION:
        deviations = (
            " `hf-ssl predict` also tells the standard deviation of each, from `uncertainty.safetensors`."
            if has_deviations
            else ""
        )
        return f"Answers are in the units of the labeled examples.{deviations}"
    return None


def listed(names: Sequence[str]) -> str:
    """The names, at most 20, as a sentence ends.

    Example:
        >>> listed(["cat", "dog"])
        'cat, dog.'
    """
    return _joined([plain(name) for name in names])


def _joined(shown: Sequence[str]) -> str:
    more = len(shown) - _MOST_NAMES
    return ", ".join(shown[:_MOST_NAMES]) + (f" and {more} more." if more > 0 else ".")
