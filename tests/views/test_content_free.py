"""Inputs that say nothing: a gray image, a mask token, silence, made as the model's own processor makes inputs."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import processors
from transformers import ViTImageProcessor, Wav2Vec2FeatureExtractor

from hf_ssl import SSLConfig
from hf_ssl.batches.collators import content_free_view
from hf_ssl.data.columns import inspect_data
from hf_ssl.views.audio import AudioViews
from hf_ssl.views.base import as_views
from hf_ssl.views.custom import CustomViews
from hf_ssl.views.image import ImageViews
from hf_ssl.views.tensor_rows import PreparedViews
from hf_ssl.views.text import TextViews

from tests.helpers.tiny_tasks import tokenizer


def bert_like():
    found = tokenizer()
    ends = [(name, found.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return found


@pytest.mark.parametrize("size", [(9, 9), (20, 12)])
def test_a_gray_image_is_what_the_processor_makes_of_one(size):
    processor = ViTImageProcessor(size={"height": 8, "width": 8}, image_mean=[0.2, 0.5, 0.7])
    row = {"image": Image.effect_noise(size, 50)}
    found = content_free_view(ImageViews(processor), row)
    expected = processor(Image.new("RGB", (5, 5), (128, 128, 128)), return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize(
    ("columns", "expected"), [(("text",), "[CLS] [MASK] [SEP]"), (("a", "b"), "[CLS] [MASK] [SEP] [MASK] [SEP]")]
)
def test_a_text_is_a_mask_token_between_special_ones(columns, expected):
    words = bert_like()
    found = content_free_view(TextViews(words, columns), {})
    assert words.convert_ids_to_tokens(found["input_ids"][0].tolist()) == expected.split()
    assert found["attention_mask"].tolist() == [[1] * len(expected.split())]


def test_without_a_mask_token_it_is_the_unknown_one_or_padding():
    words = bert_like()
    words.mask_token = None
    assert content_free_view(TextViews(words), {})["input_ids"].tolist() == [
        words.convert_tokens_to_ids(["[CLS]", "[UNK]", "[SEP]"])
    ]
    words.pad_token = "[UNK]"
    assert content_free_view(TextViews(words), {})["input_ids"][0, 1] == words.pad_token_id


def test_silence_is_as_long_as_a_recording_may_be():
    found = content_free_view(AudioViews(Wav2Vec2FeatureExtractor(), max_length_seconds=0.1), {})
    assert found["input_values"].shape == (1, 1600) and not found["input_values"].any()


def test_rows_of_tensors_become_zeros_or_mask_tokens():
    images = datasets.Dataset.from_dict(
        {"pixel_values": np.random.default_rng(0).normal(size=(4, 3, 6, 6)), "label": [0, 1] * 2}
    )
    data = inspect_data(images)
    views = PreparedViews(data, None, SSLConfig(use_cpu=True), images, images)
    found = content_free_view(views, images[0])
    assert found["pixel_values"].shape == (1, 3, 6, 6) and not found["pixel_values"].any()
    texts = datasets.Dataset.from_dict({"input_ids": [[7, 8], [9]], "attention_mask": [[1, 1], [1]], "label": [0, 1]})
    views = PreparedViews(inspect_data(texts), bert_like(), SSLConfig(use_cpu=True), texts, texts)
    found = content_free_view(views, texts[0])
    assert bert_like().convert_ids_to_tokens(found["input_ids"][0].tolist()) == ["[CLS]", "[MASK]", "[SEP]"]
    views = PreparedViews(inspect_data(texts), None, SSLConfig(use_cpu=True), texts, texts)
    with pytest.raises(ValueError, match="PreparedViews makes no input without content"):
        content_free_view(views, texts[0])


def test_custom_callables_leave_it_to_the_base():
    base = ImageViews(ViTImageProcessor(size={"height": 8, "width": 8}))
    row = {"image": np.zeros((9, 9, 3), np.uint8)}
    views = CustomViews(base, strong=lambda row: row["image"])
    assert torch.equal(content_free_view(views, row)["pixel_values"], content_free_view(base, row)["pixel_values"])


class Maker:
    modality = "image"

    def __call__(self, kind, row, rng):
        return row

    def evaluation(self, row):
        return row

    def collate(self, items):
        return {"x": torch.stack(items)}


def test_a_view_maker_without_one_says_what_to_define():
    with pytest.raises(ValueError, match=r"^Maker makes no input without content; let it define content_free\(row\)"):
        content_free_view(Maker(), torch.ones(2))
    maker = Maker()
    maker.content_free = lambda row: torch.full_like(row, float("nan"))
    with pytest.raises(ValueError, match="x of an input without content must be finite"):
        content_free_view(as_views(maker), torch.ones(2))
    maker.content_free = lambda row: torch.zeros_like(row)
    assert content_free_view(maker, torch.ones(2))["x"].tolist() == [[0, 0]]
