"""The datasets of the USB benchmark (arXiv 2208.07204): from raw sources to splits that `datasets.load_dataset` reads.

tasks.py        the table: what each task is, and where its data comes from
readers/        one reader per raw form
splits.py       USB's draws of labels
build.py        raw source -> repository of Parquet files (layout: repository.py, streaming: writer.py)
cards.py        the dataset card, with published numbers (baselines.py)
verify.py, publish.py, load.py
augment.py      back-translation of texts
command.py      `hf-ssl benchmark ...`
"""

from importlib import import_module
from typing import TYPE_CHECKING

_PUBLIC = {
    "TASKS": "tasks",
    "Task": "tasks",
    "get_task": "tasks",
    "load_task": "load",
    "build_task": "build",
    "verify_task": "verify",
    "publish_task": "publish",
}

__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from .build import build_task  # noqa: F401
    from .load import load_task  # noqa: F401
    from .publish import publish_task  # noqa: F401
    from .tasks import TASKS, Task, get_task  # noqa: F401
    from .verify import verify_task  # noqa: F401


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
