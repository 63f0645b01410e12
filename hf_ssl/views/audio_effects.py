"""What the strong view of a recording does to a mono waveform [n], in milliseconds on one core.

    EFFECTS -> draw_effect: a `DrawnEffect` with its amounts -> apply_effect: float32 [n] -> float32 [n]

torchaudio resamples and changes the pitch; it is imported when that is first done (`hf_ssl.torchaudio_import`).
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from ..torchaudio_import import torchaudio_functional

EFFECTS = ("gain", "pitch", "speed", "reverberation")
# Effect -> the settings of `AudioViews` that hold the ranges of its amounts.
AMOUNTS = {
    "gain": ("gain_decibel",),
    "pitch": ("pitch_semitones",),
    "speed": ("speed_factors",),
    "reverberation": ("reverberation_seconds", "reverberation_wet"),
}
# Ratios of two small whole numbers: the resampling filter of 9973 : 10000 would cost more than the rest of the view.
LARGEST_DENOMINATOR = 100
# Numbers of a resampling filter of torchaudio's, which has a row for each place that an output sample can have between
# two input samples. 44,100 : 16,000 Hz takes 76,000; 44,101 : 16,000 Hz would take 706 million.
_LARGEST_FILTER = 2**22
# torchaudio's filter: zero crossings of the sine on each side, and its cutoff as a share of the lower Nyquist rate.
_CROSSINGS, _ROLLOFF = 6, 0.99
# Numbers that are computed together if there is no such filter.
_TOGETHER = 2**20


class DrawnEffect(NamedTuple):
    """An effect with its amounts: dB, semitones, a factor, or the seconds and the share of the echo."""

    name: str
    amount: float
    wet: float = 0.0


def draw_effect(
    names: Sequence[str], ranges: Mapping[str, tuple[float, float]], rng: np.random.Generator
) -> DrawnEffect:
    """One of the named effects, with amounts drawn uniformly from the ranges of its settings (`AMOUNTS`)."""
    name = names[int(rng.integers(len(names)))]
    return DrawnEffect(name, *(rng.uniform(*ranges[setting]) for setting in AMOUNTS[name]))


def apply_effect(wave: np.ndarray, effect: DrawnEffect, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The changed waveform; `rng` makes the noise of a room."""
    if effect.name == "gain":
        return gain(wave, effect.amount)
    if effect.name == "pitch":
        return pitch(wave, effect.amount, sampling_rate)
    if effect.name == "speed":
        return speed(wave, effect.amount)
    return reverberation(wave, effect.amount, effect.wet, sampling_rate, rng)


def gain(wave: np.ndarray, decibel: float) -> np.ndarray:
    """The amplitude times 10^(decibel / 20); a rise ends at a largest sample of 1, so that nothing is clipped.

    Example:
        >>> gain(np.array([0.1, -0.4], np.float32), 20.0)
        array([ 0.25, -1.  ], dtype=float32)
    """
    factor = 10 ** (decibel / 20)
    if factor > 1:
        factor = min(factor, max(1.0, 1 / max(float(np.abs(wave).max()), 1e-9)))
    return wave * np.float32(factor)


def speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """[n] -> [n / factor]: faster and higher by `factor`, like a tape; rounded to a ratio of small whole numbers."""
    return resample(wave, small_ratio(factor))


