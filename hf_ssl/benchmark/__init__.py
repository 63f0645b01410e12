"""The datasets of the USB benchmark (arXiv 2208.07204): from raw sources to splits that `datasets.load_dataset` reads.

    raw files --readers/--> rows --splits--> draws --build--> Parquet repository --verify, publish--> the Hub
                                                                   |
                                                                   +--load--> splits for training

tasks/               the table: what each task is, and where its data comes from
readers/             one reader per raw form
splits.py            USB's draws of labels
build.py             raw source -> repository of Parquet files (planned by plan.py, layout in repository.py, written by
                     writer.py)
cards.py             the dataset card, rendered from dataset_card_template.md, with published numbers (baselines.py)
tails.py             USB's long-tailed settings as configurations of the built tasks
verify.py, publish.py, load.py
long_tail.py         long tails from any labeled dataset
back_translation.py  back-translation of a built text task (the models: translation.py)
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .build import build_task
    from .load import load_task
    from .long_tail import long_tailed
    from .publish import publish_task
    from .tasks import TASKS, Task, get_task
    from .verify import verify_task

__all__ = ["TASKS", "Task", "build_task", "get_task", "load_task", "long_tailed", "publish_task", "verify_task"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "TASKS": "tasks",
        "Task": "tasks",
        "get_task": "tasks",
        "load_task": "load",
        "long_tailed": "long_tail",
        "build_task": "build",
        "verify_task": "verify",
        "publish_task": "publish",
    },
)
