"""Heads of numbers: standardized while they are trained, in the user's units wherever anybody looks."""

import datasets
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForImageClassification, GPT2Config, GPT2ForSequenceClassification, pipeline

from hf_ssl import get_algorithm
from hf_ssl.model.ema import ModelEma
from hf_ssl.model.head import TwoHeads, find_head
from hf_ssl.model.uncertainty import FILE, load_uncertainty
from hf_ssl.training.label_scale import LabelScale, check_scalable, knows_numbers
from hf_ssl.training.sharding import check_shardable

from tests.helpers.number_cases import make_algorithm
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_numbers import number_model, number_task, number_trainer

MEAN, SCALE = torch.tensor([2000.0, -3.0]), torch.tensor([50.0, 0.1])
ALGORITHMS = {
    "supervised": {},
    "pi_model": {"warmup_fraction": 0.1},
    "mean_teacher": {"warmup_fraction": 0.1},
    "ucvme": {},
    "rankup": {"threshold": 0.5, "distribution_alignment": True, "refresh_steps": 2, "warmup_fraction": 0.1},
}
EVERY = [pytest.param(name, settings, id=name) for name, settings in ALGORITHMS.items()]


def models():
    """A model with one head, and one with two whose answers it averages."""

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.head_dist = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return (self.head(x) + self.head_dist(-x)) / 2

    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), Pair()


@pytest.mark.parametrize("number", [0, 1])
def test_a_head_answers_alike_with_the_hook_and_with_folded_weights(number):
    model, x = models()[number], torch.randn(4, 3)
    plain, own = model(x), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scale = LabelScale(model, MEAN, SCALE)
    average = ModelEma(model, decay=0.5)
    scale.attach(average.module)
    expected = plain * SCALE + MEAN
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(average.module(x), expected)
    scale.detach()
    with scale.folded():
        torch.testing.assert_close(model(x), expected)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in own.items())
    scale.fold(), scale.fold_average(average)
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(average.module(x), expected)
    scale.unfold()
    # One unit of 2,000 in float32 is 1e-4.
    torch.testing.assert_close(model(x), plain, atol=1e-5, rtol=1e-4)
    assert not any(part._forward_hooks for part in [*model.modules(), *average.module.modules()])


def test_an_average_in_half_precision_is_folded_before_it_is_rounded():
    model = nn.Linear(3, 2).bfloat16()
    average = ModelEma(model, decay=0.9)
    with torch.no_grad():
        model.weight.add_(0.001)
    average.update()
    before = average.state_dict()["weight"].clone()
    LabelScale(model, MEAN, SCALE).fold_average(average)
    torch.testing.assert_close(average.state_dict()["weight"], before * SCALE[:, None])
    assert torch.equal(average.module.weight, average.state_dict()["weight"].bfloat16())


def test_half_precision_computes_numbers_in_float32():
    model = nn.Linear(3, 1).bfloat16()
    scale = LabelScale(model, torch.tensor([2019.0]), torch.tensor([1.5]))
    scale.attach()
    answers = model(torch.randn(64, 3).bfloat16())
    assert answers.dtype == torch.float32 and len(answers.unique()) > 20


@pytest.mark.parametrize(
    ("mean", "scale", "trained"),
    [(40.0, 10.0, True), (0.02, 0.01, True), (-5.0, 0.1, True), (0.0, 1000.0, True), (40.0, 10.0, False)],
)
def test_a_trained_head_is_told_from_a_fresh_one(mean, scale, trained):
    torch.manual_seed(0)
    mean, scale, own = torch.tensor([mean]), torch.tensor([scale]), torch.randn(16, 1)
    answers = (own + 0.3 * torch.randn(16, 1)) * scale + mean if trained else 0.3 * torch.randn(16, 1)
    assert knows_numbers(answers, own * scale + mean, mean, scale) == trained


def test_heads_that_cannot_be_given_units_are_refused():
    sizes = {"vocab_size": 16, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 8}
    with pytest.raises(ValueError, match=r"must have a bias, in which the mean of the numbers is .*use an encoder"):
        check_scalable(GPT2ForSequenceClassification(GPT2Config(**sizes, num_labels=1)))
    adapted = get_peft_model(number_model("image"), LoraConfig(r=2, target_modules=["q_proj", "classifier"]))
    with pytest.raises(ValueError, match=r"under an adapter.*name it in modules_to_save"):
        check_scalable(adapted)
    check_scalable(TwoHeads(nn.Linear(2, 1), nn.Linear(2, 1)))
    with pytest.raises(ValueError, match=r"a sharded model cannot learn numbers.*leave fsdp out"):
        check_shardable(nn.Linear(2, 2), make_algorithm("supervised"), asked=True, sharding=True)
    classes = {"num_classes": 3, "feature_size": 2, "num_labeled": 4, "num_unlabeled": 4}
    algorithm = get_algorithm("supervised", labeled_batch_size=2, unlabeled_batch_size=2, **classes)
    check_shardable(nn.Linear(2, 2), algorithm, asked=True, sharding=True)


