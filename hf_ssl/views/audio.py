"""Weak and strong views of recordings, as in USB: a random crop; two effects on the clip, then a random crop.

    row -> decode: float32 [n] at the extractor's rate -> effects (strong) -> crop [<= max_length] -> collate

Decoding needs soundfile, and torchaudio for other rates than the extractor's; nothing here needs torchcodec. Files are
read in `audio_files.py`; the effects are in `audio_effects.py`, what the feature extractor does to a crop in
`extractor.py`.
"""

import copy
import io
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..audio_files import check_samples, file_seconds, read_file
from ..data.cells import full_scale
from ..errors import BrokenExampleError
from ..limits import LOWEST_RATE, short
from .audio_effects import (
    EFFECTS,
    LARGEST_DENOMINATOR,
    DrawnEffect,
    apply_effect,
    draw_effect,
    resample,
    small_ratio,
)
from .base import ModelKeywords, Row, Views
from .extractor import OwnCalls

# Where a feature extractor keeps, and saves, the length at which its model's recordings are cut. Seconds.
LENGTH_SETTING = "max_length_seconds"
# The wave is read this much further than the crop needs, for the windows of the filters at its end. Seconds.
_MARGIN = 0.05
# Hz; only to measure the length of recordings that are not files.
_RATE = 16_000
# Within which the ranges of the amounts of effects must be.
_LIMITS = {
    "gain_decibel": (-math.inf, math.inf),
    "pitch_semitones": (-24, 24),
    "speed_factors": (1 / LARGEST_DENOMINATOR, LARGEST_DENOMINATOR),
    "reverberation_seconds": (0, math.inf),
    "reverberation_wet": (0, 1),
}


def decode(value: Any, sampling_rate: int) -> np.ndarray:
    """The waveform of a cell of an audio column: float32 [n], mono, at `sampling_rate` Hz.

    Channels are averaged. Integer samples are scaled to -1..1 by their type (int8, int16, uint8: 128 is silence), and
    those of 32 or more bits by the first of 16, 24 and 32 bits that holds them all, in the whole dataset if
    `hf_ssl.data.cells` has looked at it.

    Args:
        value: a dict {"bytes", "path"} (`datasets.Audio(decode=False)`; one of the two may be None), a dict {"array",
            "sampling_rate"}, a file's bytes or path, a decoder of torchcodec, or an array or list of samples that are
            at `sampling_rate` already. Arrays are [n], [channels, n] or [n, channels]: the longer axis is time. Dicts
            may have what `hf_ssl.data.cells.CellFormat` adds to them.
        sampling_rate: Hz.

    Raises:
        BrokenExampleError: in one line with the file's path, its row, or "<bytes>", if it cannot be read, is cut off,
            is empty, or has samples that are NaN or infinite.
        ImportError: in one line, if soundfile or torchaudio is needed and cannot be imported.

    Example:
        >>> decode({"array": [[0.25, 0.5], [0.75, 0.5]], "sampling_rate": 8000}, 8000)
        array([0.5, 0.5], dtype=float32)
        >>> decode(np.array([0, 16384], dtype=np.int16), 8000)
        array([0. , 0.5], dtype=float32)
    """
    name, samples, rate = _samples(value, sampling_rate)
    facts = value if isinstance(value, Mapping) else {}
    try:
        wave = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise BrokenExampleError(f"{name}: samples must be numbers: {' '.join(str(error).split())}") from error
    if not wave.size:
        raise BrokenExampleError(f"{name}: it holds no samples")
    if wave.ndim not in (1, 2):
        raise BrokenExampleError(f"{name}: samples must be [n] or [channels, n], got shape {wave.shape}")
    # A copy: torch warns of arrays that must not be written to, as those of Arrow tables.
    wave = np.array(_full_scale(wave, facts, name), dtype=np.float32)
    if wave.ndim == 2:
        # Decoders put channels first whatever the length; other arrays of two axes are longer in time.
        wave = wave.mean(axis=0 if hasattr(value, "get_all_samples") or wave.shape[0] <= wave.shape[1] else 1)
    if not np.isfinite(wave).all():
        raise BrokenExampleError(f"{name}: some samples are NaN or infinite")
    if not isinstance(rate, int | float | np.number) or not LOWEST_RATE <= rate < math.inf:
        raise BrokenExampleError(f"{name}: its sampling rate must be at least {LOWEST_RATE} Hz, got {short(rate)}")
    if heard := facts.get("heard_at"):
        wave, rate = _resampled(wave, int(rate), heard, name), heard
    return _resampled(wave, int(rate), sampling_rate, name)


