"""When weights learn how fast: the 7/16 cosine, and rates and schedule inside the trainer."""

import pytest
import torch
import transformers as T

from hf_ssl import SSLConfig
from hf_ssl.training.optimization import cosine_7_16

from tests.helpers.tiny_images import make_vit

# ---- The schedule ----

# cos(7/16 pi t) at t = 0, 1/4, 1/2, 1: 1, cos(19.6875 deg), cos(39.375 deg), cos(78.75 deg).
SCHEDULE = [
    (0, 8, {0: 1.0, 2: 0.9415440652, 4: 0.7730104534, 8: 0.1950903220}),
    (4, 12, {0: 0.0, 1: 0.25, 3: 0.75, 4: 1.0, 6: 0.9415440652, 8: 0.7730104534, 12: 0.1950903220, 13: 0.1950903220}),
    (10, 5, {5: 0.5}),
]


@pytest.mark.parametrize(
    ("warmup", "total", "factors"), SCHEDULE, ids=["no warm-up", "warm-up", "warm-up beyond the end"]
)
def test_the_7_16_cosine(warmup, total, factors):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cosine_7_16(optimizer, warmup, total)
    seen = {}
    for step in range(max(factors) + 1):
        seen[step] = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
    assert {step: seen[step] / 2.0 for step in factors} == pytest.approx(factors, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr_schedule": "cosine"}, "lr_schedule must be one of trainer, cosine_7_16, got 'cosine'"),
        ({"lr_schedule": "cosine_7_16", "lr_scheduler_type": "constant"}, "are two schedules; leave out one of them"),
    ],
)
def test_schedules_that_contradict_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        SSLConfig(output_dir=str(tmp_path), **changes)


# ---- In the trainer ----


def rates(trainer):
    """Parameter name -> (peak learning rate, weight decay) in the trainer's optimizer."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    names |= {id(p): f"algorithm.{name}" for name, p in trainer.algorithm.named_parameters()}
    groups = trainer.optimizer.param_groups
    return {names[id(p)]: (group["initial_lr"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd", "adafactor", "adagrad", "rmsprop"])
def test_the_trainer_s_optimizer_has_these_rates(make_trainer, optim):
    trainer = make_trainer(
        layer_decay=0.5, weight_decay=0.1, optim=optim, learning_rate=0.08, max_steps=1, algorithm="simmatch"
    )
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    found = rates(trainer)
    expected = {
        "vit.embeddings.cls_token": (0.01, 0.0),
        "vit.embeddings.patch_embeddings.projection.weight": (0.01, 0.1),
        "vit.layers.0.mlp.fc1.weight": (0.02, 0.1),
        "vit.layers.1.mlp.fc1.bias": (0.04, 0.0),
        "vit.layernorm.weight": (0.08, 0.0),
        "classifier.weight": (0.08, 0.1),
    }
    for name, (rate, decay) in expected.items():
        assert found[name] == (pytest.approx(rate), decay), name
    heads = {value for name, value in found.items() if name.startswith("algorithm.")}
    assert heads == {(0.08, 0.0)}
    assert len(found) == len(before) + len(list(trainer.algorithm.parameters()))
    assert all(not torch.equal(before[name], p) for name, p in trainer.model.named_parameters() if p.grad is not None)
    assert not torch.equal(before["classifier.weight"], trainer.model.classifier.weight)
    assert trainer.state.log_history[0]["learning_rate"] == pytest.approx(0.08)


def test_groups_of_one_rate_without_decay_change_nothing(make_trainer):
    """One rate for all and no weight decay: the groups change nothing."""
    finals = []
    for plain in (False, True):
        trainer = make_trainer(max_steps=2)
        if plain:
            kind, keywords = trainer.get_optimizer_cls_and_kwargs(trainer.args)
            trainer.optimizer = kind(trainer.model.parameters(), weight_decay=0.0, **keywords)
        trainer.train()
        finals.append(trainer.model.state_dict())
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_the_schedule_multiplies_every_rate(make_trainer):
    trainer = make_trainer(layer_decay=0.5, learning_rate=0.08, max_steps=4, warmup_steps=2, lr_schedule="cosine_7_16")
    trainer.train()
    logged = [row["learning_rate"] for row in trainer.state.log_history if "loss" in row]
    assert logged == pytest.approx([0.0, 0.04, 0.08, 0.08 * 0.7730104534])
    last = sorted({group["lr"] for group in trainer.optimizer.param_groups})
    assert last == pytest.approx([rate * 0.1950903220 for rate in (0.01, 0.02, 0.04, 0.08)])
    assert "0.08, cos(7/16 pi t), 2 warm-up steps, times 0.5 for each layer below the head" in trainer.describe()


def test_resuming_keeps_rates_and_schedule(make_trainer):
    config = {"layer_decay": 0.5, "max_steps": 4, "warmup_steps": 2, "lr_schedule": "cosine_7_16", "weight_decay": 0.1}
    config |= {"save_strategy": "steps", "save_steps": 2}
    whole = make_trainer(**config)
    whole.train()
    resumed = make_trainer(make_vit(seed=7), **config)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-2")
    assert rates(resumed) == rates(whole)
    assert [g["lr"] for g in resumed.optimizer.param_groups] == [g["lr"] for g in whole.optimizer.param_groups]
    final = whole.model.state_dict()
    assert all(torch.equal(final[name], tensor) for name, tensor in resumed.model.state_dict().items())


def test_a_custom_optimizer_class_gets_the_groups(make_trainer):
    given = {"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.4, "momentum": 0.9})}
    trainer = make_trainer(layer_decay=0.5, trainer=given, max_steps=1)
    trainer.train()
    assert sorted({rate for rate, _ in rates(trainer).values()}) == pytest.approx([0.05, 0.1, 0.2, 0.4])


IGNORED = {
    "an optimizer": (
        {"layer_decay": 0.5},
        lambda: (torch.optim.SGD(make_vit().parameters(), lr=0.1), None),
        r"layer_decay must be 1 with an optimizer of yours, got .* hf_ssl\.training\.optimization\.parameter_groups",
    ),
    "a scheduler": (
        {"lr_schedule": "cosine_7_16"},
        lambda: (None, torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(make_vit().parameters(), lr=0.1))),
        "lr_schedule must be 'trainer' with a scheduler of yours, got 'cosine_7_16'",
    ),
}


@pytest.mark.parametrize(("config", "given", "message"), IGNORED.values(), ids=IGNORED)
def test_settings_that_a_given_object_would_ignore_are_refused(make_trainer, config, given, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(trainer={"optimizers": given()}, **config)


def test_an_optimizer_that_sets_its_own_rates_refuses_layer_decay(make_trainer):
    given = {"optimizer_cls_and_kwargs": (T.Adafactor, {"lr": None})}
    trainer = make_trainer(layer_decay=0.5, trainer=given, max_steps=1)
    with pytest.raises(ValueError, match=r"layer_decay must be 1 with optim=.*; set layer_decay=1, or another optim"):
        trainer.train()
    make_trainer(
        trainer={"optimizer_cls_and_kwargs": (T.Adafactor, {"lr": None})}, max_steps=1, lr_scheduler_type="constant"
    )
