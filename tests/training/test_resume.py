"""An interrupted run continues as if it had not been interrupted, bit for bit, even if it was killed while saving."""

import functools
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification
from transformers import trainer as transformers_trainer

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.training import checkpoint_files as state
from hf_ssl.training.checkpoint_files import choose_checkpoint, find_problem

from tests.helpers.children import finish, start_child, wait_until
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import new_model, task

# 24 unlabeled examples, 4 a batch: 6 steps an epoch, or 3 with two accumulated batches.
STEPS = 10


def make_trainer(folder, modality="image", algorithm="fixmatch", seed=0, dropout=0.0, **config):
    model = new_model(modality, seed)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    defaults = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "algorithm_kwargs": {"threshold": 0.35},
        "ema_role": "evaluation",
        "ema_decay": 0.9,
        "save_strategy": "steps",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 3,
        "dataloader_pin_memory": False,
        "dataloader_num_workers": 0,
    }
    args = SSLConfig(output_dir=str(folder), algorithm=algorithm, **{**defaults, **config})
    return SSLTrainer(model, args, **task(modality))


def assert_equal(whole, resumed):
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert log_lines(whole) == log_lines(resumed)
    assert len(log_lines(whole)) == STEPS // 3


ALONE = {
    "mid-epoch": {},
    "at the end of an epoch": {"at": 6},
    "accumulation, mid-epoch": {"gradient_accumulation_steps": 2, "at": 5},
    "two workers": {"dataloader_num_workers": 2},
    "dropout": {"dropout": 0.3},
    "teacher": {"algorithm": "mean_teacher", "ema_role": "both", "algorithm_kwargs": None},
    "flexmatch": {"algorithm": "flexmatch"},
    "simmatch": {"algorithm": "simmatch", "at": 8, "algorithm_kwargs": {"threshold": 0.35, "projection_size": 4}},
    "text": {"modality": "text", "dropout": 0.3},
    "audio": {"modality": "audio", "dropout": 0.3},
}
COMBINED = {
    "in the second epoch": {"at": 8},
    "a persistent worker": {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "at": 8},
    "flexmatch, accumulation and workers": {
        "algorithm": "flexmatch",
        "gradient_accumulation_steps": 2,
        "dataloader_num_workers": 2,
    },
    "text, flexmatch": {"modality": "text", "algorithm": "flexmatch", "at": 8},
    "audio, simmatch": {
        "modality": "audio",
        "algorithm": "simmatch",
        "at": 8,
        "algorithm_kwargs": {"threshold": 0.35, "projection_size": 4},
    },
}
RESUMES = [pytest.param(case, id=name) for name, case in ALONE.items()]
RESUMES += [pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in COMBINED.items()]


@pytest.mark.parametrize("case", RESUMES)
def test_resuming_is_bit_for_bit(case, tmp_path):
    case = dict(case)
    at = case.pop("at", 4)
    whole = make_trainer(tmp_path, save_steps=at, **case)
    whole.train()
    resumed = make_trainer(tmp_path, seed=5, save_steps=at, **case)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{at}"))
    assert_equal(whole, resumed)


def test_a_checkpoint_is_a_model_folder_with_the_evaluated_weights(tmp_path):
    trainer = make_trainer(tmp_path, save_steps=STEPS)
    trainer.train()
    folder = tmp_path / f"checkpoint-{STEPS}"
    loaded = AutoModelForImageClassification.from_pretrained(folder)
    expected = trainer.ema.module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    student = trainer.model.state_dict()
    assert not torch.equal(student["classifier.weight"], expected["classifier.weight"])


def test_a_checkpoint_holds_no_pickle_of_ours_and_no_path(tmp_path):
    trainer = make_trainer(tmp_path, save_steps=STEPS, hub_token="hf_secret")
    trainer.train()
    folder = tmp_path / f"checkpoint-{STEPS}"
    assert {path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")} == {
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
    }
    text = (folder / "ssl_config.json").read_text()
    assert '"algorithm": "fixmatch"' in text and '"learning_rate": 0.01' in text
    assert str(tmp_path) not in text and "hf_secret" not in text and "output_dir" not in text


