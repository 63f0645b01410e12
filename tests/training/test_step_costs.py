"""A step waits for nothing: between two log lines no value of a tensor is read on the host, and nothing is recompiled.

On a GPU each such reading waits until everything that was started before has been computed, so that the GPU then
idles while the host prepares the next operations. Copying numbers from unpinned memory of the host waits, too.
Counted are the operations and methods below, in everything that `Trainer` does between two batches: forward and
backward pass, clipping, optimizer, moving average, sums for the log line, bookkeeping.
"""

import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.algorithms.rounds import InRounds, Picks

from tests.helpers.quiet import QUIET
from tests.helpers.tiny_tasks import EAGER, new_model, task

# Eight steps are more than one pass over the pool.
WARM_UP, STEPS = 2, 8
# What `item`, `bool`, `float`, `int` and comparisons call, and operations whose result's shape depends on values.
READING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "histc", "allclose")
READING += ("unique", "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive")
# What reads a tensor without an operation that can be seen.
METHODS = ("tolist", "numpy", "cpu", "__array__")


class Copies(TorchFunctionMode):
    """Notes what makes a tensor of numbers of the host: on a GPU the copy would be waited for."""

    def __init__(self, note):
        super().__init__()
        self.note = note

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.tensor, torch.as_tensor, torch.asarray):
            self.note(function.__name__)
        if function in (torch.where, torch.Tensor.where):
            numbers = [value for value in (*args, *(kwargs or {}).values()) if not isinstance(value, torch.Tensor)]
            if numbers:
                self.note("a number in where")
        return function(*args, **(kwargs or {}))


class Readings(TorchDispatchMode):
    """Counts what reads values on the host, or copies values from there, by the file that did it."""

    def __init__(self):
        super().__init__()
        self.found = Counter()
        self.copies = Copies(self.note)

    def __enter__(self):
        self.copies.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.copies.__exit__(*error)

    def note(self, what):
        lines = [
            line for line in traceback.extract_stack() if "/torch/" not in line.filename and line.filename != __file__
        ]
        self.found[f"{what} in {Path(*Path(lines[-1].filename).parts[-2:])}"] += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        lengths = name == "repeat_interleave" and "output_size" not in (kwargs or {})
        if name in READING or by_mask or lengths:
            self.note(name)
        return function(*args, **(kwargs or {}))


class CountedTrainer(SSLTrainer):
    """Counts the readings of `STEPS` steps after the warm-up, without those that make the batches."""

    counting, counted_steps = False, 0

    def begin_counting(self):
        self.readings = Readings()
        self.add_callback(_Switch(self))

    def switch(self, on):
        if on != self.counting:
            self.counting = on
            self.readings.__enter__() if on else self.readings.__exit__(None, None, None)

    def get_batch_samples(self, *args):
        self.switch(False)
        return super().get_batch_samples(*args)


class _Switch(TrainerCallback):
    def __init__(self, trainer):
        self.trainer = trainer

    def on_step_begin(self, args, state, control, **kwargs):
        self.trainer.switch(state.global_step >= WARM_UP)

    def on_step_end(self, args, state, control, **kwargs):
        self.trainer.counted_steps += self.trainer.counting
        # The line at the end of a training is a log line, too.
        self.trainer.switch(state.global_step < state.max_steps and self.trainer.counting)


def make(folder, algorithm, modality, **config):
    settings = {name: value for name, value in EAGER.items() if name in ALGORITHMS[algorithm].settings()}
    defaults = {
        "max_steps": WARM_UP + STEPS,
        "algorithm": algorithm,
        "algorithm_kwargs": settings,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-3,
        # Other optimizers read their counts of steps, which on the CPU are tensors; on a GPU it is the usual one.
        "optim": "adamw_torch_fused",
        "ema_role": "both",
        "logging_steps": 1000,
        **QUIET,
    }
    return CountedTrainer(new_model(modality), SSLConfig(str(folder), **{**defaults, **config}), **task(modality))


