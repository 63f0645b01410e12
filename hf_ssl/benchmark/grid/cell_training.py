"""One training of a grid through SSLTrainer, as anybody would write it, from its cell to the content of its file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate.utils import broadcast_object_list
from huggingface_hub import snapshot_download
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed
from transformers.utils import logging

from ...config import SSLConfig
from ...report.results import result_of, size_facts
from ...trainer import SSLTrainer
from ...training.checkpoint_folders import checkpoints, clean_up
from .cell_file import make_result
from .cells import Cell
from .curves import curves, measured
from .data import CellData, cell_data
from .engines.base import Work
from .imports import import_files
from .machine import Meter
from .recipes import FULLY_SUPERVISED
from .small.models import SMALL_MODELS
from .tracking import group_runs, run_name, tracked


def train(cell: Cell, work: Work, folder: Path) -> dict[str, Any]:
    """Train a cell, in this process; the content of its file.

    Args:
        folder: of its checkpoints.
    """
    import_files(work.imports, cell.settings.get("imports", {}))
    meter = Meter(work.cores, work.gpus)
    with quiet(), repeatable(work.cores), tracked(cell, work):
        data = cell_data(cell, work)
        trainer = make_trainer(cell, work, data, folder)
        trainer.add_callback(Watcher(meter, work.save_seconds))
        group_runs(trainer, cell)
        clean_up(folder)
        resumed = next(iter(checkpoints(folder)), None)
        start = time.perf_counter()
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        if not any(row.get("step") == trainer.state.global_step for row in curves(trainer.state.log_history)):
            trainer.evaluate()
        facts = trainer.run_facts()
        row = result_of(facts, time.perf_counter() - start)
    history, splits = trainer.state.log_history, ["test"] + ["validation"] * (data.validation is not None)
    rows = curves(history)
    found, metrics = measured(history, splits, balanced="labeled_imbalance" in cell.settings.get("task", {}))
    row |= {"algorithm": cell.algorithm, "seed": cell.seed, **found, "num_test": len(data.test)}
    # The row's own are those of a trainer with one evaluation set. Of several the test set is the last.
    recalls = getattr(trainer.compute_metrics, "recalls", None)
    recalls = () if recalls is None else recalls
    if sizes := size_facts(facts.data.label_names, facts.class_counts, metrics["last"], recalls):
        row |= sizes | {"best_balanced_accuracy": (metrics["best"] or {}).get("balanced_accuracy")}
    commit = getattr(getattr(trainer.model, "config", None), "_commit_hash", None)
    noted: dict[str, Any] = {"backbone_commit": commit} if commit else {}
    if "data" in cell.settings.get("task", {}):
        # Of other tasks their table says it.
        noted["num_classes"] = len(facts.data.label_names)
    return make_result(cell, data.draw, row, metrics, rows, meter.cost(row["seconds"]), **noted)


def make_trainer(cell: Cell, work: Work, data: CellData, folder: Path) -> SSLTrainer:
    """The trainer of a cell, as anybody would write it."""
    settings = cell.settings
    further: dict[str, Any] = {}
    if cell.imbalance is not None:
        further = {"imbalance": cell.imbalance, "imbalance_kwargs": dict(settings.get("imbalance", {})) or None}
    algorithm = "supervised" if cell.algorithm == FULLY_SUPERVISED else cell.algorithm
    args = SSLConfig(
        output_dir=str(folder),
        seed=cell.seed,
        algorithm=algorithm,
        algorithm_kwargs=dict(settings.get("algorithm", {})) or None,
        eval_strategy="steps",
        save_strategy="no",
        save_total_limit=1,
        report_to=list(work.report_to) or "none",
        run_name=run_name(cell, work),
        project=work.project,
        disable_tqdm=True,
        use_cpu=work.gpus == 0,
        dataloader_num_workers=max(work.cores - 1, 0),
        **further,
        **settings.get("training", {}),
    )
    evaluation = {"validation": data.validation} if data.validation is not None else {}
    # The weights of new layers follow from the seed, whichever cells this process has trained before.
    set_seed(cell.seed)
    model, processor = make_model(cell, work, data)
    trainer = SSLTrainer(
        model=model,
        args=args,
        train_dataset=data.labeled,
        unlabeled_dataset=data.unlabeled,
        eval_dataset={**evaluation, "test": data.test},
        processing_class=processor,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_model(cell: Cell, work: Work, data: CellData) -> tuple[Any, Any]:
    """The model, or the name or folder that the trainer loads it from, and its processor if it is not there, too."""
    if cell.backbone in SMALL_MODELS:
        names = data.labeled.features["label"].names
        return SMALL_MODELS[cell.backbone](names, data.unlabeled, **cell.settings.get("model", {}))
    if cell.backbone in work.backbones:
        return work.backbones[cell.backbone], None
    if cell.backbone_revision is not None:
        return snapshot_download(cell.backbone, revision=cell.backbone_revision), None
    return cell.backbone, None


class Watcher(TrainerCallback):
    """Looks at the memory, and saves a checkpoint with an evaluation if the last one is long ago."""

    def __init__(self, meter: Meter, save_seconds: float):
        self.meter, self.save_seconds = meter, save_seconds
        self.saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save only where the log lines and the evaluations so far are whole."""
        if control.should_evaluate:
            self.meter.look()
            # All processes save together, so one clock decides for them.
            is_due = broadcast_object_list([time.monotonic() - self.saved >= self.save_seconds])[0]
            if state.global_step < state.max_steps and is_due:
                control.should_save, self.saved = True, time.monotonic()


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing of a cell's training on the screen, where many cells take turns."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def repeatable(cores: int) -> Iterator[None]:
    """Two runs give the same digits: the same number of threads, and deterministic operations on a GPU."""
    threads = torch.get_num_threads()
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(cores)
    if torch.cuda.is_available():
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
