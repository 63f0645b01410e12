"""Cells of a grid: some that nobody trained, with files made by hand, and some that take a second."""

import dataclasses
import json
from pathlib import Path

from hf_ssl.benchmark.grid.cell_file import make_result, write
from hf_ssl.benchmark.grid.cells import Cell

DRAWS = {seed: f"{seed}{15 * 'a'}" for seed in range(10)}


def make_cell(algorithm: str = "fixmatch", seed: int = 0, **changes) -> Cell:
    """A cell of AG News with 40 labels."""
    settings = {"training": {"max_steps": 20, "learning_rate": 5e-5}, "algorithm": {}}
    given = {"task": "ag_news", "num_labeled": 40, "backbone": "someone/tiny-bert", "modality": "text", **changes}
    return Cell(algorithm=algorithm, seed=seed, **{"settings": settings, **given})


def tiny_cells(number: int, **training) -> list[Cell]:
    """Cells with the digits of scikit-learn that train for four steps; different seeds."""
    from hf_ssl.benchmark.grid.grid_file import load_grid  # with torch, which few of these cells need

    short = {"max_steps": 4, "eval_steps": 2, "warmup_steps": 0, "unsupervised_warmup_steps": 0, **training}
    first = next(cell for cell in load_grid("smoke").cells if (cell.task, cell.algorithm) == ("digits", "fixmatch"))
    settings = {**first.settings, "training": {**first.settings["training"], **short}}
    return [dataclasses.replace(first, seed=seed, settings=settings) for seed in range(number)]


def make_content(cell: Cell, accuracy: float = 0.8125, seconds: float = 61.2) -> dict:
    """What its file would hold."""
    row = {"algorithm": cell.algorithm, "seed": cell.seed, "test_accuracy": accuracy, "best_accuracy": accuracy}
    row |= {"best_split": "validation", "best_step": 10, "num_labeled": 40, "num_unlabeled": 4000, "num_test": 2000}
    row |= {"steps": 20, "mask_ratio": 0.7, "pseudo_label_accuracy": 0.9, "seconds": seconds}
    metrics = {"last": {"accuracy": accuracy}, "best": {"accuracy": accuracy}}
    curves = [{"step": step, "test_accuracy": accuracy, "loss": 1.0} for step in (10, 20)]
    machine = {"cpu": "a CPU", "cores": 2, "gpu": None}
    cost = {"seconds": seconds, "cpu_seconds": seconds, "gpu_hours": 0.0, "machine": machine}
    return make_result(cell, DRAWS.get(cell.seed, "0" * 16), row, metrics, curves, cost)


def write_cell(folder: Path, cell: Cell, content: dict | None = None, **values) -> Path:
    """Write its file into a results folder."""
    return write(folder / cell.path, make_content(cell, **values) if content is None else content)


def change(path: Path, **blocks) -> None:
    """Change parts of a cell's file by hand, whatever they are; `None` takes one out."""
    content = json.loads(path.read_text()) | blocks
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
