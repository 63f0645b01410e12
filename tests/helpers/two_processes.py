"""What two processes do together: `accelerate launch --multi_gpu --num_processes 2 two_processes.py DIR`.

Each process writes rank<N>.json (what it found) and <job>-rank<N>.safetensors (its weights at the end) into DIR.
"""

import gc
import json
import sys
from pathlib import Path

import datasets
import torch
from safetensors.torch import save_file
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
)

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.distributed import gather
from hf_ssl.errors import NotFiniteError
from hf_ssl.features import bank
from hf_ssl.model.head import find_head
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.odd_algorithms import LateHead, Spoiled
from tests.helpers.problem_tasks import label_settings, problem_model, problem_task
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import new_model, task

# Equality with one process: a batch of 4 on one is 2 + 2 on two.
EQUAL = ("supervised", "fixmatch", "mean_teacher", "flexmatch", "simmatch")
# Of several labels and of numbers: kind of problem -> algorithm.
EQUAL_OF_KIND = {MULTI_LABEL: "cap", REGRESSION: "mean_teacher"}
KEYWORDS = {
    "fixmatch": {"threshold": 0.35},
    "flexmatch": {"threshold": 0.35},
    "simmatch": {"threshold": 0.35, "projection_size": 4},
    "rankup": {"threshold": 0.5, "warmup_fraction": 0.1},
}
RESUMES = {
    "fixmatch": {"algorithm": "fixmatch", "save_steps": 5},
    "fixmatch, accumulation": {"algorithm": "fixmatch", "gradient_accumulation_steps": 2, "save_steps": 2},
    "flexmatch, workers": {"algorithm": "flexmatch", "dataloader_num_workers": 2, "save_steps": 4},
    "simmatch, end of an epoch": {"algorithm": "simmatch", "save_steps": 6},
    "abc, averaged": {"algorithm": "fixmatch", "imbalance": "abc", "ema_role": "evaluation", "save_steps": 5},
    "cdmad": {"algorithm": "fixmatch", "imbalance": "cdmad", "save_steps": 5},
    "bert": {"modality": "text", "algorithm": "flexmatch", "save_steps": 5},
    "wav2vec2": {"modality": "audio", "algorithm": "fixmatch", "save_steps": 5},
    "labeled in part": {"algorithm": "fixmatch", "save_steps": 5, "labeled_in_part": True},
    "several labels": {"algorithm": "cap", "save_steps": 5, "kind": MULTI_LABEL},
    "numbers": {"algorithm": "rankup", "save_steps": 5, "kind": REGRESSION},
}


def make_trainer(
    folder, algorithm, modality="image", seed=0, model=None, double=False, labeled_in_part=False, kind=None, **config
):
    if kind is not None:
        model, config = problem_model(modality, kind, seed), label_settings(kind) | config
    model = new_model(modality, seed) if model is None else model
    given = task(modality) if kind is None else problem_task(modality, kind)
    given = given | ({"unlabeled_dataset": pool_labeled_in_part()} if labeled_in_part else {})
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
    trainer = SSLTrainer(model, args, algorithm=own, **given)
    if double:
        # Both at once: a step is tried when a trainer is made, and new heads are float32.
        trainer.model.double()
        trainer.algorithm.double()
    return trainer


class CountsExchanges(TrainerCallback):
    """How often DistributedDataParallel averages a part of the gradients."""

    def __init__(self, trainer):
        self.trainer, self.count = trainer, 0

    def on_train_begin(self, args, state, control, **kwargs):
        def average(group, bucket):
            self.count += 1
            return allreduce_hook(group, bucket)

        self.trainer.model_wrapped.register_comm_hook(None, average)


PIECES = {"gradient_accumulation_steps": 2, "max_steps": 4, "learning_rate": 0.2}


def in_pieces(folder, rank):
    """The weights after a training in pieces are saved; the exchanges of gradients are counted."""
    trainer = make_trainer(folder, "fixmatch", double=True, view_micro_batch=1, **PIECES)
    counts = CountsExchanges(trainer)
    trainer.add_callback(counts)
    trainer.train()
    save_file({k: v.contiguous() for k, v in everything(trainer).items()}, folder / f"rank{rank}.safetensors")
    return counts.count


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
    """What is said, and at which step, if only the second process sees a NaN, in step 3; log lines come every 4.

    The term that is a NaN is one that the first process does not have.
    """
    settings = {"at": 3 if rank == 1 else 100, "alone": True}
    trainer = make_trainer(folder, Spoiled, logging_steps=4, algorithm_kwargs=settings)
    try:
        trainer.train()
    except NotFiniteError as error:
        return [trainer.state.global_step, str(error)]


