"""Training from a fitted head: the model predicts well before the first step, and resumes as any other."""

import numpy as np
import pytest
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.features import FeatureClassifier
from hf_ssl.features.reading import Reading, head_for, read
from hf_ssl.features.start import classifier_head, probe_head, teacher_head
from hf_ssl.model.head import find_head

from tests.helpers.quiet import QUIET
from tests.helpers.resuming import everything
from tests.helpers.tiny_tasks import new_model, task


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")
    return tmp_path / "features"


def make_trainer(folder, modality="image", seed=0, trainer=None, model=None, **config):
    settings = {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-6,
        **QUIET,
        **config,
    }
    return SSLTrainer(
        model or new_model(modality, seed), SSLConfig(str(folder), **settings), **{**task(modality), **(trainer or {})}
    )


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("start", ["head", "features"])
def test_the_head_is_right_before_the_first_step(modality, start, tmp_path):
    before = make_trainer(tmp_path, modality).evaluate()["eval_accuracy"]
    trainer = make_trainer(tmp_path, modality, start=start)
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > max(before, 0.5)


@pytest.mark.parametrize("start", ["head", "features"])
def test_texts_start_from_a_fitted_head(start, tmp_path):
    # The tiny encoder's weights are random, and its features of texts nearly alike: the labels' loss must fall.
    labeled = task("text")["train_dataset"]
    before = make_trainer(tmp_path, "text").evaluate(labeled)["eval_loss"]
    trainer = make_trainer(tmp_path, "text", start=start)
    trainer.train()
    assert trainer.evaluate(labeled)["eval_loss"] < before


@pytest.mark.parametrize("algorithm", ["supervised", "adamatch", "freematch", "simmatch", "mean_teacher"])
def test_every_kind_of_algorithm_starts_so(algorithm, tmp_path):
    trainer = make_trainer(tmp_path, start="features", algorithm=algorithm)
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.5


def adapted(**settings):
    import peft

    config = peft.LoraConfig(r=2, **{"target_modules": ["q_proj"], **settings})
    return peft.get_peft_model(new_model("image"), config)


@pytest.mark.parametrize("start", ["head", "features"])
def test_the_copy_of_the_head_that_peft_trains_and_saves_is_fitted(start, tmp_path):
    from peft import PeftModel

    plain = make_trainer(tmp_path / "plain", start=start)
    plain.train()
    trainer = make_trainer(tmp_path, start=start, model=adapted(modules_to_save=["classifier"]))
    trainer.train()
    # New adapters change nothing yet, so the head is the same as without them.
    assert torch.allclose(find_head(trainer.model).weight, find_head(plain.model).weight, atol=1e-3)
    expected = trainer.evaluate()
    assert expected["eval_accuracy"] == plain.evaluate()["eval_accuracy"] > 0.5
    trainer.save_model(str(tmp_path / "saved"))
    loaded = PeftModel.from_pretrained(new_model("image"), tmp_path / "saved", is_trainable=True)
    again = make_trainer(tmp_path, model=loaded)
    assert again.evaluate()["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-5)


def test_the_head_of_the_features_is_as_sure_as_its_teachers_and_answers_as_before():
    # Classes that overlap: teachers are unsure, and a linear model of their answers is not.
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 600)
    features = (generator.normal(size=(3, 16))[truth] + 1.6 * generator.normal(size=(600, 16))).astype(np.float32)
    labels = np.where(np.arange(600) < 12, truth, -1)
    reading = Reading(features, features, labels, 3, np.arange(588), None, {})
    head, _ = classifier_head(reading)
    teachers = FeatureClassifier().fit(reading.features, reading.labels)
    sharp = head_for(reading.head_features, teachers.predict_proba(reading.features))
    wanted = teachers.label_distributions_.max(axis=1).mean()
    assert confidence(sharp, reading) > wanted + 0.05
    assert confidence(head, reading) == pytest.approx(wanted, abs=1e-3)
    answers = head.logits(reading.head_features).argmax(axis=1)
    assert (answers == sharp.logits(reading.head_features).argmax(axis=1)).all()


def confidence(head, reading):
    logits = torch.as_tensor(head.logits(reading.head_features))
    return float(logits.softmax(dim=1).amax(dim=1).mean())


def test_both_of_two_heads_are_fitted(tmp_path):
    from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = DeiTForImageClassificationWithTeacher(DeiTConfig(image_size=12, patch_size=4, **sizes, num_labels=3))
    trainer = make_trainer(tmp_path, start="head", model=model, learning_rate=0.0)
    trainer.train()
    found = trainer.predict(task("image")["train_dataset"]).predictions[0]
    given = trainer.train_dataset, trainer.unlabeled_dataset, trainer.data, trainer.processing_class, trainer.args
    reading = read(model, *given)
    assert reading.head_features.shape == (6 + len(trainer.unlabeled_dataset), 32)
    head, _ = probe_head(reading)
    assert found == pytest.approx(head.logits(reading.head_features[:6]), abs=1e-3)