def pitch(wave: np.ndarray, semitones: float, sampling_rate: int) -> np.ndarray:
    """[n] -> [n]: all frequencies times 2^(semitones / 12), at the same duration.

    A phase vocoder makes the wave longer at its pitch, then resampling makes it shorter and higher. This is what
    `torchaudio.functional.pitch_shift` does, which takes four times as long because it resamples with large ratios.
    Like there, the level falls a little, by less than 1 dB up to 2 semitones.
    """
    ratio = small_ratio(2 ** (semitones / 12))
    if ratio == 1:
        return wave
    functional = torchaudio_functional()
    size = 2 ** round(math.log2(0.032 * sampling_rate))  # a window of about 32 ms
    hop, window = size // 4, torch.hann_window(size)
    # Reflection, the default, refuses waves shorter than half a window.
    spectrum = torch.stft(torch.from_numpy(wave), size, hop, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * hop, size // 2 + 1)[:, None]
    stretched = functional.phase_vocoder(spectrum, float(1 / ratio), advance)
    long = torch.istft(stretched, size, hop, window=window, length=math.ceil(len(wave) * ratio))
    return resample(long.numpy(), ratio)[: len(wave)]


def reverberation(
    wave: np.ndarray, seconds: float, wet: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """[n] -> [n]: `1 - wet` of the wave and `wet` of its echo in a room, which falls by 60 dB in `seconds`.

    The room is noise under an exponential envelope, of energy 1: the echo is about as loud as the wave.
    """
    time = np.arange(max(1, round(seconds * sampling_rate)), dtype=np.float32)
    room = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-math.log(1000) * time / len(time))
    room /= np.linalg.norm(room) + 1e-9
    # A convolution. Transforms of a power of two are several times as fast as those of the exact length in torchaudio.
    size = 2 ** math.ceil(math.log2(len(wave) + len(room)))
    spectrum = torch.fft.rfft(torch.from_numpy(wave), size) * torch.fft.rfft(torch.from_numpy(room), size)
    echo = torch.fft.irfft(spectrum, size)[: len(wave)].numpy()
    mixed = np.float32(1 - wet) * wave + np.float32(wet) * echo
    # Echoes can add up beyond 1, or beyond the peak of a wave that was beyond it already.
    limit = max(1.0, float(np.abs(wave).max()))
    return mixed * np.float32(min(1.0, limit / max(float(np.abs(mixed).max()), 1e-9)))


def resample(wave: np.ndarray, ratio: Fraction) -> np.ndarray:
    """[n] -> [ceil(n / ratio)]: keeps one sample for each `ratio`.

    Played at the old rate, the wave is `ratio` times as fast and as high. Ratios of large whole numbers, for which
    torchaudio's filter takes gigabytes, give the same answer in little memory.

    Raises:
        ImportError: if torchaudio is needed and cannot be imported.
    """
    if ratio == 1:
        return wave
    reach = _reach(ratio)
    if ratio.denominator * (2 * reach + ratio.numerator) > _LARGEST_FILTER:
        return interpolated(wave, ratio)
    functional = torchaudio_functional()
    return functional.resample(torch.from_numpy(wave), ratio.numerator, ratio.denominator).numpy()


def _reach(ratio: Fraction) -> int:
    """Input samples on each side of an output sample that the filter takes in."""
    return math.ceil(_CROSSINGS * ratio.numerator / (min(ratio.numerator, ratio.denominator) * _ROLLOFF))


def interpolated(wave: np.ndarray, ratio: Fraction) -> np.ndarray:
    """What `torchaudio.functional.resample` makes, float32 [n] -> [ceil(n / ratio)], for any ratio in little memory.

    The same sine under the same window (Smith, "Digital Audio Resampling"), but computed for the few input samples
    around each output sample instead of once for all places between two samples.

    Example:
        >>> interpolated(np.ones(5, np.float32), Fraction(1, 2)).shape
        (10,)
    """
    old, new, reach = ratio.numerator, ratio.denominator, _reach(ratio)
    cutoff = min(old, new) * _ROLLOFF
    padded = np.pad(wave, (reach, reach + 2))
    taps = np.arange(2 * reach + 2)
    result = np.empty(math.ceil(len(wave) * new / old), dtype=np.float32)
    step = max(1, _TOGETHER // len(taps))
    for start in range(0, len(result), step):
        place = np.arange(start, min(start + step, len(result)), dtype=np.int64)
        first = place * old // new
        # In whole numbers up to here: the distance is exact, however long the recording.
        distance = (first[:, None] + taps - reach) * new - (place * old)[:, None]
        time = np.clip(distance * (cutoff / (old * new)), -_CROSSINGS, _CROSSINGS)
        weight = np.sinc(time) * np.cos(time * (math.pi / (2 * _CROSSINGS))) ** 2 * (cutoff / old)
        result[place] = (padded[first[:, None] + taps] * weight).sum(axis=1)
    return result


def small_ratio(factor: float) -> Fraction:
    """The nearest ratio of small whole numbers.

    Example:
        >>> small_ratio(1.2503)
        Fraction(5, 4)
    """
    return Fraction(factor).limit_denominator(LARGEST_DENOMINATOR)
