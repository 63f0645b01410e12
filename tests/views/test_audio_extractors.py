"""Every feature extractor of the installed transformers: followed bit for bit, or refused with the reason."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import FeatureExtractionMixin, SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

pytest.importorskip("torchaudio")
pytest.importorskip("soundfile")

from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.audio import AudioViews
from hf_ssl.views.extractor import OwnCalls

SECONDS = 1.0
# Classes that are refused, and what the reason must name. All others are followed.
REFUSED = {
    "CohereAsrFeatureExtractor": "audio_chunk_index is not a tensor of one example",
    "Dots3NoteFeatureExtractor": "input_features is of different lengths, and no mask",
    "Gemma4AudioFeatureExtractor": "it fails on a recording of 16,000 samples",
    "GraniteSpeechFeatureExtractor": "it fails on a recording of 16,000 samples: .*'sampling_rate'",
    "LasrFeatureExtractor": "input_features is of different lengths, and no mask",
    "MusicgenMelodyFeatureExtractor": "input_features is of different lengths, and no mask",
    "Phi4MultimodalFeatureExtractor": "audio_input_features is of different lengths, and no mask",
    "Pop2PianoFeatureExtractor": "it fails on a recording of 22,050 samples",
    "UnivNetFeatureExtractor": "noise_sequence is random",
    "VoxtralRealtimeFeatureExtractor": "input_features is of different lengths, and no mask",
}
# Those of the models that transformers has audio classifiers for.
CLASSIFIERS = {
    "ASTFeatureExtractor",
    "SeamlessM4TFeatureExtractor",
    "Wav2Vec2FeatureExtractor",
    "WhisperFeatureExtractor",
}


def extractor_classes():
    """Classes of feature extractors by name, those of images left out."""
    folder = Path(transformers.__file__).parent / "models"
    found = {}
    for file in sorted(folder.glob("*/feature_extraction_*.py")):
        name = f"transformers.models.{file.parent.name}.{file.stem}"
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, FeatureExtractionMixin) and value.__module__ == name:
                found[value.__name__] = value
    return found


CLASSES = extractor_classes()


def constructed(name):
    try:
        extractor = CLASSES[name]()
    except (ImportError, TypeError, ValueError) as error:
        pytest.skip(f"cannot be constructed here: {' '.join(str(error).split()):.80}")
    if getattr(extractor, "sampling_rate", None) is None:
        pytest.skip("it is not for recordings")
    return extractor


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def test_every_classifier_of_recordings_is_in_the_table_and_followed():
    assert set(CLASSES) >= CLASSIFIERS
    assert not CLASSIFIERS & set(REFUSED)
    assert len(CLASSES) > 25


@pytest.mark.parametrize("name", CLASSES)
def test_followed_bit_for_bit_or_refused(name):
    """For a clip of half the length, of the whole length, and one that is cut."""
    extractor = constructed(name)
    rate = extractor.sampling_rate
    views = AudioViews(extractor, max_length_seconds=SECONDS)
    length = views.max_length
    if name in REFUSED:
        for problem in (views.problem("weak"), views.problem("strong")):
            assert f"{name} does not: " in problem
            assert re.search(REFUSED[name], problem)
        with pytest.raises(ValueError, match=REFUSED[name]):
            views.collate([noise(length)])
        return
    assert views.problem("weak") is None
    waves = [noise(length // 2), noise(length, 1), noise(2 * length, 2)]
    batch = views.collate([views.evaluation({"audio": wave}) for wave in waves])
    for place, wave in enumerate(waves):
        own = extractor(wave[:length], sampling_rate=rate, return_tensors="pt")
        assert set(own) == set(batch)
        alone = views.collate([views.evaluation({"audio": wave})])
        for key, value in own.items():
            assert torch.equal(alone[key], batch[key][place : place + 1]), "an example depends on its neighbors"
            inside = tuple(slice(size) for size in value.shape[1:])
            assert torch.equal(batch[key][place][inside], value[0])
            assert batch[key].dtype == value.dtype
            outside = torch.ones_like(batch[key][place], dtype=torch.bool)
            outside[inside] = False
            assert (batch[key][place][outside] == (0 if "mask" in key else extractor.padding_value)).all()


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_waves_are_normalized_alone_and_then_padded_with_zeros(mask, side):
    """By the formula: (x - mean) / sqrt(variance + 1e-7) over the recording, without the padding."""
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=mask, padding_side=side)
    waves = [noise(600), 0.3 + noise(1000, 1)]
    batch = AudioViews(extractor, max_length_seconds=1000 / 16_000).collate(waves)
    assert set(batch) == {"input_values", "attention_mask"} if mask else {"input_values"}
    for row, wave in zip(batch["input_values"], waves, strict=True):
        expected = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        padding = np.zeros(1000 - len(wave))
        parts = [padding, expected] if side == "left" else [expected, padding]
        np.testing.assert_allclose(row, np.concatenate(parts), atol=1e-6)
    if mask:
        first = [0] * 400 + [1] * 600 if side == "left" else [1] * 600 + [0] * 400
        assert batch["attention_mask"].tolist() == [first, [1] * 1000]


def test_frames_and_their_mask_are_those_of_the_recording_alone():
    """[frames, mel] of w2v-BERT: 0.25 s are 12 frames of two steps of 10 ms, 0.5 s are 24."""
    batch = AudioViews(SeamlessM4TFeatureExtractor(), max_length_seconds=0.5).collate([noise(4_000), noise(8_000)])
    assert batch["input_features"].shape == (2, 24, 160)
    assert batch["attention_mask"].sum(1).tolist() == [11, 24]
    assert batch["input_features"][0, 12:].eq(0).all()


class Odd:
    """A feature extractor that returns what it is told to."""

    sampling_rate, padding_value = 100, 0.0

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, wave, sampling_rate, return_tensors):
        return self.answer(torch.as_tensor(wave))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda wave: {"x": wave[None], "n": [len(wave)]}, "n is not a tensor of one example"),
        (lambda wave: {"x": wave[None].repeat(2, 1)}, "x is not a tensor of one example"),
        (lambda wave: {"x": torch.rand(1, 3)}, "x is random"),
        (lambda wave: {"x": torch.ones(1, 300 - len(wave))}, "the shape of x does not grow with the recording"),
        (lambda wave: {"x": torch.ones(1, 3), str(len(wave)): torch.ones(1)}, "the shape of 100 does not grow"),
        (lambda wave: {"x": torch.ones(1, len(wave) // 2, 4)}, "x is of different lengths, and no mask"),
        (lambda wave: {"x": wave[None], "pad_mask": 1 - torch.ones(1, len(wave))}, "pad_mask does not mark"),
        (lambda wave: wave.no_such_method(), "it fails on a recording of 100 samples: .*no_such_method"),
    ],
    ids=["list", "two examples", "random", "shrinks", "names", "no mask", "mask upside down", "error"],
)
def test_what_cannot_be_followed_is_refused_in_one_line(answer, reason):
    calls = OwnCalls(Odd(answer), 100, 100)
    with pytest.raises(ValueError, match=reason) as error:
        calls([noise(100)])
    assert "\n" not in str(error.value)
    assert "use another model, or give rows that hold its tensors already" in str(error.value)


def test_a_fixed_shape_is_followed_without_a_mask():
    calls = OwnCalls(Odd(lambda wave: {"x": torch.full((1, 2, 3), float(len(wave)))}), 100, 100)
    assert calls([noise(40), noise(100)])["x"][:, 0, 0].tolist() == [40, 100]


@pytest.mark.parametrize(
    "answer",
    [
        lambda wave: {"x": torch.ones(1, 3 if len(wave) < 50 else 4)},
        lambda wave: {"x": torch.ones(1, 4) if len(wave) > 40 else wave.no_such_method()},
    ],
    ids=["other shape", "error"],
)
def test_a_recording_that_is_too_short_is_a_broken_example(answer):
    calls = OwnCalls(Odd(answer), 100, 100)
    assert calls([noise(100)])["x"].shape == (1, 4)
    with pytest.raises(BrokenExampleError, match=r"too short|cannot read a recording of 40 samples"):
        calls([noise(40)])