def test_the_best_model_is_the_average_that_was_evaluated(tmp_path):
    trainer = make_trainer(
        tmp_path,
        learning_rate=0.5,
        ema_decay=0.5,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    trainer.train()
    seen = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert min(seen) < seen[-1]
    for weights in (None, "ema", "student"):
        assert trainer.evaluate(weights=weights)["eval_loss"] == pytest.approx(min(seen), rel=1e-5)


# ---- Killed runs ----


def kill_at_write(number: int, monkeypatch):
    """Let the process die, as by `kill -9`, in the middle of its `number`-th write of a file of a checkpoint."""
    counter = {"writes": 0}

    def dying(write, path_of):
        def wrapper(*args, **kwargs):
            write(*args, **kwargs)
            counter["writes"] += 1
            if counter["writes"] == number:
                path = Path(path_of(args))
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
                os.kill(os.getpid(), signal.SIGKILL)

        return wrapper

    monkeypatch.setattr(state, "save_file", dying(state.save_file, lambda args: args[1]))
    monkeypatch.setattr(torch, "save", dying(torch.save, lambda args: args[1]))
    saved = transformers_trainer.TrainerState.save_to_json
    monkeypatch.setattr(transformers_trainer.TrainerState, "save_to_json", dying(saved, lambda args: args[1]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    trainer = make_trainer(tmp_path_factory.mktemp("whole"), save_steps=3, save_total_limit=1)
    trainer.train()
    return trainer


@pytest.mark.parametrize("write", range(1, 9))
def test_a_run_killed_while_it_saves_continues_from_the_checkpoint_before(write, whole, tmp_path, monkeypatch):
    """A checkpoint has eight writes here: the run dies in each of them of its second checkpoint."""
    killed = make_trainer(tmp_path / "run", save_steps=3, save_total_limit=1)
    with monkeypatch.context() as patch:
        kill_at_write(8 + write, patch)
        assert finish(start_child(killed.train)) == -signal.SIGKILL
    assert find_problem(tmp_path / "run" / "checkpoint-3") is None
    assert (tmp_path / "run" / ".checkpoint-6.partial").is_dir()
    resumed = make_trainer(tmp_path / "run", seed=5, save_steps=3, save_total_limit=1)
    resumed.train(resume_from_checkpoint=True)
    assert_equal(whole, resumed)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_continues(tmp_path):
    moments = random.Random(0)
    for reached in (1, 3, 5):
        killed = make_trainer(tmp_path / "run", seed=5, save_steps=1, save_total_limit=2)
        child = start_child(functools.partial(killed.train, resume_from_checkpoint=reached > 1))
        saved = tmp_path / "run" / f"checkpoint-{reached}" / "trainer_state.json"
        wait_until(saved.exists, child)
        time.sleep(moments.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        finish(child)
    resumed = make_trainer(tmp_path / "run", seed=5, save_steps=1, save_total_limit=2)
    resumed.train(resume_from_checkpoint=True)
    again = make_trainer(tmp_path / "again", seed=5, save_strategy="no")
    again.train()
    assert_equal(again, resumed)


def test_a_child_that_fails_or_hangs_is_not_waited_for(tmp_path, capfd):
    with pytest.raises(ChildProcessError, match="ended with status 1 too early"):
        wait_until((tmp_path / "never").exists, start_child(lambda: 1 / 0))
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert finish(start_child(lambda: None)) == 0
    with pytest.raises(TimeoutError, match="waited for longer than"):
        finish(start_child(lambda: time.sleep(60)), seconds=0.1)


# ---- Checkpoints that are refused ----

FILES = [
    "ssl_student.safetensors",
    "ssl_ema.safetensors",
    "ssl_algorithm.safetensors",
    "ssl_log.safetensors",
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    make_trainer(folder, save_steps=2, max_steps=4).train()
    return folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_an_incomplete_checkpoint_is_refused_and_the_older_one_offered(finished, name, damage):
    path = finished / "checkpoint-4" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    try:
        with pytest.raises(ValueError) as caught:
            choose_checkpoint(str(finished / "checkpoint-4"), str(finished))
        assert str(path) in str(caught.value) and damage in str(caught.value)
        assert f"resume from {finished / 'checkpoint-2'}, which is complete" in str(caught.value)
        assert choose_checkpoint(True, str(finished)) == str(finished / "checkpoint-2")
    finally:
        path.write_bytes(content)
    assert choose_checkpoint(True, str(finished)) == str(finished / "checkpoint-4")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (True, r"there is no complete checkpoint in .*; start without resume_from_checkpoint"),
        ("checkpoint-9", r"checkpoint-9 is not a folder; there is no complete one beside it; start from scratch"),
    ],
)
def test_nothing_to_resume_from_is_said(tmp_path, wanted, message):
    wanted = wanted if wanted is True else str(tmp_path / wanted)
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path).train(resume_from_checkpoint=wanted)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"algorithm": "flexmatch"}, "belongs to the algorithm 'fixmatch' and this run trains 'flexmatch'"),
        (
            {"modality": "text"},
            r"ssl_student\.safetensors does not fit this model: \d+ names of weights differ, first ",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(finished, other, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(finished, **other).train(resume_from_checkpoint=str(finished / "checkpoint-4"))
