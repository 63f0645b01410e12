"""`eval.yaml` of a published task: by it the Hub gathers what models say of themselves in `.eval_results/`.

One task of the benchmark's configurations each, evaluated on the test split; `hf_ssl.hub.eval_results` writes the
models' side with the same names. The Hub shows the results once the dataset is registered as a benchmark there.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from . import repository
from .tails import tails_of
from .tasks import Task

EVAL_FILE = "eval.yaml"
_FRAMEWORK = "hf-ssl"


def render_eval_file(task: Task, record: Mapping[str, Any]) -> str:
    """The content of `eval.yaml`: name, description and one entry per configuration that was built.

    Args:
        task: the row of the table.
        record: what the build wrote down: which splits and draws there are.

    Example:
        >>> from hf_ssl.benchmark import TASKS
        >>> record = {"splits": {"test": {}, "train": {}}, "draws": {"a": {"num_labeled": 40, "seed": 2}}}
        >>> print(render_eval_file(TASKS["ag_news"], record).split("tasks:")[1].strip())
        - id: labels40_seed2
          config: labels40_seed2
          split: test
    """
    tails = tails_of(task, record)
    names = repository.configurations(task, tuple(record["splits"]), repository.draws_in(record), tails)
    content = {
        "name": f"{task.title} (USB)",
        "description": (
            f"Semi-supervised {task.modality} classification, {len(task.class_names)} classes: train on the splits "
            "labeled and unlabeled of a configuration, evaluate accuracy on test."
        ),
        "evaluation_framework": _FRAMEWORK,
        "tasks": [{"id": name, "config": name, "split": "test"} for name in names if name != "full"],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
