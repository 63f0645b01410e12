"""Recordings in files, as mono waveforms at their own rate; libsndfile reads them, by way of soundfile.

A header may claim anything: how many samples and channels there are is compared with `hf_ssl.limits` before memory is
set aside, and a file that holds less than its header says is an error.
"""

import os
import re
from importlib import import_module
from typing import Any

import numpy as np

from .errors import BrokenExampleError
from .limits import MOST_CHANNELS, MOST_SAMPLES, file_problem

# Samples of all channels that are read together.
_PART = 2**20


def soundfile_library() -> Any:
    """The library soundfile, which only recordings need, imported when it is first needed."""
    try:
        return import_module("soundfile")
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ImportError(
            f'recordings need soundfile, which cannot be imported ({reason}); pip install "hf-ssl[audio]"'
        ) from error


def read_file(source: Any, name: str) -> tuple[np.ndarray, int]:
    """Samples float32 [n], the mean of all channels, and the rate in Hz of a file.

    Args:
        source: its path, or a file object of its bytes.
        name: what it is called in errors.

    Raises:
        BrokenExampleError: in one line with the name, if it cannot be read, is cut off, or exceeds `hf_ssl.limits`.
        ImportError: in one line, if soundfile is missing.
    """
    soundfile = soundfile_library()
    _check_place(source, name)
    try:
        with soundfile.SoundFile(source) as file:
            check_samples(file.frames, "", name)
            if file.channels > MOST_CHANNELS:
                raise BrokenExampleError(
                    f"{name}: a recording must have at most {MOST_CHANNELS} channels, got {file.channels:,}"
                )
            wave = _mixed(file)
            rate, expected, log = file.samplerate, file.frames, file.extra_info
    except BrokenExampleError:
        raise
    except Exception as error:  # libsndfile and its wrapper raise almost anything if a header is not true
        reason = re.sub(r"^Error opening .*?:( |$)", "", " ".join(str(error).split()))
        raise BrokenExampleError(f"{name}: it cannot be read as sound: {reason or 'unknown format'}") from error
    # libsndfile reads as much of a cut-off WAV file as exists and says so only in its log. Programs that write to a
    # pipe cannot know the length and leave the largest one in the header.
    short = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if len(wave) < expected:
        raise BrokenExampleError(f"{name}: it is cut off: {len(wave)} of {expected} samples")
    if short and int(short[2]) < int(short[1]) < 2**31:
        raise BrokenExampleError(f"{name}: it is cut off: {short[2]} of {short[1]} bytes of sound")
    return wave, rate


def _mixed(file: Any) -> np.ndarray:
    """The mean of the channels of an open file, [n], read a part at a time: only the result is of the file's size."""
    parts: list[np.ndarray] = []
    size = max(1, _PART // file.channels)
    while len(part := file.read(size, dtype="float32", always_2d=True)) and len(parts) * size <= MOST_SAMPLES:
        parts.append(part[:, 0] if part.shape[1] == 1 else part.T.mean(axis=0))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def file_seconds(source: Any, name: str) -> float:
    """The length of a file in seconds, as its header states it; arguments and errors as in `read_file`."""
    soundfile = soundfile_library()
    _check_place(source, name)
    try:
        return float(soundfile.info(source).duration)
    except Exception as error:  # as in `read_file`
        raise BrokenExampleError(f"{name}: it cannot be read as sound") from error


def check_samples(samples: int, which: str, name: str) -> None:
    """Raise a BrokenExampleError if a recording has more samples than `hf_ssl.limits` allows."""
    if samples > MOST_SAMPLES:
        raise BrokenExampleError(
            f"{name}: a recording must have at most {MOST_SAMPLES:,} samples, got {samples:,}{which}; cut it into "
            "pieces"
        )


def _check_place(source: Any, name: str) -> None:
    """A path must be that of a file: opening a pipe waits for someone to write into it."""
    if isinstance(source, str) and not os.path.exists(source):
        raise BrokenExampleError(f"{name}: there is no such file")
    if isinstance(source, str) and (problem := file_problem(source)):
        raise BrokenExampleError(f"{name}: it is {problem} and not a file")
