"""How many steps fit into a time, and which layers learn in it."""

from types import SimpleNamespace

import pytest
from transformers import AutoModelForSequenceClassification, BertConfig

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.cli.durations import seconds_of
from hf_ssl.training.budget import TRIAL_STEPS, planned_steps, step_seconds
from hf_ssl.training.freezing import train_upper

from tests.helpers.tiny_tasks import new_model, task


@pytest.mark.parametrize(
    ("seconds", "per_step", "most", "steps"),
    [(60, 0.5, 1000, 120), (60, 0.5, 100, 100), (9.9, 0.5, 100, 0), (10, 0.5, 100, 20), (-3, 0.5, 100, 0)],
)
def test_steps_that_fit(seconds, per_step, most, steps):
    assert planned_steps(seconds, per_step, most) == steps


def test_a_step_is_timed_without_the_first(tmp_path, monkeypatch):
    args = SSLConfig(str(tmp_path), max_steps=TRIAL_STEPS, use_cpu=True, disable_tqdm=True, save_strategy="no")
    trainer = SSLTrainer(new_model("image", 0), args, **task("image"))
    times = iter([100.0, 101.0, 103.0, 106.0])
    monkeypatch.setattr("hf_ssl.training.budget.time", SimpleNamespace(perf_counter=lambda: next(times)))
    assert step_seconds(trainer) == 2.0


@pytest.mark.parametrize("text", ["", "fast", "3 days", "-5s", "1:30"])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="--time-budget must be a duration such as 90s, 3m or 1h, got"):
        seconds_of(text)


@pytest.mark.parametrize(("share", "learning"), [(1.0, 0), (0.5, 3), (1 / 3, 2), (0.01, 1)])
def test_the_upper_blocks_and_the_head_learn(share, learning):
    sizes = {"hidden_size": 8, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 8}
    model = AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=20, **sizes))
    assert train_upper(model, share) == learning
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    blocks = {int(name.split("layer.")[1].split(".")[0]) for name in frozen if "layer." in name}
    assert blocks == set(range(6 - learning if learning else 0))
    assert any("embeddings" in name for name in frozen) == bool(learning)
    assert not any("classifier" in name or "pooler" in name for name in frozen)


def test_a_model_of_unknown_order_learns_as_a_whole():
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    assert train_upper(model, 0.3) == 0 and all(parameter.requires_grad for parameter in model.parameters())
