"""Views that go through the model in pieces: the step is the same, and its activations take less memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from hf_ssl import ModelForward, SSLConfig
from hf_ssl.model import micro_batches
from hf_ssl.model.wrapping import unwrap
from hf_ssl.training.processes import may_drop_layers

from tests.helpers.algorithm_cases import (
    CASES,
    CLASSES,
    DIM,
    MAX_STEPS,
    fix_mixup,
    make_algorithm,
    make_batch,
    progress_of,
)
from tests.helpers.peak_memory import PeakMemory
from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import new_model, task

MOST = 3


class Deep(nn.Module):
    """Two layers with dropout before the head, and the number of rows of each call with and without gradient."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(DIM, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, DIM), nn.LayerNorm(DIM)
        )
        self.classifier = nn.Linear(DIM, CLASSES)
        self.calls = []

    def forward(self, x):
        self.calls.append((len(x), torch.is_grad_enabled()))
        return self.classifier(self.body(x))


def deep(dropout=0.0):
    torch.manual_seed(0)
    return Deep(dropout).double()


def largest_difference(found, expected):
    assert found.keys() == expected.keys()
    return max((found[name] - expected[name]).abs().max().item() for name in expected)


def gradients_of(name, micro_batch, dropout=0.0, steps=2, passes=1):
    """The gradients of model and algorithm after some steps of gradient descent, each of some accumulated passes."""
    student, teacher, algorithm = deep(dropout), deep().requires_grad_(False), make_algorithm(name)
    forward = ModelForward(student, teacher if algorithm.uses_teacher else None, micro_batch=micro_batch)
    learned = {f"model.{key}": value for key, value in student.named_parameters()}
    learned |= {f"algorithm.{key}": value for key, value in algorithm.named_parameters()}
    torch.manual_seed(2)
    # The last steps, in which everything takes part.
    for step in range(MAX_STEPS - steps, MAX_STEPS):
        for value in learned.values():
            value.data -= 0.1 * value.grad if value.grad is not None else 0.0
            value.grad = None
        for number in range(passes):
            batch = fix_mixup(name, make_batch(passes * step + number))
            (algorithm(forward, batch, progress_of(name, step)).loss / passes).backward()
    # Heads that take no part in these steps have no gradient.
    return {key: value.grad for key, value in learned.items() if value.grad is not None}


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_every_algorithm_gets_the_gradients_of_the_whole_step(name, passes):
    expected, found = (gradients_of(name, most, passes=passes) for most in (None, MOST))
    assert largest_difference(found, expected) < 1e-12
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-3


@pytest.mark.parametrize("name", ["fixmatch", "vat", "remixmatch", "simmatch"])
def test_what_is_computed_again_has_the_same_dropout(name, monkeypatch):
    found = gradients_of(name, MOST, dropout=0.4)
    # The same pieces, whose activations are all kept.
    monkeypatch.setattr(micro_batches, "checkpoint", lambda call, inputs, **_: call(inputs))
    assert largest_difference(found, gradients_of(name, MOST, dropout=0.4)) == 0
    assert largest_difference(found, gradients_of(name, MOST)) > 1e-3


def test_which_calls_the_model_gets():
    model = deep()
    views = {name: {"x": torch.randn(rows, DIM).double()} for name, rows in (("labeled", 2), ("strong", 6))}
    weak = {"x": torch.randn(4, DIM).double()}
    out = ModelForward(model, micro_batch=3)(**views, no_grad={"weak": weak})
    # 4 rows without gradient; 2 + 6 with, in as few pieces of 3 as possible, which share a view.
    assert model.calls == [(2, False), (2, False), (3, True), (3, True), (2, True)]
    assert torch.equal(out["strong"].logits, model(views["strong"]["x"]))
    del model.calls[:]
    sum(each.logits.sum() for each in out.values()).backward()
    # What the last one left is still there.
    assert model.calls == [(3, True), (3, True)]


def speech(**settings):
    config = new_model("audio").config.to_dict() | settings
    torch.manual_seed(0)
    return Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**config))


def test_masks_and_layers_left_out_are_the_same_when_computed_again(monkeypatch):
    """Speech encoders draw their masks from NumPy's generator, and the layers that they leave out from torch's."""
    model = speech(mask_time_prob=0.6, mask_time_length=2, layerdrop=0.5, num_hidden_layers=4).train()
    wave = {"input_values": torch.randn(9, 1200, generator=torch.Generator().manual_seed(0))}

    def gradient():
        model.zero_grad()
        torch.manual_seed(1)
        np.random.seed(1)
        ModelForward(model, micro_batch=2)(labeled=wave)["labeled"].logits.square().sum().backward()
        after = np.random.rand(), torch.rand(1).item()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, after

    found, after = gradient()
    monkeypatch.setattr(micro_batches, "checkpoint", lambda call, inputs, **_: call(inputs))
    expected, after_expected = gradient()
    assert largest_difference(found, expected) == 0
    assert after == after_expected, "the numbers after the step are those of a step that computes nothing again"


# ---- In the trainer ----


