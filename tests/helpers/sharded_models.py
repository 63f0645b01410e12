"""What two processes do with a sharded model: `accelerate launch --num_processes 2 sharded_models.py DIR`.

Each training is done with DDP first and then with FSDP2. The first process writes <kind>-<case>.safetensors (weights at
the end), each process rank<N>.json (what it found), into DIR.
"""

import gc
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import save_file

from hf_ssl.distributed import whole

from tests.helpers.fsdp_on_cpu import fsdp_on_cpu
from tests.helpers.resuming import log_lines
from tests.helpers.two_processes import make_trainer

EQUAL = ("supervised", "fixmatch", "freematch", "mean_teacher", "simmatch")
KEYWORDS = {"fixmatch": {"threshold": 0.35}, "simmatch": {"threshold": 0.35, "projection_size": 4}}
# Clipping has a part in every step: norms are above it.
SETTINGS = {"optim": "adamw_torch", "learning_rate": 0.01, "max_grad_norm": 0.1, "weight_decay": 0.1, "logging_steps": 2}
KINDS = {"ddp": {}, "fsdp": {"fsdp": True}}


def everything(trainer):
    """All tensors of a training, put together from all processes."""
    student = trainer.accelerator.unwrap_model(trainer.model)
    found = {f"student/{name}": tensor for name, tensor in student.state_dict().items()}
    found |= {f"ema/{name}": tensor for name, tensor in (trainer.ema.state_dict() if trainer.ema else {}).items()}
    found |= {f"algorithm/{name}": tensor for name, tensor in trainer.algorithm.state_dict().items()}
    for number, values in sorted(trainer.optimizer.state_dict()["state"].items()):
        found |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in values.items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in whole(found).items()}


def train(folder, kind, algorithm, resume=None, **config):
    """A trainer after its training, with DDP or with FSDP2."""
    with fsdp_on_cpu() if kind == "fsdp" else nullcontext():
        given = {"algorithm_kwargs": KEYWORDS.get(algorithm), **SETTINGS, **KINDS[kind], **config}
        trainer = make_trainer(folder, algorithm, **given)
        trainer.train(resume_from_checkpoint=resume)
        return trainer
