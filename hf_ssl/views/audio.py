"""Weak and strong views of sounds, as in USB: a random crop; two effects on the clip, then a random crop.

    row -> decode: float32 [n] at the extractor's rate -> effects (strong) -> crop [<= max_length] -> collate: model keywords

The effects are plain functions on a mono waveform [n] and work on one core in milliseconds. Nothing here needs torchcodec.
"""

import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import torch

from ..errors import BrokenExampleError

EFFECTS = ("gain", "pitch", "speed", "reverberation")
# Ratios of two small whole numbers: the resampling filter of 9973 : 10000 would cost more than the rest of the view.
_LARGEST_DENOMINATOR = 100
# The wave is read this much further than the crop needs, for the windows of the filters at its end. Seconds.
_MARGIN = 0.05
# Hz; only to measure the length of recordings that are no files.
_RATE = 16_000


def decode(value: Any, sampling_rate: int) -> np.ndarray:
    """The waveform of a cell of an audio column: float32 [n], mono, at `sampling_rate` Hz.

    Args:
        value: a dict {"bytes", "path"} (`datasets.Audio(decode=False)`; one of the two may be None), a dict {"array",
            "sampling_rate"} with an array [n] or [channels, n], a path, a decoder of torchcodec, or an array or list [n] of
            samples in -1..1 that are at `sampling_rate` already.

    Raises:
        BrokenExampleError: in one line with the file's path, or "<bytes>", if it cannot be read, is cut off, or is empty.
    """
    name, rate = "<array>", sampling_rate
    if hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        wave, rate = np.asarray(samples.data), samples.sample_rate
    elif isinstance(value, Mapping) and value.get("array") is not None:
        name = value.get("path") or name
        wave, rate = value["array"], value.get("sampling_rate") or sampling_rate
    elif isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path") is not None):
        name = value.get("path") or "<bytes>"
        wave, rate = _read(io.BytesIO(value["bytes"]) if value.get("bytes") is not None else value["path"], name)
    elif isinstance(value, str) or hasattr(value, "__fspath__"):
        name = str(value)
        wave, rate = _read(name, name)
    elif isinstance(value, np.ndarray | Sequence | torch.Tensor) and not isinstance(value, bytes):
        wave = value
    else:
        raise BrokenExampleError(
            f"an audio cell should be a file's bytes or path, or an array of samples, not {value!r:.80}"
        )
    wave = np.asarray(wave)
    if not wave.size:
        raise BrokenExampleError(f"{name}: it holds no samples")
    if wave.ndim not in (1, 2) or (wave.ndim == 2 and wave.shape[0] > wave.shape[1]):
        raise BrokenExampleError(f"{name}: samples of shape {wave.shape}; [n] or [channels, n] is needed")
    if not np.issubdtype(wave.dtype, np.floating):
        raise BrokenExampleError(f"{name}: samples of type {wave.dtype}; floating-point numbers in -1..1 are needed")
    # A copy: torch warns of arrays that must not be written to, as those of Arrow tables.
    wave = np.array(wave if wave.ndim == 1 else wave.mean(axis=0), dtype=np.float32)
    if not np.isfinite(wave).all():
        raise BrokenExampleError(f"{name}: some samples are NaN or infinite")
    return resample(wave, Fraction(int(rate), sampling_rate))


def usual_seconds(dataset: Any, column: str, longest: float = 10.0) -> float:
    """The length of the longest recording among the first hundred of a dataset, in seconds, at most `longest`."""
    seconds = 0.0
    for index in range(min(len(dataset), 100)):
        cell = dataset[index][column]
        if isinstance(cell, Mapping) and cell.get("array") is None and (cell.get("bytes") or cell.get("path")):
            source = io.BytesIO(cell["bytes"]) if cell.get("bytes") is not None else cell["path"]
            try:
                seconds = max(seconds, _library("soundfile").info(source).duration)
            except (OSError, RuntimeError) as error:
                raise BrokenExampleError(f"{cell.get('path') or '<bytes>'}: it cannot be read as sound") from error
        else:
            seconds = max(seconds, len(decode(cell, _RATE)) / _RATE)
    return min(seconds, longest) or longest


def resample(wave: np.ndarray, ratio: Fraction) -> np.ndarray:
    """[n] -> [ceil(n / ratio)]: keeps one sample of `ratio`. Played at the old rate it is `ratio` times as fast and as high."""
    if ratio == 1:
        return wave
    functional = _library("torchaudio.functional")
    return functional.resample(torch.from_numpy(wave), ratio.numerator, ratio.denominator).numpy()


