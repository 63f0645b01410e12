"""A head from class names: the zero-shot model's answers, and an ordinary image classifier that begins with them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForImageClassification, pipeline

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.features.names import best_scale, softmax, zero_shot
from hf_ssl.features.reading import read
from hf_ssl.features.start import names_head

from tests.helpers.tiny_images import make_images
from tests.helpers.tiny_tasks import new_model, task
from tests.helpers.tiny_teachers import save_teacher, tokenizer

NAMES = ["dark", "middle", "bright"]
TEMPLATE = "a photo of {}."


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def teacher(request, tmp_path_factory):
    return save_teacher(request.param, tmp_path_factory.mktemp("names") / request.param)


def make_trainer(folder, model, **config):
    settings = {"max_steps": 1, "learning_rate": 0.0, "per_device_train_batch_size": 2, "report_to": "none"}
    settings |= {"use_cpu": True, "disable_tqdm": True, "dataloader_num_workers": 0, "save_strategy": "no"}
    given = {
        "train_dataset": make_images(6, 0),
        "unlabeled_dataset": make_images(10, 1),
        "eval_dataset": make_images(6, 2),
    }
    args = SSLConfig(str(folder), start="names", start_template=TEMPLATE, **{**settings, **config})
    return SSLTrainer(model, args, **given)


@torch.no_grad()
def test_the_logits_are_those_of_the_whole_model(teacher):
    model = AutoModelForImageClassification.from_pretrained(teacher, num_labels=3)
    whole, pixels = AutoModel.from_pretrained(teacher), torch.randn(5, 3, 12, 12)
    lengths = {"padding": "max_length", "max_length": 64} if "siglip" in teacher else {"padding": True}
    words = tokenizer()([TEMPLATE.format(name) for name in NAMES], return_tensors="pt", **lengths)
    expected = whole(pixel_values=pixels, **words).logits_per_image
    found = zero_shot(model, NAMES, TEMPLATE)
    torch.testing.assert_close(found(pixels), expected, rtol=1e-5, atol=1e-5)
    vectors = torch.nn.functional.normalize(whole.get_image_features(pixels).pooler_output, dim=-1)
    cosines = torch.from_numpy(found.cosines(vectors.numpy())) * whole.logit_scale.exp()
    bias = getattr(whole, "logit_bias", torch.zeros(1))
    torch.testing.assert_close(cosines + bias, expected, rtol=1e-5, atol=1e-5)


def test_an_ordinary_classifier_begins_with_the_answers_of_the_zero_shot_model(teacher, tmp_path):
    trainer = make_trainer(tmp_path / "run", teacher)
    given = trainer.train_dataset, trainer.unlabeled_dataset, trainer.data, trainer.processing_class, trainer.args
    trainer.train()
    # The same classes on labels and pool, and logits that differ by a temperature, which is fitted to the labels.
    named = zero_shot(trainer.model, trainer.data.label_names, TEMPLATE)
    vectors, reading = read(named, *given), read(trainer.model, *given)
    cosines, known = named.cosines(vectors.head_features), vectors.labels >= 0
    scale = best_scale(cosines[known], vectors.labels[known])
    with torch.no_grad():
        logits = trainer.model.classifier(torch.from_numpy(reading.head_features)).numpy()
    assert (logits.argmax(axis=1) == cosines.argmax(axis=1)).mean() > 0.9
    assert np.abs(softmax(logits) - softmax(scale * cosines)).max() < 0.1
    trainer.save_model(str(tmp_path / "saved"))
    saved = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    assert type(saved).__name__ in ("CLIPForImageClassification", "SiglipForImageClassification")
    classify = pipeline("image-classification", model=str(tmp_path / "saved"), device="cpu")
    answer = classify(make_images(6, 2)[0]["image"])
    assert {each["label"] for each in answer} == set(NAMES)


def test_the_head_is_fitted_to_all_examples_at_the_best_temperature():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2_000, 8)).astype(np.float32)
    cosines = 0.1 * features @ rng.normal(size=(8, 3))
    labels = np.where(np.arange(2_000) < 30, cosines.argmax(axis=1), -1)
    labels[:6] = (labels[:6] + 1) % 3

    class Named:
        def cosines(self, vectors):
            return cosines

    reading = SimpleNamespace(head_features=features)
    head, classes = names_head(reading, Named(), SimpleNamespace(head_features=None, labels=labels))
    scale = best_scale(cosines[:30], labels[:30])
    assert 1 < scale < 100 and (classes == cosines.argmax(axis=1)).all()
    np.testing.assert_allclose(softmax(head.logits(features)), softmax(scale * cosines), atol=0.05)


def test_models_without_a_text_encoder_and_classes_without_names_are_refused(teacher, tmp_path):
    plain = SSLTrainer(
        new_model("image"),
        SSLConfig(str(tmp_path), start="names", use_cpu=True, report_to="none", max_steps=1, dataloader_num_workers=0),
        **task("image"),
    )
    with pytest.raises(
        ValueError, match="start must not be 'names' for ViTForImageClassification, which was not loaded"
    ):
        plain.train()
    model = AutoModelForImageClassification.from_pretrained(teacher, num_labels=2)
    with pytest.raises(ValueError, match="start must not be 'names' for classes that are numbers, got 0, 1; give"):
        zero_shot(model, ["0", "1"], TEMPLATE)
    with pytest.raises(ValueError, match=r"start_template must hold \{\} once, .*got 'a cat'"):
        zero_shot(model, NAMES, "a cat")
