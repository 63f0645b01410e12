"""What a person has on disk: a model's folder, and files of the three modalities. All small and quickly written."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from tests.helpers.tiny_tasks import NAMES, TASKS, WORDS, new_model

TONES = {"high": 0.25, "low": 0.05, "middle": 0.15}
COLORS = {"blue": (30, 30, 220), "green": (30, 220, 30), "red": (220, 30, 30)}


def save_model(modality: str, folder: Path, processor: bool = True) -> str:
    """A tiny model with random weights, and its tokenizer or processor."""
    new_model(modality).save_pretrained(folder)
    if processor:
        TASKS[modality][1]().save_pretrained(folder)
    return str(folder)


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """(text, class) pairs; the last word gives the class away."""
    rng = np.random.default_rng(seed)
    classes = [NAMES[i % 3] for i in range(count)]
    return [(" ".join([*rng.choice(WORDS[3:], int(rng.integers(3, 8))), name]), name) for name in classes]


def write_csv(path: Path, rows: Iterable[Sequence], header: Sequence[str] = ("text", "label")) -> Path:
    """A table; by default of texts with their classes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table, by name of the column."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_image(path: Path, name: str, seed: int = 0, size: int = 14) -> Path:
    """A noisy picture of one color; the suffix of the path decides on the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-25, 26, (size, size + 2, 3))
    Image.fromarray((np.array(COLORS[name]) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_sound(path: Path, name: str, rate: int = 16_000, seed: int = 0) -> Path:
    """A quarter of a second of a tone that is the same at any sampling rate; the suffix decides on the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(rate // 4) * (16_000 / rate)
    wave = 0.5 * np.sin(time * TONES[name]) + np.random.default_rng(seed).normal(size=len(time)) * 0.01
    soundfile.write(path, wave.astype(np.float32), rate)
    return path


def image_folders(folder: Path, per_class: int = 5) -> dict[str, str]:
    """labeled/ and test/ with one folder per class; pool/ nested, with a truncated JPEG, a .txt and a hidden file."""
    for split, count, first in (("labeled", per_class, 0), ("test", 3, 100)):
        for name in COLORS:
            for i in range(count):
                write_image(folder / split / name / f"{i}.png", name, first + i)
    for i, name in enumerate([*COLORS] * 4):
        write_image(folder / "pool" / f"day {i % 3}" / "camera" / f"{i}.jpg", name, 200 + i)
    whole = write_image(folder / "pool" / "day 1" / "cut.jpg", "red", size=40).read_bytes()
    (folder / "pool" / "day 1" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "pool" / "notes.txt").write_text("not a picture")
    (folder / "pool" / ".thumbnail.png").write_bytes(b"hidden")
    return {split: str(folder / split) for split in ("labeled", "test", "pool")}


def audio_folders(folder: Path) -> dict[str, str]:
    """WAV, FLAC and OGG at 8,000, 16,000 and 22,050 Hz: labeled/ and test/ by class, pool/ without."""
    kinds = [("wav", 8_000), ("flac", 16_000), ("ogg", 22_050)]
    for split, first in (("labeled", 0), ("test", 50)):
        for name in TONES:
            for i, (suffix, rate) in enumerate(kinds):
                write_sound(folder / split / name / f"{i}.{suffix}", name, rate, first + i)
    for i, name in enumerate([*TONES] * 3):
        suffix, rate = kinds[(i // 3) % 3]
        write_sound(folder / "pool" / f"{i}.{suffix}", name, rate, 100 + i)
    return {split: str(folder / split) for split in ("labeled", "test", "pool")}
