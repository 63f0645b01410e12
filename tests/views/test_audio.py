"""Views of recordings: known answers on sine waves."""

import pickle
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("torchaudio")
pytest.importorskip("soundfile")
from transformers import (
    ASTFeatureExtractor,
    Speech2TextFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from hf_ssl.views import audio_effects as audio
from hf_ssl.views.audio import AudioViews

RATE = 16_000


def rng(seed=0):
    return np.random.default_rng(seed)


def sine(frequency=500.0, seconds=1.0, rate=RATE, amplitude=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def peak(wave, rate=RATE):
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
    return spectrum.argmax() * rate / (8 * len(wave))


@pytest.fixture(scope="module")
def extractor():
    return Wav2Vec2FeatureExtractor(return_attention_mask=True)


def test_weak_is_a_piece_of_the_clip(extractor):
    ramp = np.linspace(-1, 1, 3 * RATE, dtype=np.float32)
    views = AudioViews(extractor)
    starts = []
    for seed in range(200):
        item = views("weak", {"audio": ramp}, rng(seed))
        start = int(np.searchsorted(ramp, item[0]))
        np.testing.assert_array_equal(item, ramp[start : start + RATE])
        starts.append(start)
    assert min(starts) < 2_000
    assert max(starts) > 30_000
    assert np.mean(starts) == pytest.approx(RATE, rel=0.1)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.5])
def test_evaluation_is_the_beginning(extractor, seconds):
    wave = sine(seconds=seconds)
    np.testing.assert_array_equal(AudioViews(extractor).evaluation({"audio": wave}), wave[:RATE])


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 3.0, 12.0])
def test_strong_is_finite_and_no_longer_than_the_crop(extractor, seconds):
    views = AudioViews(extractor)
    for seed in range(12):
        item = views("strong", {"audio": sine(seconds=seconds)}, rng(seed))
        assert item.dtype == np.float32
        assert 0 < len(item) <= RATE
        assert len(item) == RATE or seconds < 4
        assert np.isfinite(item).all()
        assert item.any()


def test_the_generator_decides_and_nothing_else_is_drawn_from(extractor):
    views = AudioViews(extractor)
    row = {"audio": rng(9).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)}
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    for kind in ("weak", "strong"):
        for seed in range(8):
            first, again, other = (views(kind, row, rng(s)) for s in (seed, seed, seed + 100))
            np.testing.assert_array_equal(first, again)
            assert not np.array_equal(first, other)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_without_effects_strong_is_weak(extractor):
    views, row = AudioViews(extractor, num_effects=0), {"audio": sine(seconds=2)}
    np.testing.assert_array_equal(views("strong", row, rng(4)), views("weak", row, rng(4)))
    assert "without effects" in views.describe()["strong"]


@pytest.mark.parametrize(
    ("settings", "frequency", "size"),
    [
        ({"effects": ("speed",), "speed_factors": (1.25, 1.25)}, 500 * 1.25**2, RATE / 1.25**2),
        ({"effects": ("speed",), "speed_factors": (0.5, 0.5)}, 125, RATE),
        ({"effects": ("pitch",), "pitch_semitones": (2, 2)}, 500 * 2 ** (4 / 12), RATE),
        ({"effects": ("gain",), "gain_decibel": (-3, -3)}, 500, RATE),
    ],
    ids=["fast", "slow", "pitch", "gain"],
)
def test_two_effects_are_applied_one_after_the_other(extractor, settings, frequency, size):
    item = AudioViews(extractor, **settings)("strong", {"audio": sine(500)}, rng())
    assert peak(item) == pytest.approx(frequency, rel=5e-3)
    assert len(item) == pytest.approx(size, abs=2)
    if "gain_decibel" in settings:
        assert np.abs(item).max() == pytest.approx(0.5 * 10 ** (-6 / 20), rel=1e-3)


def test_effects_are_drawn_as_often_and_with_replacement(extractor):
    views, numbers = AudioViews(extractor), rng()
    names = [views._draw(numbers)[0] for _ in range(2_000)]
    assert all(names.count(name) == pytest.approx(500, abs=80) for name in audio.EFFECTS)
    amounts = [effect[1] for effect in (views._draw(numbers) for _ in range(2_000)) if effect[0] == "speed"]
    assert 0.5 <= min(amounts) < 0.55
    assert 1.95 < max(amounts) <= 2.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_working_on_the_needed_part_of_a_long_clip_changes_nothing(extractor, factor):
    """The crop of a long clip is the same piece that processing the whole clip gives."""
    # The frequency tells the place in the clip.
    time = np.arange(20 * RATE) / RATE
    wave = (0.5 * np.sin(2 * np.pi * (100 * time + 20 * time**2))).astype(np.float32)
    views = AudioViews(extractor, effects=("speed",), num_effects=1, speed_factors=(factor, factor))
    whole = audio.speed(wave, factor)
    for seed in range(5):
        item = views("strong", {"audio": wave}, rng(seed))
        numbers = rng(seed)
        numbers.integers(1), numbers.uniform()
        start = int(numbers.integers(int(len(wave) / Fraction(factor).limit_denominator(100)) - RATE + 1))
        # Up to a part of a sample, which is where the grid of the resampled part falls.
        lags = [np.abs(item[9:-9] - whole[start + 9 + lag : start + len(item) - 9 + lag]).mean() for lag in (-1, 0, 1)]
        assert min(lags) < 0.1


