"""Medium views: between weak and strong, in each modality."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from hf_ssl.views import image as image_views
from hf_ssl.views.image import ImageViews
from hf_ssl.views.text import TextViews

from tests.helpers.word_tokenizer import MASK, WORDS, make_tokenizer


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("operations", "half"), [(1, 1), (2, 1), (3, 2), (6, 3)])
def test_of_an_image_half_of_the_operations_are_made_and_no_cutout(image_processor, monkeypatch, operations, half):
    made = Counter()

    def counted(name, result):
        def function(*given):
            made[name] += 1
            return result(*given)

        return function

    monkeypatch.setattr(image_views, "apply_operation", counted("operation", lambda image, *_: image))
    monkeypatch.setattr(image_views, "cutout", counted("cutout", lambda image, _: image))
    row = {"image": Image.fromarray(rng().integers(0, 256, (12, 12, 3), dtype=np.uint8))}
    maker = ImageViews(image_processor, strong_operations=operations)
    medium = maker("medium", row, rng(1))
    assert made == {"operation": half}
    # The operations were replaced by none: what is left is the weak view of the same random numbers.
    assert torch.equal(medium, maker("weak", row, rng(1)))
    maker("strong", row, rng(1))
    assert made == {"operation": half + operations, "cutout": 1}
    assert f"{half} of these operations" in maker.describe()["medium"]


def test_of_a_text_half_of_each_share_is_changed():
    tokenizer = make_tokenizer()
    words = WORDS * 5
    row = {"text": " ".join(words), "aug_0": "ready"}
    maker = TextViews(tokenizer, token_delete_ratio=0.2, token_swap_ratio=0, token_mask_ratio=0.4)
    item = maker("medium", row, rng())
    left = len(item["input_ids"]) - 2
    assert left == pytest.approx(0.9 * len(words), abs=1)
    masked = tokenizer.convert_ids_to_tokens(item["input_ids"]).count(tokenizer.convert_ids_to_tokens(MASK))
    assert masked == pytest.approx(0.2 * left, abs=1)
    # Ready texts are strong views; the settings are as they were.
    assert len(maker("strong", row, rng())["input_ids"]) == 3
    assert (maker.token_delete_ratio, maker.token_mask_ratio) == (0.2, 0.4)


@pytest.mark.parametrize(("effects", "expected"), [(0, {0}), (1, {0, 1}), (2, {1}), (3, {1, 2}), (4, {2})])
def test_of_a_recording_half_of_the_effects_are_made(monkeypatch, effects, expected):
    pytest.importorskip("torchaudio")
    from transformers import Wav2Vec2FeatureExtractor

    from hf_ssl.views.audio import AudioViews

    maker, drawn = AudioViews(Wav2Vec2FeatureExtractor(), num_effects=effects), []
    monkeypatch.setattr(maker, "_draw", lambda _: drawn.append(0))
    monkeypatch.setattr(maker, "_crop", lambda wave, effects, _: len(effects))
    row = {"audio": np.zeros(100, dtype=np.float32)}
    counts = [maker("medium", row, rng(seed)) for seed in range(60)]
    assert set(counts) == expected and len(drawn) == sum(counts)
    assert np.mean(counts) == pytest.approx(effects / 2, abs=0.2)
