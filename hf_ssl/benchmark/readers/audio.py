"""Sound files of any rate and number of channels as 16 kHz mono FLAC."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..repository import SAMPLING_RATE
from .base import library


def waveform(value: Mapping[str, Any] | Path) -> np.ndarray:
    """The waveform float32 [n], mono at 16 kHz, of a file or of a cell as `hf_ssl.views.audio.decode` takes it.

    Raises:
        ValueError: naming the file if it is empty, cut off, or cannot be decoded.
    """
    from ...views import audio  # imports torch

    if isinstance(value, Path) and value.is_file() and not value.stat().st_size:
        raise ValueError(f"{value}: the file is empty (0 bytes)")
    return audio.decode(value, SAMPLING_RATE)


def audio_row(wave: np.ndarray, name: str, source: str) -> dict:
    """The row of a waveform [n] at 16 kHz, rounded to 16 bits: nothing is lost of a 16-bit file at 16 kHz."""
    soundfile = library("soundfile", "hf-ssl[audio]")
    samples = np.clip(np.rint(wave.astype(np.float64) * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return {"audio": {"bytes": buffer.getvalue(), "path": f"{name.rsplit('.', 1)[0]}.flac"}, "source": source}


def audio_file(path: Path, source: str) -> dict:
    """The row of a sound file; errors as in `waveform`."""
    return audio_row(waveform(path), path.name, source)
