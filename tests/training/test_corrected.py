"""A correction in SSLTrainer: what it is told, exact resuming, and the classifier that is evaluated and saved."""

import copy
import json
from functools import lru_cache

import pytest
import torch
from torch import nn
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification, pipeline

from hf_ssl import ModelForward, SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.algorithms import IMBALANCE
from hf_ssl.model.head import find_head, replaced_head
from hf_ssl.report.results import result_of
from hf_ssl.training.sharding import check_shardable

from tests.helpers.quiet import QUIET
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import TASKS, new_model, task

ROUNDS = ("crest", "crest_plus", "simis")
ANSWERS = [name for name in IMBALANCE if IMBALANCE[name].answers]
# Three, two and one of a class.
SIZES = [0, 3, 6, 1, 4, 2]


@lru_cache
def tailed(modality):
    """The tiny tasks with labeled sets of three sizes of classes."""
    make, *_ = TASKS[modality]
    return {**task(modality), "train_dataset": make(7, 0).select(SIZES)}


def make_trainer(folder, modality="image", model=None, seed=0, trainer=None, **config):
    defaults = {
        "algorithm": "fixmatch",
        "algorithm_kwargs": {"threshold": 0.05},
        "max_steps": 6,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "logging_steps": 3,
        **QUIET,
    }
    args = SSLConfig(output_dir=str(folder), **{**defaults, **config})
    model = new_model(modality, seed) if model is None else model
    return SSLTrainer(model, args, **{**tailed(modality), **(trainer or {})})


def predictions(trainer, modality="image", **weights):
    return torch.from_numpy(trainer.predict(tailed(modality)["eval_dataset"], **weights).predictions)


def alone(folder, modality="image", model=None):
    """What the saved model answers, without anything of the training."""
    model = type(new_model(modality)).from_pretrained(folder) if model is None else model
    given = {name: tailed(modality)[name] for name in ("eval_dataset", "processing_class")}
    return SSLTrainer(model, SSLConfig(str(folder), use_cpu=True, report_to="none", disable_tqdm=True), **given)


def test_a_resumed_run_knows_the_recalls_of_its_evaluations(tmp_path):
    # Enough labels to call them imbalanced.
    images = TASKS["image"][0](90, 0)
    rows = sorted(range(len(images)), key=lambda row: images[row]["label"])
    given = {"train_dataset": images.select([*rows[:20], rows[-1]])}
    config = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    config |= {"load_best_model_at_end": True, "imbalance": "logit_adjustment"}
    whole = make_trainer(tmp_path, trainer=given, **config)
    whole.train()
    resumed = make_trainer(tmp_path, trainer=given, **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    expected, found = whole.run_facts(), resumed.run_facts()
    assert found.saved_recalls == expected.saved_recalls is not None
    classes = [result_of(facts, 1.0)["classes"] for facts in (expected, found)]
    assert classes[0] == classes[1] and all(facts["recall"] is not None for facts in classes[0].values())


# ---- What the correction is told ----


def test_the_correction_knows_the_labeled_counts(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="Logit-Adjustment", imbalance_kwargs='{"tau": 0.5}')
    assert trainer.args.imbalance == "logit_adjustment"
    assert trainer.algorithm.correction.labeled_counts.tolist() == [3, 2, 1]
    assert trainer.algorithm.correction.tau == 0.5


def test_what_was_picked_for_a_round_does_not_change_the_counts(tmp_path):
    # One class has no label, so that counts in another unit would rank the classes differently.
    given = {"train_dataset": TASKS["image"][0](9, 0).select([0, 3, 6, 1])}
    settings = {"imbalance": "crest_plus", "imbalance_kwargs": {"generations": 3}, "save_strategy": "steps"}
    trainer = make_trainer(tmp_path, trainer=given, **settings)
    before = trainer.algorithm.correction.labeled_counts
    assert sorted(before.tolist()) == [0, 1, 3]
    trainer.train()
    assert trainer.algorithm.num_labeled > 4
    assert torch.equal(trainer.algorithm.correction.labeled_counts, before)


def test_start_card_results_and_checkpoints_name_it(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="abc", imbalance_kwargs={"weight": 0.5})
    assert "  imbalance       abc (weight=0.5, threshold=0.95, hard_labels=False)\n" in trainer.describe()
    trainer.train()
    trainer.save_model()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "abc (weight=0.5" in card and "lee2021abc" in card and "\n- imbalanced\n- abc\n" in card
    assert result_of(trainer.run_facts(), 1.0)["imbalance"] == "abc"
    kept = json.loads((tmp_path / "ssl_config.json").read_text(encoding="utf-8"))
    assert (kept["imbalance"], kept["imbalance_kwargs"]) == ("abc", {"weight": 0.5})


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        (
            {"imbalance": "abd"},
            ValueError,
            "unknown imbalance correction 'abd'; the known .*did you mean abc",
        ),
        (
            {"imbalance_kwargs": {"tau": 1.0}},
            ValueError,
            "imbalance must be named beside imbalance_kwargs, got None",
        ),
        ({"imbalance": "abc", "imbalance_kwargs": "{"}, ValueError, "^imbalance_kwargs must be JSON, got '{'"),
        ({"imbalance": "abc", "imbalance_kwargs": [1]}, TypeError, r"^imbalance_kwargs must be a dict of settings"),
        (
            {"imbalance": "abc", "imbalance_kwargs": {"tau": 1.0}},
            TypeError,
            "ABC has no setting tau; its settings are",
        ),
        (
            {"imbalance": "abc", "algorithm": "supervised", "algorithm_kwargs": None},
            ValueError,
            "^imbalance must be a correction that Supervised allows, got ABC: it needs pseudo-labels",
        ),
    ],
)
def test_what_does_not_work_is_refused_in_one_line(config, kind, message, tmp_path):
    with pytest.raises(kind, match=message) as error:
        make_trainer(tmp_path, **config)
    assert "\n" not in str(error.value)