def _resampled(wave: np.ndarray, old: int, new: int, name: str) -> np.ndarray:
    """The wave at another rate, unless it would be too long."""
    check_samples(len(wave) * new // old, f" at {new:,} Hz", name)
    return resample(wave, Fraction(old, new))


def _full_scale(wave: np.ndarray, facts: Mapping[str, Any], name: str) -> np.ndarray:
    """Samples in -1..1: floating-point numbers as they are, integers divided by what would be the loudest."""
    if wave.dtype.kind == "f":
        return wave
    if wave.dtype.kind not in "iu":
        raise BrokenExampleError(f"{name}: samples must be numbers, got type {wave.dtype}")
    # Unsigned samples have their silence in the middle.
    silence = facts.get("silence") or (2.0 ** (8 * wave.dtype.itemsize - 1) if wave.dtype.kind == "u" else 0.0)
    scale = facts.get("full_scale") or (
        2.0 ** (8 * wave.dtype.itemsize - 1) if wave.dtype.itemsize <= 2 else full_scale([wave])
    )
    wave = (wave.astype(np.float64) - silence) / scale
    if np.abs(wave).max() > 1:
        raise BrokenExampleError(f"{name}: samples must be within {scale:g}, as in the rest of the dataset")
    return wave


def _samples(value: Any, sampling_rate: int) -> tuple[str, Any, Any]:
    """Name, samples and rate of a cell."""
    if hasattr(value, "get_all_samples"):
        try:
            decoded = value.get_all_samples()
        except Exception as error:  # torchcodec and FFmpeg raise errors of many kinds for broken files
            raise BrokenExampleError(f"<array>: it cannot be decoded: {' '.join(str(error).split())}") from error
        return "<array>", decoded.data, decoded.sample_rate
    if isinstance(value, bytes):
        value = {"bytes": value}
    if isinstance(value, Mapping) and value.get("array") is not None:
        name = value.get("path") or value.get("name") or "<array>"
        rate = value.get("sampling_rate")
        return name, value["array"], sampling_rate if rate is None else rate
    if isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path") is not None):
        name = value.get("path") or value.get("name") or "<bytes>"
        return name, *read_file(io.BytesIO(value["bytes"]) if value.get("bytes") is not None else value["path"], name)
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return str(value), *read_file(str(value), str(value))
    if isinstance(value, np.ndarray | Sequence | torch.Tensor):
        return "<array>", value, sampling_rate
    raise BrokenExampleError(
        f"an audio cell must be a file's bytes or path, or an array of samples, got {value!r:.80}"
    )


def saved_seconds(feature_extractor: Any) -> float | None:
    """The length at which the model of a feature extractor was trained to have its recordings cut, in seconds.

    `SSLTrainer` writes it into the extractor that it saves; `hf-ssl predict` and `hf-ssl evaluate` read it.
    `transformers.pipeline` does not: it gives the model whole recordings.
    """
    seconds = getattr(feature_extractor, LENGTH_SETTING, None)
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


def usual_seconds(dataset: Any, column: str, longest: float = 10.0) -> float:
    """The length of the longest recording among the first hundred of a dataset, in seconds, at most `longest`."""
    seconds = 0.0
    for index in range(min(len(dataset), 100)):
        cell = dataset[index][column]
        if isinstance(cell, Mapping) and cell.get("array") is None and (cell.get("bytes") or cell.get("path")):
            source = io.BytesIO(cell["bytes"]) if cell.get("bytes") is not None else cell["path"]
            name = cell.get("path") or "<bytes>"
            seconds = max(seconds, file_seconds(source, name))
        else:
            seconds = max(seconds, len(decode(cell, _RATE)) / _RATE)
    return min(seconds, longest) or longest


class AudioViews(Views):
    """Makes the views of a row with one column of recordings; see `decode` for what a cell may be.

    An item is a float32 waveform [n] at `sampling_rate`, n <= `max_length`: clips, or sped-up clips, that are shorter
    stay so until `collate`, in which the extractor is called on each of them, and what it returns is padded to the
    shape of a full clip. See `hf_ssl.views.extractor`.

    Strong draws its effects with replacement. They act on the whole clip as far as the crop can hear it: of a long
    clip only the part that ends up in the crop, and the time before it that echoes into it, are computed.

    Args:
        feature_extractor: that of the model, or a processor that holds one.
        columns: the one column of recordings.
        sampling_rate: Hz; None takes the extractor's, and another rate than the extractor's is an error.
        max_length_seconds: length of an item at most, above 0; None takes what the extractor was saved with, or 1.
        effects: names of `EFFECTS` that strong draws from. Their amounts are uniform in the ranges below.
        num_effects: how many it draws, with replacement.
        gain_decibel: (lowest, highest), dB. Extractors that normalize (wav2vec 2.0) undo it.
        pitch_semitones: (lowest, highest).
        speed_factors: (lowest, highest), above 0.
        reverberation_seconds: (shortest, longest) time in which the echo falls by 60 dB.
        reverberation_wet: (least, most) share of the echo, in 0..1.

    Raises:
        ValueError: for settings out of their range; in `__call__` for missing columns and broken files, named.
        ImportError: at the first view, if soundfile or torchaudio is needed and cannot be imported.

    Example:
        >>> from transformers import Wav2Vec2FeatureExtractor
        >>> views = AudioViews(Wav2Vec2FeatureExtractor(), max_length_seconds=0.5)
        >>> wave = np.sin(np.arange(32_000) / 10)
        >>> views.collate([views("weak", {"audio": wave}, np.random.default_rng(0))])["input_values"].shape
        torch.Size([1, 8000])
    """

    modality = "audio"
    shares_decoding = True

    def __init__(
        self,
        feature_extractor: Any,
        columns: Sequence[str] = ("audio",),
        *,
        sampling_rate: int | None = None,
        max_length_seconds: float | None = None,
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
            raise ValueError(f"columns must name the one column of recordings, got {self.columns!r}")
        self.feature_extractor = getattr(feature_extractor, "feature_extractor", feature_extractor)
        self.sampling_rate = _rate(self.feature_extractor, sampling_rate)
        if max_length_seconds is None:
            max_length_seconds = saved_seconds(self.feature_extractor) or 1.0
        self.max_length = round(max_length_seconds * self.sampling_rate)
        if self.max_length < 1:
            raise ValueError(f"max_length_seconds must be above 0, got {max_length_seconds}")
        if unknown := [name for name in effects if name not in EFFECTS]:
            raise ValueError(f"effects must be among {', '.join(EFFECTS)}, got {', '.join(map(repr, unknown))}")
        if num_effects < 0 or (num_effects and not effects):
            raise ValueError(f"num_effects={num_effects} cannot be drawn from effects={tuple(effects)}")
        self.effects, self.num_effects = tuple(effects), num_effects
        self.ranges = {
            "gain_decibel": gain_decibel,
            "pitch_semitones": pitch_semitones,
            "speed_factors": speed_factors,
            "reverberation_seconds": reverberation_seconds,
            "reverberation_wet": reverberation_wet,
        }
        for name, (low, high) in self.ranges.items():
            least, most = _LIMITS[name]
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be (low, high) within {least:g}..{most:g}, got {(low, high)}")
        self.calls = OwnCalls(self.feature_extractor, self.sampling_rate, self.max_length)

    def cut_at(self, samples: int) -> "AudioViews":
        """A copy with another `max_length`."""
        views = copy.copy(self)
        views.max_length = samples
        views.calls = OwnCalls(self.feature_extractor, self.sampling_rate, samples)
        return views

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> np.ndarray:
        """One view of a row, float32 [n <= max_length]. `kind` is "weak", "medium" or "strong".

        A medium view has half of the effects; of an odd one out it has another one in half of the draws.
        """
        if kind not in ("weak", "medium", "strong"):
            raise ValueError(f'kind must be "weak", "medium" or "strong" for a recording, got {kind!r}')
        wave, count = self._wave(row), self.num_effects if kind == "strong" else 0
        if kind == "medium":
            count = self.num_effects // 2 + int(rng.integers(self.num_effects % 2 + 1))
        return self._crop(wave, [self._draw(rng) for _ in range(count)], rng)

    def evaluation(self, row: Row) -> np.ndarray:
        """The first `max_length` samples of the clip, float32 [n <= max_length]: clips begin with what matters."""
        return self._wave(row)[: self.max_length]

    def example(self, row: Row) -> dict[str, Any]:
        """The row with its recording decoded: {"array": float32 [n], "sampling_rate": Hz}, at the extractor's rate."""
        return {**row, self.columns[0]: {"array": self._wave(row), "sampling_rate": self.sampling_rate}}

    def content_free(self, row: Row) -> np.ndarray:
        """Silence, as long as an item may be."""
        return np.zeros(self.max_length, np.float32)

    def accept(self, value: Any) -> np.ndarray:
        """An item from samples [n] at the extractor's rate, or {"array", "sampling_rate"}; cut to `max_length`."""
        if not isinstance(value, np.ndarray | torch.Tensor | list | Mapping):
            raise TypeError("expected a waveform [n], or a dict with input_values")
        return decode(value, self.sampling_rate)[: self.max_length]

    def collate(self, items: Sequence[np.ndarray]) -> ModelKeywords:
        """Call the feature extractor on each item and stack what it returns: model keywords.

        Extractors of waveforms (wav2vec 2.0, HuBERT) give "input_values" [len(items), max_length] for items of any
        lengths, and "attention_mask" of the same shape if they make one; extractors of spectra give their own shapes.

        Raises:
            ValueError: if the extractor cannot be followed; `problem` says so before.
        """
        return self.calls(items)

    def check(self, row: Row) -> None:
        """Compare one example with the extractor's own call on it, which is what `transformers.pipeline` makes.

        Raises:
            ValueError: if they differ, or the extractor cannot be followed.
        """
        if problem := self.calls.problem():
            raise ValueError(problem)
        wave = self.evaluation(row)
        own, made = self.calls.alone(wave), self.collate([wave])
        for name, value in own.items():
            part = tuple(slice(size) for size in value.shape)
            if self.calls.pads_left:
                part = (slice(None), *(slice(-size, None) for size in value.shape[1:]))
            if not torch.equal(made[name][part], value):
                raise ValueError(
                    f"{name} must be what the feature extractor makes of a recording, got other values from "
                    f"{type(self).__name__}; its collate must call the extractor on each recording by itself"
                )

    def problem(self, kind: str) -> str | None:
        """Why the feature extractor cannot be followed, in one line; None if it can."""
        return self.calls.problem()

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does, for the log and the model card."""
        crop = f"a random crop of {self.max_length / self.sampling_rate:g} s"
        amounts = {
            "gain": "gain ({:g} to {:g} dB)".format(*self.ranges["gain_decibel"]),
            "pitch": "pitch ({:g} to {:g} semitones)".format(*self.ranges["pitch_semitones"]),
            "speed": "speed ({:g} to {:g} times)".format(*self.ranges["speed_factors"]),
            "reverberation": "reverberation (60 dB in {:g} to {:g} s)".format(*self.ranges["reverberation_seconds"]),
        }
        names = ", ".join(amounts[name] for name in dict.fromkeys(self.effects))
        strong = f"{self.num_effects} effects drawn with replacement from {names}, then {crop}."
        return {
            "weak": f"{crop} at {self.sampling_rate} Hz",
            "medium": "strong, with half of the effects on average",
            "strong": strong if self.num_effects else f"{crop} without effects",
        }

    def _wave(self, row: Row) -> np.ndarray:
        (column,) = self.columns
        if column not in row:
            raise ValueError(f"there is no audio column {column!r}; the row has {', '.join(map(repr, row))}")
        return decode(row[column], self.sampling_rate)

    def _draw(self, rng: np.random.Generator) -> DrawnEffect:
        return draw_effect(self.effects, self.ranges, rng)

    def _crop(self, wave: np.ndarray, effects: Sequence[DrawnEffect], rng: np.random.Generator) -> np.ndarray:
        """A random crop with the effects, all drawn before: their speeds say which part of the clip is needed."""
        # How many samples of the clip one sample of the result takes.
        speeds = [small_ratio(effect.amount) for effect in effects if effect.name == "speed"]
        rate = math.prod(speeds, start=Fraction(1))
        start = int(rng.integers(max(0, int(len(wave) / rate) - self.max_length) + 1))
        # Only a filter that remembers makes a difference before and after the crop.
        memory = [effect.amount for effect in effects if effect.name == "reverberation"]
        before = math.ceil((sum(memory) * max(Fraction(1), rate) + _MARGIN) * self.sampling_rate) if effects else 0
        after = math.ceil(_MARGIN * self.sampling_rate) if effects else 0
        first = max(0, math.floor(start * rate) - before)
        last = math.ceil((start + self.max_length) * rate) + after
        wave = wave[first:last]
        for effect in effects:
            wave = apply_effect(wave, effect, self.sampling_rate, rng)
        offset = math.floor(start - first / rate)
        return np.ascontiguousarray(wave[offset : offset + self.max_length])


def _rate(feature_extractor: Any, given: int | None) -> int:
    """The sampling rate in Hz: the extractor's, which a given one must equal."""
    rate = getattr(feature_extractor, "sampling_rate", None)
    if rate is None and given is None:
        raise ValueError(f"{type(feature_extractor).__name__} has no sampling_rate; pass sampling_rate=")
    if rate is not None and given not in (None, rate):
        raise ValueError(f"sampling_rate must be the feature extractor's {rate} Hz, got {given}; leave it out")
    return int(given or rate or 0)
