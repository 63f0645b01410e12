"""The rules by which the input is found among the columns of a dataset: the first one that decides.

given column | image or recording | partner of a given second text | known pair | usual name | only column of texts
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..modality import MODALITIES
from .spelling import folded

# Pairs of texts as the tasks of GLUE and SuperGLUE name them.
TEXT_PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
_MEDIA = [name for name, row in MODALITIES.items() if row.needs_files]


@dataclass(frozen=True)
class Candidates:
    """What the rules of `find_input` decide on.

    Args:
        usable: column -> the modalities it can hold that are also processed; without the label column.
        given: the column named as input, which then is the only one in `usable`; or None.
        pair: the column named as the second text of a pair, or None.
    """

    usable: dict[str, tuple[str, ...]]
    given: str | None
    pair: str | None

    def of(self, modality: str) -> list[str]:
        """The columns that can hold a modality, in their order."""
        return [name for name, kinds in self.usable.items() if modality in kinds]

    def usual(self, modality: str) -> list[str]:
        """Those of them with a usual name, the most usual first; else those that have one but for case and space."""
        names = self.of(modality)
        exact = [name for name in MODALITIES[modality].usual_columns if name in names]
        return exact or [
            name for usual in MODALITIES[modality].usual_columns for name in names if folded(name) == usual
        ]


Found = tuple[str, tuple[str, ...]] | None


def _given(candidates: Candidates) -> Found:
    """The column that the user named, as the first modality that it can hold."""
    kind = next((kind for kind in MODALITIES if candidates.of(kind)), None)
    if kind is None or candidates.given is None:
        return None
    if kind != "text" or candidates.pair is None:
        return kind, (candidates.given,)
    return None if candidates.pair == candidates.given else (kind, (candidates.given, candidates.pair))


def _media(candidates: Candidates) -> Found:
    """A column of images, else one of recordings: with a usual name, or the first."""
    for kind in _MEDIA:
        if names := candidates.usual(kind) or candidates.of(kind):
            return kind, (names[0],)
    return None


def _partner(candidates: Candidates) -> Found:
    """The column that goes with a given second text: its usual partner, a usual text, or the only one."""
    pair = candidates.pair
    texts = [name for name in candidates.of("text") if name != pair]
    partners = [first for first, second in TEXT_PAIRS if second == pair and first in texts]
    usual = partners or [name for name in candidates.usual("text") if name != pair]
    if pair is None or (not usual and len(texts) != 1):
        return None
    return "text", ((usual or texts)[0], pair)


def _usual_pair(candidates: Candidates) -> Found:
    """Two columns of texts that are named like a known pair."""
    return next((("text", names) for names in TEXT_PAIRS if set(names) <= set(candidates.of("text"))), None)


def _usual_text(candidates: Candidates) -> Found:
    """A column of texts with a usual name."""
    names = candidates.usual("text")
    return ("text", (names[0],)) if names else None


def _only_text(candidates: Candidates) -> Found:
    """The only column of texts."""
    names = candidates.of("text")
    return ("text", (names[0],)) if len(names) == 1 else None


Rule = Callable[[Candidates], Found]
# A given column is taken or refused; no other one is found in its place.
RULES_IF_GIVEN: tuple[Rule, ...] = (_given,)
RULES_IF_PAIR_GIVEN: tuple[Rule, ...] = (_media, _partner)
RULES: tuple[Rule, ...] = (_media, _usual_pair, _usual_text, _only_text)
