"""Recordings whose headers are not true, that are too short or too long, or not files: one line, little memory."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from hf_ssl import audio_files
from hf_ssl.errors import BrokenExampleError
from hf_ssl.views import audio_effects
from hf_ssl.views.audio import decode, usual_seconds

from tests.helpers.hostile_files import at_once, flac_claiming, pipe, sound_bytes, wav_with

TONE = 0.5 * np.sin(np.arange(4_000) * 0.05)
BROKEN = {
    "FLAC that claims 2^36 samples": (
        flac_claiming(2**36 - 1),
        "at most 134,217,728 samples, got 68,719,476,735; cut",
    ),
    "FLAC that claims more than the longest": (flac_claiming(2**27 + 1), "at most 134,217,728 samples"),
    "FLAC that claims a million": (flac_claiming(10**6), "cannot be read as sound|cut off"),
    "no samples": (sound_bytes(np.zeros(0)), "it holds no samples"),
    "no samples, FLAC": (sound_bytes(np.zeros(0), kind="FLAC"), "it holds no samples|cannot be read as sound"),
    "rate 0": (wav_with(TONE, rate=0), "cannot be read as sound|sampling rate must be at least 100 Hz"),
    "negative rate": (wav_with(TONE, rate=2**32 - 16_000), "cannot be read as sound|sampling rate|at most"),
    "1 Hz": (wav_with(TONE, rate=1), "its sampling rate must be at least 100 Hz, got 1"),
    "300 channels": (wav_with(np.zeros(6_000), channels=300), "at most 256 channels, got 300"),
    "no channels": (wav_with(TONE, channels=0), "cannot be read as sound"),
    "cut off in the header": (sound_bytes(TONE)[:30], "cannot be read as sound"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as sound"),
    "empty": (b"", "cannot be read as sound"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_one_line_with_the_file(content, message, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        for value in (str(path), {"bytes": content, "path": "a.wav"}):
            with at_once(), pytest.raises(BrokenExampleError, match=rf"a\.wav: .*({message})") as error:
                decode(value, 16_000)
            assert "\n" not in str(error.value)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rate", [-16_000, 0, 0.5, 99, float("nan"), float("inf"), "16000", [1]])
def test_rates_are_numbers_of_at_least_a_hundred_hertz(rate):
    with pytest.raises(BrokenExampleError, match=r"<array>: its sampling rate must be at least 100 Hz, got"):
        decode({"array": TONE, "sampling_rate": rate}, 16_000)


def test_pipes_devices_and_folders_are_never_opened(tmp_path):
    with at_once():
        for path, what in (
            (pipe(tmp_path / "a.wav"), "a named pipe"),
            ("/dev/zero", "a device"),
            (tmp_path, "a folder"),
        ):
            with pytest.raises(BrokenExampleError, match=rf"^{path}: it is {what} and not a file$"):
                decode(str(path), 16_000)
            with pytest.raises(BrokenExampleError, match=rf"^{path}: it is {what} and not a file$"):
                usual_seconds([{"audio": {"path": str(path), "bytes": None}}], "audio")


def test_the_usual_length_is_bounded_whatever_a_header_claims():
    cells = [{"audio": {"bytes": flac_claiming(2**36 - 1), "path": None}}]
    assert usual_seconds(cells, "audio") == 10.0
    with pytest.raises(BrokenExampleError, match="<bytes>: it cannot be read as sound"):
        usual_seconds([{"audio": {"bytes": b"RIFF", "path": None}}], "audio")


@pytest.mark.parametrize(("rate", "wanted"), [(44_101, 16_000), (16_001, 16_000), (15_999, 16_000), (7_919, 16_000)])
def test_odd_rates_take_little_memory_and_give_the_tone(rate, wanted):
    """A filter of torchaudio's for 44,101 : 16,000 Hz would take 5.6 GB."""
    hertz, seconds = 440, 0.25
    wave = np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)
    tracemalloc.start()
    try:
        heard = decode({"bytes": sound_bytes(0.5 * wave, rate), "path": "a.wav"}, wanted)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    expected = 0.5 * np.sin(2 * np.pi * hertz * np.arange(len(heard)) / wanted)
    assert len(heard) == -(-len(wave) * wanted // rate)
    # The filter reaches over the ends, where the recording is silence.
    assert np.abs(heard - expected)[50:-50].max() < 2e-3


@pytest.mark.parametrize(
    "ratio",
    [Fraction(441, 160), Fraction(1, 2), Fraction(3, 1), Fraction(441, 320), Fraction(441, 640), Fraction(999, 1000)],
)
def test_the_path_of_odd_rates_is_what_torchaudio_makes(ratio):
    wave = np.random.default_rng(0).normal(size=3_001).astype(np.float32)
    # Of float64: torchaudio rounds the places of its filter to the type of the wave.
    exact = torchaudio.functional.resample(torch.from_numpy(wave).double(), ratio.numerator, ratio.denominator)
    assert np.abs(audio_effects.interpolated(wave, ratio) - exact.numpy()).max() < 2e-6


def test_rates_far_apart_are_bounded_by_the_recording():
    with at_once():
        heard = decode({"array": np.ones(5_000, np.float32), "sampling_rate": 2**31 - 1}, 16_000)
        assert len(heard) == 1
        low = decode({"array": np.ones(100, np.float32), "sampling_rate": 101}, 16_000)
    assert len(low) == -(-100 * 16_000 // 101)
    assert np.abs(low[2_000:12_000] - 1).max() < 0.01


def test_channels_are_mixed_however_few_samples_there_are():
    stereo = np.array([[0.25, 0.5]])
    assert decode({"bytes": sound_bytes(stereo), "path": None}, 16_000) == pytest.approx([0.375], abs=1e-4)
    many = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 12))
    found = decode({"bytes": sound_bytes(many), "path": None}, 16_000)
    assert found == pytest.approx(many.mean(axis=1), abs=1e-4)


def test_a_recording_that_gets_too_long_at_the_models_rate_is_refused(monkeypatch):
    monkeypatch.setattr(audio_files, "MOST_SAMPLES", 15_000)
    with pytest.raises(
        BrokenExampleError, match=r"<array>: .* at most 15,000 samples, got 16,000 at 16,000 Hz; cut it"
    ):
        decode({"array": TONE, "sampling_rate": 4_000}, 16_000)
    assert len(decode({"array": TONE[:-400], "sampling_rate": 4_000}, 16_000)) == 14_400


def test_one_sample_is_a_recording():
    assert decode({"bytes": sound_bytes(np.array([0.25])), "path": None}, 16_000) == pytest.approx([0.25], abs=1e-4)


@pytest.mark.parametrize(("kind", "channels"), [("WAV", 1), ("WAV", 2), ("FLAC", 2), ("WAV", 5)])
def test_a_file_read_in_parts_is_the_file(monkeypatch, tmp_path, kind, channels):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, (1_003, channels))
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(sound_bytes(wave, kind=kind))
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    for part in (2**20, 100, 7):
        monkeypatch.setattr(audio_files, "_PART", part)
        assert np.array_equal(audio_files.read_file(str(path), "a")[0], whole.mean(axis=0))
