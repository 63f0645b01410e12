"""Decoding of recordings and the effects of their strong view: known answers on sine waves."""

import io
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("torchaudio")
soundfile = pytest.importorskip("soundfile")
from hf_ssl.views import audio_effects as audio  # noqa: E402
from hf_ssl.views.audio import decode  # noqa: E402

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


def encode(wave, rate=RATE, kind="WAV"):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind)
    return file.getvalue()


# Decoding


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_every_format_and_rate_keeps_duration_frequency_and_level(kind, rate):
    wave = decode({"bytes": encode(sine(rate=rate), rate, kind), "path": None}, RATE)
    assert wave.dtype == np.float32
    # MP3 adds silence at both ends.
    assert len(wave) == pytest.approx(RATE, abs=2_500 if kind == "MP3" else 1)
    assert peak(wave) == pytest.approx(500, abs=1)
    middle = wave[4_000:12_000]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, abs=0.05 if kind == "MP3" else 0.01)


@pytest.mark.parametrize("make", ["bytes", "path in a dict", "path", "Path", "array", "list", "dict", "decoder"])
def test_every_kind_of_cell(make, tmp_path):
    wave = sine(seconds=0.1)
    file = tmp_path / "a.flac"
    soundfile.write(file, wave, RATE)
    # A name next to the bytes is only a name, as in the tables of datasets.
    cells = {
        "bytes": {"bytes": file.read_bytes(), "path": "no_such_file.flac"},
        "path in a dict": {"bytes": None, "path": str(file)},
        "path": str(file),
        "Path": file,
        "array": wave,
        "list": wave.tolist(),
        "dict": {"array": wave, "sampling_rate": RATE, "path": None},
        "decoder": SimpleNamespace(
            get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(wave)[None], sample_rate=RATE)
        ),
    }
    np.testing.assert_allclose(decode(cells[make], RATE), wave, atol=2**-15)


def test_a_dict_of_samples_at_another_rate_is_resampled():
    wave = decode({"array": sine(rate=8_000), "sampling_rate": 8_000}, RATE)
    assert len(wave) == RATE
    assert peak(wave) == pytest.approx(500, abs=1)


def test_stereo_is_mixed_to_the_mean():
    left, right = sine(500), sine(900, amplitude=0.3)
    mean = (left + right) / 2
    np.testing.assert_allclose(decode({"bytes": encode(np.stack([left, right], 1))}, RATE), mean, atol=2**-15)
    np.testing.assert_allclose(decode(np.stack([left, right]), RATE), mean, atol=1e-7)


def test_decoding_leaves_the_array_of_the_table_alone():
    wave = sine()
    wave.flags.writeable = False
    result = decode(wave, RATE)
    result[:] = 0
    assert wave.any()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("name", [None, "clips/broken.wav"])
def test_a_cut_off_file_is_an_error_that_names_it(kind, name):
    whole = encode(sine(), kind=kind)
    with pytest.raises(ValueError) as error:
        decode({"bytes": whole[: len(whole) // 2], "path": name}, RATE)
    assert str(error.value).startswith(f"{name or '<bytes>'}: it ")
    assert "\n" not in str(error.value)


def test_a_wav_file_from_a_pipe_has_no_length_and_is_read():
    whole = bytearray(encode(sine()))
    position = whole.index(b"data") + 4
    whole[4:8] = whole[position : position + 4] = b"\xff\xff\xff\xff"
    assert len(decode({"bytes": bytes(whole)}, RATE)) == RATE


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"bytes": b"not a sound", "path": "x.wav"}, r"^x\.wav: it cannot be read as sound: "),
        ({"bytes": b"", "path": None}, "^<bytes>: it cannot be read as sound: "),
        ("no/such/file.wav", r"^no/such/file\.wav: there is no such file"),
        ({"bytes": None, "path": None}, "must be a file's bytes or path, or an array"),
        (None, "must be a file's bytes or path, or an array"),
        (b"RIFF", "^<bytes>: it cannot be read as sound: "),
        ({"array": [], "sampling_rate": RATE, "path": "e.wav"}, "^e.wav: it holds no samples"),
        ({"bytes": encode(np.zeros(0)), "path": "e.wav"}, "^e.wav: it holds no samples"),
        (np.array([0.0, np.nan]), "^<array>: some samples are NaN"),
        (np.zeros((1, 2, 8)), r"shape \(1, 2, 8\)"),
    ],
)
def test_broken_cells(cell, message):
    with pytest.raises(ValueError, match=message):
        decode(cell, RATE)


