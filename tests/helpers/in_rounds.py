"""Algorithms that train in rounds, a trainer of them on a tiny task, and what two processes do with it.

`accelerate launch --multi_gpu --num_processes 2 in_rounds.py DIR` writes rank<N>.json into DIR.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms.fixmatch import FixMatch
from hf_ssl.algorithms.imbalance import IMBALANCE
from hf_ssl.algorithms.rounds import InRounds, most_confident

from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import new_model, task

# 24 unlabeled examples, 4 in a batch: 6 steps in an epoch. Rounds of 4 steps end inside of epochs.
STEPS = 12


class Restarting(InRounds, FixMatch):
    """Three trainings, each from scratch, with the two surest examples of each class."""

    rounds, restarts = 3, True

    def __init__(self, *, threshold: float = 0.35, **task):
        super().__init__(threshold=threshold, **task)
        self.begun = []

    def begin_round(self, number, picks):
        self.begun.append(number)

    def pick(self, classes, confidence, number, labeled):
        wanted = np.full(self.num_classes, 2 * number)
        return most_confident(classes, confidence, wanted, np.arange(self.num_classes))


class Continuing(Restarting):
    restarts = False


class CReSTFixMatch(FixMatch):
    """An algorithm that brings its correction."""

    def __init__(self, *, threshold: float = 0.35, **task):
        super().__init__(threshold=threshold, **task)
        counts = self.problem.frequencies() * self.problem.num_labeled
        self.correct_with(IMBALANCE["crest_plus"](generations=3, problem=self.problem, class_counts=counts))


KINDS = {"restarting": Restarting, "continuing": Continuing, "crest_plus": CReSTFixMatch}


def make_trainer(folder, kind="restarting", modality="image", seed=0, given=None, **config):
    defaults = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "ema_role": "evaluation",
        "ema_decay": 0.7,
        "save_strategy": "steps",
        "save_steps": 100,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 3,
        "dataloader_pin_memory": False,
        "dataloader_num_workers": 0,
    }
    args = SSLConfig(output_dir=str(folder), **{**defaults, **config})
    given = {**task(modality), **(given or {})}
    return SSLTrainer(new_model(modality, seed), args, algorithm=KINDS.get(kind, kind), **given)


def picked(trainer):
    """The tables of what was picked, by the names of their files."""
    folder = Path(trainer.args.output_dir, "rounds")
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def two_processes(folder: Path) -> None:
    """What each process has in the last round, and what differs after resuming."""
    sizes = {"per_device_train_batch_size": 1, "ddp_backend": "gloo", "save_steps": 1}
    report = {"picks": {}, "differing": {}}
    for kind in ("restarting", "continuing"):
        whole = make_trainer(folder / kind, kind, **sizes)
        whole.train()
        picks = whole._round.picks
        report["picks"][kind] = [picks.index.tolist(), picks.labels.tolist()]
        whole.accelerator.wait_for_everyone()
        for step in (4, 6):
            resumed = make_trainer(folder / kind, kind, seed=5, **{**sizes, "save_steps": 100})
            resumed.train(resume_from_checkpoint=str(folder / kind / f"checkpoint-{step}"))
            expected, found = everything(whole), everything(resumed)
            differing = [name for name in expected if not torch.equal(expected[name], found[name])]
            logs = [] if log_lines(whole) == log_lines(resumed) else ["log lines"]
            report["differing"][f"{kind}, {step}"] = differing + logs
    report["processes"] = whole.args.world_size
    (folder / f"rank{whole.args.process_index}.json").write_text(json.dumps(report))
    whole.accelerator.end_training()


if __name__ == "__main__":
    two_processes(Path(sys.argv[1]))
