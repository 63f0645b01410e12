"""What reaches the model is the same in training without augmentation, evaluation, pipeline, predict and evaluate."""

import copy
import functools
from types import SimpleNamespace

import datasets
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    CLIPImageProcessor,
    EfficientNetImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    Siglip2Config,
    Siglip2ForImageClassification,
    Siglip2ImageProcessor,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
    TimmWrapperImageProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    pipeline,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.cli import main
from hf_ssl.errors import BrokenExampleError
from hf_ssl.features import FeatureBank
from hf_ssl.views.image_size import carry_settings

from tests.helpers.image_processors import SHAPES, TIMM, pictures

NAMES = ["a", "b", "c"]
TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def vit(side):
    return ViTForImageClassification(ViTConfig(image_size=side, patch_size=4, num_labels=3, **TINY))


def timm_model():
    pytest.importorskip("timm")
    config = {name: list(value) if isinstance(value, tuple) else value for name, value in TIMM.items()}
    return TimmWrapperForImageClassification(
        TimmWrapperConfig(architecture="resnet10t", num_labels=3, pretrained_cfg=config)
    )


def siglip2():
    vision = {**TINY, "num_patches": 16, "patch_size": 4}
    return Siglip2ForImageClassification(Siglip2Config(vision_config=vision, num_labels=3))


RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
SQUARE = {"size": {"height": 12, "width": 12}}
CROPPED = {"size": {"shortest_edge": 16}, "crop_size": {"height": 12, "width": 12}}
# Name -> the model, its processor, image_size, and the shape of an image as the model gets it.
CASES = {
    "another size": (lambda: vit(24), lambda: ViTImageProcessor(**SQUARE), 24, (3, 24, 24)),
    "the size of a crop": (lambda: vit(24), lambda: CLIPImageProcessor(**CROPPED), 24, (3, 24, 24)),
    "normalized twice": (lambda: vit(12), lambda: EfficientNetImageProcessor(**SQUARE), None, (3, 12, 12)),
    "resized by Pillow": (lambda: vit(12), lambda: ViTImageProcessorPil(**SQUARE), None, (3, 12, 12)),
    "timm": (timm_model, lambda: TimmWrapperImageProcessor(TIMM, architecture="resnet10t"), None, (3, 64, 64)),
    "timm, another size": (
        timm_model,
        lambda: TimmWrapperImageProcessor(TIMM, architecture="resnet10t"),
        32,
        (3, 32, 32),
    ),
    "patches": (siglip2, lambda: Siglip2ImageProcessor(patch_size=4, max_num_patches=16), None, (16, 48)),
}


@pytest.fixture
def files(tmp_path):
    """One image per class, in a folder of its name; two of them are no squares."""
    made = []
    for name, image in zip(NAMES, pictures(SHAPES), strict=False):
        made.append(tmp_path / "data" / name / "image.png")
        made[-1].parent.mkdir(parents=True)
        image.save(made[-1])
    return made


@pytest.fixture
def seen(monkeypatch):
    """seen(model) -> a list to which every call of a model of this class adds its inputs, image by image."""

    def watch(model):
        calls, forward = [], type(model).forward

        @functools.wraps(forward)
        def recorded(self, *args, **inputs):
            tensors = {name: value for name, value in inputs.items() if torch.is_tensor(value) and name != "labels"}
            for number in range(len(tensors["pixel_values"])):
                calls.append({name: value[number].clone() for name, value in tensors.items()})
            return forward(self, *args, **inputs)

        monkeypatch.setattr(type(model), "forward", recorded)
        return calls

    return watch


@pytest.mark.parametrize("case", CASES)
def test_five_ways_show_the_model_the_same_numbers(case, files, seen, tmp_path):
    make_model, make_processor, image_size, shape = CASES[case]
    data = datasets.Dataset.from_dict({"image": [str(file) for file in files], "label": NAMES})
    data = data.cast_column("image", datasets.Image())
    run, model = tmp_path / "run", make_model()
    args = SSLConfig(
        str(run),
        algorithm="supervised",
        image_size=image_size,
        crop_ratio=1.0,
        horizontal_flip=False,
        max_steps=1,
        per_device_train_batch_size=3,
        dataloader_num_workers=0,
        report_to="none",
        disable_tqdm=True,
        duplicate_check_seconds=0,
    )
    trainer = SSLTrainer(model, args, train_dataset=data, eval_dataset=data, processing_class=make_processor())
    calls = seen(model)
    ways = {}

    def watched(name, way):
        calls.clear()
        way()
        ways[name] = list(calls)

    watched("training", trainer.train)
    watched("evaluation", trainer.evaluate)
    trainer.save_model()
    watched("pipeline", lambda: pipeline("image-classification", model=str(run))([str(file) for file in files]))
    watched("predict", lambda: main(["predict", str(run), *map(str, files)]))
    watched("evaluate", lambda: main(["evaluate", str(run), str(tmp_path / "data")]))

    saved = AutoImageProcessor.from_pretrained(run)
    expected = [saved(Image.open(file), return_tensors="pt") for file in files]
    assert [tuple(row["pixel_values"][0].shape) for row in expected] == [shape] * 3
    for name, rows in ways.items():
        assert len(rows) == 3, name
        for wanted in expected:
            found = [all(torch.equal(row[key], value[0]) for key, value in wanted.items()) for row in rows]
            assert sum(found) == 1 and set(wanted) == set(rows[found.index(True)]), name


