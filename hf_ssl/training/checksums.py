"""The checksums of a checkpoint: one file that lists the others, as `sha256sum` writes and checks it.

    <sha256>  model.safetensors
    <sha256>  trainer_state.json
    # <sha256> of the lines above

`sha256sum -c checksums.sha256` in the checkpoint's folder checks it without this package.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ..files import file_hash, files_below

CHECKSUMS = "checksums.sha256"


def write_checksums(folder: str | Path) -> None:
    """List every file in `folder` and below with its checksum: each is read once."""
    folder = Path(folder)
    digests = {
        path.relative_to(folder).as_posix(): checksum(path) for path in files_below(folder) if path.name != CHECKSUMS
    }
    (folder / CHECKSUMS).write_bytes(checksums(digests))


def checksums(digests: Mapping[str, str]) -> bytes:
    """The content of the file: name -> checksum in hexadecimal digits, and a last line that protects the others.

    Example:
        >>> print(checksums({"a.json": "00ff"}).decode().splitlines()[0])
        00ff  a.json
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return f"{lines}# {checksum(lines.encode())}\n".encode()


def find_change(folder: str | Path) -> str | None:
    """What is not as it was when the checksums were written, naming the file; None if all is, or there are none.

    Files that were added later are not looked at.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "model.bin").write_bytes(b"0011")
        >>> write_checksums(folder)
        >>> find_change(folder) is None
        True
        >>> _ = (folder / "model.bin").write_bytes(b"0111")
        >>> print(find_change(folder))  # doctest: +ELLIPSIS
        /.../model.bin is damaged: it was changed or truncated after it was saved
    """
    path = Path(folder, CHECKSUMS)
    if not path.is_file():
        return None
    digests = _read(path.read_bytes())
    if digests is None:
        return _damaged(path)
    for name, digest in digests.items():
        path = Path(folder, name)
        if not path.is_file():
            return f"{path} is missing: this checkpoint is incomplete"
        if checksum(path) != digest:
            return _damaged(path)
    return None


def _read(content: bytes) -> dict[str, str] | None:
    """Name -> checksum; None if the content is not what was written."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        return None
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines[:-1])}
    return digests if checksums(digests) == content else None


def _damaged(path: Path) -> str:
    return f"{path} is damaged: it was changed or truncated after it was saved"


def checksum(content: Path | bytes) -> str:
    """SHA-256 of a file or of bytes, in hexadecimal digits."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return file_hash(content)
