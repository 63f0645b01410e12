"""What each kind of teacher says is what its model says, computed here by itself."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPImageProcessor,
)

from hf_ssl.teach.models import Kind, Teacher, check_template, kind_of
from hf_ssl.views.audio import decode

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import NAMES, make_images, make_sounds, make_texts
from tests.helpers.tiny_teachers import clap, save_teacher, small_pictures, tokenizer

IMAGES, TEXTS = list(make_images(5, 0)["image"]), list(make_texts(5, 0)["text"])


def sounds(count: int) -> list[dict]:
    cells = make_sounds(count, 0).data.column("audio").to_pylist()
    return [{"bytes": cell["bytes"], "path": None} for cell in cells]


KINDS = {
    "clip": Kind("zero-shot-image-classification", "image", "This is a photo of {}."),
    "siglip": Kind("zero-shot-image-classification", "image", "This is a photo of {}."),
    "clap": Kind("zero-shot-audio-classification", "audio", "This is a sound of {}."),
    "entailment": Kind("zero-shot-classification", "text", "This example is {}."),
    "writer": Kind("text-generation", "text", "Text: {}\nClass:"),
}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return {kind: save_teacher(kind, folder / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_follows_from_the_configuration(kind, teachers):
    assert kind_of(teachers[kind]) == KINDS[kind]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_image_and_text_encoders_give_the_softmax_of_their_logits(kind, teachers):
    found = Teacher(teachers[kind], NAMES, "a photo of {}", batch_size=2, device="cpu")(IMAGES)
    model = AutoModel.from_pretrained(teachers[kind])
    lengths = {"padding": "max_length", "max_length": 64} if kind == "siglip" else {"padding": True}
    words = tokenizer()([f"a photo of {name}" for name in NAMES], return_tensors="pt", **lengths)
    pixels = small_pictures(CLIPImageProcessor)(IMAGES, return_tensors="pt")["pixel_values"]
    expected = model(pixel_values=pixels, **words).logits_per_image.softmax(dim=1)
    np.testing.assert_allclose(np.stack(found), expected.numpy(), atol=2e-5)
    assert np.ptp(expected.numpy(), axis=1).max() > 1e-3


@torch.no_grad()
def test_recordings_and_texts_are_compared_by_clap(teachers):
    found = Teacher(teachers["clap"], ["high", "low", "middle"], device="cpu", batch_size=2)(sounds(3))
    model, (_, extractor) = AutoModel.from_pretrained(teachers["clap"]), clap()[1]
    words = tokenizer()(
        [f"This is a sound of {name}." for name in ("high", "low", "middle")], return_tensors="pt", padding=True
    )
    features = extractor([decode(cell, 16_000) for cell in sounds(3)], sampling_rate=16_000, return_tensors="pt")
    expected = model(**words, **features).logits_per_audio.softmax(dim=1)
    np.testing.assert_allclose(np.stack(found), expected.numpy(), atol=2e-5)


@torch.no_grad()
def test_entailment_of_each_class_is_compared(teachers):
    found = Teacher(teachers["entailment"], NAMES, device="cpu", batch_size=4)(TEXTS)
    model = AutoModelForSequenceClassification.from_pretrained(teachers["entailment"])
    pairs = [(text, f"This example is {name}.") for text in TEXTS for name in NAMES]
    logits = torch.stack([model(**tokenizer()(*pair, return_tensors="pt")).logits[0, 2] for pair in pairs])
    np.testing.assert_allclose(np.stack(found), logits.reshape(5, 3).softmax(dim=1).numpy(), atol=2e-5)


@torch.no_grad()
def test_a_writer_compares_the_mean_log_likelihood_of_names(teachers):
    names = ["red", "very blue", "green"]
    found = Teacher(teachers["writer"], names, device="cpu", batch_size=4)(TEXTS)
    model, words = (
        AutoModelForCausalLM.from_pretrained(teachers["writer"]),
        AutoTokenizer.from_pretrained(teachers["writer"]),
    )
    for text, probabilities in zip(TEXTS, found, strict=True):
        scores = []
        for name in names:
            prompt, name_ids = words(f"Text: {text}\nClass:")["input_ids"], words(name)["input_ids"]
            logs = model(input_ids=torch.tensor([[*prompt, *name_ids]])).logits[0].log_softmax(dim=-1)
            each = [float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(name_ids)]
            scores.append(sum(each) / len(each))
        np.testing.assert_allclose(probabilities, torch.tensor(scores).softmax(dim=0).numpy(), atol=1e-5)


def test_a_long_text_is_cut_so_that_its_prompt_and_the_names_fit(tmp_path):
    teacher = Teacher(save_teacher("writer", tmp_path / "short"), NAMES, device="cpu")
    teacher._writer.limit = 12
    (long, short) = teacher(["sky " * 50, "sky " * 8])
    np.testing.assert_allclose(long, short, atol=1e-6)
    teacher._writer.limit = 3
    with pytest.raises(ValueError, match="the template leaves no room for a text"):
        teacher(["sky " * 50])


@pytest.mark.parametrize(
    ("modality", "values"), [("image", IMAGES), ("text", TEXTS), ("audio", sounds(3))], ids=["image", "text", "audio"]
)
def test_a_classifier_of_these_classes_is_a_teacher_in_any_order(modality, values, tmp_path):
    model = save_model(modality, tmp_path / "model")
    _name_classes(model, ["red", "green", "blue"])
    first = np.stack(Teacher(model, ["red", "green", "blue"], device="cpu", batch_size=2)(values))
    other = np.stack(Teacher(model, ["Blue", "red", "green"], device="cpu", batch_size=2)(values))
    np.testing.assert_allclose(first[:, [2, 0, 1]], other, atol=1e-6)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"--model must know the classes red, green, got .*, a classifier of red, green"
    ):
        Teacher(model, ["red", "green"], device="cpu")
    with pytest.raises(ValueError, match=r"--template must be left out for a classifier, .*got 'a {}'"):
        Teacher(model, ["red", "green", "blue"], "a {}", device="cpu")


def _name_classes(model: str, names: list[str]) -> None:
    config = AutoConfig.from_pretrained(model)
    config.id2label, config.label2id = dict(enumerate(names)), {name: place for place, name in enumerate(names)}
    config.save_pretrained(model)


def test_inputs_that_cannot_be_read_have_no_opinion_and_the_others_have(teachers):
    found = Teacher(teachers["clip"], NAMES, device="cpu")([b"no image", IMAGES[0], ValueError("two\nlines")])
    assert isinstance(found[0], str) and found[2] == "two lines"
    alone = Teacher(teachers["clip"], NAMES, device="cpu")(IMAGES[:1])
    np.testing.assert_allclose(found[1], alone[0], atol=1e-6)
    assert Teacher(teachers["writer"], NAMES, device="cpu")([" ", None]) == ["there is no text"] * 2


@pytest.mark.parametrize("template", ["a cat", "{} and {}", "{0}", "{", "{} {name}"])
def test_a_template_has_one_place(template):
    with pytest.raises(ValueError, match=r"--template must hold \{\} once, where the name of the class belongs"):
        check_template(template, KINDS["clip"])


def test_models_that_cannot_be_teachers_are_refused(tmp_path):
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"--model must be CLIP- or SigLIP-like, .* whose architecture is BertModel"):
        kind_of(str(tmp_path / "encoder"))
    with pytest.raises(ValueError, match="no model"):
        kind_of(str(tmp_path / "nothing"))
