"""Writing files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces `path` when the block ends, or is deleted when it fails.

    A reader sees the old content or the new one, never a part. The suffix stays, since libraries choose formats by it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with atomic_write(f"{folder.name}/results.json") as temporary:
        ...     _ = temporary.write_text("{}")
        >>> os.listdir(folder.name)
        ['results.json']
    """
    path = Path(path)
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