# Readings that others make, as "what in file": how often in one call of the model.
OTHERS = {
    # transformers looks whether a batch of texts has any padding, or can do without a mask; compiled models skip it.
    "text": {"_local_scalar_dense in transformers/masking_utils.py": 1},
}
# What only older versions of transformers read (5.17: whether a mask of recordings has any padding).
OLDER = {"_local_scalar_dense in wav2vec2/modeling_wav2vec2.py"}
# Label propagation builds its graph on the CPU, a few times in a run, and every step in one as short as these.
CASES = [(algorithm, "image") for algorithm in ALGORITHMS if algorithm != "propagation"]
CASES += [
    (algorithm, modality) for modality in ("text", "audio") for algorithm in ("flexmatch", "simmatch", "mixmatch")
]


@pytest.mark.parametrize(
    ("algorithm", "modality"), CASES, ids=[f"{modality}-{algorithm}" for algorithm, modality in CASES]
)
def test_no_step_reads_a_value_back(monkeypatch, tmp_path, algorithm, modality):
    in_rounds = issubclass(ALGORITHMS[algorithm], InRounds)
    # Between rounds the pool is predicted, and checkpoints are read: here is one round, and the pool has labels.
    trainer = make(tmp_path, algorithm, modality, **({"algorithm_kwargs": {"rounds": 1}} if in_rounds else {}))
    if in_rounds:
        trainer.algorithm.begin_round(1, Picks(np.arange(4), np.array([0, 1, 2, 0])))
    trainer.begin_counting()
    for method in METHODS:
        real = getattr(torch.Tensor, method)

        def noted(tensor, *args, method=method, real=real, **kwargs):
            if trainer.counting:
                trainer.readings.note(method)
            return real(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, method, noted)
    calls = []
    # The moving average is a copy of the model, hook and all.
    trainer.model.register_forward_pre_hook(lambda *_: calls.append(trainer.counting))
    trainer.train()
    assert trainer.counted_steps == STEPS
    expected = {name: each * sum(calls) for name, each in OTHERS.get(modality, {}).items()}
    assert {name: count for name, count in trainer.readings.found.items() if name not in OLDER} == expected


def test_what_is_counted(tmp_path):
    """The counter sees what would make a step wait."""
    tensor, mask, counts, places = (
        torch.arange(3.0),
        torch.tensor([True, False, True]),
        torch.ones(3).long(),
        torch.arange(2),
    )
    ways = {
        "item": lambda: tensor[0].item(),
        "float": lambda: float(tensor[0]),
        "int": lambda: int(tensor[0]),
        "if": lambda: bool(tensor[0] > 1),
        "all": lambda: 1 if mask.all() else 0,
        "masked": lambda: tensor[mask],
        "masked_select": lambda: tensor.masked_select(mask),
        "nonzero": lambda: mask.nonzero(),
        "unique": lambda: tensor.unique(),
        "equal": lambda: torch.equal(tensor, tensor),
        "repeat": lambda: tensor.repeat_interleave(counts),
        "tensor": lambda: torch.tensor([1.0]),
        "where": lambda: torch.where(mask, tensor, 0.0),
    }
    seen = {}
    for name, way in ways.items():
        with Readings() as readings:
            way()
        seen[name] = len(readings.found)
    assert seen == dict.fromkeys(ways, 1)
    with Readings() as readings:
        torch.where(mask, tensor, 0 * tensor)[places].sum().masked_fill(mask[0], 1.0).clamp_min(0)
    assert readings.found == {}


@pytest.mark.parametrize("modality", ["image", pytest.param("text", marks=pytest.mark.slow)])
def test_no_step_compiles_again(tmp_path, modality):
    torch._dynamo.reset()
    counters.clear()
    graphs = []

    class Count(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            graphs.append(counters["stats"]["unique_graphs"])

    trainer = make(tmp_path, "flexmatch", modality, torch_compile=True, torch_compile_backend="eager")
    trainer.add_callback(Count())
    trainer.train()
    assert graphs[WARM_UP - 1] > 0
    assert graphs[WARM_UP:] == [graphs[WARM_UP - 1]] * STEPS
