"""Small files that claim to be large, or are not files at all, and a guard against tests that would wait for them."""

import io
import itertools
import json
import os
import signal
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


@contextmanager
def at_once(seconds: int = 20) -> Iterator[None]:
    """Fails if the block takes longer, as reading from a pipe without a writer does."""

    def fail(*_: Any) -> None:
        raise AssertionError(f"nothing happened in {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    """A named pipe into which nobody writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def sound_bytes(wave: np.ndarray, rate: int = 16_000, kind: str = "WAV") -> bytes:
    """A sound file, [n] or [n, channels]."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def flac_claiming(samples: int) -> bytes:
    """A FLAC file of 400 samples whose header claims to have more."""
    data = bytearray(sound_bytes(np.linspace(-0.5, 0.5, 400), kind="FLAC"))
    # 20 bits of rate, 3 of channels, 5 of bits per sample, 36 of samples.
    (facts,) = struct.unpack(">Q", data[18:26])
    data[18:26] = struct.pack(">Q", facts >> 36 << 36 | samples)
    return bytes(data)


def wav_with(wave: np.ndarray, *, rate: int | None = None, channels: int | None = None) -> bytes:
    """A WAV file whose header was changed."""
    data = bytearray(sound_bytes(wave))
    if rate is not None:
        data[24:28] = struct.pack("<I", rate)
    if channels is not None:
        data[22:24] = struct.pack("<H", channels)
        data[32:34] = struct.pack("<H", 2 * channels)
    return bytes(data)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], rows: bytes = b"") -> bytes:
    """A PNG file of gray pixels: its header, other chunks, and whatever rows it really has."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def nested(depth: int, inner: str = "1") -> str:
    """JSON objects inside of each other."""
    return '{"a": ' * depth + inner + "}" * depth


def alias_bomb(levels: int = 9) -> str:
    """YAML of some lines that stand for 9 ** levels values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise("abcdefghijklmnopqrstuvwxyz"[: levels + 1]):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines) + "\n"


def npy_claiming(shape: tuple[int, ...], content: bytes, dtype: str = "|u1") -> bytes:
    """An .npy file whose header need not fit its content."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + content


def tar_of_sparse(path: Path, size: int) -> Path:
    """A tar archive with one member that has no content and claims to have `size` bytes, all of them zero."""
    header = bytearray(tarfile.TarInfo("hole.bin").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[124:136] = b"%011o\0" % 0
    # Its only piece is empty and at the end; then the size of the whole.
    header[386:398], header[398:410] = _number(size), _number(0)
    header[483:495] = _number(size)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    path.write_bytes(bytes(header) + bytes(1024))
    return path


def _number(value: int) -> bytes:
    """As GNU tar writes numbers that eleven octal digits cannot hold."""
    return b"\x80" + value.to_bytes(11, "big")


def safetensors_claiming(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header, whose length need not be told truly."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data) if length is None else length) + data + content