def test_an_algorithm_object_keeps_its_own_correction(tmp_path):
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 3, "unlabeled_batch_size": 6}
    counts = [1, 1, 4]
    algorithm = get_algorithm(
        "freematch", num_classes=3, feature_size=16, imbalance="abc", class_counts=counts, **sizes
    )
    trainer = make_trainer(tmp_path, trainer={"algorithm": algorithm}, algorithm_kwargs=None)
    assert trainer.algorithm.correction.labeled_counts.tolist() == counts
    with pytest.raises(ValueError, match=r"^imbalance must be left out beside an algorithm object, got 'abc'"):
        make_trainer(tmp_path, trainer={"algorithm": algorithm}, algorithm_kwargs=None, imbalance="abc")


def test_balanced_sampling_draws_every_class_equally_often(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="balanced_sampling", per_device_train_batch_size=3)
    labels = torch.cat([batch["labels"] for batch in trainer.get_train_dataloader()])
    assert labels.bincount().tolist() == [len(labels) // 3] * 3


# ---- Resuming ----


@pytest.mark.parametrize("name", [name for name in IMBALANCE if name not in ROUNDS])
def test_a_resumed_run_is_the_whole_one_bit_for_bit(name, tmp_path):
    saving = {"imbalance": name, "save_strategy": "steps", "save_steps": 4, "ema_role": "both", "ema_decay": 0.8}
    whole = make_trainer(tmp_path, **saving)
    whole.train()
    resumed = make_trainer(tmp_path, seed=5, **saving)
    resumed.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-4")
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert log_lines(whole) == log_lines(resumed)
    assert torch.equal(predictions(whole), predictions(resumed))


def test_a_checkpoint_of_another_correction_is_refused(tmp_path):
    make_trainer(tmp_path, imbalance="logit_adjustment", save_strategy="steps", save_steps=3).train()
    other = make_trainer(tmp_path, imbalance="balanced_sampling")
    message = r"'fixmatch with logit_adjustment' and this run trains 'fixmatch with balanced_sampling'"
    with pytest.raises(ValueError, match=message):
        other.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-3")


# ---- The classifier that answers ----


SAVED = [(name, "image", role) for name in ANSWERS for role in ("none", "evaluation")]
SAVED += [(name, modality, "evaluation") for name in ("abc", "cdmad") for modality in ("text", "audio")]


@pytest.mark.parametrize(("name", "modality", "role"), SAVED)
def test_the_saved_model_answers_as_the_trainer_bit_for_bit(name, modality, role, tmp_path):
    trainer = make_trainer(tmp_path, modality, imbalance=name, ema_role=role, ema_decay=0.8)
    trainer.train()
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    metrics, answers = trainer.evaluate(), predictions(trainer, modality)
    trainer.save_model()
    assert all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())
    saved = alone(tmp_path, modality)
    assert torch.equal(predictions(saved, modality), answers)
    assert saved.evaluate()["eval_accuracy"] == metrics["eval_accuracy"]
    # It is another classifier than the trained one.
    with torch.no_grad():
        assert not torch.equal(find_head(saved.model).bias, before["classifier.bias"])


