"""What a model answers to one input, and how answers are told: a row of a table each, and what they say together.

ClassAnswers   one class of several: the most probable ones with their probabilities
LabelAnswers   any number of labels: those above their thresholds, then the most probable ones
NumberAnswers  numbers, each with its standard deviation if the model knows it
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .inputs import Item
from .output import printable

# Classes that are listed with their numbers of inputs.
_LISTED = 20
# What may stand between the labels of one cell: the first one that is in none of their names.
_SEPARATORS = (";", "|", "\t")


@dataclass
class Answer:
    """Probabilities in [0, 1] by class, the most probable first, or numbers; if an input could not be read, the error.

    `numbers` are those of a regression by name, in its user's units, and `deviations` their standard deviations, if
    the model knows them. `logits` are those of all classes [C] in the model's order, if they were asked for, and
    `foreign` is how foreign the input looks, in standard deviations (see `hf_ssl.features.foreignness`).
    """

    probabilities: dict[str, float]
    error: str = ""
    logits: np.ndarray | None = None
    foreign: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)

    def is_below(self, threshold: float) -> bool:
        """Whether even the most probable class is less probable than `threshold`; an error is not.

        Example:
            >>> Answer({"cat": 0.6, "dog": 0.4}).is_below(0.8), Answer({}, "no image").is_below(0.8)
            (True, False)
        """
        return max(self.probabilities.values(), default=threshold) < threshold

    def is_foreign(self, limit: float | None) -> bool:
        """Whether the input looks more foreign than `limit`; None is no limit, and an error is not.

        Example:
            >>> Answer({"cat": 0.9}, foreign=3.5).is_foreign(2.0), Answer({"cat": 0.9}, foreign=3.5).is_foreign(None)
            (True, False)
        """
        return limit is not None and self.foreign is not None and self.foreign > limit

    def labels(self, thresholds: Mapping[str, float]) -> list[str]:
        """The labels whose probabilities reach their thresholds, the most probable first.

        Example:
            >>> Answer({"cat": 0.6, "dog": 0.4, "owl": 0.1}).labels({"cat": 0.7, "dog": 0.3, "owl": 0.5})
            ['dog']
        """
        return [name for name, p in self.probabilities.items() if p >= thresholds[name]]


class ClassAnswers:
    """Answers with one class each.

    Args:
        top: how many classes are told of each input.
        threshold: the probability below which the most probable class is no answer: then no class is named, and the
            probabilities alone are told; None names classes always.
        foreign_limit: how foreign an input may look, beyond which no class is named either; None leaves the column
            out.
    """

    def __init__(self, top: int, threshold: float | None = None, foreign_limit: float | None = None):
        self.top, self.threshold, self.foreign_limit = top, threshold, foreign_limit
        self.labels: Counter[str] = Counter()
        self.foreign = self.abstentions = 0

    def columns(self) -> list[str]:
        """Names of the columns: label and probability, `top` times; then "foreign", if there is a limit."""
        return [*numbered(["label", "probability"], self.top), *["foreign"] * (self.foreign_limit is not None)]

    def cells(self, answer: Answer) -> list[str]:
        """The cells of these columns."""
        names_none = answer.is_foreign(self.foreign_limit) or self._abstains(answer)
        best = _best(answer, self.top, names_none)
        if self.foreign_limit is None:
            return best
        return [*best, "" if answer.foreign is None else f"{answer.foreign:.4f}"]

    def count(self, answer: Answer) -> None:
        """Count an answer that is no error."""
        if answer.is_foreign(self.foreign_limit):
            self.foreign += 1
        elif self._abstains(answer):
            self.abstentions += 1
        else:
            self.labels[next(iter(answer.probabilities))] += 1

    def summary(self) -> str:
        """The most frequent classes with their numbers of inputs."""
        return _most_frequent(self.labels, "classes")

    def closing(self, total: int) -> list[str]:
        """How many of all inputs got no label, if a limit was given; a line each."""
        lines = []
        if self.foreign_limit is not None:
            who = f"{self.foreign:,} of {total:,} inputs look" if self.foreign else "No input looks"
            lines.append(
                f"{who} foreign, beyond {self.foreign_limit:.4g}" + "; they got no label" * bool(self.foreign)
            )
        if self.threshold is not None and self.abstentions:
            inputs = f"{self.abstentions:,} of {total:,} inputs"
            lines.append(f"{inputs} got no label: none of their classes reaches --threshold {self.threshold:g}")
        elif self.threshold is not None:
            lines.append(f"All inputs that could be read reach --threshold {self.threshold:g}")
        return lines

    def _abstains(self, answer: Answer) -> bool:
        return self.threshold is not None and answer.is_below(self.threshold)


class LabelAnswers:
    """Answers with any number of labels each.

    Args:
        top: how many labels are told with their probabilities, whether they reach their thresholds or not.
        thresholds: name of a label -> the probability from which on an input has it.

    Example:
        >>> found = LabelAnswers(2, {"cat": 0.5, "dog": 0.3})
        >>> found.columns()
        ['labels', 'label', 'probability', 'label_2', 'probability_2']
        >>> found.cells(Answer({"cat": 0.75, "dog": 0.25}))
        ['cat', 'cat', '0.7500', 'dog', '0.2500']
    """

    def __init__(self, top: int, thresholds: Mapping[str, float]):
        self.top, self.thresholds = top, thresholds
        names = "".join(thresholds)
        self.separator = next((each for each in _SEPARATORS if each not in names), "\n")
        self.labels: Counter[str] = Counter()
        self.without = 0

    def columns(self) -> list[str]:
        """Names of the columns: labels; then label and probability, `top` times."""
        return ["labels", *numbered(["label", "probability"], self.top)]

    def cells(self, answer: Answer) -> list[str]:
        """The cells of these columns."""
        return [self.separator.join(answer.labels(self.thresholds)), *_best(answer, self.top)]

    def count(self, answer: Answer) -> None:
        """Count an answer that is no error."""
        found = answer.labels(self.thresholds)
        self.labels.update(found)
        self.without += not found

    def summary(self) -> str:
        """The most frequent labels with their numbers of inputs."""
        return _most_frequent(self.labels, "labels")

    def closing(self, total: int) -> list[str]:
        """How many of all inputs have none of the labels, and what stands between several."""
        lines = [f"{self.without:,} of {total:,} inputs have none of the labels"] if self.without else []
        return lines + ([] if self.separator == ";" else [f"Between labels stands {self.separator!r}"])


class NumberAnswers:
    """Answers with numbers.

    Args:
        names: of the numbers.
        with_deviations: whether the model tells standard deviations.

    Example:
        >>> found = NumberAnswers(["price"], True)
        >>> found.columns(), found.cells(Answer({}, numbers={"price": 12.5}, deviations={"price": 0.25}))
        (['price', 'price_std'], ['12.5', '0.25'])
    """

    def __init__(self, names: Sequence[str], with_deviations: bool = False):
        self.names, self.with_deviations = names, with_deviations
        # Of millions of inputs no number is kept.
        self.counted = 0
        self.sums = np.zeros(len(names))
        self.lowest, self.highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)

    def columns(self) -> list[str]:
        """Names of the columns: each number, followed by its standard deviation if the model tells it."""
        return [column for name in self.names for column in [name, f"{name}_std"][: 1 + self.with_deviations]]

    def cells(self, answer: Answer) -> list[str]:
        """The cells of these columns."""
        kinds = [answer.numbers, answer.deviations][: 1 + self.with_deviations]
        # Seven digits are all that there are in single precision.
        return [f"{values[name]:.7g}" if name in values else "" for name in self.names for values in kinds]

    def count(self, answer: Answer) -> None:
        """Add up the numbers of an answer that is no error."""
        numbers = np.array([answer.numbers[name] for name in self.names])
        self.counted += 1
        self.sums += numbers
        self.lowest, self.highest = np.minimum(self.lowest, numbers), np.maximum(self.highest, numbers)

    def summary(self) -> str:
        """Mean and range of each number."""
        from ..report.tables import table

        found = zip(self.sums / max(self.counted, 1), self.lowest, self.highest, strict=True)
        spans = [[f"{each:.4g}" for each in span] if self.counted else ["-"] * 3 for span in found]
        rows = [[printable(name), *span] for name, span in zip(self.names, spans, strict=True)]
        return table(["number", "mean", "lowest", "highest"], rows)

    def closing(self, total: int) -> list[str]:
        """Nothing."""
        return []


Answers = ClassAnswers | LabelAnswers | NumberAnswers


def as_rows(items: Iterable[Item], answers: Iterable[Answer], told: Answers) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table of all answers, see `header` and `cells_of`.

    Example:
        >>> answers = [Answer({"cat": 0.75, "dog": 0.25})]
        >>> head, rows = as_rows([Item("cats.csv", 0, "A cat.")], answers, ClassAnswers(top=1))
        >>> head
        ['input', 'row', 'content', 'label', 'probability', 'error']
        >>> rows
        [['cats.csv', '0', 'A cat.', 'cat', '0.7500', '']]
    """
    items = list(items)
    contents = max((len(item.contents()) for item in items), default=0)
    rows = [cells_of(item, answer, contents, told) for item, answer in zip(items, answers, strict=True)]
    return header(contents, told), rows