def test_a_head_under_an_adapter_cannot_be_fitted(tmp_path, cache):
    trainer = make_trainer(tmp_path, start="head", model=adapted(target_modules=["q_proj", "classifier"]))
    with pytest.raises(ValueError, match="name it in modules_to_save instead of target_modules"):
        trainer.train()
    assert not cache.exists()


def test_random_starts_leave_the_head_alone(tmp_path, cache):
    trainer = make_trainer(tmp_path, learning_rate=0.0, lr_scheduler_type="constant")
    first = find_head(trainer.model).weight.detach().clone()
    trainer.train()
    assert torch.equal(find_head(trainer.model).weight, first)
    assert not cache.exists()


def test_only_the_first_training_fits_the_head(tmp_path, monkeypatch):
    fitted = []
    trainer = make_trainer(tmp_path, start="head")
    monkeypatch.setattr("hf_ssl.features.start.fit_head", lambda model, *given, **more: fitted.append(model))
    for _ in range(2):
        trainer.train()
    assert fitted == [trainer.model]


def test_resuming_does_not_fit_again(tmp_path):
    settings = {"start": "features", "learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 2}
    whole = make_trainer(tmp_path / "run", **settings, ema_role="evaluation")
    whole.train()
    resumed = make_trainer(tmp_path / "run", seed=5, **settings, ema_role="evaluation")
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    expected, found = everything(whole), everything(resumed)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize(
    ("modality", "start", "below"),
    [("text", "random", 1.0), ("text", "head", 1 / 3), ("text", "features", 1 / 3), ("image", "features", 1.0)],
)
def test_all_below_a_fitted_head_of_texts_learns_at_a_third_of_the_rate(modality, start, below, tmp_path):
    trainer = make_trainer(tmp_path, modality, start=start, max_steps=1, learning_rate=1e-3, weight_decay=0.0)
    trainer.train()
    begun = make_trainer(tmp_path, modality, start=start, max_steps=1, learning_rate=0.0)
    begun.train()
    before = dict(begun.model.named_parameters())
    # Adam's first step moves every weight by its learning rate, or not at all.
    moved = {name: float((p - before[name]).detach().abs().max()) for name, p in trainer.model.named_parameters()}
    heads = {name for name in moved if name.startswith("classifier")}
    assert {name: round(moved[name] / 1e-3, 1) for name in heads} == dict.fromkeys(heads, 1.0)
    # A little less where a gradient is hardly larger than Adam's epsilon.
    assert {round(moved[name] / 1e-3, 1) for name in moved.keys() - heads} - {0.0} == {round(below, 1)}
    assert ("times 0.33 below the fitted head" in trainer.describe()) is (below < 1)


def test_a_custom_view_maker_reads_the_examples(tmp_path):
    def strong_view(row, rng):
        return row["image"]

    trainer = make_trainer(tmp_path, start="features", trainer={"strong_view": strong_view})
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.5


def test_an_unknown_start_is_named():
    with pytest.raises(ValueError, match="start must be one of random, head, features, names, teacher, got 'pool'"):
        SSLConfig("run", start="pool")


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_head_can_begin_with_what_a_larger_model_said(modality, tmp_path):
    pool = task(modality)["unlabeled_dataset"]
    names = pool.features["label"].names
    # Right about all but four examples, on which it says nothing.
    cells = [None if row % 6 == 5 else names[label] for row, label in enumerate(pool["label"])]
    given = {"unlabeled_dataset": pool.remove_columns("label").add_column("teacher", cells)}
    trainer = make_trainer(tmp_path, modality, trainer=given, start="teacher", teacher_column="teacher")
    before = trainer.evaluate(pool)["eval_loss"]
    trainer.train()
    assert trainer.evaluate(pool)["eval_loss"] < 0.95 * before
    with pytest.raises(ValueError, match="teacher_column must be named beside start='teacher', got None"):
        make_trainer(tmp_path, modality, start="teacher")


def test_labels_and_opinions_count_alike_in_the_head_of_a_teacher():
    rng = np.random.default_rng(0)
    features, weight = rng.normal(size=(300, 6)).astype(np.float32), rng.normal(size=(6, 3))
    truth = (features @ weight).argmax(axis=1)
    labels = np.where(np.arange(300) < 20, truth, -1)
    opinions = np.eye(3, dtype=np.float32)[truth[20:]]
    opinions[::2] = 0
    reading = Reading(features, features, labels, 3, np.arange(280))
    head, classes = teacher_head(reading, opinions)
    assert (classes == truth).mean() > 0.95
    told = np.concatenate([np.arange(20), 20 + np.flatnonzero(opinions.sum(axis=1))])
    expected = head_for(features[told], np.eye(3, dtype=np.float32)[truth[told]])
    np.testing.assert_allclose(head.weight, expected.weight, rtol=1e-5, atol=1e-6)
