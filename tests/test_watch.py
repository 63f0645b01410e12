"""Trouble is said aloud: losses that are not finite stop the training, a pool that takes no part is warned of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_ssl import AlgorithmOutput, SSLAlgorithm, losses
from hf_ssl.watch import NotFiniteError

from conftest import make_vit


class Spoiled(SSLAlgorithm):
    """Supervised, with a second term that is `value` in step `at`."""

    views = {"weak": "weak"}

    def __init__(self, *, at: int = 3, value: float = float("nan"), **task):
        super().__init__(**task)
        self.at, self.value = at, value

    def forward(self, forward, batch, progress):
        supervised = losses.cross_entropy(forward(labeled=batch.labeled)["labeled"].logits, batch.labels)
        extra = torch.tensor(self.value if progress.step + 1 == self.at else 0.5)
        return AlgorithmOutput(supervised + extra, {"supervised": supervised.detach(), "extra": extra})


def spoiled(make_trainer, value=float("nan"), at=3, **config):
    return make_trainer(trainer={"algorithm": Spoiled}, algorithm_kwargs={"at": at, "value": value}, **config)


def checkpoints(trainer):
    return sorted(path.name for path in Path(trainer.args.output_dir).glob("checkpoint-*"))


# Settings -> step at which the training stops, and what is in the folder then. The loss is wrong in step 3 of 8.
WHEN = {
    "the next log line": ({"logging_steps": 2, "save_strategy": "steps", "save_steps": 2}, 4, ["checkpoint-2"]),
    "the next checkpoint": ({"logging_steps": 100, "save_strategy": "steps", "save_steps": 5}, 5, []),
    "the next evaluation": ({"logging_steps": 100, "eval_strategy": "steps", "eval_steps": 6}, 6, []),
    "the end": ({"logging_steps": 100}, 8, []),
    "the end of an epoch": ({"logging_strategy": "epoch", "save_strategy": "epoch"}, 6, []),
}


@pytest.mark.parametrize(("config", "stops", "saved"), WHEN.values(), ids=WHEN)
def test_a_loss_that_is_not_finite_stops_the_training_at(make_trainer, config, stops, saved):
    trainer = spoiled(make_trainer, max_steps=8, **config)
    with pytest.raises(NotFiniteError, match=r"^loss nan at step 3 \(supervised \d\S*, extra nan\): training stopped") as error:
        trainer.train()
    assert "\n" not in str(error.value) and "stop_on_nan=False" in str(error.value)
    assert trainer.state.global_step == stops
    assert checkpoints(trainer) == saved
    assert all(value == value for row in trainer.state.log_history for value in row.values())


@pytest.mark.parametrize(("value", "shown"), [(float("inf"), "inf"), (float("-inf"), "-inf")])
def test_infinite_losses_stop_it_too(make_trainer, value, shown):
    with pytest.raises(ValueError, match=rf"^loss {shown} at step 3 \(.*, extra {shown}\)"):
        spoiled(make_trainer, value).train()


def test_a_pass_among_accumulated_ones_is_enough(make_trainer):
    with pytest.raises(NotFiniteError, match="loss nan at step 2 "):
        spoiled(make_trainer, at=2, gradient_accumulation_steps=2, max_steps=3).train()


def test_the_setting_turns_it_off(make_trainer):
    trainer = spoiled(make_trainer, stop_on_nan=False, max_steps=4)
    trainer.train()
    assert trainer.state.global_step == 4
    assert trainer.state.log_history[2]["extra"] != trainer.state.log_history[2]["extra"]


def test_the_model_can_be_evaluated_after_the_stop(make_trainer):
    trainer = spoiled(make_trainer)
    with pytest.raises(NotFiniteError):
        trainer.train()
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1


class Overflowing(Spoiled):
    """Its loss is always finite; its gradient in step `at` is not."""

    def forward(self, forward, batch, progress):
        logits = forward(labeled=batch.labeled)["labeled"].logits
        loss = losses.cross_entropy(logits, batch.labels)
        if progress.step + 1 == self.at:
            loss = loss + (logits.sum() * 0).sqrt()  # 0, with the slope infinity * 0
        return AlgorithmOutput(loss, {"supervised": loss.detach()})


def test_weights_that_are_not_finite_are_never_saved(make_trainer):
    trainer = make_trainer(
        trainer={"algorithm": Overflowing}, algorithm_kwargs={"at": 4}, max_steps=8, save_strategy="steps", save_steps=2
    )
    with pytest.raises(NotFiniteError, match=r"weights are not finite after step 4 \(first vit\."):
        trainer.train()
    assert checkpoints(trainer) == ["checkpoint-2"]


def test_running_statistics_count_as_weights_and_other_buffers_do_not(make_trainer):
    model = make_vit()
    model.register_buffer("attention_mask", torch.tensor([0.0, float("-inf")]))
    trainer = make_trainer(model, max_steps=2, save_strategy="steps", save_steps=2)
    trainer.train()
    assert checkpoints(trainer) == ["checkpoint-2"]
    model.norm = torch.nn.BatchNorm1d(2)
    model.norm.running_var.fill_(float("inf"))
    with pytest.raises(NotFiniteError, match=r"1 weights are not finite .*first norm\.running_var"):
        trainer.watch.check(model)


@pytest.mark.multiprocess
def test_all_processes_stop_together(tmp_path):
    """Two processes, of which one alone sees the NaN: both end with the error, at the next log line."""
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import os\n"
        "from conftest import make_images, make_vit\n"
        "from test_watch import Spoiled\n"
        "from transformers import ViTImageProcessor\n"
        "from hf_ssl import SSLConfig, SSLTrainer\n"
        "rank = int(os.environ['RANK'])\n"
        "processor = ViTImageProcessor(size={'height': 12, 'width': 12}, image_mean=[0.5] * 3, image_std=[0.5] * 3)\n"
        f"args = SSLConfig(output_dir={str(tmp_path / 'run')!r}, max_steps=6, per_device_train_batch_size=2, logging_steps=4,\n"
        "    algorithm_kwargs={'at': 3 if rank == 1 else 100}, save_strategy='no', report_to='none', use_cpu=True,\n"
        "    disable_tqdm=True, dataloader_pin_memory=False)\n"
        "trainer = SSLTrainer(make_vit(), args, train_dataset=make_images(6, 0), unlabeled_dataset=make_images(24, 1),\n"
        "    processing_class=processor, algorithm=Spoiled)\n"
        "try:\n"
        "    trainer.train()\n"
        "except ValueError as error:\n"
        "    print('STOPPED', rank, trainer.state.global_step, error, flush=True)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    for rank in (0, 1):
        assert f"STOPPED {rank} 4 loss nan at step 3 (supervised" in run.stdout


# ---- The pool ----


@pytest.fixture
def warnings(monkeypatch):
    """What the trainer warned of."""
    seen = []
    monkeypatch.setattr("hf_ssl.watch.logger.warning", seen.append)
    return seen


MASKS = {
    "zero for long enough": ({"algorithm_kwargs": {"threshold": 1.0}}, 1),
    "not long enough": ({"algorithm_kwargs": {"threshold": 1.0}, "zero_mask_warning_steps": 9}, 0),
    "turned off": ({"algorithm_kwargs": {"threshold": 1.0}, "zero_mask_warning_steps": 0}, 0),
    "some take part": ({"algorithm_kwargs": {"threshold": 0.01}}, 0),
    "no mask": ({"algorithm": "supervised"}, 0),
}


@pytest.mark.parametrize(("config", "expected"), MASKS.values(), ids=MASKS)
def test_a_pool_that_takes_no_part_is_warned_of_once(make_trainer, warnings, config, expected):
    make_trainer(**{"max_steps": 8, "logging_steps": 2, "zero_mask_warning_steps": 4, "learning_rate": 1e-4, **config}).train()
    assert len(warnings) == expected
    for warning in warnings:
        assert warning.startswith("no unlabeled example took part in the last 4 steps (mask_ratio 0)")
        assert "lower its threshold (1.0 now)" in warning and "freematch" in warning


def test_the_stretch_starts_anew_with_each_example_that_takes_part(make_trainer, warnings):
    watch = make_trainer(zero_mask_warning_steps=100).watch
    for step, ratio in ((50, 0.0), (100, 0.01), (150, 0.0), (199, 0.0)):
        watch.warn_if_nothing_takes_part(ratio, step)
    assert warnings == []
    watch.warn_if_nothing_takes_part(0.0, 200)
    watch.warn_if_nothing_takes_part(0.0, 400)
    assert len(warnings) == 1