def test_pipelines_need_nothing_of_ours(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="cdmad")
    trainer.train()
    trainer.save_model()
    rows, names = tailed("image")["eval_dataset"], trainer.data.label_names
    answers = pipeline("image-classification", str(tmp_path), device="cpu")(rows[:]["image"])
    expected = predictions(trainer).softmax(dim=-1)
    for found, probabilities in zip(answers, expected, strict=True):
        scores = {row["label"]: row["score"] for row in found}
        torch.testing.assert_close(torch.tensor([scores[name] for name in names]), probabilities)


def test_cdmad_answers_without_the_logits_of_a_gray_image(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="cdmad", ema_role="evaluation", ema_decay=0.5)
    trainer.train()
    gray = {"image": tailed("image")["eval_dataset"][0]["image"].convert("RGB")}
    gray["image"].paste((128, 128, 128), (0, 0, *gray["image"].size))
    made = trainer.processing_class(gray["image"], return_tensors="pt")
    assert torch.equal(trainer._content_free["pixel_values"], made["pixel_values"])
    averaged = trainer.ema.module.eval()
    bias = averaged(**made).logits
    eval_rows = [row["image"] for row in tailed("image")["eval_dataset"]]
    plain = averaged(**trainer.processing_class(eval_rows, return_tensors="pt")).logits
    torch.testing.assert_close(predictions(trainer), (plain - bias).detach(), rtol=1e-5, atol=1e-6)


def test_the_averaged_model_answers_with_the_averaged_head(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="abc", ema_role="evaluation", ema_decay=0.6, max_steps=3)
    average, heads = None, []

    def note(*_, **__):
        heads.append(trainer.algorithm.balanced_head.weight.detach().clone())

    trainer.algorithm.register_forward_pre_hook(note)
    trainer.train()
    note()
    average = heads[0]
    for head in heads[1:]:
        average = average.lerp(head, 0.4)
    torch.testing.assert_close(trainer.algorithm.averaged_heads.balanced_head.weight, average)
    with trainer._evaluated_weights():
        torch.testing.assert_close(find_head(trainer.model).weight.detach(), average)
    with trainer._chosen_weights("student"), trainer._evaluated_weights():
        assert torch.equal(find_head(trainer.model).weight, heads[-1])


@pytest.mark.parametrize("role", ["none", "evaluation"])
@pytest.mark.parametrize("name", ["abc", "cdmad"])
def test_the_best_model_is_loaded_with_its_classifier(name, role, tmp_path):
    config = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}
    config |= {"eval_steps": 2, "save_steps": 2, "metric_for_best_model": "loss", "max_steps": 8, "ema_decay": 0.5}
    trainer = make_trainer(tmp_path, imbalance=name, ema_role=role, learning_rate=0.05, **config)
    trainer.train()
    best = min(row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-6)
    trainer.save_model()
    assert torch.equal(predictions(alone(tmp_path)), predictions(trainer))


@pytest.mark.parametrize("name", ["abc", "cdmad"])
def test_adapters_with_a_saved_head_answer_and_load_as_they_are_evaluated(name, tmp_path):
    peft = pytest.importorskip("peft")
    make_vit().save_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    base = [AutoModelForImageClassification.from_pretrained(tmp_path / "base") for _ in range(2)]
    model = peft.get_peft_model(base[0], lora)
    config = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}
    config |= {"eval_steps": 2, "save_steps": 2, "metric_for_best_model": "loss", "learning_rate": 0.05}
    config |= {"ema_role": "evaluation", "ema_decay": 0.5, "imbalance": name}
    trainer = make_trainer(tmp_path / "run", model=model, **config)
    trainer.train()
    best = min(row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-6)
    trainer.save_model()
    loaded = peft.PeftModel.from_pretrained(base[1], tmp_path / "run")
    assert torch.equal(predictions(alone(tmp_path / "run", model=loaded)), predictions(trainer))


def test_a_head_under_an_adapter_is_refused(tmp_path):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(make_vit(), peft.LoraConfig(r=2, target_modules=["q_proj", "classifier"]))
    with pytest.raises(ValueError, match="the head must be a linear layer, got one under an adapter"):
        make_trainer(tmp_path, model=model, imbalance="abc")


def test_a_frozen_backbone_trains_its_two_heads(tmp_path):
    model = make_vit()
    model.vit.requires_grad_(False)
    trainer = make_trainer(tmp_path, model=model, imbalance="abc")
    start = trainer.algorithm.balanced_head.weight.detach().clone()
    trainer.train()
    trainer.save_model()
    assert not torch.equal(trainer.algorithm.balanced_head.weight, start)
    assert torch.equal(predictions(alone(tmp_path)), predictions(trainer))


