"""Short synthetic sounds of six instruments, each note with its own pitch, loudness, attack and noise.

They are computed, not recorded: no package brings recordings enough, and real ones need `--source` (the task
`superbks`). What is learned is the timbre.
"""

import io
import wave
from collections.abc import Callable

import datasets
import numpy as np

CLASSES = ("bell", "flute", "organ", "reed", "string", "whistle")
RATE, SECONDS = 16_000, 0.4
SIZES = {"train": 900, "validation": 120, "test": 300}
_OVERTONES = np.arange(1, 9)
# Strengths of the overtones of the sustained ones.
_SPECTRA = {
    "flute": [1.0, 0.25, 0.1, 0.03, 0, 0, 0, 0],
    "organ": [1.0, 0.8, 0, 0.6, 0, 0, 0, 0.4],
    "reed": [1.0, 0.05, 0.6, 0.05, 0.4, 0.05, 0.25, 0.05],
}


def load_tones() -> datasets.DatasetDict:
    """The splits "train", "validation" and "test" with columns audio (16 kHz, 0.4 s, WAV) and label."""
    generator = np.random.RandomState(0)
    # `Audio` would encode what is encoded already, with a package that nothing else needs: it is named afterwards.
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": stored, "label": datasets.ClassLabel(names=list(CLASSES))})
    audio = datasets.Audio(sampling_rate=RATE, decode=False)

    def split(size: int) -> datasets.Dataset:
        labels = np.arange(size) % len(CLASSES)
        sounds = [{"bytes": _wav(note(CLASSES[label], generator)), "path": None} for label in labels]
        columns = {"audio": sounds, "label": labels.tolist()}
        return datasets.Dataset.from_dict(columns, features=features).cast_column("audio", audio)

    return datasets.DatasetDict({name: split(size) for name, size in SIZES.items()})


def note(instrument: str, generator: np.random.RandomState) -> np.ndarray:
    """One note [samples] in -1..1, of a pitch between 130 and 520 Hz.

    Args:
        instrument: one of `CLASSES`.
        generator: of pitch, loudness, attack, vibrato and noise.
    """
    time = np.arange(int(RATE * SECONDS)) / RATE
    pitch = 130 * 4 ** generator.uniform()
    vibrato = 0.004 * np.sin(2 * np.pi * (generator.uniform(4, 7) * time + generator.uniform()))
    phase = 2 * np.pi * pitch * np.cumsum(1 + vibrato) / RATE
    if instrument in _SPECTRA:
        strengths = np.array(_SPECTRA[instrument]) * generator.uniform(0.6, 1.4, len(_OVERTONES))
        sound = (strengths[:, None] * np.sin(_OVERTONES[:, None] * phase)).sum(axis=0)
    else:
        sound = _OTHERS[instrument](time, phase, pitch, generator)
    attack = 1 - np.exp(-time / generator.uniform(0.005, 0.04))
    sound = attack * sound / (np.abs(sound).max() + 1e-9)
    noise = generator.normal(size=len(time)) * 10 ** generator.uniform(-2.5, -1)
    return np.clip(generator.uniform(0.2, 0.9) * (0.9 * sound + noise), -1, 1)


def _bell(time: np.ndarray, phase: np.ndarray, pitch: float, generator: np.random.RandomState) -> np.ndarray:
    """Frequency modulation with a ratio that is not harmonic, dying away (Chowning 1973)."""
    decay = np.exp(-time / generator.uniform(0.1, 0.25))
    return decay * np.sin(phase + 3 * decay * np.sin(1.4 * phase))


def _string(time: np.ndarray, phase: np.ndarray, pitch: float, generator: np.random.RandomState) -> np.ndarray:
    """A plucked string: noise in a loop that loses its high frequencies (Karplus and Strong 1983)."""
    period = int(RATE / pitch)
    loop, rounds = generator.uniform(-1, 1, period), []
    for _ in range(len(time) // period + 1):
        rounds.append(loop)
        loop = 0.498 * (loop + np.roll(loop, 1))
    return np.concatenate(rounds)[: len(time)]


def _whistle(time: np.ndarray, phase: np.ndarray, pitch: float, generator: np.random.RandomState) -> np.ndarray:
    """A pure tone with breath: noise around it."""
    breath = np.convolve(generator.normal(size=len(time)), np.ones(8) / 8, mode="same")
    return np.sin(2 * phase) + 0.6 * breath


_OTHERS: dict[str, Callable[..., np.ndarray]] = {"bell": _bell, "string": _string, "whistle": _whistle}


def _wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((32767 * sound).round().astype("<i2").tobytes())
    return buffer.getvalue()
