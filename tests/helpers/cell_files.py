"""Folders of finished cells, without any training: the errors are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_ssl.benchmark.grid.cell_file import make_error, make_result, write
from hf_ssl.benchmark.grid.cells import Cell

MODALITY = {"ag_news": "text", "yelp_review": "text", "cifar100": "image", "eurosat": "image", "esc50": "audio"}


def make_cell(task: str = "ag_news", num_labeled: int = 40, seed: int = 0, algorithm: str = "fixmatch", **given: Any):
    """A cell; `algorithm` may have a correction, as in "fixmatch+abc"."""
    name, _, imbalance = algorithm.partition("+")
    given = {"backbone": "org/model", "schedule": "usb", "modality": MODALITY.get(task, "image"), **given}
    given.setdefault("settings", {"training": {"max_steps": 100}, "algorithm": {"threshold": 0.95}})
    return Cell(task, num_labeled, seed, name, imbalance=imbalance or None, **given)


def write_cell(
    folder: Path, cell: Cell, error: float | None, seconds: float = 60.0, metrics: Mapping[str, float] | None = None
) -> Path:
    """Write the file of a finished cell whose last error is `error` percent, and whose best is a point below."""
    accuracy = None if error is None else round(1 - error / 100, 6)
    best = None if accuracy is None else min(accuracy + 0.01, 1.0)
    row = {
        "algorithm": cell.algorithm,
        "seed": cell.seed,
        "test_accuracy": accuracy,
        "best_accuracy": best,
        "best_split": "validation",
        "best_step": 80,
        "num_labeled": cell.num_labeled,
        "num_unlabeled": 4000,
        "num_test": 2000,
        "steps": 100,
        "mask_ratio": 0.7,
        "pseudo_label_accuracy": 0.9,
        "seconds": seconds,
    }
    points = 20 if accuracy is not None else 0
    curves = [
        {
            "step": 5 * (k + 1),
            "test_accuracy": accuracy * (1 - 0.5 / (k + 1)),
            "validation_accuracy": accuracy * (1 - 0.6 / (k + 1)),
            "loss": 1 / (k + 1),
            "mask_ratio": k / 20,
            "pseudo_label_accuracy": 0.9,
        }
        for k in range(points)
    ]
    last = None if accuracy is None else {"accuracy": accuracy, **(metrics or {})}
    cost = {"seconds": seconds, "peak_memory_mb": 800, "energy_kwh": None, "machine": {"cpu": "a CPU", "cores": 2}}
    at_best = None if last is None else {**last, "accuracy": best}
    content = make_result(cell, "d" * 16, row, {"last": last, "best": at_best}, curves, cost)
    return write(folder / str(cell.path), content)


def write_failure(folder: Path, cell: Cell, message: str, kind: str = "ValueError") -> Path:
    """Write the error file of a failed cell."""
    return write(folder / str(cell.error_path), make_error(cell, kind, message))


def write_cells(
    folder: Path, errors: Mapping[tuple[str, int], Mapping[str, Sequence[float | None]]], **given: Any
) -> Path:
    """Write {(task, labels): {algorithm: errors of the seeds 0, 1, ...}}; None leaves a seed out."""
    for (task, labels), row in errors.items():
        for place, (algorithm, of_seeds) in enumerate(row.items()):
            for seed, error in enumerate(of_seeds):
                if error is not None:
                    cell = make_cell(task, labels, seed, algorithm, **given)
                    write_cell(folder, cell, error, seconds=30.0 * (place + 1))
    return folder