@pytest.mark.parametrize("library", ["soundfile", "torchaudio.functional"])
def test_a_missing_library_names_what_to_install(library, monkeypatch):
    cell = {"bytes": encode(sine(rate=8_000), 8_000)}
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r'pip install "hf-ssl\[audio\]"'):
        decode(cell, RATE)


# Effects


@pytest.mark.parametrize("decibel", [-5.0, -1.0, 0.0, 3.0, 5.0])
def test_gain_is_exact(decibel):
    wave = sine(amplitude=0.5)
    ratio = np.abs(audio.gain(wave, decibel)).max() / np.abs(wave).max()
    assert 20 * np.log10(ratio) == pytest.approx(decibel, abs=1e-4)


@pytest.mark.parametrize(("amplitude", "expected"), [(0.9, 1.0), (1.5, 1.5), (0.0, 0.0)])
def test_a_rise_does_not_clip(amplitude, expected):
    assert np.abs(audio.gain(sine(amplitude=amplitude), 5.0)).max() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.37, 2.0])
def test_speed_divides_the_duration_and_multiplies_the_frequency(factor):
    fast = audio.speed(sine(500), factor)
    assert len(fast) == pytest.approx(RATE / factor, abs=1)
    assert peak(fast) == pytest.approx(500 * factor, rel=2e-3)


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("semitones", [-2.0, -0.7, 0.0, 1.0, 2.0])
def test_pitch_multiplies_the_frequency_and_keeps_duration_and_level(semitones, rate):
    wave = sine(500, rate=rate)
    shifted = audio.pitch(wave, semitones, rate)
    assert len(shifted) == len(wave)
    assert peak(shifted, rate) == pytest.approx(500 * 2 ** (semitones / 12), rel=2e-3)
    middle = slice(len(wave) // 4, 3 * len(wave) // 4)
    assert abs(20 * np.log10(np.std(shifted[middle]) / np.std(wave[middle]))) < 1


def test_pitch_leaves_every_sound_at_its_time():
    wave = sine(500)
    wave[:12_000] = 0
    for semitones in (-2.0, 2.0):
        power = audio.pitch(wave, semitones, RATE) ** 2
        assert power[12_000:].sum() > 0.95 * power.sum()
        assert power[15_000:].sum() > 0.15 * power.sum()


@pytest.mark.parametrize("size", [1, 40, 300])
def test_pitch_of_a_very_short_clip(size):
    assert len(audio.pitch(sine()[:size], 2.0, RATE)) == size


def test_reverberation_of_a_click_falls_by_60_decibel():
    click = np.zeros(RATE, np.float32)
    click[0] = 0.5
    echo = audio.reverberation(click, seconds=0.4, wet=0.5, sampling_rate=RATE, rng=rng()) - 0.5 * click
    assert np.linalg.norm(echo) == pytest.approx(0.25, rel=1e-3)
    assert not np.abs(echo[6_401:]).max() > 1e-6
    # Two windows of 50 ms, 0.3 s apart: three quarters of the way.
    levels = [20 * np.log10(np.linalg.norm(echo[start : start + 800])) for start in (0, 4_800)]
    assert levels[0] - levels[1] == pytest.approx(45, abs=2)


def test_dry_reverberation_is_the_wave_and_loud_ones_do_not_clip():
    np.testing.assert_allclose(audio.reverberation(sine(), 0.3, 0.0, RATE, rng()), sine(), atol=1e-6)
    assert (
        max(np.abs(audio.reverberation(sine(60, amplitude=1.0), 0.3, 0.9, RATE, rng(i))).max() for i in range(9)) <= 1
    )


def test_resampling_removes_what_the_new_rate_cannot_hold():
    kept, gone = (audio.resample(sine(hertz, rate=44_100), Fraction(44_100, RATE)) for hertz in (500, 15_000))
    assert peak(kept) == pytest.approx(500, abs=1)
    assert np.abs(gone[2_000:-2_000]).max() < 0.01
