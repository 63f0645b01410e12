"""The numbers to compare with: error rates that were published with USB."""

import json
from functools import cache
from importlib.resources import files

SOURCE = (
    "Error rate in %, mean and standard deviation over the seeds 0, 1 and 2, each run's best over its training, as "
    "published with USB (arXiv 2208.07204; later algorithms in the tables of its code). For tasks without a "
    "validation split, the test set chose that best."
)


@cache
def tables() -> dict[str, dict[str, dict[str, list[float] | None]]]:
    """Task -> number of labels -> algorithm -> [mean, standard deviation], or None if the run was not published."""
    return json.loads((files(__package__) / "baselines.json").read_text(encoding="utf-8"))


def published_errors(task: str, num_labeled: int) -> dict[str, tuple[float, float] | None]:
    """The test error rates that were published with USB (arXiv 2208.07204) for one setting of a task.

    Args:
        task: name of the task.
        num_labeled: number of labeled examples.

    Returns:
        Algorithm -> (mean, standard deviation) in %, or None for a run that was not published. `fully_supervised`
        trains on all labels and `supervised` on the drawn ones alone. Empty if USB's tables do not have the setting.

    Example:
        >>> published_errors("cifar100", 200)["fixmatch"]
        (29.6, 0.9)
    """
    rows = tables().get(task, {}).get(str(num_labeled), {})
    return {name: None if value is None else (value[0], value[1]) for name, value in rows.items()}
