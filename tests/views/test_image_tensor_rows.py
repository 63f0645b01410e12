"""Rows that hold images as tensors: what their views need is seen before the first step."""

import datasets
import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPProcessor, ViTConfig, ViTForImageClassification, ViTImageProcessor

from hf_ssl import SSLConfig, SSLTrainer

from tests.helpers.image_processors import pictures
from tests.helpers.tiny_tasks import tokenizer

TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def processor(side):
    return ViTImageProcessor(size={"height": side, "width": side})


def with_tensors(make):
    """Images with what a processor makes of them, as a script's `map` leaves them."""
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": ["a", "b", "c"]})
    data = data.cast_column("image", datasets.Image())

    def transform(batch):
        images = [image.convert("RGB") for image in batch["image"]]
        return {**batch, "pixel_values": list(make(images, return_tensors="np")["pixel_values"])}

    return data.with_transform(transform)


def trainer(tmp_path, data, processing_class, algorithm="fixmatch", side=16, **settings):
    args = SSLConfig(str(tmp_path), algorithm=algorithm, report_to="none", **settings)
    model = ViTForImageClassification(ViTConfig(image_size=side, patch_size=4, num_labels=3, **TINY))
    return SSLTrainer(model, args, train_dataset=data, processing_class=processing_class)


def test_a_strong_view_is_as_large_as_what_the_rows_hold(tmp_path):
    """A transform of 16 pixels beside a processor of 12: as if the processor were one of 16."""
    data, given = with_tensors(processor(16)), processor(12)
    fitted, same = (trainer(tmp_path, data, maker).views for maker in (given, processor(16)))
    for row in data:
        views = [each.collate([each("strong", row, np.random.default_rng(0))]) for each in (fitted, same)]
        assert views[0]["pixel_values"].shape == (1, 3, 16, 16)
        assert torch.equal(views[0]["pixel_values"], views[1]["pixel_values"])
    assert given.size["height"] == 12


def test_a_strong_view_of_another_size_than_the_rows_is_refused_at_construction(tmp_path):
    data = with_tensors(processor(16))
    with pytest.raises(ValueError, match=r"got 3 x 12 x 12 beside 3 x 16 x 16; set image_size, or resize both alike$"):
        trainer(tmp_path, data, processor(12), image_size=12)
    wide = ViTImageProcessor(size={"height": 8, "width": 16})
    with pytest.raises(ValueError, match=r"got 3 x 12 x 12 beside 3 x 8 x 16; set image_size, or resize both alike$"):
        trainer(tmp_path, with_tensors(wide), processor(12), side=(8, 16))
    # Labels alone need no strong view, and with image_size both are of one size.
    assert trainer(tmp_path, data, processor(12), "supervised", image_size=12).views.problem("strong") is not None
    assert trainer(tmp_path, data, processor(12), image_size=16).views.problem("strong") is None


def test_an_unchanged_strong_view_is_what_the_rows_hold(tmp_path):
    data, settings = with_tensors(processor(16)), {"crop_ratio": 1.0, "horizontal_flip": False}
    views = trainer(tmp_path, data, processor(16), **settings).views
    for row in data:
        unchanged = views.raw.collate([views.raw("weak", row, np.random.default_rng(0))])["pixel_values"]
        assert torch.equal(unchanged[0], torch.from_numpy(row["pixel_values"]))


def test_rows_that_hold_no_squares_cannot_be_turned(tmp_path):
    wide = ViTImageProcessor(size={"height": 8, "width": 16})
    message = "^rows must hold squares for rotated views, got pixel_values of shape 3 x 8 x 16; "
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, with_tensors(wide), wide, "crmatch", side=(8, 16))


def test_image_size_reaches_the_image_processor_inside_of_another(tmp_path):
    inner = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 12, "width": 12})
    whole = CLIPProcessor(inner, tokenizer())
    data = datasets.Dataset.from_dict({"image": pictures()[:3], "label": ["a", "b", "c"]})
    used = trainer(tmp_path, data, whole, image_size=24, side=24).processing_class
    assert (used.image_processor.size["shortest_edge"], used.image_processor.crop_size["height"]) == (32, 24)
    assert whole.image_processor is inner and inner.crop_size["height"] == 12