def test_models_of_timm_answer_too(tmp_path):
    pytest.importorskip("timm")
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    torch.manual_seed(0)
    sizes = {"img_size": 12, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    config = TimmWrapperConfig(architecture="vit_tiny_patch16_224", num_labels=3, model_args=sizes)
    trainer = make_trainer(tmp_path, model=TimmWrapperForImageClassification(config), imbalance="abc")
    trainer.train()
    trainer.save_model()
    saved = TimmWrapperForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(predictions(alone(tmp_path, model=saved)), predictions(trainer))


class NoBias(nn.Module):
    """A classifier of images whose head has no bias, as those of most decoders."""

    def __init__(self):
        super().__init__()
        self.body, self.score = nn.Linear(3 * 144, 8), nn.Linear(8, 3, bias=False)

    def forward(self, pixel_values):
        return self.score(self.body(pixel_values.flatten(1)).tanh())


def test_a_head_without_bias_is_replaced_by_one_without(tmp_path):
    torch.manual_seed(0)
    trainer = make_trainer(tmp_path, model=NoBias(), imbalance="abc")
    assert trainer.algorithm.balanced_head.bias is None
    trainer.train()
    with trainer._evaluated_weights():
        assert torch.equal(trainer.model.score.weight, trainer.algorithm.balanced_head.weight)
    with pytest.raises(ValueError, match="the head must have a bias, with which CDMAD answers, got one without"):
        make_trainer(tmp_path, model=NoBias(), imbalance="cdmad")


@pytest.mark.parametrize("start", ["random", "head"])
def test_the_balanced_head_begins_where_the_model_s_own_does(start, tmp_path):
    trainer = make_trainer(tmp_path, imbalance="abc", start=start, max_steps=1, learning_rate=0.0)
    before = trainer.algorithm.balanced_head.weight.detach().clone()
    trainer.train()
    assert torch.equal(trainer.algorithm.balanced_head.weight, before) == (start == "random")
    assert torch.equal(trainer.algorithm.balanced_head.weight, find_head(trainer.model).weight)
    assert torch.equal(trainer.algorithm.balanced_head.bias, find_head(trainer.model).bias)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["abc", "cdmad"])
def test_a_compiled_model_trains_and_answers_the_same(name, tmp_path):
    found = []
    for config in ({}, {"torch_compile": True, "torch_compile_backend": "aot_eager"}):
        trainer = make_trainer(tmp_path, imbalance=name, imbalance_kwargs={}, **config)
        trainer.train()
        found.append(predictions(trainer))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_sharded_models_are_refused(tmp_path):
    trainer = make_trainer(tmp_path, imbalance="abc")
    with pytest.raises(ValueError, match=r"^a sharded model cannot be evaluated with the classifier of ABC"):
        check_shardable(trainer.model, trainer.algorithm, asked=True, sharding=True)


# ---- The input without content ----


def test_it_leaves_batch_normalization_and_the_modes_of_layers_alone():
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3)
    model = ResNetForImageClassification(config).train()
    model.resnet.embedder.eval()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = [module.training for module in model.modules()]
    view = {"pixel_values": torch.randn(1, 3, 32, 32)}
    found = ModelForward(model).evaluated(view)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    expected = copy.deepcopy(model).eval()(**view).logits
    torch.testing.assert_close(found.logits, expected.detach())
    assert not found.logits.requires_grad


@pytest.mark.parametrize("modality", list(TASKS))
def test_it_is_made_as_predictions_are(modality, tmp_path):
    trainer = make_trainer(tmp_path, modality, imbalance="cdmad")
    view = trainer._content_free
    if modality == "text":
        tokenizer = trainer.processing_class
        assert view["input_ids"].tolist() == [tokenizer("[MASK]")["input_ids"]] == [[tokenizer.mask_token_id]]
        assert view["attention_mask"].tolist() == [[1]]
    elif modality == "audio":
        assert not view["input_values"].any() and len(view["input_values"]) == 1
    else:
        assert view["pixel_values"].unique().tolist() == pytest.approx([2 * 128 / 255 - 1])


def test_a_head_that_is_replaced_has_its_own_weights_back():
    head = nn.Linear(2, 3)
    before, storage = head.weight.clone(), head.weight.data_ptr()
    with replaced_head(head, torch.ones(3, 2), torch.zeros(3)):
        assert head(torch.ones(1, 2)).tolist() == [[2, 2, 2]]
    assert torch.equal(head.weight, before) and head.weight.data_ptr() == storage