def weights_after(trainer):
    trainer.train()
    state = {f"model.{name}": tensor for name, tensor in unwrap(trainer.model).state_dict().items()}
    return state | {f"algorithm.{name}": tensor for name, tensor in trainer.algorithm.state_dict().items()}


# Settings of the training beside `view_micro_batch`, and how far the weights may be apart.
COMBINED = {
    "alone": ({}, 1e-6),
    "accumulation": ({"gradient_accumulation_steps": 2}, 1e-6),
    "a moving average as teacher": ({"algorithm": "mean_teacher"}, 1e-6),
    "gradient checkpointing": ({"gradient_checkpointing": True}, 1e-6),
    "reentrant gradient checkpointing": (
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        1e-6,
    ),
    "bf16": ({"bf16": True}, 2e-3),
    "compiled": ({"torch_compile": True, "torch_compile_backend": "aot_eager"}, 1e-6),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "compiled" else ()) for n in COMBINED]
)
def test_a_training_in_pieces_ends_where_a_whole_one_does(name, make_trainer):
    config, distance = COMBINED[name]
    given = {"max_steps": 3, "optim": "sgd", "learning_rate": 0.1, **config}
    ended = [weights_after(make_trainer(view_micro_batch=most, **given)) for most in (None, MOST)]
    before = {f"model.{key}": value for key, value in make_vit().state_dict().items()}
    assert max((ended[0][key] - before[key]).abs().max() for key in before) > 10 * distance
    assert largest_difference(ended[1], ended[0]) < distance


def test_texts_of_different_lengths_are_padded_as_in_one_call(tmp_path):
    from hf_ssl import SSLTrainer

    def ended(most):
        args = SSLConfig(
            str(tmp_path), algorithm="vat", max_steps=2, per_device_train_batch_size=3, view_micro_batch=most,
            optim="sgd", learning_rate=0.1, use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        return weights_after(SSLTrainer(new_model("text", 0), args, **task("text")))

    assert largest_difference(ended(2), ended(None)) < 1e-6


# ---- Memory ----


def peak_of(micro_batch, ratio):
    """Most bytes alive in a step, beyond weights and gradients, of a model with 4 layers and 64 tokens of text."""
    config = new_model("text").config
    config.update({"hidden_size": 32, "num_hidden_layers": 4, "intermediate_size": 64, "max_position_embeddings": 64})
    model = type(new_model("text"))(config).train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    def view(rows):
        return {"input_ids": torch.full((rows, 64), 7), "attention_mask": torch.ones(rows, 64, dtype=torch.int64)}

    forward = ModelForward(model, micro_batch=micro_batch)
    with PeakMemory() as memory:
        views = {"labeled": view(4), "strong": view(4 * ratio)}
        out = forward(**views, no_grad={"weak": view(4 * ratio)})
        sum(each.logits.square().mean() for each in out.values()).backward()
    return memory.peak


def test_memory_grows_with_the_ratio_unless_views_go_in_pieces():
    whole, pieces = ({ratio: peak_of(most, ratio) for ratio in (1, 7)} for most in (None, 8))
    # 8 and 32 rows with gradient.
    assert 3.5 < whole[7] / whole[1] < 4.2
    assert pieces[7] < 1.3 * pieces[1]
    assert pieces[1] == pytest.approx(whole[1], rel=0.05), "one piece is one call"


# ---- What is refused ----


def resnet():
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    return ResNetForImageClassification(config)


def test_batch_normalization_is_refused_when_the_trainer_is_made(make_trainer):
    with pytest.raises(
        ValueError, match=r"view_micro_batch must be left out for ResNetForImageClassification, whose batch norm"
    ):
        make_trainer(resnet(), view_micro_batch=3)
    make_trainer(resnet(), view_micro_batch=None)


class Settled(nn.BatchNorm1d):
    """Keeps its statistics in training too, as those of some pretrained models do."""

    def train(self, mode=True):
        return super().train(False)


def test_batch_normalization_that_keeps_its_statistics_is_not_refused():
    ModelForward(nn.Sequential(nn.Linear(4, 4), Settled(4), nn.Linear(4, 2)), micro_batch=3)


@pytest.mark.parametrize(("processes", "most", "may"), [(1, 2, True), (2, None, True), (2, 2, False)])
def test_layers_are_not_left_out_in_pieces_of_several_processes(processes, most, may, caplog):
    """Each piece would leave out others, and the search for weights without a part looks at one of them."""
    args = SimpleNamespace(
        world_size=processes, process_index=0, ddp_find_unused_parameters=True, view_micro_batch=most
    )
    assert may_drop_layers(args, 0.1) is may
    assert ("ddp_find_unused_parameters=True, and leave out view_micro_batch, to keep it" in caplog.text) is not may


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_sizes_that_are_none_are_refused(value, tmp_path):
    with pytest.raises(ValueError, match=f"view_micro_batch must be (a whole number, )?at least 1, got {value}"):
        SSLConfig(str(tmp_path), view_micro_batch=value, use_cpu=True)
    if value != 2.5:
        with pytest.raises(ValueError, match=f"view_micro_batch must be at least 1, got {value}; leave it out"):
            ModelForward(deep(), micro_batch=value)
