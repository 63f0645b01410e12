"""What a person sees or hears of an example: a thumbnail, the beginning of a text, a second of a recording."""

import base64
import io
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ...audio_files import soundfile_library

# Pixels, letters, and seconds at Hz.
_SIDE, _LETTERS, _SECONDS, _RATE = 64, 300, 1.0, 8_000
_QUALITY = 70


def medium(value: Any, modality: str) -> dict[str, Any]:
    """An entry of the page's list of media.

    Args:
        value: of the input column, as `hf_ssl.data.prepare` leaves it; a list of two texts for a pair.
        modality: "image", "text" or "audio".

    Raises:
        BrokenExampleError, OSError: if it cannot be read.

    Example:
        >>> medium(["A cat sleeps.", "An animal rests."], "text")
        {'kind': 'text', 'text': 'A cat sleeps. | An animal rests.'}
    """
    if modality == "image":
        return {"kind": "image", "src": _thumbnail(value)}
    if modality == "audio":
        return _clip(value)
    texts = value if isinstance(value, list) else [value]
    text = " | ".join("" if each is None else " ".join(str(each)[: 4 * _LETTERS].split()) for each in texts)
    return {"kind": "text", "text": text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"}


def _thumbnail(value: Any) -> str:
    # Not at the top: texts and recordings are inspected without Pillow.
    from ...views.image_decoding import decode_image

    image = decode_image(value)
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return _data_url("image/jpeg", file)


def _clip(value: Any) -> dict[str, Any]:
    """The loudest second: recordings often begin with silence."""
    from ...views.audio import decode

    wave = decode(value, _RATE)
    length = int(_SECONDS * _RATE)
    if len(wave) > length:
        power = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
        start = int(np.argmax(power[length:] - power[:-length]))
        wave = wave[start : start + length]
    loudest = float(np.abs(wave).max(initial=0.0))
    file = io.BytesIO()
    # 8 bits per sample, which are spaced as ears hear them.
    samples = 0.9 * wave / loudest if loudest > 0 else wave
    soundfile_library().write(file, samples, _RATE, format="WAV", subtype="ULAW")
    return {"kind": "audio", "src": _data_url("audio/wav", file), "seconds": round(len(wave) / _RATE, 2)}


def _data_url(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def file_name(value: Any) -> str | None:
    """The name of the file that a value of the input column comes from, without its folders; None without one.

    Example:
        >>> file_name({"path": "/home/me/pets/cat.jpg", "bytes": None}), file_name("A text, and/or a path.")
        ('cat.jpg', None)
    """
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str) or not path:
        return None
    # On whatever system it was written.
    return PureWindowsPath(PurePosixPath(path).name).name
