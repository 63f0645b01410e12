"""`hf-ssl algorithms`: list the algorithms, describe one, or recommend some."""

import inspect


def describe_algorithm(name: str, algorithm) -> str:
    """One algorithm for `hf-ssl algorithms NAME`: its docstring, settings with defaults, and citation."""
    lines = [f"{name} ({algorithm.title}): {algorithm.summary}", "", inspect.getdoc(algorithm) or ""]
    settings = algorithm.settings()
    if settings:
        lines += ["", "Defaults: " + ", ".join(f"{key}={parameter.default!r}" for key, parameter in settings.items())]
    if algorithm.citation:
        lines += ["", algorithm.citation]
    return "\n".join(lines)
