"""What corrections for long tails bring on real data: balanced accuracies, paired with the plain algorithm's.

    python examples/benchmarks/long_tail.py grid --data data --image-model M --text-model M --cache features
    python examples/benchmarks/long_tail.py run --task images --pool reversed --algorithm fixmatch --imbalance abc \
        --seed 0 --validation --data ...
    python examples/benchmarks/long_tail.py table
    python examples/benchmarks/long_tail.py picture

`--data` is a folder with `cifar10` and `ag_news` (each with the splits train and test, as `load_dataset` reads them).
The encoder is frozen and its features are cached (`long_tail_data.py`), so that a run takes seconds. Finished runs are
added to `results/long_tail.json` at once; a grid that was stopped continues, and runs what the table of corrections
has gained since. Seeds are the outermost loop: a part of a grid is still a table.

`--validation` tests on a held-out part of the training data instead and writes nothing; the settings below were chosen
so, with draws of seeds 10 and 11.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from evidence_results import machine
from evidence_tasks import Places
from long_tail_data import Draw, Encoded, draw, encode, make_model
from transformers import PrinterCallback
from transformers.utils import logging

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms.imbalance import IMBALANCE
from hf_ssl.features.start import fit_head
from hf_ssl.report.results import versions

RESULTS = Path(__file__).parent / "results" / "long_tail.json"
ALGORITHMS = ("fixmatch", "freematch", "adamatch")
PLAIN = "none"
SEEDS = (0, 1, 2, 3, 4)
# "num_labeled" and "num_unlabeled" are those of the most frequent class.
TASKS: dict[str, dict[str, Any]] = {
    "images": {"num_labeled": 100, "num_unlabeled": 1_000, "gamma": 50},
    "text": {"num_labeled": 40, "num_unlabeled": 600, "gamma": 20},
}
TRAINING: dict[str, Any] = {
    "max_steps": 300,
    "per_device_train_batch_size": 16,
    "unlabeled_batch_ratio": 3,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "weight_decay": 5e-4,
}
ALGORITHM_SETTINGS: dict[str, dict[str, Any]] = {
    "fixmatch": {"threshold": 0.8},
    "freematch": {"momentum": 0.98},
    "adamatch": {"momentum": 0.98},
}


def run(row: dict[str, Any], data: Encoded, changes: dict[str, Any], *, validation: bool = False) -> dict[str, Any]:
    """Train and test once.

    Args:
        row: "task", "pool", "start", "algorithm", "imbalance" and "seed".
        changes: settings of `SSLConfig`, or with a prefix "algorithm." or "task.", that differ.
    """
    setting = TASKS[row["task"]] | {"pool": row["pool"]} | _part(changes, "task.")
    drawn = draw(row["task"], data, setting, row["seed"], validation)
    started, started_cpu = time.perf_counter(), time.process_time()
    trainer = _trainer(row, data, drawn, changes)
    trainer.remove_callback(PrinterCallback)
    first = trainer.evaluate() if validation else {}
    trainer.train()
    found = trainer.evaluate()
    last = trainer.state.log_history[-2]
    logged = {name: last.get(name) for name in ("mask_ratio", "pseudo_label_accuracy")}
    return {
        **row,
        "balanced_accuracy": found["eval_balanced_accuracy"],
        "accuracy": found["eval_accuracy"],
        **{"first": value for name, value in first.items() if name == "eval_balanced_accuracy"},
        "pseudo": logged,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
    }


def _part(changes: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in changes.items() if name.startswith(prefix)}


def _trainer(row: dict[str, Any], data: Encoded, drawn: Draw, changes: dict[str, Any]) -> SSLTrainer:
    own = ALGORITHM_SETTINGS.get(row["algorithm"], {}) | _part(changes, "algorithm.")
    settings = TRAINING | {name: value for name, value in changes.items() if "." not in name}
    if row["imbalance"] != PLAIN:
        settings |= {"imbalance": row["imbalance"]}
    args = SSLConfig(
        output_dir=_FOLDER.name,
        algorithm=row["algorithm"],
        algorithm_kwargs=own,
        seed=row["seed"],
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        duplicate_check_seconds=0,
        dataloader_num_workers=0,
        logging_steps=50,
        per_device_eval_batch_size=500,
        use_cpu=True,
        start=row["start"],
        **settings,
    )
    return SSLTrainer(
        make_model(data, len(data.names), row["seed"]),
        args,
        train_dataset=drawn.labeled,
        unlabeled_dataset=drawn.pool,
        eval_dataset=drawn.test,
        views=drawn.views,
    )


_FOLDER = tempfile.TemporaryDirectory()
