"""Names as people write them: the same in another case, with other spaces, or in another form of Unicode."""

import unicodedata
from collections.abc import Sequence


def folded(name: str) -> str:
    """A name without what people write in several ways: upper and lower case, spaces, and forms of Unicode.

    Example:
        >>> folded(" Cafe\u0301\u00a0bar "), folded("caf\u00e9 \u200bBAR")
        ('café bar', 'café bar')
    """
    if not name.isascii():
        visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
        name = unicodedata.normalize("NFKC", visible)
    return " ".join(name.split()).casefold()


def usual_name(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the usual names that a column has: as it is written, or else but for case and space.

    Example:
        >>> usual_name(["Text", " Label"], ["label", "labels"])
        ' Label'
    """
    exact = next((name for name in usual if name in columns), None)
    if exact is not None:
        return exact
    spelled = {folded(name): name for name in reversed(columns)}
    return next((spelled[name] for name in usual if name in spelled), None)


def matched(names: Sequence[str], others: Sequence[str]) -> list[int] | None:
    """For each of `names` the position of the same name in `others`; None unless each has its own one there.

    The same names as they are written, or else but for upper and lower case and for spaces.

    Example:
        >>> matched(["neg", "pos"], ["POS", "NEG"]), matched(["neg", "pos"], ["neg", "neutral"])
        ([1, 0], None)
    """
    if len(names) != len(others):
        return None
    for key in (str, folded):
        position = {key(name): index for index, name in enumerate(others)}
        order = [position.get(key(name), -1) for name in names]
        if sorted(order) == list(range(len(names))):
            return order
    return None
