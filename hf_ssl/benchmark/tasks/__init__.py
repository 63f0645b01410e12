"""The tasks of the USB benchmark (arXiv 2208.07204) and the classic CIFAR-10 and SVHN: one row each.

task.py                           what a row says
images.py, texts.py, audio.py     the rows, each with its class names, citation and notes
"""

from .audio import AUDIO
from .images import CLASSIC_IMAGES, IMAGES
from .task import UNCONFIRMED, LongTail, Task
from .texts import TEXTS

__all__ = ["TASKS", "UNCONFIRMED", "USB_CITATION", "USB_TASKS", "LongTail", "Task", "get_task"]

USB_CITATION = r"""@inproceedings{wang2022usb,
  title = {{USB}: A Unified Semi-supervised Learning Benchmark for Classification},
  author = {Wang, Yidong and Chen, Hao and Fan, Yue and Sun, Wang and Tao, Ran and Hou, Wenxin and others},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year = {2022}
}"""

_USB = (*IMAGES, *TEXTS, *AUDIO)
# The names of USB's own 15 tasks, in the order of its paper.
USB_TASKS: tuple[str, ...] = tuple(task.name for task in _USB)
TASKS: dict[str, Task] = {task.name: task for task in (*_USB, *CLASSIC_IMAGES)}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: if there is none; the message lists the names.

    Example:
        >>> task = get_task("cifar100")
        >>> task.title, len(task.class_names), task.label_settings
        ('CIFAR-100', 100, (200, 400))
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; the known ones are {', '.join(TASKS)}")
    return TASKS[name]
