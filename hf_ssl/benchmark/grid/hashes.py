"""Hashes of local files, which stand in a cell's key for what the files hold."""

from collections.abc import Sequence
from pathlib import Path

from ...data.sources import walk
from ...files import file_hash
from .cells import short_hash

_OF_MODELS = (".json", ".txt", ".model", ".safetensors", ".bin")
# What may stand beside data and is none.
_NOT_DATA = (".md", ".lock")


def model_hash(folder: Path) -> str:
    """A hash of the files of a local model: configuration, tokenizer and weights."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in _OF_MODELS]
    return short_hash([(path.name, file_hash(path)) for path in files])


def data_hash(place: Path) -> str:
    """A hash of a file, or of the files at any depth of a folder: names, places and content.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("text,label\\nx,1\\n")
        ...     before = data_hash(Path(folder))
        ...     _ = Path(folder, "README.md").write_text("It is about x.")
        ...     same = data_hash(Path(folder)) == before
        ...     _ = Path(folder, "a.csv").write_text("text,label\\nx,2\\n")
        ...     same, data_hash(Path(folder)) == before
        (True, False)
    """
    if place.is_file():
        return file_hash(place)[:16]
    parts: list[Sequence[str]] = []
    for path in walk(place):
        if path.suffix.lower() not in _NOT_DATA:
            parts.append((path.relative_to(place).as_posix(), file_hash(path)))
    return short_hash(parts)