def pool_labeled_in_part():
    """The pool of images, of which every fourth has a label and two cannot be read."""
    pool = task("image")["unlabeled_dataset"].cast_column("image", datasets.Image(decode=False))
    labels = [label if row % 4 == 0 else -1 for row, label in enumerate(pool["label"])]
    pool = pool.remove_columns("label").add_column("label", labels, feature=pool.features["label"])
    broken = {"bytes": b"no image", "path": None}
    pool = pool.map(lambda row, place: {"image": broken} if place in (5, 14) else row, with_indices=True)
    return pool.cast_column("image", datasets.Image())


# What may differ between processes at the start, or take no part in some steps.
ODD = {
    "evaluated before": {"algorithm": "mean_teacher", "evaluated": True},
    "weights of its own": {"algorithm": "mean_teacher", "seeds": True},
    "a head of its own": {"algorithm": "late", "seeds": True},
    "layers dropped": {"algorithm": "fixmatch", "modality": "audio", "layerdrop": 0.5},
    "layers dropped, several calls": {"algorithm": "vat", "modality": "audio", "layerdrop": 0.5},
    "layers dropped and searched for": {
        "algorithm": "fixmatch",
        "modality": "audio",
        "layerdrop": 0.5,
        "ddp_find_unused_parameters": True,
    },
    "a weight without a part": {"algorithm": "fixmatch", "model": "dinov2", "gradient_checkpointing": True},
}
STARTS = ("head", "features")
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}


def odd(folder, rank, algorithm, *, evaluated=False, seeds=False, layerdrop=None, model=None, **config):
    """Names of what differs between the processes after a training, and the layerdrop that the model then has."""
    torch.manual_seed(rank if seeds else 0)
    if model == "dinov2":
        model = Dinov2ForImageClassification(Dinov2Config(**SIZES, image_size=12, patch_size=4))
    if algorithm == "late":
        sizes = {"num_classes": 3, "num_labeled": 6, "num_unlabeled": 24, "feature_size": 16}
        algorithm = LateHead(**sizes, labeled_batch_size=4, unlabeled_batch_size=4)
    trainer = make_trainer(folder, algorithm, seed=rank if seeds else 0, model=model, max_steps=5, **config)
    if layerdrop is not None:
        trainer.model.config.layerdrop = layerdrop
    if evaluated:
        trainer.evaluate()
    trainer.train()
    tensors = {name: gather(tensor[None]) for name, tensor in everything(trainer).items()}
    return [name for name, (first, second) in tensors.items() if not torch.equal(first, second)], (
        getattr(trainer.model.config, "layerdrop", None)
    )


def batch_norm(folder):
    """The evaluation of a model whose running statistics are those of each process, and what is saved."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    trainer = make_trainer(
        folder, "fixmatch", model=ResNetForImageClassification(config), per_device_eval_batch_size=3, logging_steps=8
    )
    trainer.train()
    found = {weights: trainer.evaluate(weights=weights)["eval_loss"] for weights in ("ema", "student")}
    trainer.save_model()
    return found


def fitted_heads(folder):
    """The weights of heads that were fitted before the training, by `start`."""
    bank.default_cache = lambda: folder / "features"
    heads = {}
    for start in STARTS:
        # The head is fitted when training begins, and stays as it is at a rate of 0.
        trainer = make_trainer(folder / start, "fixmatch", start=start, max_steps=1, learning_rate=0.0)
        trainer.train()
        heads[start] = find_head(trainer.accelerator.unwrap_model(trainer.model)).weight.tolist()
    return heads


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
    for kind, algorithm in EQUAL_OF_KIND.items():
        trainer = make_trainer(folder / kind, algorithm, double=True, kind=kind)
        trainer.train()
        tensors = {name: tensor.contiguous() for name, tensor in everything(trainer).items()}
        save_file(tensors, folder / f"{kind}-rank{rank}.safetensors")
        report["logs"][kind], report["evaluation"][kind] = log_lines(trainer), trainer.evaluate()
    for name, config in RESUMES.items():
        report["resumed"][name] = resume(folder / name.replace(", ", "-").replace(" ", "-"), 5, **config)
    report["stopped"] = stop_on_nan(folder / "nan", rank)
    report["odd"] = {name: odd(folder / "odd" / name.replace(" ", "-"), rank, **case) for name, case in ODD.items()}
    late = make_trainer(folder / "late", LateHead, double=True, optim="adamw_torch")
    late.train()
    save_file({k: v.contiguous() for k, v in everything(late).items()}, folder / f"late-rank{rank}.safetensors")
    part = make_trainer(folder / "part", "fixmatch", labeled_in_part=True, double=True, logging_steps=2)
    part.train()
    report["logs"]["labeled in part"] = log_lines(part)
    report["exchanges in pieces"] = in_pieces(folder / "pieces", rank)
    report["heads"] = fitted_heads(folder / "heads")
    report["batch norm"] = batch_norm(folder / "batch-norm")
    report["processes"] = trainer.args.world_size
    (folder / f"rank{rank}.json").write_text(json.dumps(report))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
