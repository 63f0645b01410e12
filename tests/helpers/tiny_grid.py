"""A grid whose cells take a second: scikit-learn's digits, a handful of steps."""

from pathlib import Path

from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.grid_file import Grid, parse_grid

TRAINING = {"max_steps": 6, "eval_steps": 2, "logging_steps": 1, "unlabeled_batch_ratio": 1, "warmup_steps": 1}


def tiny_grid(algorithms=("fixmatch",), seeds=(0,), **training) -> Grid:
    """Cells of the digits with 40 labels."""
    return parse_grid(
        {
            "schedule": {"base": "short", "training": {**TRAINING, **training}},
            "tasks": [{"task": "digits", "labels": [40]}],
            "algorithms": list(algorithms),
            "seeds": list(seeds),
        },
        "tiny",
    )


def tiny_work(folder: Path, **settings) -> Work:
    """Results in `folder`, and a checkpoint with each evaluation."""
    return Work(folder, **{"save_seconds": 0.0, **settings})


def lasting(content: dict) -> dict:
    """A cell file without what two runs of a cell may differ in."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in content["runs"]]
    return {**{name: value for name, value in content.items() if name != "cost"}, "runs": rows}
