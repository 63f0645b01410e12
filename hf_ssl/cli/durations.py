"""Lengths of time as people write them on a command line."""

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float:
    """Seconds of a duration such as "90s", "3m" or "1.5h"; a number alone is in seconds.

    Raises:
        ValueError: in one line, for anything else.

    Example:
        >>> seconds_of("90s"), seconds_of("3m"), seconds_of("1.5h"), seconds_of("45")
        (90.0, 180.0, 5400.0, 45.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip().lower())
    if match is None:
        raise ValueError(f"--time-budget must be a duration such as 90s, 3m or 1h, got {text!r}")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def duration(seconds: float) -> str:
    """A duration for people: "45 s", "3 min 20 s", "1 h 5 min".

    Example:
        >>> duration(45.4), duration(200), duration(3900)
        ('45 s', '3 min 20 s', '1 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, names = (
        (whole // 60, whole % 60, ("min", "s")) if whole < 3600 else (whole // 3600, whole % 3600 // 60, ("h", "min"))
    )
    return f"{large} {names[0]}" + (f" {small} {names[1]}" if small else "")