def header(contents: int, told: Answers) -> list[str]:
    """Names of the columns: input, row, content (of rows of tables), those of the answers, error.

    Args:
        contents: how many columns show what was classified: 0, or 1, or 2 for pairs of texts.
        told: how answers are told.
    """
    return ["input", "row", *numbered(["content"], contents), *told.columns(), "error"]


def cells_of(item: Item, answer: Answer, contents: int, told: Answers) -> list[str]:
    """The row of one input, with the columns of `header`; what it does not have is empty."""
    shown = item.contents()
    row = "" if item.row is None else str(item.row)
    return [item.name, row, *shown, *[""] * (contents - len(shown)), *told.cells(answer), answer.error]


def numbered(names: Sequence[str], times: int) -> list[str]:
    """The names, again and again, with a number from the second time on.

    Example:
        >>> numbered(["label"], 2)
        ['label', 'label_2']
    """
    return [name if k == 1 else f"{name}_{k}" for k in range(1, times + 1) for name in names]


def _best(answer: Answer, top: int, names_none: bool = False) -> list[str]:
    """Label and probability of the most probable classes; the labels are left out with `names_none`."""
    pairs = list(answer.probabilities.items())[:top]
    best = [cell for label, p in pairs for cell in ("" if names_none else label, f"{p:.4f}")]
    return [*best, *[""] * (2 * top - len(best))]


def _most_frequent(labels: Counter[str], plural: str) -> str:
    from ..report.tables import table

    rows = [[printable(label), f"{number:,}"] for label, number in labels.most_common(_LISTED)]
    more = len(labels) - len(rows)
    return table(["label", "inputs"], rows) + (f"\nand {more:,} more {plural}" if more else "")
