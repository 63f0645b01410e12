"""Numbers and lists in sentences."""

from collections.abc import Sequence

# More names than these are counted instead of listed.
_LISTED = 6


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "run"), counted(1200, "run")
        ('1 run', '1,200 runs')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def p_text(p_value: float) -> str:
    """A p value as it is written: small ones all look alike.

    Example:
        >>> p_text(0.0312), p_text(3e-12)
        ('0.031', '< 0.0001')
    """
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"


def listed(names: Sequence[str]) -> str:
    """The names, or the first of them and how many more there are.

    Example:
        >>> listed(["a", "b"]), listed([str(number) for number in range(9)])
        ('a, b', '0, 1, 2, 3, 4, 5 and 3 more')
    """
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