# ---- In SSLTrainer ----


def images():
    return number_task("image")["eval_dataset"]["image"][:]


def answers(trainer, **options):
    return trainer.predict(trainer.eval_dataset, **options).predictions


@pytest.mark.parametrize(("algorithm", "settings"), EVERY)
def test_other_units_give_the_same_answers_in_these_units(algorithm, settings, tmp_path):
    """y and 1000 y + 5000: the same training but for rounding, in the model and in every folder."""
    found = []
    for name, units in (("own", (1.0, 0.0)), ("other", (1000.0, 5000.0))):
        saving = {"ema_role": "both", "save_strategy": "steps", "save_steps": 3, "algorithm_kwargs": settings}
        trainer = number_trainer(tmp_path / name, algorithm, units=units, **saving)
        trainer.train()
        trainer.save_model()
        saved = [load(tmp_path / name, trainer), load(tmp_path / name / "checkpoint-3", trainer)]
        asked = [answers(trainer), answers(trainer, weights="student"), *saved]
        found.append([torch.as_tensor(each, dtype=torch.float64) for each in asked])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close((second - 5000) / 1000, first, rtol=1e-5, atol=1e-5)
    # Not to the last bit: on some processors a batch of another size is rounded otherwise.
    torch.testing.assert_close(found[0][0], found[0][2], rtol=1e-6, atol=0)


def load(folder, trainer):
    """What a folder's model answers without anything of ours."""
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**trainer.processing_class(images(), return_tensors="pt")).logits.numpy()


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
@pytest.mark.parametrize(("algorithm", "settings"), EVERY)
def test_it_learns_numbers_of_every_modality(algorithm, settings, modality, tmp_path):
    given = {"learning_rate": 3e-2, "ema_decay": 0.8, "algorithm_kwargs": settings, "max_steps": 20}
    trainer = number_trainer(tmp_path, algorithm, modality, units=(10.0, 100.0), **given)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate(weights="student")
    assert before["eval_mae"] > 90  # a fresh head answers around 0, and numbers are above 100
    assert after["eval_mae"] < 20 and after["eval_rmse"] < 25
    lines = [row for row in trainer.state.log_history if "loss" in row]
    assert lines[0]["supervised"] < 10 and lines[-1]["supervised"] < lines[0]["supervised"]
    assert not find_head(trainer.model)._forward_hooks


def test_a_pipeline_tells_numbers(tmp_path):
    trainer = number_trainer(tmp_path, "supervised", units=(10.0, 100.0), max_steps=20, learning_rate=3e-2)
    trainer.train()
    trainer.save_model()
    classify = pipeline("image-classification", str(tmp_path), function_to_apply="none")
    told = [classify(image)[0] for image in images()]
    assert [each["label"] for each in told] == ["number"] * len(told)
    assert [each["score"] for each in told] == pytest.approx(answers(trainer)[:, 0].tolist(), rel=1e-5)


@pytest.mark.parametrize("algorithm", ["mean_teacher", "ucvme", "rankup"])
def test_a_resumed_run_goes_on_bit_for_bit(algorithm, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4, "ema_role": "both", "ema_decay": 0.9}
    saving |= {"algorithm_kwargs": ALGORITHMS[algorithm], "units": (10.0, 100.0), "eval_strategy": "steps"}
    whole = number_trainer(tmp_path, algorithm, eval_steps=2, **saving)
    whole.train()
    resumed = number_trainer(tmp_path, algorithm, model=number_model("image", seed=5), eval_steps=2, **saving)
    resumed.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-4")
    first, second = everything(whole), everything(resumed)
    assert first.keys() == second.keys()
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
    assert log_lines(whole)[-1] == log_lines(resumed)[-1]
    assert (answers(whole) == answers(resumed)).all()