def test_what_was_before_the_crop_echoes_into_it(extractor):
    options = {"reverberation_seconds": (0.4, 0.4), "reverberation_wet": (0.3, 0.3)}
    views = AudioViews(extractor, effects=("reverberation",), num_effects=1, **options)
    wave = rng(5).uniform(-0.1, 0.1, 6 * RATE).astype(np.float32)
    for seed in range(5):
        item = views("strong", {"audio": wave}, rng(seed))
        numbers = rng(seed)
        numbers.integers(1), numbers.uniform(), numbers.uniform()
        start = int(numbers.integers(5 * RATE + 1))
        whole = audio.reverberation(wave, 0.4, 0.3, RATE, numbers)
        np.testing.assert_allclose(item, whole[start : start + RATE], atol=1e-5)


# Collation


@pytest.mark.parametrize("seconds", [(1.0, 1.0), (1.0, 0.25), (0.5, 0.25)])
def test_collate_normalizes_pads_and_masks(extractor, seconds):
    views = AudioViews(extractor)
    waves = [0.1 + sine(seconds=s) for s in seconds]
    batch = views.collate([views.evaluation({"audio": wave}) for wave in waves])
    assert set(batch) == {"input_values", "attention_mask"}
    assert batch["input_values"].shape == batch["attention_mask"].shape == (2, RATE)
    assert batch["input_values"].dtype == torch.float32
    for values, mask, wave in zip(batch["input_values"], batch["attention_mask"], waves, strict=True):
        assert mask.sum() == len(wave)
        assert values[len(wave) :].eq(0).all()
        np.testing.assert_allclose(values[: len(wave)], (wave - wave.mean()) / wave.std(), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "name", "shape"),
    [
        (Wav2Vec2FeatureExtractor, "input_values", (2, RATE)),
        (lambda: ASTFeatureExtractor(max_length=128), "input_values", (2, 128, 128)),
        (lambda: WhisperFeatureExtractor(chunk_length=2), "input_features", (2, 80, 200)),
        (Speech2TextFeatureExtractor, "input_features", (2, 98, 80)),
    ],
    ids=["wav2vec2", "ast", "whisper", "speech2text"],
)
def test_extractors_of_other_models(make, name, shape):
    views = AudioViews(make())
    # Noise: some extractors divide by the deviation of a band, which is 0 for a sine.
    waves = [rng().uniform(-0.5, 0.5, size).astype(np.float32) for size in (RATE, 10_000)]
    batch = views.collate([views.evaluation({"audio": wave}) for wave in waves])
    assert batch[name].shape == shape


def test_a_pickled_copy_makes_the_same_views(extractor):
    views, row = AudioViews(extractor), {"audio": sine(seconds=2)}
    copy = pickle.loads(pickle.dumps(views))
    np.testing.assert_array_equal(copy("strong", row, rng(3)), views("strong", row, rng(3)))
    assert copy.modality == "audio"


def test_the_description_names_the_numbers(extractor):
    sentences = AudioViews(extractor, max_length_seconds=2.5, gain_decibel=(-3, 4)).describe()
    assert "2.5 s at 16000 Hz" in sentences["weak"]
    assert "2 effects drawn with replacement from gain (-3 to 4 dB), pitch (-2 to 2 semitones)" in sentences["strong"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ("a", "b")}, "must name the one column of recordings"),
        ({"sampling_rate": 8_000}, "sampling_rate must be the feature extractor's 16000 Hz, got 8000"),
        ({"max_length_seconds": 0}, "must be above 0, got 0"),
        ({"effects": ("chorus",)}, "effects must be among gain, .*, got 'chorus'"),
        ({"effects": ()}, "num_effects=2 cannot be drawn"),
        ({"gain_decibel": (5, -5)}, r"gain_decibel must be .* got \(5, -5\)"),
        ({"speed_factors": (0, 2)}, r"speed_factors must be .* got \(0, 2\)"),
        ({"reverberation_wet": (0.1, 1.5)}, r"within 0\.\.1"),
    ],
)
def test_wrong_settings(extractor, settings, message):
    with pytest.raises(ValueError, match=message):
        AudioViews(extractor, **settings)


def test_an_extractor_without_a_rate_and_one_inside_a_processor(extractor):
    assert AudioViews(SimpleNamespace(feature_extractor=extractor)).feature_extractor is extractor
    with pytest.raises(ValueError, match="pass sampling_rate="):
        AudioViews(SimpleNamespace())
    assert AudioViews(SimpleNamespace(__call__=None), sampling_rate=8_000).sampling_rate == 8_000


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("rotated", {"audio": sine()}, "got 'rotated'"),
        ("weak", {"sound": sine()}, "no audio column 'audio'; the row has 'sound'"),
    ],
)
def test_wrong_rows(extractor, kind, row, message):
    with pytest.raises(ValueError, match=message):
        AudioViews(extractor)(kind, row, rng())


def test_real_keywords(extractor):
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "speech_commands" / "test.parquet"
    if not file.exists():
        pytest.skip("no Speech Commands here")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(file, columns=["audio"]).slice(0, 40).to_pylist()
    views = AudioViews(extractor)
    assert {len(views.evaluation(row)) for row in rows} == {RATE}
    batch = views.collate([views("strong", row, rng(i)) for i, row in enumerate(rows)])
    assert batch["input_values"].shape == (40, RATE)
    assert batch["attention_mask"].sum(1).float().mean() < RATE
