"""Files written whole or not at all, and JSON that leaves the machine without its paths."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Keys under which libraries note the folder or file that something was loaded from.
_PATH_KEYS = (
    "_name_or_path",
    "name_or_path",
    "base_model_name_or_path",
    "best_model_checkpoint",
    "tokenizer_file",
    "vocab_file",
)


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


def is_local(name: str) -> bool:
    """Whether the name of a model or dataset is a path: it exists here, or cannot be a Hub id.

    Example:
        >>> is_local("google/vit-base-patch16-224"), is_local("./vit"), is_local("runs/digits/model")
        (False, True, True)
    """
    return (
        os.path.isabs(name)
        or name.startswith((".", "~"))
        or name.count("/") > 1
        or "\\" in name
        or os.path.exists(name)
    )


def without_paths(text: str) -> str:
    """A JSON document in which the folders that something was loaded from keep only their last name.

    What is not JSON, and JSON without such a path, is returned unchanged, down to its spaces.

    Example:
        >>> print(without_paths('{"_name_or_path": "/home/me/vit"}').strip())
        {
          "_name_or_path": "vit"
        }
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return text
    cleaned = _without_paths(content)
    return text if cleaned == content else json.dumps(cleaned, indent=2, ensure_ascii=False) + "\n"


def _without_paths(value: Any, key: str | None = None) -> Any:
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_paths(item, name) for name, item in value.items()}
    if key in _PATH_KEYS and isinstance(value, str) and is_local(value):
        return Path(value).name
    return value
