"""What two processes do together: `accelerate launch --multi_gpu --num_processes 2 two_processes.py DIR`.

Each process writes rank<N>.json (what it found) and <job>-rank<N>.safetensors (its weights at the end) into DIR.
"""

import gc
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.errors import NotFiniteError

from tests.helpers.odd_algorithms import Spoiled
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import new_model, task

# Equality with one process: a batch of 4 on one is 2 + 2 on two.
EQUAL = ("supervised", "fixmatch", "mean_teacher", "flexmatch", "simmatch")
KEYWORDS = {
    "fixmatch": {"threshold": 0.35},
    "flexmatch": {"threshold": 0.35},
    "simmatch": {"threshold": 0.35, "projection_size": 4},
}
RESUMES = {
    "fixmatch": {"algorithm": "fixmatch", "save_steps": 5},
    "fixmatch, accumulation": {"algorithm": "fixmatch", "gradient_accumulation_steps": 2, "save_steps": 2},
    "flexmatch, workers": {"algorithm": "flexmatch", "dataloader_num_workers": 2, "save_steps": 4},
    "simmatch, end of an epoch": {"algorithm": "simmatch", "save_steps": 6},
    "bert": {"modality": "text", "algorithm": "flexmatch", "save_steps": 5},
    "wav2vec2": {"modality": "audio", "algorithm": "fixmatch", "save_steps": 5},
}


def make_trainer(folder, algorithm, modality="image", seed=0, double=False, **config):
    model = new_model(modality, seed)
    defaults = {
        "max_steps": 8,
        "unlabeled_batch_ratio": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.05,
        "optim": "sgd",
        "ema_role": "both",
        "ema_decay": 0.9,
        "save_strategy": "steps",
        "save_steps": 100,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 3,
        "dataloader_pin_memory": False,
        "dataloader_num_workers": 0,
    }
    if torch.distributed.is_torchelastic_launched():
        defaults["ddp_backend"] = "gloo"
    if isinstance(algorithm, str):
        defaults |= {"algorithm": algorithm, "algorithm_kwargs": KEYWORDS.get(algorithm)}
    own = None if isinstance(algorithm, str) else algorithm
    args = SSLConfig(str(folder), **{**defaults, **config})
    trainer = SSLTrainer(model.double() if double else model, args, algorithm=own, **task(modality))
    if double:
        trainer.algorithm.double()
    return trainer


def resume(folder, seed, **config):
    """Names of what differs between a whole and an interrupted run."""
    whole = make_trainer(folder, optim="adamw_torch", **config)
    whole.train()
    whole.accelerator.wait_for_everyone()
    resumed = make_trainer(folder, optim="adamw_torch", seed=seed, **config)
    resumed.train(resume_from_checkpoint=str(folder / f"checkpoint-{config['save_steps']}"))
    expected, found = everything(whole), everything(resumed)
    differing = [name for name in expected if name not in found or not torch.equal(expected[name], found[name])]
    return differing + ([] if log_lines(whole) == log_lines(resumed) else ["log lines"])


def stop_on_nan(folder, rank):
    """What is said, and at which step, if only the second process sees a NaN, in step 3; log lines come every 4."""
    trainer = make_trainer(folder, Spoiled, logging_steps=4, algorithm_kwargs={"at": 3 if rank == 1 else 100})
    try:
        trainer.train()
    except NotFiniteError as error:
        return [trainer.state.global_step, str(error)]


def main(folder: Path) -> None:
    # As in conftest.py: each training ends with a collection.
    gc.freeze()
    report = {"resumed": {}, "logs": {}, "evaluation": {}}
    for algorithm in EQUAL:
        trainer = make_trainer(folder / algorithm, algorithm, double=True)
        trainer.train()
        rank = trainer.args.process_index
        save_file(
            {k: v.contiguous() for k, v in everything(trainer).items()}, folder / f"{algorithm}-rank{rank}.safetensors"
        )
        report["logs"][algorithm] = log_lines(trainer)
        report["evaluation"][algorithm] = trainer.evaluate()["eval_accuracy"]
    for name, config in RESUMES.items():
        report["resumed"][name] = resume(folder / name.replace(", ", "-").replace(" ", "-"), 5, **config)
    report["stopped"] = stop_on_nan(folder / "nan", rank)
    report["processes"] = trainer.args.world_size
    (folder / f"rank{rank}.json").write_text(json.dumps(report))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