def gain(wave: np.ndarray, decibel: float) -> np.ndarray:
    """The amplitude times 10^(decibel / 20); a rise ends where the largest sample reaches 1, so that nothing is clipped."""
    factor = 10 ** (decibel / 20)
    if factor > 1:
        factor = min(factor, max(1.0, 1 / max(float(np.abs(wave).max()), 1e-9)))
    return wave * np.float32(factor)


def speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """[n] -> [n / factor]: faster and higher by `factor`, like a tape; rounded to a ratio of small whole numbers."""
    return resample(wave, _ratio(factor))


def pitch(wave: np.ndarray, semitones: float, sampling_rate: int) -> np.ndarray:
    """[n] -> [n]: all frequencies times 2^(semitones / 12), at the same duration.

    A phase vocoder makes the wave longer at its pitch, then resampling makes it shorter and higher. This is what
    `torchaudio.functional.pitch_shift` does, which takes four times as long because it resamples with large ratios. Like
    there, the level falls a little, by less than 1 dB up to 2 semitones.
    """
    ratio = _ratio(2 ** (semitones / 12))
    if ratio == 1:
        return wave
    functional = _library("torchaudio.functional")
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
    # A convolution. Transforms of a power of two are several times as fast as of the exact length, as torchaudio has it.
    size = 2 ** math.ceil(math.log2(len(wave) + len(room)))
    spectrum = torch.fft.rfft(torch.from_numpy(wave), size) * torch.fft.rfft(torch.from_numpy(room), size)
    echo = torch.fft.irfft(spectrum, size)[: len(wave)].numpy()
    mixed = np.float32(1 - wet) * wave + np.float32(wet) * echo
    # Echoes can add up beyond 1, or beyond the peak of a wave that was beyond it already.
    limit = max(1.0, float(np.abs(wave).max()))
    return mixed * np.float32(min(1.0, limit / max(float(np.abs(mixed).max()), 1e-9)))