def test_the_best_model_is_loaded_with_its_own_units_and_uncertainty(tmp_path):
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    given = {"units": (10.0, 100.0), "ema_role": "evaluation", "ema_decay": 0.5, "save_strategy": "steps"}
    trainer = number_trainer(tmp_path, "ucvme", **best, **given, max_steps=8, learning_rate=5e-2)
    trainer.train()
    rows = {row["step"]: row["eval_mae"] for row in trainer.state.log_history if "eval_mae" in row}
    step = min(rows, key=rows.get)
    assert trainer.state.best_global_step == step
    assert trainer.evaluate()["eval_mae"] == pytest.approx(rows[step], rel=1e-5)
    assert trainer.evaluate(weights="student")["eval_mae"] == pytest.approx(rows[step], rel=1e-5)
    trainer.save_model(str(tmp_path / "saved"))
    chosen, saved = (load_uncertainty(tmp_path / name) for name in (f"checkpoint-{step}", "saved"))
    assert torch.equal(chosen.weight, saved.weight) and torch.equal(chosen.bias, saved.bias)
    assert (load(tmp_path / "saved", trainer) == load(tmp_path / f"checkpoint-{step}", trainer)).all()


def test_training_again_begins_where_the_last_training_ended(tmp_path):
    trainer = number_trainer(tmp_path, "supervised", units=(10.0, 100.0), learning_rate=3e-2, max_steps=20)
    trainer.train()
    before = answers(trainer)
    # A new trainer finds out by itself that the model knows such numbers.
    again = number_trainer(tmp_path, "supervised", model=trainer.model, units=(10.0, 100.0), learning_rate=0.0)
    again.train()
    assert answers(again) == pytest.approx(before, rel=1e-5)


def test_a_training_that_is_interrupted_leaves_an_ordinary_model(tmp_path):
    trainer = number_trainer(tmp_path, "ucvme", units=(10.0, 100.0))
    inside, step = [], trainer.training_step

    def interrupted(*args, **kwargs):
        if trainer.state.global_step == 3:
            inside.append(answers(trainer))
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    trainer.training_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert answers(trainer) == pytest.approx(inside[0], rel=1e-5)
    assert not find_head(trainer.model)._forward_hooks


def test_adapters_are_saved_with_a_head_in_the_users_units(tmp_path):
    settings = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["classifier"])
    given = {"units": (10.0, 100.0), "save_strategy": "steps", "save_steps": 3, "ema_role": "evaluation"}
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 3, "learning_rate": 3e-2}
    trainer = number_trainer(
        tmp_path, "supervised", model=get_peft_model(number_model("image"), settings), **given, **best
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    expected = answers(trainer)
    assert expected.mean() > 20
    given = trainer.processing_class(images(), return_tensors="pt")
    for folder in ("saved", f"checkpoint-{trainer.state.best_global_step}"):
        model = PeftModel.from_pretrained(number_model("image"), tmp_path / folder).eval()
        with torch.no_grad():
            assert model(**given).logits.numpy() == pytest.approx(expected, rel=1e-5)


def test_passes_that_are_accumulated_train_like_one(tmp_path):
    found = []
    for size, passes in ((4, 1), (2, 2)):
        given = {"per_device_train_batch_size": size, "gradient_accumulation_steps": passes, "max_steps": 3}
        trainer = number_trainer(tmp_path, "pi_model", units=(10.0, 100.0), optim="sgd", **given)
        trainer.train()
        found.append(answers(trainer))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_several_numbers_have_their_own_units(tmp_path):
    trainer = number_trainer(tmp_path, "rankup", second=True, units=(10.0, 100.0), max_steps=20, learning_rate=3e-2)
    trainer.train()
    metrics = trainer.evaluate()
    assert trainer.data.label_names == ["number", "minus"]
    assert metrics["eval_mae_number"] < 20 and metrics["eval_mae_minus"] < 40
    assert answers(trainer).mean(axis=0) == pytest.approx([115, -230], rel=0.15)


def test_only_what_knows_its_uncertainty_saves_it(tmp_path):
    trainer = number_trainer(tmp_path, "ucvme", units=(10.0, 100.0))
    trainer.train()
    trainer.save_model()
    known = load_uncertainty(tmp_path)
    with known.listening(trainer.model):
        numbers = answers(trainer)
        deviations = known.take()
    assert deviations.shape == numbers.shape
    # Of numbers that vary by some 13, after a few steps.
    assert deviations.min() > 3 and deviations.max() < 40
    other = number_trainer(tmp_path, "supervised", units=(10.0, 100.0))
    other.train()
    other.save_model()
    assert load_uncertainty(tmp_path) is None and not (tmp_path / FILE).exists()


def test_hidden_numbers_of_the_pool_are_measured_and_never_learned(tmp_path):
    trainer = number_trainer(tmp_path, "mean_teacher", units=(10.0, 100.0))
    trainer.train()
    line = next(row for row in trainer.state.log_history if "loss" in row)
    assert line["pseudo_label_mae"] > 1
    without = number_task("image", 10.0, 100.0)["unlabeled_dataset"].remove_columns("number")
    assert isinstance(without, datasets.Dataset)