def test_a_processor_that_is_saved_as_another_is_replaced_with_a_warning(tmp_path, caplog):
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": NAMES})
    given = ViTImageProcessorPil(**SQUARE)
    args = SSLConfig(str(tmp_path), report_to="none")
    trainer = SSLTrainer(vit(12), args, train_dataset=data, processing_class=given)
    assert type(trainer.processing_class) is ViTImageProcessor
    assert (
        "ViTImageProcessorPil is loaded with a saved model as ViTImageProcessor, which rounds otherwise" in caplog.text
    )


def test_the_given_processor_is_left_as_it_is(tmp_path):
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": NAMES})
    given = ViTImageProcessor(**SQUARE)
    same = SSLTrainer(vit(12), SSLConfig(str(tmp_path), report_to="none"), train_dataset=data, processing_class=given)
    assert same.processing_class is given
    args = SSLConfig(str(tmp_path), image_size=24, report_to="none")
    other = SSLTrainer(vit(24), args, train_dataset=data, processing_class=given)
    assert (given.size["height"], other.processing_class.size["height"]) == (12, 24)


def test_one_example_is_compared_when_a_trainer_is_made(tmp_path):
    class Dimmed(ViTImageProcessor):
        """Halves the numbers of pictures without noise, which no picture that a processor is tried on is."""

        def normalize(self, image, *args, **kwargs):
            numbers = super().normalize(image, *args, **kwargs)
            return numbers / 2 if numbers.std() < 1e-3 else numbers

    args = SSLConfig(str(tmp_path), report_to="none")
    for first, canvas in ((pictures()[0], (12, 12)), (Image.new("RGB", (20, 20), "white"), None)):
        data = datasets.Dataset.from_dict({"image": [first, *pictures()[1:3]], "label": NAMES})
        trainer = SSLTrainer(vit(12), args, train_dataset=data, processing_class=Dimmed(**SQUARE))
        assert trainer.views.followed.canvas_size == canvas


def test_a_first_image_that_cannot_be_read_is_found_when_a_trainer_is_made(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    data = datasets.Dataset.from_dict({"image": [str(tmp_path / "broken.png")] * 3, "label": NAMES})
    data = data.cast_column("image", datasets.Image())
    with pytest.raises(
        BrokenExampleError, match=r"labeled dataset cannot be used, row 0 \(.+broken\.png\): it is not an image"
    ):
        SSLTrainer(vit(12), SSLConfig(str(tmp_path)), train_dataset=data, processing_class=ViTImageProcessor(**SQUARE))


def test_features_are_those_of_images_of_image_size(tmp_path):
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": NAMES})
    model = ResNetForImageClassification(RESNET).eval()
    banks = {}
    for side in (32, 48):
        args = SSLConfig(str(tmp_path), image_size=side, dataloader_num_workers=0, report_to="none", use_cpu=True)
        given = data, ViTImageProcessor(size={"height": 32, "width": 32})
        bank = FeatureBank.encode(model, *given, args=args, cache_dir=tmp_path, pooling="head", disable_tqdm=True)
        pixels = ViTImageProcessor(size={"height": side, "width": side})([*data["image"]], return_tensors="pt")
        with torch.no_grad():
            expected = model.resnet(**pixels).pooler_output.flatten(1)
        torch.testing.assert_close(torch.from_numpy(bank.features.copy()), expected)
        banks[side] = bank
    assert banks[32].key != banks[48].key


def test_a_processor_that_cannot_be_followed_is_refused_at_construction(tmp_path):
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": NAMES})
    processor = ViTImageProcessor(size={"shortest_edge": 12})
    with pytest.raises(ValueError, match=r"ViTImageProcessor must make pixel_values of one shape, .+; set image_size"):
        SSLTrainer(vit(12), SSLConfig(str(tmp_path)), train_dataset=data, processing_class=processor)


def test_pictures_of_different_shapes_are_predicted_one_by_one_if_they_stay_different(files, tmp_path, capsys):
    for part in (ResNetForImageClassification(RESNET), ViTImageProcessor(size={"shortest_edge": 32})):
        part.save_pretrained(tmp_path / "model")
    together, table = [str(tmp_path / "model"), *map(str, files)], tmp_path / "answers.csv"
    assert main(["predict", *together, "--output", str(table)]) == 0
    rows = table.read_text().splitlines()
    for file in files:
        assert main(["predict", together[0], str(file), "--output", str(table), "--overwrite"]) == 0
        assert table.read_text().splitlines()[1] in rows


TIMM_MODEL = SimpleNamespace(model_type="timm_wrapper", pretrained_cfg={"input_size": [3, 224, 224], "tag": "a1"})


def test_timm_s_settings_travel_with_the_model():
    config = copy.copy(TIMM_MODEL)
    carry_settings(SimpleNamespace(data_config={"input_size": (3, 32, 32), "crop_pct": 1.0}), config)
    assert config.pretrained_cfg == {"input_size": [3, 32, 32], "tag": "a1", "crop_pct": 1.0}


@pytest.mark.parametrize(
    ("processor", "config", "reason"),
    [
        (
            ViTImageProcessor(),
            TIMM_MODEL,
            "must be a TimmWrapperImageProcessor, got ViTImageProcessor, instead of",
        ),
        (SimpleNamespace(data_config=TIMM), ViTConfig(), "must be saved with the model, got SimpleNamespace, which"),
    ],
)
def test_a_processor_that_would_not_be_loaded_with_the_saved_model_is_refused(processor, config, reason):
    with pytest.raises(ValueError, match=f"^processing_class {reason}"):
        carry_settings(processor, config)
