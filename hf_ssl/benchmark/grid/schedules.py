"""Which settings a cell has: those of a schedule, and what the grid changes in them.

    usb       the published recipes of USB's 15 tasks (recipes.py)
    classic   the older recipes of USB's code, for CIFAR-10, SVHN, CIFAR-100 and STL-10
    short     minutes instead of days: a few hundred steps from a head that is fitted to the labels' features, at the
              published rates, with averages and thresholds that settle within the run

The small tasks have one set of settings, for every schedule but the published ones.
"""

from collections.abc import Mapping
from typing import Any

from ..tasks import Task
from .recipes import FULLY_SUPERVISED, RECIPES, published_settings
from .small.table import SmallTask
from .tasks import AnyTask

SCHEDULES = (*RECIPES, "short")
Settings = dict[str, dict[str, Any]]

_SHORT: dict[str, Any] = {
    "global_batch_size": 8,
    "start": "head",
    "weight_decay": 5e-4,
    "lr_schedule": "cosine_7_16",
    "warmup_steps": 20,
    "unsupervised_warmup_steps": 30,
    "ema_role": "evaluation",
    "ema_decay": 0.98,
    "logging_steps": 20,
    "per_device_eval_batch_size": 64,
}
_SHORT_MODALITIES: dict[str, dict[str, Any]] = {
    "image": {"max_steps": 300, "eval_steps": 60, "unlabeled_batch_ratio": 3, "learning_rate": 5e-4},
    "text": {"max_steps": 200, "eval_steps": 40, "unlabeled_batch_ratio": 4, "learning_rate": 5e-5, "max_length": 64},
    "audio": {"max_steps": 200, "eval_steps": 40, "unlabeled_batch_ratio": 3, "learning_rate": 1e-4},
}
# An average over 1,000 steps would be the first weights' or predictions' for all of a short run, the usual thresholds
# would leave out most of the pool, and of a warm-up over the pool only the beginning would be seen. The values are
# those of the comparisons on held-out training data in examples/benchmarks (evidence_tasks.py, every_algorithm.py),
# with other models and steps; they were not compared for this schedule.
_SHORT_OWN: dict[str, dict[str, Any]] = {
    **{name: {"momentum": 0.9} for name in ("freematch", "softmatch", "adamatch", "allmatch")},
    **{name: {"momentum": 0.98} for name in ("remixmatch", "cgmatch", "multimatch", "regmixmatch")},
    **{name: {"threshold": 0.8} for name in ("fixmatch", "comatch", "simmatch", "crmatch", "defixmatch", "iomatch")},
    **{name: {"threshold": 0.8, "threshold_warmup": False} for name in ("flexmatch", "sequencematch", "semireward")},
    "shrinkmatch": {"threshold": 0.8, "ratio_momentum": 0.98},
    # At 0.8 nearly none of its predictions passes, and the others are drawn towards flat targets.
    "refixmatch": {"threshold": 0.5},
}
_SHORT_TRAINING: dict[str, dict[str, Any]] = {
    "mean_teacher": {"unsupervised_weight": 1.0, "ema_decay": 0.9},
    # As its paper has it.
    "defixmatch": {"unsupervised_weight": 0.5},
}


def scheduled(schedule: str, task: AnyTask, num_labeled: int, algorithm: str) -> Settings:
    """The settings of a schedule, by topic.

    Args:
        schedule: one of `SCHEDULES`.
        task: a row of a table of tasks.
        num_labeled: the label setting.
        algorithm: a key of `ALGORITHMS`, or "fully_supervised".

    Raises:
        ValueError: for an unknown schedule, or one that does not have the task.

    Example:
        >>> from hf_ssl.benchmark import TASKS
        >>> found = scheduled("short", TASKS["ag_news"], 40, "freematch")
        >>> found["training"]["max_steps"], found["algorithm"]
        (200, {'momentum': 0.9})
    """
    if schedule in RECIPES and isinstance(task, Task):
        return published_settings(schedule, task, num_labeled, algorithm)
    if schedule != "short":
        known = ", ".join(SCHEDULES) if isinstance(task, Task) else "short"
        raise ValueError(f"the schedule of {task.name} must be {known}, got {schedule!r}; choose that")
    own = dict(_SHORT_OWN.get(algorithm, {}))
    further = _SHORT_TRAINING.get(algorithm, {})
    if isinstance(task, SmallTask):
        return {"training": {**task.training, **further}, "algorithm": own}
    names = {"size": "image_size"}
    views = {names.get(name, name): value for name, value in task.views.items()}
    training = {**_SHORT, **views, **_SHORT_MODALITIES[task.modality], **further}
    if algorithm == FULLY_SUPERVISED:
        training |= {"start": "random"}
    return {"training": training, "algorithm": own}


def merged(settings: Settings, *changes: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Settings with changes of their topics, the later ones first in force; topics without any are left out.

    Example:
        >>> merged({"training": {"max_steps": 9}, "model": {}}, {"training": {"max_steps": 5}, "algorithm": {"c": 2}})
        {'training': {'max_steps': 5}, 'algorithm': {'c': 2}}
    """
    topics = dict.fromkeys(topic for part in (settings, *changes) for topic in part)
    joined = {
        topic: {name: value for part in (settings, *changes) for name, value in part.get(topic, {}).items()}
        for topic in topics
    }
    return {topic: values for topic, values in joined.items() if values}