class AudioViews:
    """Makes the views of a row with one column of sounds; see `decode` for what a cell may be.

    An item is a float32 waveform [n] at `sampling_rate`, n <= `max_length`: clips, or sped-up clips, that are shorter stay
    so until `collate`, where the extractor pads them with zeros and, if its model wants a mask, says where they end.

    Strong draws its effects with replacement. They act on the whole clip as far as the crop can hear it: of a long clip
    only the part that ends up in the crop, and the time before it that echoes into it, are computed.

    Args:
        feature_extractor: of the model, or a processor that holds one.
        columns: the one column of sounds.
        sampling_rate: Hz; None takes the extractor's, and another rate than the extractor's is an error.
        max_length_seconds: of an item at most, above 0.
        effects: what strong draws from, names of `EFFECTS`. All change the sound by amounts uniform in these ranges:
        num_effects: how many it draws, with replacement.
        gain_decibel: (lowest, highest), dB. Extractors that normalise (wav2vec 2.0) undo it.
        pitch_semitones: (lowest, highest).
        speed_factors: (lowest, highest), above 0.
        reverberation_seconds: (shortest, longest) time in which the echo falls by 60 dB.
        reverberation_wet: (least, most) share of the echo, in 0..1.

    Raises:
        ValueError: for settings out of their range; in `__call__` for missing columns and broken files, named.
        ImportError: at the first view, if soundfile or torchaudio is needed and missing.
    """

    modality = "audio"
    shares_decoding = True

    def __init__(
        self,
        feature_extractor,
        columns: Sequence[str] = ("audio",),
        *,
        sampling_rate: int | None = None,
        max_length_seconds: float = 1.0,
        effects: Sequence[str] = EFFECTS,
        num_effects: int = 2,
        gain_decibel: tuple[float, float] = (-5.0, 5.0),
        pitch_semitones: tuple[float, float] = (-2.0, 2.0),
        speed_factors: tuple[float, float] = (0.5, 2.0),
        reverberation_seconds: tuple[float, float] = (0.1, 0.5),
        reverberation_wet: tuple[float, float] = (0.1, 0.5),
    ):
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if len(self.columns) != 1:
            raise ValueError(f"columns={self.columns!r}: one column holds the sounds")
        self.feature_extractor = getattr(feature_extractor, "feature_extractor", feature_extractor)
        own_rate = getattr(self.feature_extractor, "sampling_rate", None)
        if own_rate is None and sampling_rate is None:
            raise ValueError(f"{type(self.feature_extractor).__name__} has no sampling_rate; pass sampling_rate=")
        if own_rate is not None and sampling_rate not in (None, own_rate):
            raise ValueError(f"sampling_rate={sampling_rate}, but the feature extractor is made for {own_rate} Hz")
        self.sampling_rate = int(sampling_rate or own_rate)
        self.max_length = round(max_length_seconds * self.sampling_rate)
        if self.max_length < 1:
            raise ValueError(f"max_length_seconds={max_length_seconds} should be above 0")
        if unknown := [name for name in effects if name not in EFFECTS]:
            raise ValueError(f"unknown effects {unknown}; there are {', '.join(EFFECTS)}")
        if num_effects < 0 or (num_effects and not effects):
            raise ValueError(f"num_effects={num_effects} cannot be drawn from effects={tuple(effects)}")
        ranges = {
            "gain_decibel": (gain_decibel, -math.inf, math.inf),
            "pitch_semitones": (pitch_semitones, -24, 24),
            "speed_factors": (speed_factors, 1 / _LARGEST_DENOMINATOR, _LARGEST_DENOMINATOR),
            "reverberation_seconds": (reverberation_seconds, 0, math.inf),
            "reverberation_wet": (reverberation_wet, 0, 1),
        }
        for name, ((low, high), least, most) in ranges.items():
            if not least <= low <= high <= most:
                raise ValueError(f"{name}={(low, high)} should be (low, high) within {least:g}..{most:g}")
        self.effects, self.num_effects = tuple(effects), num_effects
        self.gain_decibel, self.pitch_semitones, self.speed_factors = gain_decibel, pitch_semitones, speed_factors
        self.reverberation_seconds, self.reverberation_wet = reverberation_seconds, reverberation_wet
        self._padding = _padding_options(self.feature_extractor, self.max_length)

    def __call__(self, kind: str, row: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
        """One view of a row, float32 [n <= max_length]. `kind` is "weak" or "strong"."""
        if kind not in ("weak", "strong"):
            raise ValueError(f'a sound has views of kind "weak" and "strong", not {kind!r}')
        wave = self._wave(row)
        effects = [self._draw(rng) for _ in range(self.num_effects)] if kind == "strong" else []
        return self._crop(wave, effects, rng)

    def evaluation(self, row: Mapping[str, Any]) -> np.ndarray:
        """The first `max_length` samples of the clip, float32 [n <= max_length]: where a clip starts is no accident."""
        return self._wave(row)[: self.max_length]

    def example(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its recording decoded: {"array": float32 [n], "sampling_rate": Hz}, at the extractor's rate."""
        return {**row, self.columns[0]: {"array": self._wave(row), "sampling_rate": self.sampling_rate}}

    def accept(self, value: Any) -> np.ndarray:
        """An item of a waveform: samples [n] at the extractor's rate, or {"array", "sampling_rate"}; cut to `max_length`."""
        if not isinstance(value, np.ndarray | torch.Tensor | list | Mapping):
            raise TypeError("a waveform [n], or a dict with input_values, is needed")
        return decode(value, self.sampling_rate)[: self.max_length]

    def collate(self, items: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Normalises, pads and stacks items with the feature extractor: model keywords.

        Extractors of waveforms (wav2vec 2.0, HuBERT) give "input_values" [len(items), max_length], whatever the items'
        lengths, and "attention_mask" of the same shape if they make one; extractors of spectra give their own shapes.
        """
        return dict(
            self.feature_extractor(items, sampling_rate=self.sampling_rate, return_tensors="pt", **self._padding)
        )

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does, for the log and the model card."""
        crop = f"a random crop of {self.max_length / self.sampling_rate:g} s"
        amounts = {
            "gain": "gain ({:g} to {:g} dB)".format(*self.gain_decibel),
            "pitch": "pitch ({:g} to {:g} semitones)".format(*self.pitch_semitones),
            "speed": "speed ({:g} to {:g} times)".format(*self.speed_factors),
            "reverberation": "reverberation (60 dB in {:g} to {:g} s)".format(*self.reverberation_seconds),
        }
        names = ", ".join(amounts[name] for name in dict.fromkeys(self.effects))
        strong = f"{self.num_effects} effects drawn with replacement from {names}, then {crop}."
        return {
            "weak": f"Weak is {crop} at {self.sampling_rate} Hz.",
            "strong": strong if self.num_effects else f"Strong is {crop} without effects.",
        }

    def _wave(self, row: Mapping[str, Any]) -> np.ndarray:
        (column,) = self.columns
        if column not in row:
            raise ValueError(f"there is no audio column {column!r}; the row has {', '.join(map(repr, row))}")
        return decode(row[column], self.sampling_rate)

    def _draw(self, rng: np.random.Generator) -> tuple:
        """An effect and its amounts. All are drawn before any is applied: the speeds say which part of a clip is needed."""
        name = self.effects[rng.integers(len(self.effects))]
        if name == "gain":
            return name, rng.uniform(*self.gain_decibel)
        if name == "pitch":
            return name, rng.uniform(*self.pitch_semitones)
        if name == "speed":
            return name, rng.uniform(*self.speed_factors)
        return name, rng.uniform(*self.reverberation_seconds), rng.uniform(*self.reverberation_wet)

    def _apply(self, wave: np.ndarray, effect: tuple, rng: np.random.Generator) -> np.ndarray:
        name, *amounts = effect
        if name == "gain":
            return gain(wave, *amounts)
        if name == "pitch":
            return pitch(wave, *amounts, self.sampling_rate)
        if name == "speed":
            return speed(wave, *amounts)
        return reverberation(wave, *amounts, self.sampling_rate, rng)

    def _crop(self, wave: np.ndarray, effects: list[tuple], rng: np.random.Generator) -> np.ndarray:
        # How many samples of the clip one sample of the result takes.
        rate = math.prod((_ratio(effect[1]) for effect in effects if effect[0] == "speed"), start=Fraction(1))
        start = int(rng.integers(max(0, int(len(wave) / rate) - self.max_length) + 1))
        # Only a filter that remembers makes a difference before and after the crop.
        memory = [effect[1] for effect in effects if effect[0] == "reverberation"]
        before = math.ceil((sum(memory) * max(1, rate) + _MARGIN) * self.sampling_rate) if effects else 0
        after = math.ceil(_MARGIN * self.sampling_rate) if effects else 0
        first = max(0, math.floor(start * rate) - before)
        last = math.ceil((start + self.max_length) * rate) + after
        wave = wave[first:last]
        for effect in effects:
            wave = self._apply(wave, effect, rng)
        offset = math.floor(start - first / rate)
        return np.ascontiguousarray(wave[offset : offset + self.max_length])


def _ratio(factor: float) -> Fraction:
    return Fraction(factor).limit_denominator(_LARGEST_DENOMINATOR)


def _read(source, name: str) -> tuple[np.ndarray, int]:
    """Samples [channels, n] and the rate of a file."""
    soundfile = _library("soundfile")
    if isinstance(source, str) and not os.path.exists(source):
        raise BrokenExampleError(f"{name}: there is no such file")
    try:
        with soundfile.SoundFile(source) as file:
            wave = file.read(dtype="float32", always_2d=True)
            rate, expected, log = file.samplerate, file.frames, file.extra_info
    except (OSError, RuntimeError) as error:
        reason = re.sub(r"^Error opening .*?:( |$)", "", " ".join(str(error).split()))
        raise BrokenExampleError(f"{name}: it cannot be read as sound: {reason or 'unknown format'}") from error
    # libsndfile reads as much of a cut-off WAV file as there is and says so only in its log. Programs that write to a pipe
    # cannot know the length and leave the largest one in the header.
    short = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if len(wave) < expected:
        raise BrokenExampleError(f"{name}: it is cut off: {len(wave)} of {expected} samples")
    if short and int(short[2]) < int(short[1]) < 2**31:
        raise BrokenExampleError(f"{name}: it is cut off: {short[2]} of {short[1]} bytes of sound")
    return wave.T, rate


def _padding_options(feature_extractor, max_length: int) -> dict[str, Any]:
    """How to ask an extractor for padding: to `max_length` samples if it counts in samples, else in its own way."""
    options = signature(type(feature_extractor).__call__).parameters
    if "padding" not in options:
        return {}
    if (getattr(feature_extractor, "model_input_names", None) or [""])[0] == "input_values":
        return {"padding": "max_length", "max_length": max_length}
    return {"padding": True} if options["padding"].default is False else {}


def _library(name: str):
    # Imported at the first use: neither is needed for images and texts, and torchaudio takes a second to load.
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        library = name.split(".")[0]
        raise ImportError(f'sounds need {library} ({error}): pip install "hf-ssl[audio]"') from error
