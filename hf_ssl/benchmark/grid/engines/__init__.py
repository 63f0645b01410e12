"""The engines: where the cells of a grid run. `ENGINES` names them; each is imported when it is chosen."""

from importlib import import_module

from .base import Engine

# Name -> (module here, class, the packages that it needs beyond those of this package).
ENGINES: dict[str, tuple[str, str, str]] = {
    "local": ("local", "LocalEngine", ""),
    "ray": ("ray", "RayEngine", "ray"),
    "slurm": ("slurm", "SlurmEngine", "submitit"),
    "jobs": ("jobs", "JobsEngine", ""),
}


def make_engine(name: str, **options: str) -> Engine:
    """The engine of that name.

    Args:
        name: a key of `ENGINES`.
        options: the engine's own settings, as they were typed after `--engine-option NAME=VALUE`.

    Raises:
        ValueError: for an unknown name or setting; the message lists the known ones.
        ImportError: if a package is missing; the message says how to install it.
    """
    if name not in ENGINES:
        raise ValueError(f"--engine must be one of {', '.join(ENGINES)}, got {name!r}; choose one of them")
    module, cls, package = ENGINES[name]
    try:
        made = getattr(import_module(f".{module}", __name__), cls)
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; the engine {name} needs {package}: pip install "hf-ssl[grid]"') from error
    try:
        return made(**options)
    except TypeError as error:
        raise ValueError(f"--engine-option must be a setting of {name}: {error}") from None
